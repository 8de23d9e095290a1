//! The acts of a client in the simulator, repeated over a real socket, have the same answers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use sockless::{Closed, Router, Session, websocket};
use sockless_core::{FrameHead, Role};
use sockless_sim::{Link, Sim, Trace};

async fn echo(mut session: Session) -> Result<(), Closed> {
    loop {
        let message = session.recv().await?;
        session.send(message).await?;
    }
}

fn router() -> Router {
    Router::new().route("/", websocket(echo))
}

/// A frame: its opcode, whether it is final, and its payload.
type Frame = (u8, bool, Vec<u8>);

fn simulated(seed: u64) -> Trace {
    let sim = Sim::new(seed);
    sim.record_trace();
    sim.run(async {
        let link = Link::default().latency(Duration::from_millis(5)).short_reads(11);
        let mut client = sim.app_over(router(), &link).open("/").await;
        for len in [0, 1, 125, 126, 4000] {
            let text = "x".repeat(len);
            client.send(text.as_str()).await;
            client.expect(text.as_str()).await;
            client.ping(len.to_string());
            client.recv_pong().await;
        }
        client.send(vec![0xff; sim.draw(1..200) as usize]).await;
        client.recv().await;
        client.close((sockless::CloseCode::NORMAL, "enough"));
        client.closed().await;
    });
    sim.trace()
}

/// Writes a frame with a mask of zeros.
fn write(socket: &mut TcpStream, (opcode, fin, payload): &Frame) {
    let mut bytes = vec![if *fin { 0x80 } else { 0 } | opcode];
    match payload.len() {
        len @ 0..126 => bytes.push(0x80 | len as u8),
        len => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(len as u16).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(payload);
    socket.write_all(&bytes).unwrap();
}

fn read(socket: &mut TcpStream, unread: &mut Vec<u8>) -> Frame {
    loop {
        if let Some((head, header_len)) = FrameHead::decode(unread).unwrap()
            && let end = header_len + head.len as usize
            && unread.len() >= end
        {
            let (opcode, payload) = (unread[0] & 0x0f, unread[header_len..end].to_vec());
            unread.drain(..end);
            return (opcode, head.fin, payload);
        }
        fill(socket, unread);
    }
}

fn fill(socket: &mut TcpStream, unread: &mut Vec<u8>) {
    let mut buffer = [0; 4096];
    let len = socket.read(&mut buffer).unwrap();
    assert_ne!(len, 0, "the server has ended the connection");
    unread.extend_from_slice(&buffer[..len]);
}

/// Sends the frames of the client to a server at `addr`, and returns those of both, in the order of
/// the trace.
fn repeated(trace: &Trace, addr: SocketAddr) -> Vec<(Role, Frame)> {
    let mut socket = TcpStream::connect(addr).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    socket.write_all(request.as_bytes()).unwrap();
    let mut unread = Vec::new();
    let end = loop {
        if let Some(end) = unread.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break end + 4;
        }
        fill(&mut socket, &mut unread);
    };
    unread.drain(..end);
    let frames = frames(trace).into_iter().map(|(role, frame)| {
        if role == Role::Server {
            return (role, read(&mut socket, &mut unread));
        }
        write(&mut socket, &frame);
        (role, frame)
    });
    let frames = frames.collect();
    assert_eq!(socket.read(&mut [0]).unwrap(), 0, "the server ends the connection");
    frames
}

fn frames(trace: &Trace) -> Vec<(Role, Frame)> {
    let frames = trace
        .frames()
        .map(|frame| (frame.from(), (frame.opcode(), frame.is_final(), frame.payload().to_vec())));
    frames.collect()
}

#[test]
fn a_trace_of_the_simulator_is_repeated_over_a_real_socket() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(sockless_tokio::bind("127.0.0.1:0")).unwrap();
    let addr = server.local_addr().expect("an address");
    runtime.spawn(server.serve(router()));
    for seed in 0..5 {
        let trace = simulated(seed);
        let saved: Trace = trace.to_string().parse().unwrap();
        assert_eq!(frames(&trace).len(), 2 * (5 * 2 + 2));
        assert_eq!(repeated(&saved, addr), frames(&trace));
    }
}

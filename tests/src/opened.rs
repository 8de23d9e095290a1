//! A session with its handler on one side of a simulated pipe, and on the other side a peer that writes its
//! frames by hand.

use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::BytesMut;
use futures_util::FutureExt;
use sockless_core::handshake::{ServerHandshake, UpgradeRequest, encode_response};
use sockless_core::{Closed, Config, Instant, Message, Role};
use sockless_driver::{
    Answer, BoxError, BoxFuture, ClientConnection, ConnectionServer, Outcome, Request, Service,
    Session, Upgrade,
};
use sockless_sim::{JoinHandle, Link, Sim, SimIo, Wire};

use crate::end::BOTH;
use crate::wire::{self, CLOSE, Read, Writer, close_body};

/// A second.
pub const SECOND: Duration = Duration::from_secs(1);
/// An hour.
pub const HOUR: Duration = Duration::from_secs(3600);

/// An upgrade request to `/`.
pub const REQUEST: &str = "GET / HTTP/1.1\r\nHost: server\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Runs a scenario for a session on either side, over many seeds each.
#[track_caller]
pub fn on_both_sides<F, Fut>(seeds: u64, scenario: F)
where
    F: Fn(Sim, Role) -> Fut,
    Fut: Future<Output = ()>,
{
    for role in BOTH {
        // libtest prints it when the test fails.
        println!("the session is a {role:?}'s");
        Sim::check(0..seeds, |sim| scenario(sim, role));
    }
}

/// A session under test, and its peer.
pub struct Tested<T> {
    /// The other side of the pipe.
    pub peer: Peer,
    /// The session's end of the pipe.
    pub wire: Wire,
    /// The handler's result once its driver has ended; `None` if it did not return.
    pub output: JoinHandle<Option<T>>,
}

/// Opens a session of `role` over the default link.
pub async fn open<T, F, Fut>(sim: &Sim, role: Role, config: Config, handler: F) -> Tested<T>
where
    T: Send + 'static,
    F: FnOnce(Session) -> Fut + Send + 'static,
    Fut: Future<Output = T> + Send + 'static,
{
    open_over(sim, role, &Link::default(), config, handler).await
}

/// Opens a session of `role` over `link`.
pub async fn open_over<T, F, Fut>(
    sim: &Sim,
    role: Role,
    link: &Link,
    config: Config,
    handler: F,
) -> Tested<T>
where
    T: Send + 'static,
    F: FnOnce(Session) -> Fut + Send + 'static,
    Fut: Future<Output = T> + Send + 'static,
{
    open_with(sim, role, link, config, handler, |_| Ok(())).await
}

/// Opens a session of `role`: a server's, whose handler is `handler`, or a client's, which runs it.
/// `outcome` turns the handler's return value into the result that the server gets.
pub async fn open_with<T, F, Fut>(
    sim: &Sim,
    role: Role,
    link: &Link,
    config: Config,
    handler: F,
    outcome: fn(&T) -> Result<(), BoxError>,
) -> Tested<T>
where
    T: Send + 'static,
    F: FnOnce(Session) -> Fut + Send + 'static,
    Fut: Future<Output = T> + Send + 'static,
{
    let (near, far) = sim.pipe_over(link);
    let wire = near.wire();
    match role {
        Role::Server => {
            let output = Arc::new(Mutex::new(None));
            let slot = Arc::clone(&output);
            let service = Once::new(config, move |session| {
                let running = handler(session);
                async move {
                    let returned = running.await;
                    let outcome = outcome(&returned);
                    *slot.lock().unwrap() = Some(returned);
                    outcome
                }
            });
            let serving = ConnectionServer::new(service, sim.runtime()).serve_connection(
                Box::new(near),
                None,
                None,
            );
            let output = sim.spawn(async move {
                serving.await;
                output.lock().unwrap().take()
            });
            Tested { peer: Peer::of_a_server(far).await, wire, output }
        }
        Role::Client => {
            let runtime = sim.runtime();
            let output = sim.spawn(async move {
                let upgrade = http::Request::get("ws://server/").body(()).unwrap();
                let connected =
                    ClientConnection::handshake(Box::new(near), upgrade, Arc::new(config), runtime);
                let connected = connected.await.expect("the handshake succeeds");
                AssertUnwindSafe(connected.run(handler)).catch_unwind().await.ok()
            });
            Tested { peer: Peer::of_a_client(far).await, wire, output }
        }
    }
}

/// A service for one request, served by any handler.
pub struct Once {
    config: Arc<Config>,
    handler: Mutex<Option<Run>>,
}

/// Takes a granted request to a session.
pub type Run = Box<dyn FnOnce(Request, UpgradeRequest, Arc<Config>) -> Upgrade + Send>;

impl Once {
    /// A service whose one session is served by `handler`.
    pub fn new<F, Fut>(config: Config, handler: F) -> Self
    where
        F: FnOnce(Session) -> Fut + Send + 'static,
        Fut: Future<Output: Outcome> + Send + 'static,
    {
        let run: Run = Box::new(|request, upgrade, config| {
            Upgrade::websocket(request, upgrade, config, handler)
        });
        Self::upgrading(config, run)
    }

    /// A service whose one request is upgraded by `run`.
    pub fn upgrading(config: Config, run: Run) -> Self {
        Self { config: Arc::new(config), handler: Mutex::new(Some(run)) }
    }
}

impl Service for Once {
    fn call(&self, request: Request) -> BoxFuture<'_, Answer> {
        let upgrade = UpgradeRequest::from_request(request.as_http())
            .expect("the request asks for a WebSocket");
        let run = self.handler.lock().unwrap().take().expect("there is one request only");
        let upgrade = run(request, upgrade, self.config());
        Box::pin(async { Answer::Upgrade(upgrade) })
    }

    fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config)
    }
}

/// The peer of a session under test, which reads and writes single frames.
///
/// The test kit's `RawConversation` reads and writes through `RawConnection`, only as a client, and
/// only what that connection accepts. This peer takes either side, may break every rule, and shares no
/// code with the library: its frames are those of [`wire`].
pub struct Peer {
    /// This end of the pipe.
    pub io: SimIo,
    /// Writes frames as this side must.
    pub write: Writer,
}

impl Peer {
    /// Opens a WebSocket, as a client.
    pub async fn of_a_server(io: SimIo) -> Self {
        io.write_all(REQUEST.as_bytes()).await.unwrap();
        let head = io.read_until(b"\r\n\r\n").await.unwrap();
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{head:?}");
        Self { io, write: Writer { masks: true } }
    }

    /// Accepts a WebSocket, as a server.
    pub async fn of_a_client(io: SimIo) -> Self {
        let head = io.read_until(b"\r\n\r\n").await.unwrap();
        let mut handshake = ServerHandshake::new(Arc::default(), Instant::EPOCH);
        let upgrade = handshake.poll_request(&mut BytesMut::from(&head[..])).unwrap().unwrap();
        let (response, _) = UpgradeRequest::from_request(&upgrade).unwrap().accept();
        let response = encode_response(&response.map(|()| bytes::Bytes::new()));
        io.write_all(&response).await.unwrap();
        Self { io, write: Writer { masks: false } }
    }

    /// Sends bytes, which may hold several frames.
    pub async fn send(&self, frames: impl AsRef<[u8]>) {
        self.io.write_all(frames.as_ref()).await.expect("the session still reads");
    }

    /// Sends a text message.
    pub async fn text(&self, text: &str) {
        self.send(self.write.text(text)).await;
    }

    /// Sends a Close frame without a reason text.
    pub async fn close(&self, code: u16) {
        self.send(self.write.close(code, "")).await;
    }

    /// The next frame.
    pub async fn frame(&self) -> Read {
        self.try_frame().await.expect("a frame")
    }

    /// The next frame, or how the stream ended.
    pub async fn try_frame(&self) -> io::Result<Read> {
        let mut head = self.io.read_exact(2).await?.to_vec();
        let width = match head[1] & 0x7F {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        head.extend_from_slice(&self.io.read_exact(width).await?);
        let len = match width {
            0 => usize::from(head[1] & 0x7F),
            _ => head[2..].iter().fold(0, |len, byte| len << 8 | usize::from(*byte)),
        };
        let key_len = if head[1] & 0x80 == 0 { 0 } else { 4 };
        head.extend_from_slice(&self.io.read_exact(key_len + len).await?);
        let mut frames = wire::read_all(&head);
        assert_eq!(frames[0].key.is_some(), !self.write.masks, "clients mask, servers do not");
        Ok(frames.remove(0))
    }

    /// All frames up to the end of the stream.
    pub async fn rest(&self) -> Vec<Read> {
        let mut frames = Vec::new();
        while let Ok(frame) = self.try_frame().await {
            frames.push(frame);
        }
        frames
    }

    /// The next frame, which has to be a text.
    pub async fn expect_text(&self, text: &str) {
        let frame = self.frame().await;
        assert_eq!((frame.first, as_str(&frame)), (0x81, text));
    }

    /// The next frame, which has to close with this code.
    pub async fn expect_close(&self, code: u16) {
        let frame = self.frame().await;
        assert_eq!((frame.first, close_code(&frame)), (CLOSE, Some(code)), "{frame:?}");
    }

    /// Reads up to a Close frame, which is the last, and answers it.
    pub async fn close_and_drain_any(&self) -> Vec<Read> {
        let mut frames = Vec::new();
        while frames.last().is_none_or(|frame: &Read| frame.first != CLOSE) {
            frames.push(self.frame().await);
        }
        let answer = &frames.last().expect("a Close frame").payload;
        self.send(self.write.frame(CLOSE, answer)).await;
        frames
    }

    /// Closes, and reads what comes before the answer.
    pub async fn close_and_drain(&self, code: u16) -> Vec<Read> {
        self.send(self.write.frame(CLOSE, close_body(code, ""))).await;
        let mut frames = self.rest().await;
        let last = frames.pop().expect("an answer");
        assert_eq!((last.first, close_code(&last)), (CLOSE, Some(code)));
        frames
    }
}

/// The code in a Close frame.
pub fn close_code(frame: &Read) -> Option<u16> {
    let code = frame.payload.first_chunk()?;
    Some(u16::from_be_bytes(*code))
}

/// A frame's payload as text.
pub fn as_str(frame: &Read) -> &str {
    std::str::from_utf8(&frame.payload).expect("text")
}

/// A link of some kind: whole or in crumbs, fast or slow, roomy or narrow.
pub fn any_link(sim: &Sim) -> Link {
    let mut link = Link::default();
    if sim.draw(0..2) == 0 {
        link = link.short_reads(1 + sim.draw(0..2000) as usize);
    }
    if sim.draw(0..2) == 0 {
        link = link.short_writes(1 + sim.draw(0..2000) as usize);
    }
    if sim.draw(0..2) == 0 {
        link = link.latency(Duration::from_millis(sim.draw(0..100)));
    }
    if sim.draw(0..3) == 0 {
        link = link.jitter(Duration::from_millis(sim.draw(0..50)));
    }
    if sim.draw(0..3) == 0 {
        link = link.capacity(1 + sim.draw(0..5000) as usize);
    }
    link.held_until_flush(sim.draw(0..3) == 0)
}

/// Receives and sends back until the end.
pub async fn echo(mut session: Session) -> Closed {
    loop {
        let message = match session.recv().await {
            Ok(message) => message,
            Err(closed) => return closed,
        };
        if let Err(closed) = session.send(message).await {
            return closed;
        }
    }
}

/// Receives until the end.
pub async fn receive_all(session: &mut Session) -> (Vec<Message>, Closed) {
    let mut messages = Vec::new();
    loop {
        match session.recv().await {
            Ok(message) => messages.push(message),
            Err(closed) => return (messages, closed),
        }
    }
}

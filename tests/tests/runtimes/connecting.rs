//! Connecting over real sockets: names, proxies, redirects, TLS, and a stream of one's own. Each server
//! here sees its client gone in the end.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use sockless_core::Config;
use sockless_driver::tls::{TlsAcceptor, TlsConnector, TlsError};
use sockless_driver::{ConnectError, ConnectStep, Proxy, ProxyError};
use sockless_routing::{Router, websocket};

use crate::on::Runtime;
use crate::serving::{Serving, exchange};
use sockless_tests::certificates::Authority;
use sockless_tests::handlers::echo;

/// Has `speak` talk to one client; once the thread has ended, the client has closed its socket.
fn server(speak: impl FnOnce(&mut TcpStream) + Send + 'static) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        speak(&mut stream);
        // The end may be orderly or not: both are an end.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    (addr, thread)
}

/// Waits for the thread without blocking this one, on which the runtime may close the socket.
async fn ended(thread: JoinHandle<()>) {
    smol::unblock(move || thread.join().unwrap()).await;
}

/// Reads a request's head and answers it.
fn answer(stream: &mut TcpStream, text: &str) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    stream.write_all(text.as_bytes()).unwrap();
}

pub(crate) async fn a_refusal_comes_with_its_body<R: Runtime>() {
    let (addr, gone) = server(|stream| {
        answer(
            stream,
            "HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbusy\r\n0\r\n\r\n",
        );
    });
    let error = R::connect(&format!("ws://{addr}/")).await.expect_err("it is refused");
    let ConnectError::Rejected { response, complete: true, destination } = error else {
        panic!("{error}");
    };
    assert_eq!((response.status().as_u16(), &response.body()[..]), (503, &b"busy"[..]));
    assert_eq!(destination.addr(), Some(addr));
    ended(gone).await;
}

pub(crate) async fn half_a_response_times_out<R: Runtime>() {
    let (addr, gone) = server(|stream| {
        stream.write_all(b"HTTP/1.1 101 X").unwrap();
    });
    let config = Config::default().opening_timeout(Duration::from_millis(100));
    let error =
        R::connect(&format!("ws://{addr}/")).config(config).await.expect_err("it stops there");
    assert!(matches!(error, ConnectError::Timeout { step: ConnectStep::Response, .. }), "{error}");
    ended(gone).await;
}

/// `localhost` has two addresses on most systems, and this server has one of them.
pub(crate) async fn a_second_address_is_tried_when_the_first_refuses<R: Runtime>() {
    let server = Serving::<R>::one(websocket(echo)).await;
    let connecting = R::connect(&format!("ws://localhost:{}/", server.addr.port())).open();
    let connected = connecting.await.expect("the server answers");
    assert_eq!(connected.destination().addr(), Some(server.addr));
    exchange(&mut connected.spawn(), "hello").await;
}

pub(crate) async fn a_redirect_is_followed_to_another_port<R: Runtime>() {
    let target = Serving::<R>::one(websocket(echo)).await;
    let location = format!("http://{}/", target.addr);
    let (addr, gone) = server(move |stream| {
        answer(stream, &format!("HTTP/1.1 307 Elsewhere\r\nLocation: {location}\r\n\r\n"));
    });
    let mut session = R::connect(&format!("ws://{addr}/")).redirects(1).await.expect("it leads on");
    ended(gone).await;
    exchange(&mut session, "hello").await;
}

pub(crate) async fn a_proxy_that_rejects_is_an_error<R: Runtime>() {
    let (addr, gone) = server(|stream| answer(stream, "HTTP/1.1 407 Who are you?\r\n\r\n"));
    let proxy = Proxy::new(&format!("http://{addr}")).unwrap();
    let error = R::connect("ws://example.com/").proxy(proxy).await.expect_err("it is refused");
    let ConnectError::Proxy { destination, error, response: Some(response) } = error else {
        panic!("{error}")
    };
    assert_eq!(response.status(), 407);
    assert_eq!((destination.host(), destination.addr()), ("example.com", Some(addr)));
    assert_eq!(error, ProxyError::AuthenticationRequired);
    ended(gone).await;
}

pub(crate) async fn a_way_through_socks_is_taken<R: Runtime>() {
    let target = Serving::<R>::one(websocket(echo)).await;
    let to = target.addr;
    let (addr, gone) = server(move |stream| {
        let mut greeting = [0; 3];
        stream.read_exact(&mut greeting).unwrap();
        stream.write_all(&[5, 0]).unwrap();
        let mut request = [0; 10];
        stream.read_exact(&mut request).unwrap();
        assert_eq!(request[..8], [5, 1, 0, 1, 127, 0, 0, 1]);
        let mut onward = TcpStream::connect(to).unwrap();
        stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
        let (mut back, mut there) = (onward.try_clone().unwrap(), stream.try_clone().unwrap());
        std::thread::spawn(move || std::io::copy(&mut back, &mut there));
        let _ = std::io::copy(stream, &mut onward);
        let _ = onward.shutdown(std::net::Shutdown::Write);
    });
    let proxy = Proxy::new(&format!("socks5h://{addr}")).unwrap();
    let url = format!("ws://{}/", target.addr);
    let mut session = R::connect(&url).proxy(proxy).await.expect("there is a way");
    exchange(&mut session, "hello").await;
    drop(session);
    ended(gone).await;
}

pub(crate) async fn a_url_of_wss_is_spoken_over_tls<R: Runtime>() {
    let authority = Authority::new();
    let identity = authority.issue("localhost");
    let acceptor = TlsAcceptor::from_pem(identity.chain.as_bytes(), identity.key.as_bytes());
    let acceptor = acceptor.unwrap();
    let router = Router::new().route("/", websocket(echo));
    let server = Serving::<R>::start_with(router, |server| server.tls(acceptor)).await;
    let connector = TlsConnector::trusting_pem(authority.pem().as_bytes()).unwrap();
    let url = format!("wss://localhost:{}/", server.addr.port());
    exchange(&mut R::connect(&url).tls(connector.clone()).await.expect("it is trusted"), "hi")
        .await;

    let by_address = R::connect(&format!("wss://{}/", server.addr)).tls(connector).await;
    let error = by_address.expect_err("the certificate is for the name");
    let reported = matches!(error, ConnectError::Tls { error: TlsError::Certificate(_), .. });
    assert!(reported, "{error}");
}

pub(crate) async fn a_stream_of_ones_own_is_spoken_over<R: Runtime>() {
    let server = Serving::<R>::one(websocket(echo)).await;
    let stream = TcpStream::connect(server.addr).unwrap();
    let mut session = R::connect_over(stream, "ws://example.com/").await.expect("it is served");
    exchange(&mut session, "hello").await;
}

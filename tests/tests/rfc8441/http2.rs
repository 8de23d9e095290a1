//! Behaviour that is specific to HTTP/2 (RFC 8441), seen by another client than ours.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, RecvStream, SendStream};
use http::{Request, Response, Version};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use smol::channel::Receiver;
use sockless_core::{Cause, Closed, Config, Message, Party};
use sockless_driver::{BoxError, ConnectionServer, Session};
use sockless_hyper::Mount;
use sockless_routing::{Origins, Router, WebSocketRoute, websocket};
use sockless_tests::wire::{self, Writer};
use tokio::task::JoinHandle;

use crate::on::{Http, Http2, runtime};
use crate::serving::App;
use sockless_tests::handlers::{echo, observed, until_closed};
use sockless_tests::opened::{HOUR, SECOND};

const CLIENT: Writer = Writer { masks: true };
const SERVER: Writer = Writer { masks: false };

/// A client of the crate `h2`, on one connection.
struct Client {
    sender: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
    host: ConnectionServer,
}

impl Client {
    async fn of(route: WebSocketRoute) -> Self {
        let router = Router::new()
            .origins(Origins::same_origin())
            .route("/echo", websocket(echo))
            .route("/", route);
        let mount = Mount::new(router, runtime());
        let host = mount.server().clone();
        let http = Http2::connect(App::new(mount));
        let (sender, connection) = h2::client::handshake(http).await.unwrap();
        let connection = tokio::spawn(connection);
        let mut client = Self { sender, connection, host };
        // An answer to anything says that the settings have come before it.
        let request = Request::get("http://server.test/").version(Version::HTTP_2);
        let (answer, _) = client.sender.send_request(request.body(()).unwrap(), true).unwrap();
        assert_eq!(answer.await.unwrap().status(), 400);
        client
    }

    fn asking(path: &str, protocol: &'static str) -> Request<()> {
        Request::connect(format!("https://server.test{path}"))
            .version(Version::HTTP_2)
            .header("sec-websocket-version", "13")
            .extension(h2::ext::Protocol::from_static(protocol))
            .body(())
            .unwrap()
    }

    async fn open(&mut self, path: &str) -> Stream {
        let request = Self::asking(path, "websocket");
        let (answer, sender) = self.sender.send_request(request, false).unwrap();
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), 200);
        for name in ["connection", "upgrade", "sec-websocket-accept", "content-length"] {
            assert!(!answer.headers().contains_key(name), "{name}");
        }
        Stream { sender, receiver: answer.into_body() }
    }
}

struct Stream {
    sender: SendStream<Bytes>,
    receiver: RecvStream,
}

impl Stream {
    fn send(&mut self, bytes: impl Into<Bytes>) {
        self.sender.send_data(bytes.into(), false).unwrap();
    }

    async fn read(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < len {
            bytes.extend(self.receive().await.expect("more comes").unwrap());
        }
        bytes
    }

    async fn receive(&mut self) -> Option<Result<Bytes, h2::Error>> {
        let data = self.receiver.data().await;
        if let Some(Ok(data)) = &data {
            self.receiver.flow_control().release_capacity(data.len()).unwrap();
        }
        data
    }

    async fn expect_echo(&mut self, text: &str) {
        self.send(CLIENT.text(text));
        let frame = SERVER.text(text);
        assert_eq!(self.read(frame.len()).await, frame);
    }
}

fn ends() -> (WebSocketRoute, Receiver<Closed>) {
    observed(until_closed)
}

#[tokio::test(start_paused = true)]
async fn extended_connect_is_announced() {
    let client = Client::of(websocket(echo)).await;
    assert!(client.sender.is_extended_connect_protocol_enabled());
}

#[tokio::test(start_paused = true)]
async fn frames_need_not_be_data_frames() {
    let mut client = Client::of(websocket(echo)).await;
    let mut stream = client.open("/").await;
    let frames = [CLIENT.text("cut"), CLIENT.text("anywhere")].concat();
    for byte in frames {
        stream.send(vec![byte]);
    }
    let echoed = [SERVER.text("cut"), SERVER.text("anywhere")].concat();
    assert_eq!(stream.read(echoed.len()).await, echoed);
}

#[tokio::test(start_paused = true)]
async fn a_reset_ends_its_own_session_only() {
    for (reason, is_eof) in [
        (Reason::CANCEL, true),
        (Reason::NO_ERROR, true),
        (Reason::INTERNAL_ERROR, false),
        (Reason::PROTOCOL_ERROR, false),
        (Reason::STREAM_CLOSED, false),
    ] {
        let (route, ends) = ends();
        let mut client = Client::of(route).await;
        let mut other = client.open("/echo").await;
        let mut stream = client.open("/").await;
        stream.send(CLIENT.text("then a reset"));
        stream.sender.send_reset(reason);
        let closed = ends.recv().await.unwrap();
        assert_eq!((closed.by(), closed.received()), (Party::Peer, None), "{reason:?}");
        match closed.cause() {
            Cause::Eof => assert!(is_eof, "{reason:?}"),
            Cause::Transport(_) => assert!(!is_eof, "{reason:?}"),
            cause => panic!("{reason:?}: {cause}"),
        }
        other.expect_echo("still here").await;
        client.open("/echo").await.expect_echo("and anew").await;
    }
}

/// Where a handler stands when the stream is reset.
#[derive(Clone, Copy, Debug)]
enum Stand {
    Recv,
    Send,
    Flush,
    Write,
    Closed,
    /// In an hour's sleep of its own.
    Sleep,
}

const STANDS: [Stand; 6] =
    [Stand::Recv, Stand::Send, Stand::Flush, Stand::Write, Stand::Closed, Stand::Sleep];

impl Stand {
    /// A route whose handler stands here, and the end of its session, as seen from another task.
    fn route(self) -> (WebSocketRoute, Receiver<Closed>) {
        let (ended, ends) = smol::channel::unbounded();
        let route = websocket(move |session: Session| {
            let (sender, ended) = (session.sender(), ended.clone());
            tokio::spawn(async move { ended.send(sender.closed().await).await });
            async move { drop(self.wait(session).await) }
        });
        let config = Config::default().read_ahead(8_000).high_water(8_000).ping_interval(None);
        (route.config(config), ends)
    }

    async fn wait(self, session: Session) -> Result<(), BoxError> {
        let message = || Message::from(vec![7; 10_000]);
        match self {
            Self::Recv => _ = until_closed(session).await,
            Self::Send => loop {
                session.send(message()).await?;
            },
            Self::Flush => loop {
                session.send(message()).await?;
                session.flush().await?;
            },
            Self::Write => {
                let mut writer = session.writer().await?;
                loop {
                    writer.write(message()).await?;
                }
            }
            Self::Closed => _ = session.closed().await,
            Self::Sleep => session.sleep(HOUR).await,
        }
        Ok(())
    }
}

/// Whether it has received what came before, or left more than `read_ahead` of it unread.
#[tokio::test(start_paused = true)]
async fn a_reset_is_noticed_wherever_the_handler_stands() {
    for stand in STANDS {
        for unread in [0, 40] {
            for reason in [Reason::INTERNAL_ERROR, Reason::CANCEL] {
                is_noticed(stand, unread, reason).await;
            }
        }
    }
}

/// Sends as many messages, whose like the handler may send without being read, and then the reset.
async fn is_noticed(stand: Stand, unread: usize, reason: Reason) {
    let case = format!("{stand:?}, {unread} messages unread, {reason:?}");
    let (route, ends) = stand.route();
    let mut client = Client::of(route).await;
    let mut stream = client.open("/").await;
    for _ in 0..unread {
        stream.send(CLIENT.text(&"x".repeat(1_000)));
    }
    let pause = tokio::time::timeout(SECOND, ends.recv()).await;
    assert!(pause.is_err(), "{case}: it is open");
    stream.sender.send_reset(reason);
    let closed = tokio::time::timeout(2 * SECOND, ends.recv()).await;
    let closed = closed.unwrap_or_else(|_| panic!("{case}: not noticed")).unwrap();
    assert_eq!((closed.by(), closed.is_clean()), (Party::Peer, false), "{case}");
    assert!(matches!(closed.cause(), Cause::Eof | Cause::Transport(_)), "{case}: {closed}");
    // What it has not read counts against the window of the connection.
    drop(stream);
    client.open("/echo").await.expect_echo("still here").await;
    let until = tokio::time::Instant::now() + 2 * HOUR;
    while client.host.connections() > 0 || client.host.held_bytes() > 0 {
        assert!(tokio::time::Instant::now() < until, "{case}: something is left");
        tokio::time::sleep(SECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_of_stream_without_a_close_frame_is_the_end_of_the_transport() {
    let (route, ends) = ends();
    let mut client = Client::of(route).await;
    let mut stream = client.open("/").await;
    stream.sender.send_data(Bytes::new(), true).unwrap();
    let closed = ends.recv().await.unwrap();
    assert_eq!((closed.by(), closed.cause()), (Party::Peer, &Cause::Eof));
    // The server has nothing to add.
    while let Some(data) = stream.receive().await {
        assert_eq!(data.unwrap(), "");
    }
    client.open("/echo").await.expect_echo("still here").await;
}

#[tokio::test(start_paused = true)]
async fn a_closing_handshake_ends_with_the_stream() {
    let (route, ends) = ends();
    let mut client = Client::of(route).await;
    let mut stream = client.open("/").await;
    stream.send(CLIENT.close(1000, "done"));
    let answer = SERVER.frame(wire::CLOSE, wire::close_body(1000, "done"));
    assert_eq!(stream.read(answer.len()).await, answer);
    // END_STREAM, perhaps with an empty DATA frame, and no reset before it.
    while let Some(data) = stream.receive().await {
        assert_eq!(data.expect("the stream ends without a reset"), "");
    }
    assert!(stream.receiver.is_end_stream());
    assert!(ends.recv().await.unwrap().is_clean());
    client.open("/echo").await.expect_echo("still here").await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_gone_ends_all_its_sessions() {
    let (route, ends) = ends();
    let mut client = Client::of(route).await;
    let streams = [client.open("/").await, client.open("/").await, client.open("/").await];
    client.connection.abort();
    drop((client, streams));
    for _ in 0..3 {
        assert!(!ends.recv().await.unwrap().is_clean());
    }
}

#[tokio::test(start_paused = true)]
async fn connect_for_anything_else_is_not_implemented() {
    let mut client = Client::of(websocket(echo)).await;
    let mut proxy = Client::asking("/", "websocket");
    proxy.extensions_mut().clear();
    *proxy.uri_mut() = "server.test:80".parse().unwrap();
    for request in [Client::asking("/", "connect-udp"), Client::asking("/", "WebSocket"), proxy] {
        let (answer, _stream) = client.sender.send_request(request, false).unwrap();
        assert_eq!(answer.await.unwrap().status(), 501);
    }
    client.open("/").await.expect_echo("still here").await;
}

/// RFC 8441 §5: `:authority` and `:scheme` make the origin that is one's own.
#[tokio::test(start_paused = true)]
async fn the_scheme_and_the_authority_are_known() {
    let mut client = Client::of(websocket(echo)).await;
    for (origin, status) in [
        ("https://server.test", 200),
        ("https://server.test:443", 200),
        ("http://server.test", 403),
        ("https://other.test", 403),
    ] {
        let mut request = Client::asking("/", "websocket");
        request.headers_mut().insert("origin", origin.parse().unwrap());
        let (answer, _stream) = client.sender.send_request(request, false).unwrap();
        assert_eq!(answer.await.unwrap().status(), status, "{origin}");
    }
}

/// A layer may answer something else than the mount did: no session is left behind.
#[tokio::test(start_paused = true)]
async fn an_upgrade_that_is_not_sent_is_dropped() {
    let (route, ends) = ends();
    let mount = Mount::new(Router::new().route("/", route), runtime());
    let host = mount.server().clone();
    let http = Http2::serve(App::new(service_fn(move |request: Request<Incoming>| {
        let answering = Service::call(&mount, request);
        async {
            let Ok(granted) = answering.await;
            Ok::<_, Infallible>(Response::builder().status(403).body(granted.into_body()).unwrap())
        }
    })))
    .await;
    assert_eq!(http.send(Http2::asking("/")).await.status(), 403);
    let report = host.shutdown(Duration::from_secs(60)).await;
    assert_eq!((report.terminated, host.connections()), (0, 0));
    drop((http, host));
    assert!(ends.recv().await.is_err(), "the handler never ran");
}

//! Our client over HTTP/2, and servers that are not ours.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{Empty, Full, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use sockless_core::handshake::{ClientRequestError, HandshakeError};
use sockless_core::{CloseCode, Config, Frame as RawFrame, Opcode};
use sockless_driver::{Connect, ConnectError, ConnectStep, Proxy, Session, UrlError};
use sockless_routing::{Router, websocket};
use tokio::io::duplex;
use tokio::sync::oneshot;

use crate::on::{Http, Http2, runtime};
use crate::serving::{App, Served};
use sockless_tests::handlers::{codes, observed, until_closed};

fn connect(sender: &SendRequest<Empty<Bytes>>) -> Connect {
    sockless_hyper::connect(sender, "ws://server.test/", runtime())
}

/// A server that answers every request with `answer`.
async fn answering(answer: http::response::Builder, body: &'static [u8]) -> Http2 {
    let response = answer.body(()).unwrap();
    Http2::serve(App::new(service_fn(move |_request: Request<Incoming>| {
        let response = response.clone().map(|()| Full::new(Bytes::from_static(body)));
        async { Ok::<_, Infallible>(response) }
    })))
    .await
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_refuses_is_returned_whole() {
    let refusal = Response::builder().status(403).header("x-why", "full moon");
    let http = answering(refusal, b"come back tomorrow\n").await;
    let error = connect(&http.sender).await.unwrap_err();
    let shown = "server.test:80 answered 403 Forbidden, not 200 OK: \"come back tomorrow\"";
    assert_eq!(error.to_string(), shown);
    let ConnectError::Rejected { response, complete, .. } = error else { panic!("{error}") };
    assert!(complete);
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert_eq!(response.headers()["x-why"], "full moon");
    assert_eq!(response.body(), "come back tomorrow\n");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_never_ends_is_cut() {
    const BLOCK: Bytes = Bytes::from_static(&[b'x'; 10_000]);
    // As fast as it is read, or with a pause longer than every timeout.
    for (blocks, kept) in [(usize::MAX, 64 << 10), (2, 20_000)] {
        let http =
            Http2::serve(App::new(service_fn(move |_request: Request<Incoming>| async move {
                let frames = stream::repeat_with(|| Ok::<_, Infallible>(Frame::data(BLOCK)));
                let body = StreamBody::new(frames.take(blocks).chain(stream::pending()));
                Ok::<_, Infallible>(Response::builder().status(503).body(body).unwrap())
            })))
            .await;
        let error = connect(&http.sender).await.unwrap_err();
        let ConnectError::Rejected { response, complete, .. } = error else { panic!("{error}") };
        assert!(!complete);
        assert_eq!((response.status().as_u16(), response.body().len()), (503, kept));
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_may_not_choose_a_protocol_that_was_not_offered() {
    let http = answering(Response::builder().header("sec-websocket-protocol", "b"), b"").await;
    let error = connect(&http.sender).subprotocol("a").await.unwrap_err();
    assert!(matches!(
        error,
        ConnectError::Handshake { error: HandshakeError::SubprotocolNotOffered(name), .. } if name == "b"
    ));
    let extension = Response::builder().header("sec-websocket-extensions", "x-mystery");
    let error = connect(&answering(extension, b"").await.sender).await.unwrap_err();
    assert!(matches!(
        error,
        ConnectError::Handshake { error: HandshakeError::ExtensionNotOffered(name), .. } if name == "x-mystery"
    ));
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_times_out_and_its_stream_is_reset() {
    let (telling, reported) = oneshot::channel::<()>();
    let telling = Arc::new(std::sync::Mutex::new(Some(telling)));
    let http = Http2::serve(App::new(service_fn(move |_request: Request<Incoming>| {
        let dropped_with_the_stream = telling.lock().unwrap().take();
        async move {
            let _dropped_with_the_stream = dropped_with_the_stream;
            pending::<Result<Response<Full<Bytes>>, Infallible>>().await
        }
    })))
    .await;
    let before = tokio::time::Instant::now();
    let config = Config::default().opening_timeout(Duration::from_secs(7));
    let error = connect(&http.sender).config(config).await.unwrap_err();
    let timed_out = matches!(error, ConnectError::Timeout { step: ConnectStep::Response, .. });
    assert!(timed_out, "{error}");
    assert_eq!(before.elapsed().as_secs(), 7);
    assert!(reported.await.is_err(), "it is dropped, since the stream was reset");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_knows_no_extended_connect_fails_one_stream() {
    let (near, far) = duplex(1 << 10);
    let service = service_fn(async |_request: Request<Incoming>| {
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"a page"))))
    });
    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    tokio::spawn(server.serve_connection(TokioIo::new(far), service));
    let client = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (sender, connection) = client.handshake(TokioIo::new(near)).await.unwrap();
    tokio::spawn(connection);
    let error = connect(&sender).await.unwrap_err();
    assert!(matches!(error, ConnectError::Transport { .. }), "{error}");
    assert!(error.to_string().contains("extended CONNECT"), "{error}");
    let page = Http2 { sender }.send(Http2::plain(http::Method::GET, "/")).await;
    assert_eq!(page.body(), "a page");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_cannot_open_a_websocket_is_not_sent() {
    let http = answering(Response::builder(), b"").await;
    let url = |url| sockless_hyper::connect(&http.sender, url, runtime());
    let error = url("https://server.test/").await.unwrap_err();
    assert!(matches!(error, ConnectError::UrlInvalid(UrlError::SchemeUnsupported)));
    let error = url("ws://a b/").await.unwrap_err();
    let invalid = UrlError::CharacterInvalid { position: 7, found: ' ' };
    assert!(matches!(error, ConnectError::UrlInvalid(error) if error == invalid));
    let error = url("ws://server.test/").header("bad name", "x").await.unwrap_err();
    assert!(matches!(error, ConnectError::HeaderInvalid(_)));
    let error = url("ws://server.test/").header("upgrade", "x").await.unwrap_err();
    assert!(matches!(error, ConnectError::RequestInvalid(ClientRequestError::HeaderReserved(_))));
}

#[tokio::test(start_paused = true)]
async fn a_block_is_driven_where_it_stands() {
    let (route, ends) = observed(until_closed);
    let router = Router::new().route("/", route).route("/count", websocket(count));
    let server = Served::<Http2>::start(router).await;
    let url = "ws://server.test/count";
    let total = sockless_hyper::connect(&server.http.sender, url, runtime())
        .run(async |mut session: Session| {
            assert_eq!(session.request().uri(), url, "what was asked for");
            for _ in 0..10 {
                session.send("one").await.unwrap();
            }
            session.send("").await.unwrap();
            session.recv().await.unwrap().as_text().map(String::from)
        })
        .await
        .unwrap();
    assert_eq!(total.as_deref(), Some("10"));

    connect(&server.http.sender).run(async |session: Session| drop(session)).await.unwrap();
    let closed = ends.recv().await.unwrap();
    assert_eq!(codes(&closed), (Some(1000), Some(1000)));
    assert_eq!(closed.received().unwrap().code(), Some(CloseCode::NORMAL));
}

#[tokio::test(start_paused = true)]
async fn a_client_has_frames_over_http_2_too() {
    let server = Served::<Http2>::start(Router::new().route("/", websocket(count))).await;
    let mut client = connect(&server.http.sender).open().await.unwrap().raw();
    let text = |text: &'static str| RawFrame::new(Opcode::Text, text.into());
    for frame in [
        RawFrame { fin: false, ..text("o") },
        RawFrame::new(Opcode::Continuation, "ne".into()),
        text(""),
    ] {
        client.send(frame).await.unwrap();
    }
    assert_eq!(client.recv().await.unwrap(), text("1"), "the fragments were one message");
    client.send(RawFrame::new(Opcode::Ping, "hi".into())).await.unwrap();
    assert_eq!(client.recv().await.unwrap(), RawFrame::new(Opcode::Pong, "hi".into()));
}

async fn count(mut session: Session) {
    let mut count = 0;
    while let Ok(message) = session.recv().await {
        match message.as_text() {
            Some("") => session.send(count.to_string()).await.unwrap(),
            _ => count += 1,
        }
    }
}

/// The builder is that of other connections; what concerns dialling is rejected, and not ignored.
#[tokio::test(start_paused = true)]
async fn settings_of_dialling_are_rejected() {
    let http = answering(Response::builder(), b"").await;
    let proxy = Proxy::new("http://proxy").unwrap();
    for (builder, name) in [
        (connect(&http.sender).proxy(proxy), "proxy"),
        (connect(&http.sender).proxy_from_env(), "proxy_from_env"),
        (connect(&http.sender).redirects(1), "redirects"),
        (connect(&http.sender).pass_extensions(Vec::new()), "pass_extensions"),
    ] {
        let error = builder.await.unwrap_err();
        assert!(
            matches!(error, ConnectError::SettingUnsupported { setting } if setting == name),
            "{error}"
        );
    }
}

/// As over HTTP/1.1: credentials of the URL are sent, one line has all subprotocols, and secrets are
/// not shown.
#[tokio::test(start_paused = true)]
async fn the_request_is_made_as_over_http_1() {
    let (seen, mut requests) = tokio::sync::mpsc::unbounded_channel();
    let http = Http2::serve(App::new(service_fn(move |request: Request<Incoming>| {
        seen.send(request.headers().clone()).unwrap();
        async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::new()))) }
    })))
    .await;
    let url = "ws://ada:secret@server.test/";
    let connect = sockless_hyper::connect(&http.sender, url, runtime())
        .header("cookie", "secret")
        .subprotocol("chat.v2")
        .subprotocol("chat.v1");
    assert!(!format!("{connect:?}").contains("secret"), "{connect:?}");
    drop(connect.await);
    let headers = requests.recv().await.unwrap();
    assert_eq!(headers["authorization"], "Basic YWRhOnNlY3JldA==");
    assert_eq!(headers["cookie"], "secret");
    let lines: Vec<_> = headers.get_all("sec-websocket-protocol").iter().collect();
    assert_eq!(lines, ["chat.v2, chat.v1"]);
}

//! The two versions of HTTP, behind one trait: [`Http`].

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, Version};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn;
use hyper::ext::Protocol;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use sockless_core::Config;
use sockless_driver::{ClientConnection, Runtime};
use sockless_tokio::{TokioRuntime, TokioTransport};
use tokio::io::{DuplexStream, duplex};

use crate::serving::App;

/// The most that is on its way in a connection: less than a long message, more than a head.
const PIPE_LEN: usize = 16 << 10;

/// The window of HTTP/2 where nothing else is agreed (RFC 9113 §6.9.2).
pub(crate) const WINDOW: u32 = 65_535;

pub(crate) fn runtime() -> Arc<dyn Runtime> {
    Arc::new(TokioRuntime)
}

/// A version of HTTP, with a server of it.
pub(crate) trait Http: Sized {
    const VERSION: Version;

    async fn serve(app: App) -> Self;

    /// A request that asks for a WebSocket.
    fn asking(path: &str) -> http::request::Builder;

    /// A request of any other kind.
    fn plain(method: Method, path: &str) -> http::request::Builder;

    /// Sends a request, and receives the whole answer to it.
    async fn send(&self, request: http::request::Builder) -> Response<Bytes>;

    /// Opens a WebSocket by a GET of `ws://…`, each in a stream or a connection of its own.
    async fn open_with(&self, request: http::request::Builder, config: Config) -> ClientConnection;

    async fn open(&self, path: &str) -> ClientConnection {
        self.open_with(Request::get(format!("ws://server.test{path}")), Config::default()).await
    }
}

/// Each request on a connection of its own.
pub(crate) struct Http1 {
    app: App,
}

impl Http1 {
    pub(crate) fn connect(&self) -> DuplexStream {
        let (near, far) = duplex(PIPE_LEN);
        let app = self.app.clone();
        let service = service_fn(move |request| app.answer(request));
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(far), service)
            .with_upgrades();
        tokio::spawn(connection);
        near
    }
}

impl Http for Http1 {
    const VERSION: Version = Version::HTTP_11;

    async fn serve(app: App) -> Self {
        Self { app }
    }

    fn asking(path: &str) -> http::request::Builder {
        Self::plain(Method::GET, path)
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
    }

    fn plain(method: Method, path: &str) -> http::request::Builder {
        Request::builder().method(method).uri(path).header("host", "server.test")
    }

    async fn send(&self, request: http::request::Builder) -> Response<Bytes> {
        let io = TokioIo::new(self.connect());
        let (mut sender, connection) = conn::http1::handshake(io).await.expect("it connects");
        tokio::spawn(connection.with_upgrades());
        let request = request.body(Empty::<Bytes>::new()).expect("a request");
        whole(sender.send_request(request).await.expect("an answer")).await
    }

    async fn open_with(&self, request: http::request::Builder, config: Config) -> ClientConnection {
        let transport = Box::new(TokioTransport::new(self.connect()));
        let request = request.body(()).expect("a request");
        let opened =
            ClientConnection::handshake(transport, request, config.into(), runtime()).await;
        opened.expect("the server accepts")
    }
}

/// All requests on one connection.
pub(crate) struct Http2 {
    pub(crate) sender: conn::http2::SendRequest<Empty<Bytes>>,
}

impl Http2 {
    /// A connection to a server, for a client of the test's own.
    pub(crate) fn connect(app: App) -> DuplexStream {
        let (near, far) = duplex(PIPE_LEN);
        let service = service_fn(move |request| app.answer(request));
        let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .enable_connect_protocol()
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .serve_connection(TokioIo::new(far), service);
        tokio::spawn(connection);
        near
    }
}

impl Http for Http2 {
    const VERSION: Version = Version::HTTP_2;

    async fn serve(app: App) -> Self {
        let (sender, connection) = conn::http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .handshake(TokioIo::new(Self::connect(app)))
            .await
            .expect("it connects");
        tokio::spawn(connection);
        Self { sender }
    }

    fn asking(path: &str) -> http::request::Builder {
        Self::plain(Method::CONNECT, path)
            .header("sec-websocket-version", "13")
            .extension(Protocol::from_static("websocket"))
    }

    fn plain(method: Method, path: &str) -> http::request::Builder {
        let uri = format!("http://server.test{path}");
        Request::builder().method(method).uri(uri).version(Version::HTTP_2)
    }

    async fn send(&self, request: http::request::Builder) -> Response<Bytes> {
        let request = request.body(Empty::new()).expect("a request");
        whole(self.sender.clone().send_request(request).await.expect("an answer")).await
    }

    async fn open_with(&self, request: http::request::Builder, config: Config) -> ClientConnection {
        let request = request.body(()).expect("a request");
        let mut connect =
            sockless_hyper::connect(&self.sender, &request.uri().to_string(), runtime());
        for (name, value) in request.headers() {
            connect = connect.header(name, value);
        }
        connect.config(config).open().await.expect("the server accepts")
    }
}

async fn whole(response: Response<hyper::body::Incoming>) -> Response<Bytes> {
    let (head, body) = response.into_parts();
    let body = body.collect().await.expect("a whole body").to_bytes();
    Response::from_parts(head, body)
}

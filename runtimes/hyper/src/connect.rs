//! A client's WebSockets over an HTTP/2 connection that it has: [`connect`].

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{HeaderName, HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use http::{Request, Response, Version};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::ext::Protocol;
use sockless_core::handshake::{ClientRequestError, ExtendedConnect, HandshakeError};
use sockless_core::{Config, Connection, Escaped, Instant, Negotiated};
use sockless_driver::{BoxFuture, ClientConnection, Io, Runtime, Session, Timer};
use thiserror::Error;

use crate::io::Transport;

/// Opens a WebSocket as a stream of the HTTP/2 connection of `sender`, beside whatever else that
/// carries: await it for a [`Session`] that is driven in a task of its own on `runtime`, or
/// [`run`](Connect::run) a block that is driven where it stands.
///
/// `url` is that of the WebSocket, such as `wss://example.com/chat`; nothing is dialled. The server
/// has to have announced extended CONNECT (RFC 8441 §3): ask the connection's
/// `is_extended_connect_protocol_enabled` once the server's settings have come. One that has not
/// resets the stream or answers an error.
///
/// ```no_run
/// # use std::sync::Arc;
/// # use http_body_util::Empty;
/// # use bytes::Bytes;
/// # use hyper::client::conn::http2::SendRequest;
/// # use sockless_driver::Runtime;
/// # async fn example(
/// #     sender: SendRequest<Empty<Bytes>>,
/// #     runtime: Arc<dyn Runtime>,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// let mut session = sockless_hyper::connect(&sender, "wss://example.com/chat", runtime)
///     .subprotocol("chat.v1")
///     .await?;
/// session.send("hello").await?;
/// # Ok(())
/// # }
/// ```
pub fn connect<B>(sender: &SendRequest<B>, url: &str, runtime: Arc<dyn Runtime>) -> Connect
where
    B: Body<Data: Send> + Default + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut sender = sender.clone();
    let send = move |request: Request<()>| -> BoxFuture<'static, _> {
        Box::pin(async move {
            sender.ready().await?;
            sender.send_request(request.map(|()| B::default())).await
        })
    };
    let request = Request::get(url).body(());
    Connect { send: Box::new(send), request, config: Arc::default(), runtime }
}

/// A WebSocket to be, over an HTTP/2 connection: [`connect`].
#[must_use = "nothing is sent before it is awaited or run"]
pub struct Connect {
    send: Box<dyn FnOnce(Request<()>) -> BoxFuture<'static, SendResult> + Send>,
    request: Result<Request<()>, http::Error>,
    config: Arc<Config>,
    runtime: Arc<dyn Runtime>,
}

type SendResult = hyper::Result<Response<Incoming>>;

impl Connect {
    /// Replaces the settings.
    pub fn config(mut self, config: Config) -> Self {
        self.config = Arc::new(config);
        self
    }

    /// Adds a header to the request.
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName, Error: Into<http::Error>>,
        V: TryInto<HeaderValue, Error: Into<http::Error>>,
    {
        self.request = self.request.and_then(|mut request| {
            let name = name.try_into().map_err(Into::into)?;
            let value = value.try_into().map_err(Into::into)?;
            request.headers_mut().append(name, value);
            Ok(request)
        });
        self
    }

    /// Offers a subprotocol, after those that were offered before.
    pub fn subprotocol(self, name: &str) -> Self {
        self.header(SEC_WEBSOCKET_PROTOCOL, name)
    }

    /// Opens the stream and shakes hands, within [`Config::opening_timeout`] in all.
    ///
    /// Cancel-safe: dropping the future resets the stream, and leaves the connection alone.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] says what failed.
    pub async fn open(self) -> Result<ClientConnection, ConnectError> {
        let Self { send, request, config, runtime } = self;
        let request = request.map_err(ConnectError::Request)?;
        let asked = ExtendedConnect::new(request.clone(), config.clone())
            .map_err(ConnectError::RequestInvalid)?;
        let mut outgoing = asked.request().clone();
        let protocol = Protocol::from_static(ExtendedConnect::PROTOCOL);
        outgoing.extensions_mut().insert(protocol);

        let deadline = runtime.now() + config.get_opening_timeout();
        let mut timer = runtime.timer(deadline);
        let for_body = || deadline.min(runtime.now() + BODY_PATIENCE);
        let opening = shake_hands(send(outgoing), &asked, for_body, &mut *timer);
        let (transport, negotiated, response) = opening.await?;
        let connection = Connection::client(negotiated, runtime.seed(), config, runtime.now());
        Ok(ClientConnection::upgraded(transport, connection, request, response, runtime))
    }

    /// Connects and runs `block` with the session, both driven by the task that awaits this; when the
    /// block returns, what was sent is flushed and the session closed with 1000.
    ///
    /// Cancel-safe: dropping the future drops the block and ends the stream.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] when there is no session to run the block with.
    ///
    /// # Panics
    ///
    /// When the block panics, after the session was closed with 1011.
    pub async fn run<F, Fut>(self, block: F) -> Result<Fut::Output, ConnectError>
    where
        F: FnOnce(Session) -> Fut,
        Fut: Future,
    {
        Ok(self.open().await?.run(block).await)
    }
}

impl IntoFuture for Connect {
    type Output = Result<Session, ConnectError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async { Ok(self.open().await?.spawn()) })
    }
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let uri = self.request.as_ref().map(Request::uri);
        f.debug_struct("Connect").field("uri", &uri).finish_non_exhaustive()
    }
}

async fn shake_hands(
    sending: BoxFuture<'static, SendResult>,
    asked: &ExtendedConnect,
    for_body: impl FnOnce() -> Instant,
    timer: &mut dyn Timer,
) -> Result<(Box<dyn Io>, Negotiated, Response<()>), ConnectError> {
    let sent = within(timer, sending).await.ok_or(ConnectError::Timeout)?;
    let mut response = sent.map_err(ConnectError::Http)?;
    let negotiated = match asked.check(&response) {
        Ok(negotiated) => negotiated,
        Err(HandshakeError::Rejected(_)) => {
            // The body is for people: that it never ends must not hold the refusal back.
            timer.reset(for_body());
            return Err(ConnectError::Rejected(whole(response, timer).await.into()));
        }
        Err(error) => return Err(ConnectError::Handshake(error)),
    };
    let upgrading = within(timer, hyper::upgrade::on(&mut response)).await;
    let upgraded = upgrading.ok_or(ConnectError::Timeout)?.map_err(ConnectError::Http)?;
    let transport = Box::new(Transport::new(upgraded, Version::HTTP_2));
    Ok((transport, negotiated, response.map(|_body| ())))
}

/// How long the body of a refusal is waited for.
const BODY_PATIENCE: Duration = Duration::from_secs(1);

/// A response with the beginning of its body, as far as that comes in time.
async fn whole(response: Response<Incoming>, timer: &mut dyn Timer) -> Response<Bytes> {
    let (head, mut body) = response.into_parts();
    let mut bytes = BytesMut::new();
    while bytes.len() < REJECTION_LEN {
        let Some(Some(Ok(frame))) = within(timer, body.frame()).await else { break };
        if let Some(data) = frame.data_ref() {
            bytes.extend_from_slice(&data[..data.len().min(REJECTION_LEN - bytes.len())]);
        }
    }
    Response::from_parts(head, bytes.freeze())
}

/// Waits for `future`; `None` when the alarm goes off before.
async fn within<F: Future + Unpin>(timer: &mut dyn Timer, mut future: F) -> Option<F::Output> {
    poll_fn(|cx| match Pin::new(&mut future).poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => timer.poll_expired(cx).map(|()| None),
    })
    .await
}

/// Why there is no session.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The server's answer is no handshake.
    #[error("the opening handshake failed: {}", Escaped(.0))]
    Handshake(#[source] HandshakeError),
    /// The connection or the stream failed; perhaps the server has not announced extended CONNECT.
    #[error("the request did not get through: {}", Escaped(.0))]
    Http(#[source] hyper::Error),
    /// The server answered something else than a success: its response, of which the body is cut
    /// after 64 KiB, and where it does not come in time.
    #[error("the server answered {}, not 200 OK", .0.status())]
    Rejected(Box<Response<Bytes>>),
    /// The URL, a header or a subprotocol cannot stand in a request.
    #[error("the request cannot be made: {0}")]
    Request(#[source] http::Error),
    /// The request is none for a WebSocket.
    #[error("the request cannot be made: {0}")]
    RequestInvalid(#[source] ClientRequestError),
    /// [`Config::opening_timeout`] passed.
    #[error("opening_timeout passed while waiting for the response")]
    Timeout,
}

/// How much of the body of an answer that refuses is kept.
const REJECTION_LEN: usize = 64 << 10;

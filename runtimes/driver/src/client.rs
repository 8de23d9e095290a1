//! Dialling: [`Connect`] describes a connection to be, [`Connected`] is one that nobody drives yet.

use std::fmt;
use std::io;
use std::sync::Arc;

use http::header::{HeaderName, HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use sockless::handshake::{ClientHandshake, HandshakeError, RequestError};
use sockless::{Config, Connection};

use crate::call::Call;
use crate::drive::{Detached, Drive};
use crate::exchange::{Exchange, Input};
use crate::io::{Io, Runtime};
use crate::machine::Machine;
use crate::service::BoxFuture;
use crate::session::Session;
use crate::shared::Shared;

/// Opens transports to servers, which a runtime fills in.
pub trait Dial: Send + Sync + 'static {
    /// Opens a transport to `host`, a name or an address without brackets, at `port`.
    fn dial(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Box<dyn Io>>>;
}

/// A connection to be: where to, and with what.
///
/// Await it for a [`Session`] that is driven in a task of its own, or [`run`](Self::run) a block that
/// is driven where it stands.
#[must_use = "nothing is dialled before it is awaited or run"]
pub struct Connect {
    request: Result<http::Request<()>, http::Error>,
    config: Arc<Config>,
    dial: Arc<dyn Dial>,
    runtime: Arc<dyn Runtime>,
}

impl Connect {
    /// A connection to `url`, such as `ws://example.com/chat`; a runtime's own `connect` makes one.
    pub fn new(url: &str, dial: Arc<dyn Dial>, runtime: Arc<dyn Runtime>) -> Self {
        let request = http::Request::get(url).body(());
        Self { request, config: Arc::default(), dial, runtime }
    }

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

    /// Dials and shakes hands, within [`Config::opening_timeout`] in all.
    ///
    /// Cancel-safe: dropping the future drops the transport.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] says which step failed.
    pub async fn open(self) -> Result<Connected, ConnectError> {
        let request = self.request.map_err(ConnectError::Request)?;
        let (host, port) = address_of(request.uri())?;
        let deadline = self.runtime.now() + self.config.opening_timeout;
        let mut timer = self.runtime.timer(deadline);
        let mut dialling = self.dial.dial(&host, port);
        let transport = std::future::poll_fn(|cx| match dialling.as_mut().poll(cx) {
            std::task::Poll::Ready(dialled) => std::task::Poll::Ready(Some(dialled)),
            std::task::Poll::Pending => timer.poll_expired(cx).map(|()| None),
        })
        .await
        .ok_or(ConnectError::Timeout { step: "dialling" })?
        .map_err(|error| ConnectError::Dial { host, port, error })?;
        let exchange = Exchange::new(transport, self.runtime, deadline);
        shake_hands(exchange, request, self.config).await
    }

    /// Connects and runs `block` with the session, both driven by the task that awaits this; when the
    /// block returns, what was sent is flushed and the connection closed with 1000.
    ///
    /// Cancel-safe: dropping the future drops the block and the transport.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] when there is no session to run the block with.
    ///
    /// # Panics
    ///
    /// When the block panics, after the connection was closed with 1011.
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
        f.debug_struct("Connect").field("request", &self.request).finish_non_exhaustive()
    }
}

/// A connection that is open and that nobody drives yet.
#[must_use = "nobody drives it before it is spawned or run"]
pub struct Connected {
    connection: Connection,
    exchange: Exchange,
    call: Call,
    response: http::Response<()>,
}

impl Connected {
    /// Shakes hands over `transport`, within [`Config::opening_timeout`].
    ///
    /// # Errors
    ///
    /// [`ConnectError`], except for those of dialling.
    pub async fn over(
        transport: Box<dyn Io>,
        request: http::Request<()>,
        config: Arc<Config>,
        runtime: Arc<dyn Runtime>,
    ) -> Result<Self, ConnectError> {
        let deadline = runtime.now() + config.opening_timeout;
        shake_hands(Exchange::new(transport, runtime, deadline), request, config).await
    }

    /// The server's 101 response.
    pub fn response(&self) -> &http::Response<()> {
        &self.response
    }

    /// Drives the session in a task of its own. It is closed with 1000 when the last handle is
    /// dropped.
    pub fn spawn(self) -> Session {
        let runtime = self.exchange.runtime.clone();
        let (shared, session, transport) = self.start(true);
        let drive = Detached::new(shared, transport, None);
        runtime.spawn(Box::pin(async {
            drive.await;
        }));
        session
    }

    /// Runs `block` with the session, both driven by the task that awaits this; when the block
    /// returns, what was sent is flushed and the connection closed with 1000.
    ///
    /// Cancel-safe: dropping the future drops the block and the transport.
    ///
    /// # Panics
    ///
    /// When the block panics, after the connection was closed with 1011.
    pub async fn run<F, Fut>(self, block: F) -> Fut::Output
    where
        F: FnOnce(Session) -> Fut,
        Fut: Future,
    {
        let (shared, session, transport) = self.start(false);
        let running = block(session);
        let mut output = None;
        let handler = Box::pin(async {
            output = Some(running.await);
            Ok(())
        });
        if let Some(panic) = Drive::new(shared, transport, Some(handler)).await {
            std::panic::resume_unwind(panic);
        }
        // The driver ends after its handler, which has set the output or panicked.
        output.expect("the driver has run the block to its end")
    }

    fn start(self, close_when_unused: bool) -> (Arc<Shared>, Session, Box<dyn Io>) {
        let Self { connection, exchange, mut call, .. } = self;
        call.set_subprotocol(connection.subprotocol().map(Into::into));
        call.set_extensions(connection.extensions());
        let machine = Machine::Messages(connection);
        let shared = Shared::new(machine, exchange.inbound, exchange.runtime, close_when_unused);
        let session = Session::new(&shared, Arc::new(call));
        (shared, session, exchange.transport)
    }
}

impl fmt::Debug for Connected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connected").field("response", &self.response).finish_non_exhaustive()
    }
}

async fn shake_hands(
    mut exchange: Exchange,
    request: http::Request<()>,
    config: Arc<Config>,
) -> Result<Connected, ConnectError> {
    let runtime = exchange.runtime.clone();
    let call = Call::new(request.clone());
    let mut handshake = ClientHandshake::new(request, runtime.seed(), config, runtime.now())
        .map_err(ConnectError::RequestInvalid)?;
    if !exchange.write(handshake.outbound()).await.map_err(ConnectError::Transport)? {
        return Err(ConnectError::Timeout { step: "sending the request" });
    }
    loop {
        if let Some(result) = handshake.poll_response(&mut exchange.inbound, runtime.now()) {
            let (connection, response) = result.map_err(ConnectError::Handshake)?;
            return Ok(Connected { connection, exchange, call, response });
        }
        match exchange.read().await.map_err(ConnectError::Transport)? {
            Input::Bytes => {}
            Input::Eof => handshake.handle_eof(),
            Input::Timeout => {
                return Err(ConnectError::Timeout { step: "waiting for the response" });
            }
        }
    }
}

/// The name or address to dial, and the port.
fn address_of(uri: &http::Uri) -> Result<(String, u16), ConnectError> {
    let default_port = match uri.scheme_str() {
        Some("ws") => 80,
        _ => return Err(ConnectError::UrlInvalid("the scheme is not ws")),
    };
    let host = uri.host().ok_or(ConnectError::UrlInvalid("there is no host"))?;
    // A literal IPv6 address stands in brackets in a URL (RFC 3986 §3.2.2), and nowhere else.
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok((host.to_owned(), uri.port_u16().unwrap_or(default_port)))
}

/// Why there is no connection: which step failed, and of whom.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nobody could be reached.
    Dial {
        /// The name or address that was dialled.
        host: String,
        /// The port that was dialled.
        port: u16,
        /// What dialling failed with.
        error: io::Error,
    },
    /// The server's answer is no handshake.
    Handshake(HandshakeError),
    /// The URL, a header or a subprotocol cannot stand in a request.
    Request(http::Error),
    /// The request is none for a WebSocket.
    RequestInvalid(RequestError),
    /// [`Config::opening_timeout`] passed.
    Timeout {
        /// What was being done then.
        step: &'static str,
    },
    /// The transport failed before the handshake was through.
    Transport(io::Error),
    /// The URL is none for a WebSocket.
    UrlInvalid(&'static str),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dial { host, port, error } => write!(f, "cannot reach {host}:{port}: {error}"),
            Self::Handshake(error) => write!(f, "the opening handshake failed: {error}"),
            Self::Request(error) => write!(f, "the request cannot be made: {error}"),
            Self::RequestInvalid(error) => write!(f, "the request cannot be made: {error}"),
            Self::Timeout { step } => write!(f, "opening_timeout passed while {step}"),
            Self::Transport(error) => {
                write!(f, "the transport failed during the opening handshake: {error}")
            }
            Self::UrlInvalid(what) => write!(f, "the URL is none for a WebSocket: {what}"),
        }
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Dial { error, .. } | Self::Transport(error) => Some(error),
            Self::Handshake(error) => Some(error),
            Self::Request(error) => Some(error),
            Self::RequestInvalid(error) => Some(error),
            Self::Timeout { .. } | Self::UrlInvalid(_) => None,
        }
    }
}

//! A connection after its opening handshake: [`ClientConnection`].

use std::fmt;
use std::sync::Arc;

use http::Response;
use sockless_core::{Config, Connection};

use super::destination::Destination;
use super::error::ConnectError;
use super::handshake::{Handshake, Verdict};
use super::target::Target;
use crate::exchange::Exchange;
use crate::request::Request;
use crate::runtime::{Io, Runtime, TlsInfo};
use crate::session::Session;
use crate::session::engine::drive::{Detached, Drive};
use crate::session::engine::machine::Machine;
use crate::session::engine::shared::Shared;

/// A client's connection that is open but not driven yet, from
/// [`Connect::open`](super::Connect::open).
///
/// [`spawn`](Self::spawn) or [`run`](Self::run) starts its [`Session`]. Until then, nothing is read
/// from it and no ping is answered.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let connection = sockless::connect("ws://example.com/chat").open().await?;
/// println!("connected to {}", connection.destination());
/// println!("server: {:?}", connection.response().headers().get("server"));
/// let mut session = connection.spawn();
/// session.send("hello").await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a connection is driven when it is spawned or run"]
pub struct ClientConnection {
    connection: Connection,
    exchange: Exchange,
    request: Request,
    response: Response<()>,
    destination: Destination,
}

impl ClientConnection {
    pub(super) fn new(
        connection: Connection,
        exchange: Exchange,
        request: Request,
        response: Response<()>,
        destination: Destination,
    ) -> Self {
        let request = request.with_tls(exchange.transport.tls());
        Self { connection, exchange, request, response, destination }
    }

    /// Performs the opening handshake over `transport`, within [`Config::opening_timeout`].
    ///
    /// The URI of `request` names the server. Credentials in it are sent as
    /// [`Connect`](super::Connect) sends them. For `wss:`, `transport` must be encrypted already.
    ///
    /// Cancel-safe: dropping the future closes the transport.
    ///
    /// # Errors
    ///
    /// Returns a [`ConnectError`], [`Alpn`](ConnectError::Alpn) among others: if `transport` is a
    /// TLS stream that negotiated another protocol than `http/1.1`.
    pub async fn handshake(
        transport: Box<dyn Io>,
        mut request: http::Request<()>,
        config: Arc<Config>,
        runtime: Arc<dyn Runtime>,
    ) -> Result<Self, ConnectError> {
        let target = Target::parse(&request.uri().to_string()).map_err(ConnectError::UrlInvalid)?;
        target.put_into(&mut request);
        let deadline = runtime.now() + config.get_opening_timeout();
        let destination = Destination::new(&target, None);
        let handshake = Handshake { transport, runtime, deadline, config, destination };
        match handshake.run(request).await? {
            Verdict::Opened(connection) => Ok(connection),
            Verdict::Rejected(rejection) => Err(rejection.read().await),
        }
    }

    /// Returns a connection whose opening handshake was performed elsewhere, such as in an HTTP/2
    /// stack.
    ///
    /// `request` was sent, `response` was received, `connection` is the protocol state that follows
    /// from both, and `transport` carries its frames.
    pub fn upgraded(
        transport: Box<dyn Io>,
        connection: Connection,
        request: http::Request<()>,
        response: Response<()>,
        runtime: Arc<dyn Runtime>,
    ) -> Self {
        let deadline = runtime.now();
        let exchange = Exchange::new(transport, runtime, deadline);
        let destination = Destination::from_uri(request.uri());
        Self { connection, exchange, request: Request::new(request), response, destination }
    }

    /// Returns the server's response: a 101, or a 200 over HTTP/2.
    pub fn response(&self) -> &Response<()> {
        &self.response
    }

    /// Returns the server, and the address or proxy through which it was reached.
    pub fn destination(&self) -> &Destination {
        &self.destination
    }

    /// Returns what was negotiated by TLS: the protocol by ALPN, the version, and the server's
    /// certificates; `None` if the transport is not a TLS stream of this crate. During the session,
    /// [`Request::tls`] returns it.
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.request.tls()
    }

    /// Starts the session and drives it in a task of its own, on the runtime that opened the
    /// connection. When its last handle is dropped, it is closed with 1000.
    pub fn spawn(self) -> Session {
        let runtime = self.exchange.runtime.clone();
        let (shared, session, transport) = self.start(true);
        let drive = Detached::new(shared, transport, None);
        runtime.spawn(Box::pin(async {
            drive.await;
        }));
        session
    }

    /// Starts the session and runs `block` with it. The task that awaits this future drives both.
    /// When the block returns, queued messages are flushed and the session is closed with 1000.
    ///
    /// Cancel-safe: dropping the future drops the block and the transport.
    ///
    /// # Panics
    ///
    /// Panics if the block panics, after the session was closed with 1011.
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
        let Self { connection, exchange, mut request, .. } = self;
        request.set_subprotocol(connection.subprotocol().map(Into::into));
        request.set_extensions(connection.extensions());
        let machine = Machine::Messages(connection);
        let Exchange { inbound, runtime, transport, .. } = exchange;
        let shared = Shared::new(machine, inbound, runtime, request, close_when_unused);
        let session = Session::new(&shared);
        (shared, session, transport)
    }
}

impl fmt::Debug for ClientConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("ClientConnection");
        shown
            .field("destination", &self.destination)
            .field("response", &self.response)
            .finish_non_exhaustive()
    }
}

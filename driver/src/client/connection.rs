//! A connection after its opening handshake: [`ClientConnection`].

use std::fmt;
use std::sync::Arc;

use http::Response;
use sockless_core::extension::Agreed;
use sockless_core::handshake::RawOpened;
use sockless_core::{Config, Connection, Instant, Negotiated, RawConnection};

use super::destination::Destination;
use super::error::ConnectError;
use super::handshake::{Handshake, Verdict};
use super::target::Target;
use crate::exchange::Exchange;
use crate::request::Request;
use crate::runtime::{Io, Runtime, TlsInfo};
use crate::session::engine::drive::{Detached, Drive};
use crate::session::engine::machine::Machine;
use crate::session::engine::shared::Shared;
use crate::session::{RawSession, Session};

/// A client's connection that is open but not driven yet, from
/// [`Connect::open`](super::Connect::open).
///
/// [`spawn`](Self::spawn) or [`run`](Self::run) starts its [`Session`], [`raw`](Self::raw) or
/// [`run_raw`](Self::run_raw) a [`RawSession`] of frames. Until then, nothing is read from it and no
/// ping is answered.
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
    connection: RawConnection,
    negotiated: Negotiated,
    /// The time at which the connection was open.
    opened_at: Instant,
    exchange: Exchange,
    request: Request,
    response: Response<()>,
    destination: Destination,
}

impl ClientConnection {
    pub(super) fn new(
        opened: RawOpened<Response<()>>,
        exchange: Exchange,
        request: Request,
        destination: Destination,
    ) -> Self {
        let RawOpened { connection, negotiated, response, .. } = opened;
        let request = request.with_tls(exchange.transport.tls());
        let opened_at = exchange.runtime.now();
        Self { connection, negotiated, opened_at, exchange, request, response, destination }
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
        let handshake =
            Handshake { transport, runtime, deadline, config, offers: None, destination };
        match handshake.run(request).await? {
            Verdict::Opened(connection) => Ok(connection),
            Verdict::Rejected(rejection) => Err(rejection.read().await),
        }
    }

    /// Returns a connection whose opening handshake was performed elsewhere, such as in an HTTP/2
    /// stack.
    ///
    /// `request` was sent, `response` was received, `negotiated` follows from both, and `transport`
    /// carries the frames of `connection`, which is a client's.
    pub fn upgraded(
        transport: Box<dyn Io>,
        connection: RawConnection,
        negotiated: Negotiated,
        request: http::Request<()>,
        response: Response<()>,
        runtime: Arc<dyn Runtime>,
    ) -> Self {
        let deadline = runtime.now();
        let exchange = Exchange::new(transport, runtime, deadline);
        let destination = Destination::from_uri(request.uri());
        let request = Request::new(request);
        let opened_at = deadline;
        Self { connection, negotiated, opened_at, exchange, request, response, destination }
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
        let (shared, transport) = self.start(true, messages);
        let session = Session::new(&shared);
        detach(shared, transport);
        session
    }

    /// Starts a session of frames and drives it in a task of its own, on the runtime that opened
    /// the connection. When it is dropped, the transport is closed after the frames that were sent,
    /// without a Close frame.
    ///
    /// Extensions that were negotiated are not applied: payloads are received and sent encoded, with
    /// their reserved bits set. [`RawSession::into_session`] makes it a session of messages, to
    /// which they apply.
    ///
    /// ```no_run
    /// use sockless::{Frame, Opcode};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut frames = sockless::connect("ws://example.com/chat").open().await?.raw();
    /// frames.send(Frame::new(Opcode::Ping, "are you there?".into())).await?;
    /// println!("{:?}", frames.recv().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn raw(self) -> RawSession {
        let (shared, transport) = self.start(true, Machine::frames_of_client);
        let session = RawSession::new(shared.clone());
        detach(shared, transport);
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
        let (shared, transport) = self.start(false, messages);
        let running = block(Session::new(&shared));
        drive_to_end(shared, transport, running).await
    }

    /// Starts a session of frames, as [`raw`](Self::raw) does, and runs `block` with it. The task
    /// that awaits this future drives both. When the block returns, the frames that were sent are
    /// flushed and the transport is closed.
    ///
    /// Cancel-safe: dropping the future drops the block and the transport.
    ///
    /// # Panics
    ///
    /// Panics if the block panics, after the transport was closed.
    pub async fn run_raw<F, Fut>(self, block: F) -> Fut::Output
    where
        F: FnOnce(RawSession) -> Fut,
        Fut: Future,
    {
        let (shared, transport) = self.start(false, Machine::frames_of_client);
        let running = block(RawSession::new(shared.clone()));
        drive_to_end(shared, transport, running).await
    }

    /// The time, on the clock of the runtime that opened the connection.
    pub(super) fn now(&self) -> Instant {
        self.exchange.runtime.now()
    }

    fn start(
        self,
        close_when_unused: bool,
        machine: impl FnOnce(RawConnection, Negotiated, Instant) -> Machine,
    ) -> (Arc<Shared>, Box<dyn Io>) {
        let Self { connection, negotiated, opened_at, exchange, mut request, .. } = self;
        request.set_subprotocol(negotiated.subprotocol.clone());
        request.set_extensions(negotiated.extensions.iter().map(Agreed::params));
        let machine = machine(connection, negotiated, opened_at);
        let Exchange { inbound, runtime, transport, .. } = exchange;
        let now = runtime.now();
        let shared = Shared::new(machine, inbound, runtime, request, close_when_unused, now);
        (shared, transport)
    }
}

fn messages(connection: RawConnection, negotiated: Negotiated, opened_at: Instant) -> Machine {
    Machine::Messages(Connection::from_raw(connection, negotiated, opened_at))
}

/// Drives a session in a task of its own.
fn detach(shared: Arc<Shared>, transport: Box<dyn Io>) {
    let runtime = shared.runtime.clone();
    let drive = Detached::new(shared, transport, None);
    runtime.spawn(Box::pin(async {
        drive.await;
    }));
}

/// Drives a session and `running`, the block that has it, and returns the block's output.
async fn drive_to_end<F: Future>(
    shared: Arc<Shared>,
    transport: Box<dyn Io>,
    running: F,
) -> F::Output {
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

impl fmt::Debug for ClientConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("ClientConnection");
        shown
            .field("destination", &self.destination)
            .field("response", &self.response)
            .finish_non_exhaustive()
    }
}

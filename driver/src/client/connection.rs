//! The opening handshake over a transport, and what comes of it: [`ClientConnection`].

use std::fmt;
use std::io;
use std::sync::Arc;

use http::Response;
use sockless_core::handshake::{ClientHandshake, HandshakeError};
use sockless_core::{Config, Connection, Instant};

use super::body::Body;
use super::destination::Destination;
use super::error::{ConnectError, ConnectStep};
use super::reading;
use super::target::Target;
use crate::exchange::{Exchange, Input};
use crate::request::Request;
use crate::runtime::{Io, Runtime};
use crate::session::Session;
use crate::session::engine::drive::{Detached, Drive};
use crate::session::engine::machine::Machine;
use crate::session::engine::shared::Shared;

/// A connection that is open and that nobody drives yet.
#[must_use = "nobody drives it before it is spawned or run"]
pub struct ClientConnection {
    connection: Connection,
    exchange: Exchange,
    request: Request,
    response: Response<()>,
    destination: Destination,
}

impl ClientConnection {
    /// Shakes hands over `transport`, within [`Config::opening_timeout`]. The request's URI says whom
    /// it is for, and credentials in it are sent as [`Connect`](super::Connect) sends them; the
    /// transport is taken as it is, for `wss:` too.
    ///
    /// Cancel-safe: dropping the future drops the transport.
    ///
    /// # Errors
    ///
    /// [`ConnectError`], except for those of dialling; [`Alpn`](ConnectError::Alpn) when `transport` is
    /// of TLS and was agreed on for another protocol than `http/1.1`.
    pub async fn handshake(
        transport: Box<dyn Io>,
        mut request: http::Request<()>,
        config: Arc<Config>,
        runtime: Arc<dyn Runtime>,
    ) -> Result<Self, ConnectError> {
        let target = Target::parse(&request.uri().to_string()).map_err(ConnectError::UrlInvalid)?;
        target.put_into(&mut request);
        let deadline = runtime.now() + config.get_opening_timeout();
        let asking = Asking {
            transport,
            runtime,
            deadline,
            config,
            destination: Destination::new(&target, None),
        };
        match asking.ask(request).await? {
            Answered::Open(connected) => Ok(connected),
            Answered::Otherwise(refusal) => Err(refusal.read().await),
        }
    }

    /// A connection whose opening handshake somebody else did, such as an HTTP/2 stack: `request` is
    /// what was asked, `response` what came back, `connection` what both settled, and `transport`
    /// carries its frames.
    pub fn upgraded(
        transport: Box<dyn Io>,
        connection: Connection,
        request: http::Request<()>,
        response: Response<()>,
        runtime: Arc<dyn Runtime>,
    ) -> Self {
        let deadline = runtime.now();
        let exchange = Exchange::new(transport, runtime, deadline);
        let destination = Destination::named_by(request.uri());
        Self { connection, exchange, request: Request::new(request), response, destination }
    }

    /// The server's response: a 101, or over HTTP/2 a 200.
    pub fn response(&self) -> &Response<()> {
        &self.response
    }

    /// Who is at the other end.
    pub fn destination(&self) -> &Destination {
        &self.destination
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

/// What a server answers: 101 as it should, or something else.
pub(super) enum Answered {
    Open(ClientConnection),
    Otherwise(Refusal),
}

/// An answer that is no 101, its body not yet read.
pub(super) struct Refusal {
    pub(super) response: Box<Response<()>>,
    pub(super) destination: Destination,
    exchange: Exchange,
    deadline: Instant,
}

/// A transport to a server that is about to be asked.
pub(super) struct Asking {
    pub(super) transport: Box<dyn Io>,
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) deadline: Instant,
    pub(super) config: Arc<Config>,
    pub(super) destination: Destination,
}

impl Asking {
    /// Sends the request and waits for the head of the answer, until the deadline.
    pub(super) async fn ask(self, head: http::Request<()>) -> Result<Answered, ConnectError> {
        let Self { transport, runtime, deadline, config, destination } = self;
        let destination = check_alpn(&*transport, destination)?;
        let timeout = config.get_opening_timeout();
        let request = Request::new(head.clone());
        let handshake = ClientHandshake::new(head, runtime.seed(), config, runtime.now());
        let mut handshake = handshake.map_err(ConnectError::RequestInvalid)?;
        let mut exchange = Exchange::new(transport, runtime, deadline);
        match shake_hands(&mut exchange, &mut handshake).await {
            Outcome::Verdict(Ok((connection, response))) => Ok(Answered::Open(ClientConnection {
                connection,
                exchange,
                request,
                response,
                destination,
            })),
            Outcome::Verdict(Err(HandshakeError::Rejected(response))) => {
                Ok(Answered::Otherwise(Refusal { response, destination, exchange, deadline }))
            }
            Outcome::Verdict(Err(error)) => Err(ConnectError::Handshake { destination, error }),
            Outcome::Timeout(step) => {
                Err(ConnectError::Timeout { destination, step, timeout, attempts: vec![] })
            }
            Outcome::Broken(step, error) => {
                Err(ConnectError::of_transport(destination, step, error))
            }
        }
    }
}

/// HTTP/1.1 is not spoken into what was agreed on for something else (RFC 7301 §3.2).
fn check_alpn(transport: &dyn Io, destination: Destination) -> Result<Destination, ConnectError> {
    match transport.tls().and_then(|tls| tls.alpn) {
        Some(protocol) if protocol != "http/1.1" => {
            Err(ConnectError::Alpn { destination, protocol })
        }
        _ => Ok(destination),
    }
}

/// What became of an opening handshake.
enum Outcome {
    /// The server has answered, one way or the other.
    Verdict(Result<(Connection, Response<()>), HandshakeError>),
    /// The deadline passed in this step.
    Timeout(ConnectStep),
    /// The transport failed in this step.
    Broken(ConnectStep, io::Error),
}

async fn shake_hands(exchange: &mut Exchange, handshake: &mut ClientHandshake) -> Outcome {
    let runtime = exchange.runtime.clone();
    match exchange.write(handshake.outbound()).await {
        Ok(true) => {}
        Ok(false) => return Outcome::Timeout(ConnectStep::Request),
        Err(error) => return refusal_before_the_request(exchange, handshake, error).await,
    }
    loop {
        if let Some(verdict) = handshake.poll_response(&mut exchange.inbound, runtime.now()) {
            return Outcome::Verdict(verdict);
        }
        match reading::read(exchange).await {
            Ok(Input::Bytes) => {}
            Ok(Input::Eof) => handshake.handle_eof(),
            Ok(Input::Timeout) => return Outcome::Timeout(ConnectStep::Response),
            Err(error) => return Outcome::Broken(ConnectStep::Response, error),
        }
    }
}

/// A server may refuse and close before it has read the whole request. What it said is there then, in
/// HTTP or as an alert of TLS, and says more than that the transport takes no more, which is `error`.
async fn refusal_before_the_request(
    exchange: &mut Exchange,
    handshake: &mut ClientHandshake,
    error: io::Error,
) -> Outcome {
    let now = exchange.runtime.now();
    loop {
        match handshake.poll_response(&mut exchange.inbound, now) {
            Some(Err(refusal @ HandshakeError::Rejected(_))) => {
                return Outcome::Verdict(Err(refusal));
            }
            Some(_) => return Outcome::Broken(ConnectStep::Request, error),
            None => {}
        }
        match reading::read_what_came(exchange).await {
            Ok(Input::Bytes) => {}
            #[cfg(feature = "rustls")]
            Err(alert) if crate::tls::TlsError::within(&alert).is_some() => {
                return Outcome::Broken(ConnectStep::Request, alert);
            }
            _ => return Outcome::Broken(ConnectStep::Request, error),
        }
    }
}

impl Refusal {
    /// Reads the body, as far as it comes by the deadline and up to the limit. Where nothing says when
    /// it is over, the server may keep the transport open, and is not waited for as long.
    pub(super) async fn read(mut self) -> ConnectError {
        if Body::of(&self.response).is_open_ended() {
            let soon = self.exchange.runtime.now() + reading::BODY_PATIENCE;
            self.exchange.set_deadline(soon.min(self.deadline));
        }
        let (body, complete) = reading::read_body(&mut self.exchange, &self.response).await;
        let response = Box::new(self.response.map(|()| body));
        ConnectError::Rejected { destination: self.destination, response, complete }
    }
}

//! The opening handshake over a transport, and what comes of it: [`Connected`].

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use sockless::handshake::{ClientHandshake, HandshakeError};
use sockless::{Config, Connection};

use super::body::Body;
use super::error::{ConnectError, Peer, Step};
use super::target::Target;
use crate::call::Call;
use crate::drive::{Detached, Drive};
use crate::exchange::{Exchange, Input};
use crate::io::{Io, Runtime};
use crate::machine::Machine;
use crate::session::Session;
use crate::shared::Shared;

/// A connection that is open and that nobody drives yet.
#[must_use = "nobody drives it before it is spawned or run"]
pub struct Connected {
    connection: Connection,
    exchange: Exchange,
    call: Call,
    response: Response<()>,
    peer: Peer,
}

impl Connected {
    /// Shakes hands over `transport`, within [`Config::opening_timeout`]. The request's URI says whom
    /// it is for, and credentials in it are sent as [`Connect`](super::Connect) sends them; the
    /// transport is taken as it is, for `wss:` too.
    ///
    /// Cancel-safe: dropping the future drops the transport.
    ///
    /// # Errors
    ///
    /// [`ConnectError`], except for those of dialling.
    pub async fn over(
        transport: Box<dyn Io>,
        mut request: Request<()>,
        config: Arc<Config>,
        runtime: Arc<dyn Runtime>,
    ) -> Result<Self, ConnectError> {
        let target = Target::parse(&request.uri().to_string()).map_err(ConnectError::UrlInvalid)?;
        target.put_into(&mut request);
        let deadline = runtime.now() + config.get_opening_timeout();
        let exchange = Exchange::new(transport, runtime, deadline);
        match ask(exchange, request, config.clone(), Peer::new(&target, None)).await? {
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
        request: Request<()>,
        response: Response<()>,
        runtime: Arc<dyn Runtime>,
    ) -> Self {
        let deadline = runtime.now();
        let exchange = Exchange::new(transport, runtime, deadline);
        let peer = Peer::named_by(request.uri());
        Self { connection, exchange, call: Call::new(request), response, peer }
    }

    /// The server's response: a 101, or over HTTP/2 a 200.
    pub fn response(&self) -> &Response<()> {
        &self.response
    }

    /// Who is at the other end.
    pub fn peer(&self) -> &Peer {
        &self.peer
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
        let Exchange { inbound, runtime, transport, .. } = exchange;
        let shared = Shared::new(machine, inbound, runtime, call, close_when_unused);
        let session = Session::new(&shared);
        (shared, session, transport)
    }
}

impl fmt::Debug for Connected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Connected");
        shown.field("peer", &self.peer).field("response", &self.response).finish_non_exhaustive()
    }
}

/// What a server answers: 101 as it should, or something else.
pub(super) enum Answered {
    Open(Connected),
    Otherwise(Refusal),
}

/// An answer that is no 101, its body not yet read.
pub(super) struct Refusal {
    pub(super) response: Box<Response<()>>,
    pub(super) peer: Peer,
    exchange: Exchange,
}

/// Sends the request and waits for the head of the answer, until the deadline of `exchange`.
pub(super) async fn ask(
    mut exchange: Exchange,
    request: Request<()>,
    config: Arc<Config>,
    peer: Peer,
) -> Result<Answered, ConnectError> {
    let runtime = exchange.runtime.clone();
    let timeout = config.get_opening_timeout();
    let timed_out = |peer, step| ConnectError::Timeout { peer, step, timeout, attempts: vec![] };
    let call = Call::new(request.clone());
    let mut handshake = ClientHandshake::new(request, runtime.seed(), config, runtime.now())
        .map_err(ConnectError::RequestInvalid)?;
    match exchange.write(handshake.outbound()).await {
        Ok(true) => {}
        Ok(false) => return Err(timed_out(peer, Step::Request)),
        Err(error) => return Err(ConnectError::Transport { peer, step: Step::Request, error }),
    }
    loop {
        if let Some(result) = handshake.poll_response(&mut exchange.inbound, runtime.now()) {
            return match result {
                Ok((connection, response)) => {
                    let connected = Connected { connection, exchange, call, response, peer };
                    Ok(Answered::Open(connected))
                }
                Err(HandshakeError::Rejected(response)) => {
                    Ok(Answered::Otherwise(Refusal { response, peer, exchange }))
                }
                Err(error) => Err(ConnectError::Handshake { peer, error }),
            };
        }
        match exchange.read().await {
            Ok(Input::Bytes) => {}
            Ok(Input::Eof) => handshake.handle_eof(),
            Ok(Input::Timeout) => return Err(timed_out(peer, Step::Response)),
            Err(error) => {
                return Err(ConnectError::Transport { peer, step: Step::Response, error });
            }
        }
    }
}

impl Refusal {
    /// Reads the body, as far as it comes by the deadline and up to the limit.
    pub(super) async fn read(mut self) -> ConnectError {
        let mut body = Body::of(&self.response);
        while !body.poll(&mut self.exchange.inbound) {
            match self.exchange.read().await {
                Ok(Input::Bytes) => {}
                Ok(Input::Eof) => {
                    body.handle_eof();
                    break;
                }
                // The answer itself says more than how its body was cut short.
                Ok(Input::Timeout) | Err(_) => break,
            }
        }
        let (body, complete) = body.into_parts();
        let response = self.response.map(|()| Bytes::from(body));
        ConnectError::Rejected { peer: self.peer, response: Box::new(response), complete }
    }
}

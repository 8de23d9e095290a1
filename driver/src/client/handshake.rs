//! The opening handshake over HTTP/1.1, from the request to the verdict: [`Handshake`].

use std::io;
use std::sync::Arc;

use http::{Request, Response};
use sockless_core::extension::Params;
use sockless_core::handshake::{ClientHandshake, HandshakeError, RawOpened};
use sockless_core::{Config, Instant};

use super::body::Body;
use super::connection::ClientConnection;
use super::destination::Destination;
use super::error::{ConnectError, ConnectStep};
use super::reading;
use crate::exchange::{Exchange, Input};
use crate::runtime::{Io, Runtime};

/// An opening handshake to perform over a transport that is open.
pub(super) struct Handshake {
    pub(super) transport: Box<dyn Io>,
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) deadline: Instant,
    pub(super) config: Arc<Config>,
    /// The extensions to offer in place of those of `config`.
    pub(super) offers: Option<Vec<Params>>,
    pub(super) destination: Destination,
}

/// The response of a server.
pub(super) enum Verdict {
    /// It is a 101.
    Opened(ClientConnection),
    /// It has another status.
    Rejected(Rejection),
}

#[cfg(feature = "cookies")]
impl Verdict {
    pub(super) fn headers(&self) -> &http::HeaderMap {
        match self {
            Self::Opened(connection) => connection.response().headers(),
            Self::Rejected(rejection) => rejection.response.headers(),
        }
    }
}

/// A response other than 101, whose body was not read yet.
pub(super) struct Rejection {
    pub(super) response: Box<Response<()>>,
    pub(super) destination: Destination,
    exchange: Exchange,
    deadline: Instant,
}

impl Handshake {
    /// Sends the request and reads the head of the response, until the deadline.
    pub(super) async fn run(self, request: Request<()>) -> Result<Verdict, ConnectError> {
        let Self { transport, runtime, deadline, config, offers, destination } = self;
        let destination = check_alpn(&*transport, destination)?;
        let timeout = config.get_opening_timeout();
        let kept = crate::request::Request::new(request.clone());
        let (seed, now) = (runtime.seed(), runtime.now());
        let handshake = match offers {
            Some(offers) => ClientHandshake::with_offers(request, offers, seed, config, now),
            None => ClientHandshake::new(request, seed, config, now),
        };
        let mut handshake = handshake.map_err(ConnectError::RequestInvalid)?;
        let mut exchange = Exchange::new(transport, runtime, deadline);
        match shake_hands(&mut exchange, &mut handshake).await {
            Ended::Response(Ok(opened)) => {
                let open = ClientConnection::new(*opened, exchange, kept, destination);
                Ok(Verdict::Opened(open))
            }
            Ended::Response(Err(HandshakeError::Rejected(response))) => {
                Ok(Verdict::Rejected(Rejection { response, destination, exchange, deadline }))
            }
            Ended::Response(Err(error)) => Err(ConnectError::Handshake { destination, error }),
            Ended::Timeout(step) => {
                Err(ConnectError::Timeout { destination, step, timeout, attempts: vec![] })
            }
            Ended::Transport(step, error) => {
                Err(ConnectError::of_transport(destination, step, error))
            }
        }
    }
}

/// Rejects a transport on which another protocol than HTTP/1.1 was negotiated (RFC 7301 §3.2).
fn check_alpn(transport: &dyn Io, destination: Destination) -> Result<Destination, ConnectError> {
    match transport.tls().and_then(|tls| tls.alpn) {
        Some(protocol) if protocol != "http/1.1" => {
            Err(ConnectError::Alpn { destination, protocol })
        }
        _ => Ok(destination),
    }
}

/// The end of the exchange of request and response.
enum Ended {
    /// The server responded.
    Response(Result<Box<RawOpened<Response<()>>>, HandshakeError>),
    /// The deadline passed in this step.
    Timeout(ConnectStep),
    /// The transport failed in this step.
    Transport(ConnectStep, io::Error),
}

async fn shake_hands(exchange: &mut Exchange, handshake: &mut ClientHandshake) -> Ended {
    match exchange.write(&mut handshake.outbound()).await {
        Ok(true) => {}
        Ok(false) => return Ended::Timeout(ConnectStep::Request),
        Err(error) => return early_rejection(exchange, handshake, error).await,
    }
    loop {
        if let Some(response) = handshake.poll_raw_response(&mut exchange.inbound) {
            return Ended::Response(response.map(Box::new));
        }
        match exchange.read_in_time().await {
            Ok(Input::Bytes) => {}
            Ok(Input::Eof) => handshake.handle_eof(),
            Ok(Input::Timeout) => return Ended::Timeout(ConnectStep::Response),
            Err(error) => return Ended::Transport(ConnectStep::Response, error),
        }
    }
}

/// Looks for a response after writing the request failed with `error`. A server may reject and
/// close before it has read the whole request. Its response, or its TLS alert, has arrived by then
/// and explains more than `error` does.
async fn early_rejection(
    exchange: &mut Exchange,
    handshake: &mut ClientHandshake,
    error: io::Error,
) -> Ended {
    loop {
        match handshake.poll_raw_response(&mut exchange.inbound) {
            Some(Err(rejection @ HandshakeError::Rejected(_))) => {
                return Ended::Response(Err(rejection));
            }
            Some(_) => return Ended::Transport(ConnectStep::Request, error),
            None => {}
        }
        match exchange.read_arrived().await {
            Ok(Input::Bytes) => {}
            #[cfg(feature = "rustls")]
            Err(alert) if crate::tls::TlsError::within(&alert).is_some() => {
                return Ended::Transport(ConnectStep::Request, alert);
            }
            _ => return Ended::Transport(ConnectStep::Request, error),
        }
    }
}

impl Rejection {
    /// Reads the body until the deadline, up to the limit, and returns the error. A body of unknown
    /// length ends with the transport, which the server may keep open: such a body has less time.
    pub(super) async fn read(mut self) -> ConnectError {
        if Body::new(&self.response).ends_with_transport() {
            let soon = self.exchange.runtime.now() + reading::BODY_PATIENCE;
            self.exchange.set_deadline(soon.min(self.deadline));
        }
        let (body, complete) = reading::read_body(&mut self.exchange, &self.response).await;
        let response = Box::new(self.response.map(|()| body));
        ConnectError::Rejected { destination: self.destination, response, complete }
    }
}

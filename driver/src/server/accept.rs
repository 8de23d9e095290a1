//! A session on a transport that the program has accepted, without a service: [`IncomingUpgrade`].

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use sockless_core::handshake::{
    BorrowedRequest, HeadError, UpgradeError, UpgradeRequest, encode_response,
};
use sockless_core::{Config, Connection, Escaped};
use thiserror::Error;

use crate::exchange::Exchange;
use crate::meter::{self, Stopwatch};
use crate::request::{Request, ResponseHeaderError, response_headers};
use crate::runtime::{Io, Runtime};
use crate::server::connections::RequestLog;
use crate::server::connections::opening::{read_request, respond};
use crate::session::Session;
use crate::session::engine::drive::Detached;
use crate::session::engine::machine::Machine;
use crate::session::engine::shared::Shared;

/// A valid request to open a WebSocket, which the program accepts or rejects without a router or a
/// [`Service`](crate::Service).
///
/// The functions `accept` and `accept_with` of the runtimes' adapters are built on it. Use it
/// directly to decide asynchronously:
///
/// ```no_run
/// use std::sync::Arc;
///
/// use sockless::http::StatusCode;
/// use sockless::proto::handshake::text_response;
/// use sockless::tokio::{TokioRuntime, TokioTransport};
/// use sockless::{AcceptError, Config, IncomingUpgrade, Session};
///
/// # async fn is_known(token: Option<&str>) -> bool { token.is_some() }
/// async fn open(stream: tokio::net::TcpStream) -> Result<Session, AcceptError> {
///     let transport = Box::new(TokioTransport::new(stream));
///     let config = Arc::new(Config::default());
///     let mut upgrade = IncomingUpgrade::read(transport, config, Arc::new(TokioRuntime)).await?;
///     if !is_known(upgrade.request().header("authorization")).await {
///         let response = text_response(StatusCode::UNAUTHORIZED, "a token is required\n");
///         return Err(upgrade.reject(response).await);
///     }
///     upgrade.select_protocol(&["chat.v2", "chat.v1"]);
///     Ok(upgrade.accept())
/// }
/// # let _ = open;
/// ```
///
/// It checks no `Origin`: a server that browsers can reach, and that relies on cookies, must. See
/// `Origins::check_request` of the router's crate.
///
/// Dropping it drops the transport.
pub struct IncomingUpgrade {
    exchange: Exchange,
    config: Arc<Config>,
    request: Request,
    upgrade: UpgradeRequest,
    began: Stopwatch,
}

impl IncomingUpgrade {
    /// Reads a request from `transport`, within [`Config::opening_timeout`] and
    /// [`Config::max_head_len`].
    ///
    /// A well-formed request for a WebSocket that is rejected, here or by [`reject`](Self::reject), is logged at info
    /// level, as by a server.
    ///
    /// Cancel-safe: dropping the future drops the transport.
    ///
    /// # Errors
    ///
    /// An [`AcceptError`]. If the request is not a valid handshake, the response that states why
    /// has been sent.
    pub async fn read(
        transport: Box<dyn Io>,
        config: Arc<Config>,
        runtime: Arc<dyn Runtime>,
    ) -> Result<Self, AcceptError> {
        let now = runtime.now();
        let began = Stopwatch::start(|| now);
        let deadline = now + config.get_opening_timeout();
        let mut exchange = Exchange::new(transport, runtime, deadline);
        let clock = exchange.runtime.clone();
        let read = |head: &BorrowedRequest<'_>| Request::received(head, None, None, clock.now());
        let request = match read_request(&mut exchange, config.clone(), now, read).await {
            Ok(request) => request.with_tls(exchange.transport.tls()),
            Err(error) => {
                tracing::debug!(error = %Escaped(&error), "the opening handshake failed");
                match error.response() {
                    Some(response) => {
                        meter::rejected_with("head", &response);
                        send(exchange, &config, &response).await;
                    }
                    None => meter::rejected("head"),
                }
                return Err(AcceptError::Head(error));
            }
        };
        let upgrade = match request.is_upgrade() {
            true => request.upgrade(),
            false => Err(UpgradeError::upgrade_required(request.as_http())),
        };
        match upgrade {
            Ok(upgrade) => Ok(Self { exchange, config, request, upgrade, began }),
            Err(error) => {
                let response = error.response();
                RequestLog::new(&request).log_response(&response);
                send(exchange, &config, &response).await;
                Err(AcceptError::Upgrade(error))
            }
        }
    }

    /// Returns the request.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Returns the request, to which values for [`Session::request`] can be attached.
    pub fn request_mut(&mut self) -> &mut Request {
        &mut self.request
    }

    /// Sets the addresses of the transport's two ends, from which [`Request::peer_addr`],
    /// [`Request::client_ip`] and [`Request::local_addr`] are answered. Without it they are not known.
    ///
    /// ```no_run
    /// use sockless::{AcceptError, Config, Session};
    ///
    /// async fn open(stream: tokio::net::TcpStream) -> Result<Session, AcceptError> {
    ///     let (peer, local) = (stream.peer_addr().ok(), stream.local_addr().ok());
    ///     sockless::accept_with(stream, Config::default(), |upgrade| {
    ///         upgrade.set_addrs(peer, local);
    ///         Ok(())
    ///     })
    ///     .await
    /// }
    /// # let _ = open;
    /// ```
    pub fn set_addrs(&mut self, peer: Option<SocketAddr>, local: Option<SocketAddr>) {
        self.request.set_addrs(peer, local);
    }

    /// Returns the subprotocols that the client offers, in its order of preference.
    pub fn offered_protocols(&self) -> impl Iterator<Item = &str> {
        self.upgrade.subprotocols()
    }

    /// Selects the first subprotocol of the client's list that is in `supported`, and returns it.
    /// Without one in common, the session has no subprotocol.
    pub fn select_protocol(&mut self, supported: &[&str]) -> Option<&str> {
        self.upgrade.select(supported)
    }

    /// Adds a header to the response that opens the session, such as `Set-Cookie`.
    ///
    /// # Errors
    ///
    /// [`ResponseHeaderError`] if the handshake sets the header itself, or it is invalid.
    pub fn add_header<N, V>(&mut self, name: N, value: V) -> Result<(), ResponseHeaderError>
    where
        N: TryInto<HeaderName, Error: Into<http::Error>>,
        V: TryInto<HeaderValue, Error: Into<http::Error>>,
    {
        self.request.add_response_header(name, value)
    }

    /// Accepts the request, and returns its session, which a task on the runtime drives. The
    /// extensions of the settings that the client offers are negotiated.
    ///
    /// When the last handle of the session is dropped, it is closed with 1000. The session belongs to no server: its
    /// memory is bounded by [`Config::memory_ceiling`] alone and by no budget of a server, and no shutdown of a server
    /// closes it. For both, use a [`ConnectionServer`](crate::ConnectionServer).
    pub fn accept(self) -> Session {
        let Self { exchange, config, mut request, mut upgrade, began } = self;
        upgrade.select_extensions(config.get_extensions());
        let (grant, headers, negotiated) = response_headers::accept(&mut request, upgrade);
        let Exchange { inbound, runtime, transport, .. } = exchange;
        let now = runtime.now();
        let mut connection = Connection::server(negotiated, config, now);
        grant.queue(&mut connection.outbound(), &headers);
        let machine = Machine::Messages(connection);
        let shared = Shared::new(machine, inbound, runtime.clone(), request, true, now);
        shared.handshake_ended(began);
        let session = Session::new(&shared);
        let drive = Detached::new(shared, transport, None);
        runtime.spawn(Box::pin(async {
            drive.await;
        }));
        session
    }

    /// Rejects the request: sends `response` within another [`Config::opening_timeout`], and
    /// returns the error that has it.
    ///
    /// Cancel-safe: dropping the future drops the transport, and the response may be lost.
    pub async fn reject(self, response: Response<Bytes>) -> AcceptError {
        RequestLog::new(&self.request).log_response(&response);
        send(self.exchange, &self.config, &response).await;
        AcceptError::Rejected(Box::new(response))
    }
}

/// Sends the response that ends a connection. Whether it arrives makes no difference to the caller.
async fn send(exchange: Exchange, config: &Config, response: &Response<Bytes>) {
    let timeout = config.get_opening_timeout();
    if let Err(error) = respond(exchange, encode_response(response), timeout).await {
        tracing::debug!(error = %Escaped(&error), "the response could not be sent");
    }
}

impl fmt::Debug for IncomingUpgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncomingUpgrade").field("request", &self.request).finish_non_exhaustive()
    }
}

/// A stream did not become a session. The client has received the response that states why, unless
/// it was gone or silent.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// There was no request of HTTP/1.1 within [`Config::opening_timeout`], or its head is
    /// malformed or too long.
    #[error("there was no valid request: {0}")]
    Head(#[source] HeadError),
    /// The program has rejected the request with this response.
    #[error("the request was rejected with {}", .0.status())]
    Rejected(Box<Response<Bytes>>),
    /// The request does not open a WebSocket.
    #[error("the request is not a valid handshake: {0}")]
    Upgrade(#[source] UpgradeError),
}

impl AcceptError {
    /// Returns the status of the response that was sent; `None` if nothing was sent.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Head(error) => Some(error.response()?.status()),
            Self::Rejected(response) => Some(response.status()),
            Self::Upgrade(error) => Some(error.response().status()),
        }
    }
}

impl From<AcceptError> for io::Error {
    fn from(error: AcceptError) -> Self {
        Self::other(error)
    }
}

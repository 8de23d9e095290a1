//! Sessions behind another HTTP server, which reads the requests and sends the responses:
//! [`ConnectionServer::answer`] and [`ConnectionServer::admit`].

use std::fmt;
use std::io;

use bytes::Bytes;
use sockless_core::handshake::{HeadError, MAX_HEADERS};
use sockless_core::{Config, Escaped};
use tracing::Span;

use crate::exchange::Exchange;
use crate::meter::Stopwatch;
use crate::request::Request;
use crate::runtime::{Io, timeout};
use crate::server::connections::{
    self, ConnectionServer, OpenConnection, RequestLog, ServeConnection, Slot, Start,
};
use crate::server::service::{Answer, Service, Upgrade};

/// The reply of [`ConnectionServer::answer`] to a request.
#[derive(Debug)]
pub enum Reply {
    /// A response to send; there is no session.
    Respond(http::Response<Bytes>),
    /// An upgrade: send [`GrantedUpgrade::response`], then [serve](GrantedUpgrade::serve) the
    /// transport that the connection or stream becomes.
    Upgrade(GrantedUpgrade),
}

impl ConnectionServer {
    /// Answers a request whose head another HTTP server has read: the service decides, within
    /// [`Config::opening_timeout`](sockless_core::Config::opening_timeout), as for a connection
    /// that this server reads itself.
    ///
    /// The request head must be within
    /// [`Config::max_head_len`](sockless_core::Config::max_head_len), measured as in HTTP/1.1, and
    /// [`MAX_HEADERS`]; beyond them the response is 431. This bounds the memory of a session's
    /// request. The memory for reading it is up to the other server.
    ///
    /// It does not fail: the response is 503 if the service takes too long or the server is
    /// shutting down, 500 if the service panics, and 429 beyond
    /// [`max_connections_per_peer`](Self::max_connections_per_peer). The request counts among the
    /// [connections](ConnectionServer::connections) until it is answered, and an upgrade until its
    /// session has ended.
    ///
    /// Cancel-safe: dropping the future drops that of the service, and no upgrade is granted.
    ///
    /// ```
    /// use std::io;
    ///
    /// use sockless::driver::{ConnectionServer, Io, Reply};
    /// use sockless::{Request, http};
    ///
    /// # struct Connection;
    /// # impl Connection {
    /// #     async fn send(self, _: http::response::Parts, _: &[u8]) -> io::Result<Box<dyn Io>> {
    /// #         Err(io::ErrorKind::Unsupported.into())
    /// #     }
    /// # }
    /// /// Answers a request that was read from `connection`, whose `send` returns the transport.
    /// async fn respond(server: &ConnectionServer, head: http::Request<()>, connection: Connection) {
    ///     match server.answer(Request::new(head)).await {
    ///         Reply::Respond(response) => {
    ///             let (head, body) = response.into_parts();
    ///             let _ = connection.send(head, &body).await;
    ///         }
    ///         Reply::Upgrade(granted) => {
    ///             let (head, ()) = granted.response().clone().into_parts();
    ///             granted.spawn(async move { connection.send(head, &[]).await });
    ///         }
    ///     }
    /// }
    /// ```
    pub async fn answer(&self, request: Request) -> Reply {
        let service = &*self.inner.service;
        match self.admit(request, &service.config()) {
            Ok(admitted) => admitted.answer_by(service).await,
            Err(response) => Reply::Respond(response),
        }
    }

    /// Counts a request that the caller decides about, instead of this server's service: within its
    /// limits, and until the session that it may become has ended, which [`shutdown`](Self::shutdown)
    /// closes like any other.
    ///
    /// `config` limits the length of the request head, as in [`answer`](Self::answer).
    ///
    /// # Errors
    ///
    /// The response to send: 431 for a head that is too long, 429 beyond
    /// [`max_connections_per_peer`](Self::max_connections_per_peer), 503 if the server is shutting
    /// down.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use sockless::driver::{ConnectionServer, Reply, Upgrade};
    /// use sockless::proto::handshake::UpgradeRequest;
    /// use sockless::{Config, Request, Session};
    ///
    /// /// Grants every upgrade, to a session that gets `greeting`.
    /// fn decide(server: &ConnectionServer, request: Request, greeting: &'static str) -> Reply {
    ///     let config = Arc::new(Config::default());
    ///     match server.admit(request, &config) {
    ///         Ok(admitted) => admitted.decide(|request| {
    ///             let upgrade = UpgradeRequest::from_request(request.as_http());
    ///             let upgrade = upgrade.map_err(|error| error.response())?;
    ///             let handler = async move |session: Session| session.send(greeting).await;
    ///             Ok(Upgrade::websocket(request, upgrade, config, handler))
    ///         }),
    ///         Err(response) => Reply::Respond(response),
    ///     }
    /// }
    /// # let _ = decide;
    /// ```
    pub fn admit(
        &self,
        request: Request,
        config: &Config,
    ) -> Result<AdmittedRequest, http::Response<Bytes>> {
        let log = RequestLog::new(&request);
        if request.peer_addr().is_none() && self.inner.warns_of_missing_address() {
            tracing::warn!(
                "max_connections_per_peer does not count requests without a peer address; in axum, serve with \
                 into_make_service_with_connect_info::<SocketAddr>(), and for a Mount set peer_addr or with_addrs"
            );
        }
        let admitted = match Slot::new(&self.inner, request.peer_addr(), Start::Request) {
            None => Err(connections::too_many_connections()),
            Some(slot) => match check_head(request.as_http(), config) {
                Err(error) => Err(error.response().unwrap_or_else(connections::shutting_down)),
                Ok(()) if slot.is_shutting_down() => Err(connections::shutting_down()),
                Ok(()) => Ok(slot),
            },
        };
        match admitted {
            Ok(slot) => {
                let request = request.with_received_at(slot.server.runtime.now());
                Ok(AdmittedRequest { slot, request, log })
            }
            Err(response) => {
                log.log_response(&response);
                Err(response)
            }
        }
    }
}

/// A request that counts among the connections of a [`ConnectionServer`], from
/// [`ConnectionServer::admit`], and that is not answered yet.
///
/// Dropping it ends the count.
#[must_use = "a request is answered by one of the methods"]
pub struct AdmittedRequest {
    slot: Slot,
    request: Request,
    log: RequestLog,
}

impl AdmittedRequest {
    /// Returns the request.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Returns the request, to which values can be attached.
    pub fn request_mut(&mut self) -> &mut Request {
        &mut self.request
    }

    /// Answers the request at once: with the upgrade or the response that `decide` returns, or with
    /// 503 if the server is shutting down.
    pub fn decide(
        self,
        decide: impl FnOnce(Request) -> Result<Upgrade, http::Response<Bytes>>,
    ) -> Reply {
        let Self { slot, request, log } = self;
        let reply = match decide(request) {
            Ok(_) if slot.is_shutting_down() => Reply::Respond(connections::shutting_down()),
            Ok(upgrade) => Reply::Upgrade(GrantedUpgrade::new(slot, upgrade)),
            Err(response) => Reply::Respond(response),
        };
        log.logged(reply)
    }

    /// Answers the request by `service`, as [`ConnectionServer::answer`] does by that of the
    /// server, with the same errors.
    ///
    /// Cancel-safe: dropping the future drops that of the service, and no upgrade is granted.
    pub async fn answer_by(self, service: &dyn Service) -> Reply {
        let Self { slot, request, log } = self;
        let reply = Self::ask(slot, request, service).await;
        log.logged(reply)
    }

    async fn ask(slot: Slot, request: Request, service: &dyn Service) -> Reply {
        let runtime = &slot.server.runtime;
        let now = runtime.now();
        let mut timer = runtime.timer(now + service.config().get_opening_timeout());
        let asking = connections::ask(service, request);
        let decided = slot.unless_dropped(Box::pin(timeout(&mut *timer, asking))).await;
        match decided {
            Some(Some(Answer::Respond(response))) => Reply::Respond(response),
            Some(Some(Answer::Upgrade(upgrade))) if !slot.is_shutting_down() => {
                Reply::Upgrade(GrantedUpgrade::new(slot, upgrade))
            }
            Some(None) => Reply::Respond(connections::undecided()),
            None | Some(Some(Answer::Upgrade(_))) => Reply::Respond(connections::shutting_down()),
        }
    }
}

/// An upgrade that was granted to a request of another HTTP server.
///
/// Dropping it abandons the upgrade: there is no session, and the handler does not run.
#[must_use = "the session begins when the upgrade is served"]
pub struct GrantedUpgrade {
    slot: Slot,
    upgrade: Upgrade,
    /// The span in which the request was answered: that of the session is within it.
    caller: Span,
}

impl GrantedUpgrade {
    fn new(slot: Slot, upgrade: Upgrade) -> Self {
        Self { slot, upgrade, caller: Span::current() }
    }

    /// Returns the response that the other server must send: a 101, or a 200 over HTTP/2.
    pub fn response(&self) -> &http::Response<()> {
        self.upgrade.response()
    }

    /// Returns the request that asked for the upgrade.
    pub fn request(&self) -> &Request {
        &self.upgrade.request
    }

    /// [Serves](Self::serve) the session in a task of its own.
    pub fn spawn<F>(self, transport: F)
    where
        F: Future<Output = io::Result<Box<dyn Io>>> + Send + 'static,
    {
        let runtime = self.slot.server.runtime.clone();
        runtime.spawn(Box::pin(self.serve(transport)));
    }

    /// Waits for the `transport`, which the other server releases once it has sent the response,
    /// and serves the session on it until it ends, with its handler.
    ///
    /// If the transport fails, or does not arrive within
    /// [`Config::opening_timeout`](sockless_core::Config::opening_timeout), there is no session:
    /// that is logged at debug level, and the handler does not run.
    ///
    /// Dropping the future drops the transport and the handler.
    pub fn serve<F>(self, transport: F) -> impl Future<Output = ()> + Send
    where
        F: Future<Output = io::Result<Box<dyn Io>>> + Send,
    {
        ServeConnection::Opening(Box::pin(self.open(transport)))
    }

    async fn open<F>(self, transport: F) -> Option<OpenConnection>
    where
        F: Future<Output = io::Result<Box<dyn Io>>> + Send,
    {
        let Self { slot, mut upgrade, caller } = self;
        let runtime = slot.server.runtime.clone();
        let deadline = runtime.now() + upgrade.config.get_opening_timeout();
        let mut timer = runtime.timer(deadline);
        let coming = Box::pin(timeout(&mut *timer, Box::pin(transport)));
        let transport = match slot.unless_dropped(coming).await.flatten() {
            Some(Ok(transport)) => transport,
            Some(Err(error)) => {
                tracing::debug!(error = %Escaped(&error), "the response to an upgrade could not be sent");
                return None;
            }
            None => {
                tracing::debug!(
                    "opening_timeout passed before the response to an upgrade was sent"
                );
                return None;
            }
        };
        let began = Stopwatch::start(|| upgrade.request.received_at());
        let permits = upgrade.request.take_permits();
        let exchange = Exchange::new(transport, runtime, deadline);
        let drive = caller.in_scope(|| slot.start(exchange, false, upgrade, began));
        Some(OpenConnection { drive, _permits: permits, _slot: slot })
    }
}

impl RequestLog {
    fn logged(&self, reply: Reply) -> Reply {
        if let Reply::Respond(response) = &reply {
            self.log_response(response);
        }
        reply
    }
}

impl fmt::Debug for AdmittedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdmittedRequest").field("request", &self.request).finish_non_exhaustive()
    }
}

impl fmt::Debug for GrantedUpgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrantedUpgrade").field("upgrade", &self.upgrade).finish_non_exhaustive()
    }
}

/// Applies the limits of heads that this crate reads itself to one that another server has read.
fn check_head(request: &http::Request<()>, config: &Config) -> Result<(), HeadError> {
    let (uri, headers) = (request.uri(), request.headers());
    let target = [uri.scheme_str(), uri.authority().map(|it| it.as_str()), Some(uri.path())];
    let target = target.into_iter().chain([uri.query()]).flatten().map(str::len).sum::<usize>();
    // With the separators and line ends of HTTP/1.1.
    let lines = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    let len = request.method().as_str().len() + target + 14 + lines.sum::<usize>();
    let max = config.get_max_head_len();
    match () {
        () if headers.len() > MAX_HEADERS => Err(HeadError::TooManyHeaders),
        () if len > max => Err(HeadError::TooLong { max }),
        () => Ok(()),
    }
}

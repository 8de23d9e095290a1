//! Sessions behind somebody else's HTTP server, which reads the requests and sends the responses:
//! [`ConnectionServer::answer`].

use std::fmt;
use std::io;

use bytes::Bytes;
use sockless_core::handshake::{HeadError, MAX_HEADERS};
use sockless_core::{Config, Escaped};

use crate::exchange::Exchange;
use crate::request::Request;
use crate::runtime::{Io, timeout};
use crate::server::connections::{
    self, Asked, Begins, ConnectionServer, Membership, Open, Serving,
};
use crate::server::service::{Answer, Upgrade};

/// What a [`ConnectionServer`] replies to a request that somebody else read.
#[derive(Debug)]
pub enum Reply {
    /// To be sent as it is; there will be no session.
    Respond(http::Response<Bytes>),
    /// An upgrade: send [`GrantedUpgrade::response`], then [serve](GrantedUpgrade::serve) what the transport has
    /// become.
    Upgrade(GrantedUpgrade),
}

impl ConnectionServer {
    /// Answers a request whose head another HTTP server read: the service decides, within
    /// [`Config::opening_timeout`](sockless_core::Config::opening_timeout), as it does for a transport of
    /// the host's own.
    ///
    /// The request's head is held to [`Config::max_head_len`](sockless_core::Config::max_head_len), as it
    /// would be in HTTP/1.1, and to [`MAX_HEADERS`]: past them the answer is 431. That bounds what a
    /// session keeps of it; what reading it may cost is the other server's to bound.
    ///
    /// It never fails: a service that takes too long and a host that shuts down answer 503, a service
    /// that panics answers 500, and a peer that has as many connections as
    /// [it may](Self::max_connections_per_peer) gets 429. The request counts among the host's
    /// [connections](ConnectionServer::connections) until it is answered, and an upgrade until its session is over.
    ///
    /// Cancel-safe: dropping the future drops the service's, and nothing is granted.
    pub async fn answer(&self, request: Request) -> Reply {
        let asked = Asked::of(&request);
        let reply = self.decide(request).await;
        if let Reply::Respond(response) = &reply {
            asked.log(response);
        }
        reply
    }

    async fn decide(&self, request: Request) -> Reply {
        let peer = request.peer_addr();
        let Some(membership) = Membership::new(&self.inner, peer, Begins::Answering) else {
            return Reply::Respond(connections::too_many());
        };
        let (service, runtime) = (&*self.inner.service, &self.inner.runtime);
        if let Err(error) = check_head(request.as_http(), &service.config()) {
            return Reply::Respond(error.response().unwrap_or_else(connections::unavailable));
        }
        if membership.is_shutting_down() {
            return Reply::Respond(connections::unavailable());
        }
        let now = runtime.now();
        let mut timer = runtime.timer(now + service.config().get_opening_timeout());
        let asking = Box::pin(connections::ask(service, request.with_received_at(now)));
        let decided = membership.unless_dropped(Box::pin(timeout(&mut *timer, asking))).await;
        match decided {
            Some(Some(Answer::Respond(response))) => Reply::Respond(response),
            Some(Some(Answer::Upgrade(upgrade))) if !membership.is_shutting_down() => {
                Reply::Upgrade(GrantedUpgrade { membership, upgrade })
            }
            Some(None) => Reply::Respond(connections::undecided()),
            None | Some(Some(Answer::Upgrade(_))) => Reply::Respond(connections::unavailable()),
        }
    }
}

/// An upgrade that was granted to a request of another HTTP server. Dropped, it is given up.
#[must_use = "the session begins when it is served"]
pub struct GrantedUpgrade {
    membership: Membership,
    upgrade: Upgrade,
}

impl GrantedUpgrade {
    /// The response that the other server has to send: a 101, or over HTTP/2 a 200.
    pub fn response(&self) -> &http::Response<()> {
        &self.upgrade.response
    }

    /// The call that was granted.
    pub fn request(&self) -> &Request {
        &self.upgrade.request
    }

    /// As [`serve`](Self::serve), in a task of its own.
    pub fn spawn<F>(self, transport: F)
    where
        F: Future<Output = io::Result<Box<dyn Io>>> + Send + 'static,
    {
        let runtime = self.membership.inner.runtime.clone();
        runtime.spawn(Box::pin(self.serve(transport)));
    }

    /// Waits for the `transport`, which the other server gives up once it has sent the response, and
    /// serves the session on it until it ends, with its handler.
    ///
    /// A transport that fails, or does not come within
    /// [`Config::opening_timeout`](sockless_core::Config::opening_timeout), is no session: that is logged
    /// at debug level, and the handler never runs.
    ///
    /// Dropping the future drops the transport and the handler.
    pub fn serve<F>(self, transport: F) -> impl Future<Output = ()> + Send
    where
        F: Future<Output = io::Result<Box<dyn Io>>> + Send,
    {
        Serving::Opening(Box::pin(self.open(transport)))
    }

    async fn open<F>(self, transport: F) -> Option<Open>
    where
        F: Future<Output = io::Result<Box<dyn Io>>> + Send,
    {
        let Self { membership, mut upgrade } = self;
        let runtime = membership.inner.runtime.clone();
        let deadline = runtime.now() + upgrade.config.get_opening_timeout();
        let mut timer = runtime.timer(deadline);
        let coming = Box::pin(timeout(&mut *timer, Box::pin(transport)));
        let transport = match membership.unless_dropped(coming).await.flatten() {
            Some(Ok(transport)) => transport,
            Some(Err(error)) => {
                tracing::debug!(error = %Escaped(&error), "the response to an upgrade did not get through");
                return None;
            }
            None => {
                tracing::debug!("the response to an upgrade did not get through in time");
                return None;
            }
        };
        let held = upgrade.request.take_permits();
        let exchange = Exchange::new(transport, runtime, deadline);
        let drive = membership.start(exchange, None, upgrade);
        Some(Open { drive, _held: held, _membership: membership })
    }
}

impl fmt::Debug for GrantedUpgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrantedUpgrade").field("upgrade", &self.upgrade).finish_non_exhaustive()
    }
}

/// Holds a head that somebody else read to the limits of our own.
fn check_head(request: &http::Request<()>, config: &Config) -> Result<(), HeadError> {
    let (uri, headers) = (request.uri(), request.headers());
    let target = [uri.scheme_str(), uri.authority().map(|it| it.as_str()), Some(uri.path())];
    let target = target.into_iter().chain([uri.query()]).flatten().map(str::len).sum::<usize>();
    // With what stands between the parts, and ends the lines.
    let lines = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    let len = request.method().as_str().len() + target + 14 + lines.sum::<usize>();
    let max = config.get_max_head_len();
    match () {
        () if headers.len() > MAX_HEADERS => Err(HeadError::TooManyHeaders),
        () if len > max => Err(HeadError::TooLong { max }),
        () => Ok(()),
    }
}

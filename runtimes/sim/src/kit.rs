//! The test kit: [`App`] runs a service in memory, and a test speaks to it as its clients would.

mod conversation;
mod open;
mod peer;
mod plain;
mod raw;
mod transcript;

use std::fmt;
use std::net::SocketAddr;
use std::panic::Location;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use sockless_driver::{ConnectionServer, Service, ShutdownReport};

pub use conversation::Conversation;
pub use open::OpenConversation;
pub use raw::RawConversation;

use crate::executor::Sim;
use crate::link::Link;
use crate::pipe::SimIo;

impl Sim {
    /// Runs `service` in memory, for a test to talk to; see [`App`].
    pub fn app(&self, service: impl Service) -> App {
        self.app_over(service, &Link::default())
    }

    /// As [`host`](Self::host), with each connection over `link`.
    pub fn app_over(&self, service: impl Service, link: &Link) -> App {
        App {
            sim: self.clone(),
            host: ConnectionServer::new(service, self.runtime()),
            link: link.clone(),
            patience: Duration::from_secs(60),
            peer_addr: None,
            local_addr: None,
        }
    }
}

/// A service that runs in memory: the whole of it, from the request's first byte, without a port and
/// without waiting.
///
/// Its methods fail the test where the service does not do what they say, and the message tells the
/// seed, the line of the test, and what was said so far.
///
/// ```
/// use std::sync::Arc;
///
/// use sockless_core::{Closed, Config};
/// use sockless_core::handshake::UpgradeRequest;
/// use sockless_driver::{Answer, BoxFuture, Request, Service, Session, Upgrade};
/// use sockless_sim::Sim;
///
/// async fn shout(mut session: Session) -> Result<(), Closed> {
///     while let Some(text) = session.recv().await?.as_text() {
///         session.send(text.to_uppercase()).await?;
///     }
///     Ok(())
/// }
///
/// // A router of `sockless-routing` is such a service; this one has a single route.
/// struct Shout;
///
/// impl Service for Shout {
///     fn call(&self, request: Request) -> BoxFuture<'_, Answer> {
///         Box::pin(async move {
///             match UpgradeRequest::from_request(request.as_http()) {
///                 Ok(request) => {
///                     Answer::Upgrade(Upgrade::websocket(call, request, self.config(), shout))
///                 }
///                 Err(error) => Answer::Respond(error.response()),
///             }
///         })
///     }
///
///     fn config(&self) -> Arc<Config> {
///         Arc::default()
///     }
/// }
///
/// Sim::check(0..20, |sim| async move {
///     let app = sim.app(Shout);
///
///     let mut chat = app.open("/chat?name=Ada").await;
///     chat.send("hi").await;
///     chat.expect("HI").await;
///     // Binary is not for shouting: the handler returns.
///     chat.send(vec![1, 2, 3]).await;
///     chat.expect_closed(1000).await;
///
///     let response = app.get("/chat").await;
///     assert_eq!(response.status(), 426);
///     assert_eq!(response.headers()["upgrade"], "websocket");
/// });
/// ```
///
/// Clones talk to the same service.
#[derive(Clone)]
pub struct App {
    sim: Sim,
    host: ConnectionServer,
    link: Link,
    patience: Duration,
    peer_addr: Option<SocketAddr>,
    local_addr: Option<SocketAddr>,
}

impl App {
    /// How long a test waits, in virtual time, for what it expects. Default: 60 s.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Sets the two ends' addresses of connections to be, as a server's transport would have them.
    /// Default: none.
    #[must_use]
    pub fn with_addrs(mut self, peer: Option<SocketAddr>, local: Option<SocketAddr>) -> Self {
        (self.peer_addr, self.local_addr) = (peer, local);
        self
    }

    /// Opens a WebSocket at `path`, with its query if it has one; or at a whole URL such as
    /// `ws://example.com/chat`, where the host matters. Await it, once it has the headers it needs.
    #[track_caller]
    pub fn open(&self, path: &str) -> OpenConversation {
        OpenConversation::new(self.clone(), path, Location::caller())
    }

    /// The response to a plain GET of `path`.
    ///
    /// # Panics
    ///
    /// When there is no valid one within the [`patience`](Self::patience).
    #[track_caller]
    pub fn get(&self, path: &str) -> impl Future<Output = Response<Bytes>> + Send + use<> {
        self.exchange(http::Request::get(path).body(()), Location::caller())
    }

    /// The response to a request of any kind. `Host` is added when it is not there, and of a 101 only
    /// the head is read.
    ///
    /// # Panics
    ///
    /// When there is no valid one within the [`patience`](Self::patience).
    #[track_caller]
    pub fn request(
        &self,
        request: http::Request<()>,
    ) -> impl Future<Output = Response<Bytes>> + Send + use<> {
        self.exchange(Ok(request), Location::caller())
    }

    /// A connection to the service for a test that speaks in bytes.
    pub fn dial(&self) -> SimIo {
        let (client, server) = self.sim.pipe_over(&self.link);
        let serving = self.host.serve_connection(Box::new(server), self.peer_addr, self.local_addr);
        self.sim.spawn(serving);
        client
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.host.connections()
    }

    /// Shuts the service down; see [`ConnectionServer::shutdown`].
    pub async fn shutdown(&self, drain: Duration) -> ShutdownReport {
        self.host.shutdown(drain).await
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("host", &self.host).finish_non_exhaustive()
    }
}

/// The line of the test that expects something.
type Place = &'static Location<'static>;

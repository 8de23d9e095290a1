//! The test kit: [`App`] runs a service in memory for tests that act as its clients.

mod conversation;
mod open;
mod opened;
mod peer;
mod plain;
mod raw;
#[cfg(feature = "record")]
mod recorded;
#[cfg(feature = "record")]
mod replay;
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
#[cfg(feature = "record")]
pub use recorded::{RecordedClient, TraceClientError};
#[cfg(feature = "record")]
pub use replay::ReplayedClient;

use crate::io::SimIo;
use crate::link::Link;
use crate::sim::Sim;
use crate::tasks::Origin;

impl Sim {
    /// Runs `service` in memory for tests; see [`App`].
    pub fn app(&self, service: impl Service) -> App {
        self.app_over(service, &Link::default())
    }

    /// Like [`app`](Self::app), with each connection over `link`.
    pub fn app_over(&self, service: impl Service, link: &Link) -> App {
        App {
            sim: self.clone(),
            server: ConnectionServer::new(service, self.runtime()),
            link: link.clone(),
            patience: Duration::from_secs(60),
            peer_addr: None,
            local_addr: None,
        }
    }
}

/// A service that runs in memory, from [`Sim::app`]: complete connections from the first byte of
/// the request, without a port and without real time.
///
/// Its methods, and those of a [`Conversation`], fail the test if the service behaves differently.
/// The message has the seed, the line of the test, and a transcript of the conversation.
///
/// ```
/// use sockless::sim::Sim;
/// use sockless::{Closed, Router, Session, websocket};
///
/// async fn shout(mut session: Session) -> Result<(), Closed> {
///     while let Some(text) = session.recv().await?.as_text() {
///         session.send(text.to_uppercase()).await?;
///     }
///     Ok(())
/// }
///
/// Sim::check(0..20, |sim| async move {
///     let app = sim.app(Router::new().route("/chat", websocket(shout)));
///
///     let mut chat = app.open("/chat?name=Ada").await;
///     chat.send("hi").await;
///     chat.expect("HI").await;
///     // The handler returns at the first binary message.
///     chat.send(vec![1, 2, 3]).await;
///     chat.expect_closed(1000).await;
///
///     let response = app.get("/chat").await;
///     assert_eq!(response.status(), 426);
///     assert_eq!(response.headers()["upgrade"], "websocket");
/// });
/// ```
///
/// Clones share the service.
#[derive(Clone)]
pub struct App {
    sim: Sim,
    server: ConnectionServer,
    link: Link,
    patience: Duration,
    peer_addr: Option<SocketAddr>,
    local_addr: Option<SocketAddr>,
}

impl App {
    /// Sets how long an expectation waits before it fails, in virtual time. Default: 60 s.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Sets the addresses of both ends that the service sees on further connections. Default:
    /// `None`.
    #[must_use]
    pub fn with_addrs(mut self, peer: Option<SocketAddr>, local: Option<SocketAddr>) -> Self {
        (self.peer_addr, self.local_addr) = (peer, local);
        self
    }

    /// Opens a WebSocket at `path`, which may have a query, or at a complete URL such as
    /// `ws://example.com/chat`, to set the host. Add headers and settings to the returned value,
    /// then await it for a [`Conversation`].
    #[track_caller]
    pub fn open(&self, path: &str) -> OpenConversation {
        OpenConversation::new(self.clone(), path, Location::caller())
    }

    /// Sends a plain GET of `path` and returns the response.
    ///
    /// # Panics
    ///
    /// Panics if there is no valid response within the [`patience`](Self::patience).
    #[track_caller]
    pub fn get(&self, path: &str) -> impl Future<Output = Response<Bytes>> + Send + use<> {
        self.exchange(http::Request::get(path).body(()), Location::caller())
    }

    /// Sends any request and returns the response. Adds `Host` if it is absent. Of a 101 response,
    /// only the head is read.
    ///
    /// # Panics
    ///
    /// Panics if there is no valid response within the [`patience`](Self::patience).
    #[track_caller]
    pub fn request(
        &self,
        request: http::Request<()>,
    ) -> impl Future<Output = Response<Bytes>> + Send + use<> {
        self.exchange(Ok(request), Location::caller())
    }

    /// Connects to the service and returns the client's transport, for a test that exchanges bytes.
    pub fn dial(&self) -> SimIo {
        let (client, server) = self.sim.pipe_over(&self.link);
        let serving =
            self.server.serve_connection(Box::new(server), self.peer_addr, self.local_addr);
        let tasks = &self.sim.world.tasks;
        tasks.spawn(Box::pin(serving), Origin::Driver, self.sim.world.time.machine());
        client
    }

    /// Returns the number of open connections.
    pub fn connections(&self) -> usize {
        self.server.connections()
    }

    /// Shuts down the service; see [`ConnectionServer::shutdown`].
    pub async fn shutdown(&self, drain: Duration) -> ShutdownReport {
        self.server.shutdown(drain).await
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("server", &self.server).finish_non_exhaustive()
    }
}

/// The line of the test that called a method.
type Place = &'static Location<'static>;

//! The settings of an application's WebSockets, and the server that counts them: [`WebSockets`].

use std::sync::{Arc, LazyLock};

use axum::Extension;
use http::{Extensions, StatusCode};
use sockless_core::Config;
use sockless_core::handshake::text_response;
use sockless_driver::{Answer, BoxFuture, ConnectionServer, Request, Service};
use sockless_routing::{Origins, TrustedProxies};
use sockless_tokio::TokioRuntime;

/// The settings of the WebSockets of an application, and the server that counts and ends them.
///
/// It is installed as a layer, around the routes that open WebSockets:
///
/// ```
/// use std::time::Duration;
///
/// use axum::response::Response;
/// use axum::routing::any;
/// use sockless::axum::{WebSocketUpgrade, WebSockets};
/// use sockless::{Config, Session};
///
/// async fn chat(ws: WebSocketUpgrade) -> Response {
///     ws.on_upgrade(async |session: Session| session.send("welcome").await)
/// }
///
/// let websockets =
///     WebSockets::new().config(Config::default().ping_interval(Duration::from_secs(30)));
/// let app: axum::Router =
///     axum::Router::new().route("/chat", any(chat)).layer(websockets.layer());
/// ```
///
/// Without it, every [`WebSocketUpgrade`](crate::WebSocketUpgrade) has the default settings, and
/// belongs to one server for the whole process, which nothing shuts down.
///
/// axum does not wait for sessions over HTTP/1.1 when it shuts down. Await this first, in the
/// future that `with_graceful_shutdown` takes; it closes every session with 1001:
///
/// ```no_run
/// # use std::time::Duration;
/// # async fn example(websockets: sockless::axum::WebSockets) {
/// let report = websockets.server().shutdown(Duration::from_secs(10)).await;
/// println!("{} sessions ended, {} were terminated", report.drained, report.terminated);
/// # }
/// ```
///
/// Clones share the server.
#[derive(Clone, Debug)]
pub struct WebSockets {
    server: ConnectionServer,
    pub(crate) config: Arc<Config>,
    pub(crate) origins: Origins,
    pub(crate) proxies: Option<TrustedProxies>,
}

static SHARED: LazyLock<WebSockets> = LazyLock::new(WebSockets::new);

impl WebSockets {
    /// Creates the settings, with a server of their own on the tokio runtime in which the
    /// application is served.
    pub fn new() -> Self {
        Self::from_server(ConnectionServer::new(Nothing, Arc::new(TokioRuntime)))
    }

    /// Creates the settings with the server of others, so that their sessions count together and
    /// are shut down together, such as [`Mount::server`](sockless_hyper::Mount::server). Its limits
    /// apply.
    pub fn from_server(server: ConnectionServer) -> Self {
        let origins = Origins::same_origin();
        Self { server, config: Arc::default(), origins, proxies: None }
    }

    /// Sets the settings of sessions. Default: [`Config::default`].
    /// [`WebSocketUpgrade::config`](crate::WebSocketUpgrade::config) replaces them for one route.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = Arc::new(config);
        self
    }

    /// Sets which web pages may open a WebSocket. Default: [`Origins::same_origin`]. Others are
    /// rejected with 403.
    #[must_use]
    pub fn origins(mut self, origins: Origins) -> Self {
        self.origins = origins;
        self
    }

    /// Accepts from these proxies the client's address, host and scheme. Default: no proxy is
    /// trusted.
    #[must_use]
    pub fn trust(mut self, proxies: TrustedProxies) -> Self {
        self.proxies = Some(proxies);
        self
    }

    /// Limits the connections of one peer address to `count` at a time, at least 1, as
    /// [`ConnectionServer::max_connections_per_peer`] does. One beyond the limit gets a 429.
    /// Default: no limit.
    ///
    /// The address is that of `ConnectInfo`: serve the application with
    /// `into_make_service_with_connect_info::<SocketAddr>()`. It is the limit of the server, also for
    /// others that [share it](Self::from_server).
    ///
    /// ```
    /// use sockless::axum::WebSockets;
    ///
    /// let websockets = WebSockets::new().max_connections_per_peer(20).memory_budget(64 << 20);
    /// # let _ = websockets;
    /// ```
    #[must_use]
    pub fn max_connections_per_peer(mut self, count: usize) -> Self {
        self.server = self.server.max_connections_per_peer(count);
        self
    }

    /// Limits the memory of all sessions together to `bytes`, as
    /// [`ConnectionServer::memory_budget`] does, also for others that share the server. Default:
    /// 192 MiB.
    #[must_use]
    pub fn memory_budget(mut self, bytes: usize) -> Self {
        self.server = self.server.memory_budget(bytes);
        self
    }

    /// Returns the server, which counts the sessions and shuts them down.
    pub fn server(&self) -> &ConnectionServer {
        &self.server
    }

    /// Returns the layer that installs these settings around routes.
    pub fn layer(&self) -> Extension<Self> {
        Extension(self.clone())
    }

    /// Returns the settings that are installed for a request, or those of the process.
    pub(crate) fn of(extensions: &Extensions) -> &Self {
        extensions.get::<Self>().unwrap_or_else(|| &SHARED)
    }
}

impl Default for WebSockets {
    fn default() -> Self {
        Self::new()
    }
}

/// The service of a server that only admits requests.
struct Nothing;

impl Service for Nothing {
    fn call(&self, _request: Request) -> BoxFuture<'_, Answer> {
        let response = text_response(StatusCode::NOT_FOUND, "nothing is served at this path\n");
        Box::pin(std::future::ready(Answer::Respond(response)))
    }

    fn config(&self) -> Arc<Config> {
        Arc::default()
    }
}

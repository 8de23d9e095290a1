//! What stands behind a path: [`websocket`], [`websocket_raw`], [`respond`], [`respond_async`].

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Response};
use sockless_core::Config;
use sockless_core::handshake::UpgradeRequest;
use sockless_driver::{BoxFuture, Outcome, RawSession, Request, Session, Upgrade};

use crate::listing::RouteKind;
use crate::scope::Scope;
use crate::selector::Selector;

/// Serves upgrade requests with `handler`, which gets a session of messages.
///
/// It takes clients that offer no subprotocol, and those whose offers no other route on the path
/// serves, and selects none; name one or more with [`protocol`](WebSocketRoute::protocol) and it
/// takes those that offer one of them.
///
/// The handler may return nothing or any `Result` ([`Outcome`]). It need not be `Clone`.
///
/// ```
/// use sockless_driver::Session;
/// use sockless_routing::{Router, websocket};
///
/// async fn chat(session: Session) {}
///
/// let router = Router::new().route("/chat/{room}", websocket(chat).protocol("chat.v2"));
/// ```
pub fn websocket<F, Fut>(handler: F) -> WebSocketRoute
where
    F: Fn(Session) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: Outcome> + Send + 'static,
{
    let handler = Arc::new(handler);
    WebSocketRoute::new(RouteKind::WebSocket, move |request, upgrade, config| {
        let handler = Arc::clone(&handler);
        Upgrade::websocket(request, upgrade, config, move |session| handler(session))
    })
}

/// As [`websocket`], with a session of frames: no pings answered, no fragments joined, no closing
/// handshake but the handler's own, and no extension, unless they are
/// [negotiated](WebSocketRoute::negotiate_extensions).
pub fn websocket_raw<F, Fut>(handler: F) -> WebSocketRoute
where
    F: Fn(RawSession) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: Outcome> + Send + 'static,
{
    let handler = Arc::new(handler);
    WebSocketRoute::new(RouteKind::RawWebSocket, move |request, upgrade, config| {
        let handler = Arc::clone(&handler);
        Upgrade::raw(request, upgrade, config, move |session| handler(session))
    })
}

/// Answers GET and HEAD with what `handler` makes of the call: a health check, the page that opens
/// the socket.
///
/// On HEAD the response goes out without its body.
///
/// ```
/// use http::Response;
/// use sockless_routing::{Router, respond};
///
/// let router = Router::new()
///     .route("/health", respond(|_request| Response::new("ok".into())))
///     .route("/hello/{name}", respond(|request| {
///         let name = request.param_str("name").unwrap_or("nobody");
///         Response::new(format!("hello {name}").into())
///     }));
/// ```
pub fn respond<F>(handler: F) -> RespondRoute
where
    F: Fn(&Request) -> Response<Bytes> + Send + Sync + 'static,
{
    RespondRoute::new(Responder::Now(Arc::new(handler)))
}

/// As [`respond`], where the response takes waiting for.
///
/// ```
/// use bytes::Bytes;
/// use http::{Method, Response};
/// use sockless_driver::Request;
/// use sockless_routing::{Router, respond_async};
///
/// async fn kick(request: Request) -> Response<Bytes> {
///     Response::new("gone".into())
/// }
///
/// let router = Router::new().route("/kick/{name}", respond_async(kick).method(Method::POST));
/// ```
pub fn respond_async<F, Fut>(handler: F) -> RespondRoute
where
    F: Fn(Request) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Response<Bytes>> + Send + 'static,
{
    RespondRoute::new(Responder::Later(Arc::new(move |request| Box::pin(handler(request)))))
}

/// A WebSocket handler with its subprotocols and settings, as [`websocket`] and [`websocket_raw`]
/// make it.
#[derive(Clone)]
#[must_use = "a route does nothing until a router has it"]
pub struct WebSocketRoute {
    kind: RouteKind,
    open: Open,
    protocols: Vec<String>,
    scope: Scope,
}

impl WebSocketRoute {
    /// Has a raw route agree to the extensions of its settings, as other routes do by themselves.
    ///
    /// They are agreed on and not worked: the handler gets the frames with their reserved bits, and
    /// what is behind them is its own affair, until it takes a
    /// [`Session`](RawSession::into_session), which works them.
    pub fn negotiate_extensions(mut self) -> Self {
        let open = self.open;
        self.open = Arc::new(move |request, mut upgrade, config| {
            upgrade.select_extensions(config.get_extensions());
            open(request, upgrade, config)
        });
        self
    }

    /// Serves clients that offer the subprotocol `name`, compared to the letter, and tells them so in
    /// the 101 (RFC 6455 §1.9). Request it again to serve several; which one it became is in
    /// [`Request::subprotocol`].
    ///
    /// The name has to be a token, as HTTP defines it: [`Router::route`](crate::Router::route)
    /// refuses others.
    pub fn protocol(mut self, name: impl Into<String>) -> Self {
        let name = name.into();
        if !self.protocols.contains(&name) {
            self.protocols.push(name);
        }
        self
    }

    /// Settings for this route alone, instead of its router's.
    pub fn config(mut self, config: Config) -> Self {
        self.scope.config = Some(Arc::new(config));
        self
    }

    /// Changes the settings for this route alone: what `change` leaves as it is stays the router's.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use sockless_core::Config;
    /// use sockless_driver::Session;
    /// use sockless_routing::{Router, websocket};
    ///
    /// async fn chat(session: Session) {}
    /// async fn upload(session: Session) {}
    ///
    /// let router = Router::new()
    ///     .websockets(Config::default().ping_interval(Duration::from_secs(30)))
    ///     .route("/chat", websocket(chat))
    ///     .route("/upload", websocket(upload).configure(|config| config.max_message_len(1 << 30)));
    /// ```
    pub fn configure(mut self, change: impl Fn(Config) -> Config + Send + Sync + 'static) -> Self {
        self.scope.add_change(change);
        self
    }

    /// Serves requests that `selector` selects, and no others; see
    /// [`Router::when`](crate::Router::when).
    pub fn when(mut self, selector: Selector) -> Self {
        self.scope.selectors.add(selector);
        self
    }

    /// Asks `guard` about each call of this route, after those of its routers; see
    /// [`Router::guard`](crate::Router::guard).
    pub fn guard<F, Fut>(mut self, guard: F) -> Self
    where
        F: Fn(Request) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Request, Response<Bytes>>> + Send + 'static,
    {
        self.scope.add_guard(guard);
        self
    }

    fn new(
        kind: RouteKind,
        open: impl Fn(Request, UpgradeRequest, Arc<Config>) -> Upgrade + Send + Sync + 'static,
    ) -> Self {
        Self { kind, open: Arc::new(open), protocols: Vec::new(), scope: Scope::default() }
    }
}

impl fmt::Debug for WebSocketRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketRoute")
            .field("kind", &self.kind)
            .field("protocols", &self.protocols)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

/// A handler of plain requests with its methods, as [`respond`] and [`respond_async`] make it.
#[derive(Clone)]
#[must_use = "a route does nothing until a router has it"]
pub struct RespondRoute {
    responder: Responder,
    methods: Vec<Method>,
    scope: Scope,
}

impl RespondRoute {
    /// Answers `method` instead of GET and HEAD. Request it again to answer several; GET brings HEAD with
    /// it (RFC 9110 §9.1).
    pub fn method(mut self, method: Method) -> Self {
        let implied = (method == Method::GET).then_some(Method::HEAD);
        for method in [Some(method), implied].into_iter().flatten() {
            if !self.methods.contains(&method) {
                self.methods.push(method);
            }
        }
        self
    }

    /// Answers requests that `selector` selects, and no others; see
    /// [`Router::when`](crate::Router::when).
    pub fn when(mut self, selector: Selector) -> Self {
        self.scope.selectors.add(selector);
        self
    }

    /// Asks `guard` about each call of this route, after those of its routers; see
    /// [`Router::guard`](crate::Router::guard).
    pub fn guard<F, Fut>(mut self, guard: F) -> Self
    where
        F: Fn(Request) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Request, Response<Bytes>>> + Send + 'static,
    {
        self.scope.add_guard(guard);
        self
    }

    fn new(responder: Responder) -> Self {
        Self { responder, methods: Vec::new(), scope: Scope::default() }
    }
}

impl fmt::Debug for RespondRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RespondRoute")
            .field("methods", &self.methods)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

/// What [`Router::route`](crate::Router::route) takes: a [`WebSocketRoute`] or a [`RespondRoute`].
#[derive(Clone, Debug)]
#[must_use = "a route does nothing until a router has it"]
pub struct Route {
    pub(crate) kind: RouteKind,
    pub(crate) protocols: Vec<String>,
    pub(crate) methods: Vec<Method>,
    pub(crate) scope: Scope,
    pub(crate) action: Action,
}

impl From<WebSocketRoute> for Route {
    fn from(route: WebSocketRoute) -> Self {
        Self {
            kind: route.kind,
            protocols: route.protocols,
            methods: vec![Method::GET],
            scope: route.scope,
            action: Action::Open(route.open),
        }
    }
}

impl From<RespondRoute> for Route {
    fn from(route: RespondRoute) -> Self {
        let route = match route.methods.is_empty() {
            true => route.method(Method::GET),
            false => route,
        };
        Self {
            kind: RouteKind::Respond,
            protocols: Vec::new(),
            methods: route.methods,
            scope: route.scope,
            action: Action::Respond(route.responder),
        }
    }
}

/// What a route does with a call that it was chosen for.
#[derive(Clone)]
pub(crate) enum Action {
    Open(Open),
    Respond(Responder),
}

/// Grants an upgrade.
pub(crate) type Open = Arc<dyn Fn(Request, UpgradeRequest, Arc<Config>) -> Upgrade + Send + Sync>;

/// Makes a response.
#[derive(Clone)]
pub(crate) enum Responder {
    Now(Arc<Now>),
    Later(Arc<Later>),
}

type Now = dyn Fn(&Request) -> Response<Bytes> + Send + Sync;
type Later = dyn Fn(Request) -> BoxFuture<'static, Response<Bytes>> + Send + Sync;

impl Responder {
    pub(crate) async fn respond(&self, request: Request) -> Response<Bytes> {
        match self {
            Self::Now(handler) => handler(&request),
            Self::Later(handler) => handler(request).await,
        }
    }
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open(_) => "Open(..)",
            Self::Respond(_) => "Respond(..)",
        })
    }
}

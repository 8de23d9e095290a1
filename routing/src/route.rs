//! Routes: [`websocket`], [`websocket_raw`], [`respond`], [`respond_async`].

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Response};
use sockless_core::Config;
use sockless_core::handshake::UpgradeRequest;
use sockless_driver::{BoxFuture, Outcome, RawSession, Request, Session, Upgrade};

use crate::listing::RouteKind;
use crate::origin::Origins;
use crate::scope::{Scope, scope_methods};
use crate::selector::Selector;

/// Creates a route that serves upgrade requests with `handler`, which receives a [`Session`] of
/// messages.
///
/// Without subprotocols, the route accepts clients that offer none, and clients whose offers no
/// other route of the path serves; the response then selects none. With one or more
/// [`protocol`](WebSocketRoute::protocol)s, it accepts clients that offer one of them.
///
/// The handler may return `()` or any `Result` ([`Outcome`]). It does not have to be `Clone`.
///
/// ```
/// use sockless::{Closed, Router, Session, websocket};
///
/// async fn chat(mut session: Session) -> Result<(), Closed> {
///     let room = session.request().param_str("room").unwrap_or_default().to_owned();
///     session.send(format!("welcome to {room}")).await?;
///     loop {
///         let message = session.recv().await?;
///         session.send(message).await?;
///     }
/// }
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

/// Like [`websocket`], but `handler` receives a [`RawSession`] of frames.
///
/// Pings are not answered, fragments are not joined, and the handler runs the closing handshake. No
/// extension is negotiated unless [`negotiate_extensions`](WebSocketRoute::negotiate_extensions) is
/// called.
///
/// ```
/// use sockless::{Frame, RawSession, Router, websocket_raw};
///
/// async fn tap(mut session: RawSession) {
///     while let Ok(frame) = session.recv().await {
///         println!("{:?}, {} bytes", frame.opcode, frame.payload.len());
///     }
/// }
///
/// let router = Router::new().route("/tap", websocket_raw(tap));
/// ```
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

/// Creates a route that answers GET and HEAD with the response that `handler` returns: for example
/// a health check, or the page that opens the WebSocket.
///
/// In reply to HEAD, the response is sent without its body.
///
/// ```
/// use sockless::http::Response;
/// use sockless::{Router, respond};
///
/// let router = Router::new()
///     .route("/health", respond(|_request| Response::new("ok".into())))
///     .route("/hello/{name}", respond(|request| {
///         let name = request.param_str("name").unwrap_or("world");
///         Response::new(format!("hello {name}").into())
///     }));
/// ```
pub fn respond<F>(handler: F) -> RespondRoute
where
    F: Fn(&Request) -> Response<Bytes> + Send + Sync + 'static,
{
    RespondRoute::new(Responder::Sync(Arc::new(handler)))
}

/// Like [`respond`], with an async `handler`.
///
/// ```
/// use sockless::bytes::Bytes;
/// use sockless::http::{Method, Response};
/// use sockless::{Request, Router, respond_async};
///
/// async fn kick(request: Request) -> Response<Bytes> {
///     Response::new("kicked".into())
/// }
///
/// let router = Router::new().route("/kick/{name}", respond_async(kick).method(Method::POST));
/// ```
pub fn respond_async<F, Fut>(handler: F) -> RespondRoute
where
    F: Fn(Request) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Response<Bytes>> + Send + 'static,
{
    RespondRoute::new(Responder::Async(Arc::new(move |request| Box::pin(handler(request)))))
}

/// A WebSocket handler with its subprotocols, settings, selectors and guards.
///
/// Created by [`websocket`] and [`websocket_raw`].
#[derive(Clone)]
#[must_use = "a route does nothing until a router has it"]
pub struct WebSocketRoute {
    kind: RouteKind,
    handler: UpgradeHandler,
    protocols: Vec<String>,
    scope: Scope,
}

impl WebSocketRoute {
    /// Negotiates the extensions of the route's settings on a raw route. Other routes always do.
    ///
    /// They are negotiated, but not applied: the handler receives frames with their reserved bits
    /// and encoded payloads. The [`Session`] that [`RawSession::into_session`] returns applies
    /// them.
    pub fn negotiate_extensions(mut self) -> Self {
        let handler = self.handler;
        self.handler = Arc::new(move |request, mut upgrade, config| {
            upgrade.select_extensions(config.get_extensions());
            handler(request, upgrade, config)
        });
        self
    }

    /// Adds a subprotocol that the route serves. Names are compared exactly, including case.
    ///
    /// It may be called several times. The selected subprotocol is named in the 101 response
    /// (RFC 6455 §1.9) and returned by [`Request::subprotocol`].
    ///
    /// The name has to be an HTTP token: otherwise [`Router::route`](crate::Router::route) panics
    /// and [`Router::try_route`](crate::Router::try_route) returns an error.
    pub fn protocol(mut self, name: impl Into<String>) -> Self {
        let name = name.into();
        if !self.protocols.contains(&name) {
            self.protocols.push(name);
        }
        self
    }

    /// Adds a header to the response that opens a session of this route, after those of the
    /// guards. [`Request::add_response_header`] adds one that depends on the request.
    ///
    /// ```
    /// use sockless::http::HeaderValue;
    /// use sockless::http::header::SERVER;
    /// use sockless::{Router, Session, websocket};
    ///
    /// async fn chat(session: Session) {}
    ///
    /// let chat = websocket(chat).response_header(SERVER, HeaderValue::from_static("chat/2"));
    /// let router = Router::new().route("/chat", chat);
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if the handshake sets the header itself
    /// ([`ResponseHeaderError::Reserved`](sockless_driver::ResponseHeaderError::Reserved)).
    #[track_caller]
    pub fn response_header(self, name: HeaderName, value: HeaderValue) -> Self {
        let probe = &mut Request::new(http::Request::new(()));
        if let Err(error) = probe.add_response_header(name.clone(), value.clone()) {
            panic!("{error}");
        }
        self.guard(move |mut request| {
            // It was checked above, and another header of the same name does no harm.
            let _ = request.add_response_header(name.clone(), value.clone());
            std::future::ready(Ok(request))
        })
    }

    /// Sets which web pages may open this WebSocket, in place of the policy of its router. A route
    /// that is served without a router, and has no policy, rejects all pages.
    pub fn origins(mut self, origins: Origins) -> Self {
        self.scope.origins = Some(origins);
        self
    }

    /// Sets the settings of this route, in place of those of its router. The opening timeout and the
    /// limit on the request head apply before a route is chosen: they are those of the outermost
    /// router.
    pub fn config(mut self, config: Config) -> Self {
        self.scope.config = Some(Arc::new(config));
        self
    }

    scope_methods! {
        /// Changes some settings of this route. `change` receives the settings of the route's
        /// router. For the opening timeout and the limit on the request head see
        /// [`config`](Self::config).
        ///
        /// ```
        /// use std::time::Duration;
        ///
        /// use sockless::{Config, Router, Session, websocket};
        ///
        /// async fn chat(session: Session) {}
        /// async fn upload(session: Session) {}
        ///
        /// let router = Router::new()
        ///     .websockets(Config::default().ping_interval(Duration::from_secs(30)))
        ///     .route("/chat", websocket(chat))
        ///     .route("/upload", websocket(upload).configure(|config| config.max_message_len(1 << 30)));
        /// ```
        configure;

        /// Restricts this route to requests that match `selector`. If several are given, all of
        /// them have to match. See [`Router::when`](crate::Router::when).
        when;

        /// Runs `guard` for each request that this route was chosen for, after the guards of its
        /// routers. See [`Router::guard`](crate::Router::guard).
        guard;
    }

    pub(crate) fn scope(&self) -> &Scope {
        &self.scope
    }

    pub(crate) fn handler(&self) -> &UpgradeHandler {
        &self.handler
    }

    /// The subprotocols that the route serves.
    pub(crate) fn served(&self) -> &[String] {
        &self.protocols
    }

    fn new(
        kind: RouteKind,
        handler: impl Fn(Request, UpgradeRequest, Arc<Config>) -> Upgrade + Send + Sync + 'static,
    ) -> Self {
        Self { kind, handler: Arc::new(handler), protocols: Vec::new(), scope: Scope::default() }
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

/// A handler of plain HTTP requests with its methods, selectors and guards.
///
/// Created by [`respond`] and [`respond_async`].
#[derive(Clone)]
#[must_use = "a route does nothing until a router has it"]
pub struct RespondRoute {
    responder: Responder,
    methods: Vec<Method>,
    scope: Scope,
}

impl RespondRoute {
    /// Answers `method` instead of GET and HEAD. It may be called several times. GET includes HEAD
    /// (RFC 9110 §9.1).
    pub fn method(mut self, method: Method) -> Self {
        let implied = (method == Method::GET).then_some(Method::HEAD);
        for method in [Some(method), implied].into_iter().flatten() {
            if !self.methods.contains(&method) {
                self.methods.push(method);
            }
        }
        self
    }

    scope_methods! {
        /// Restricts this route to requests that match `selector`. If several are given, all of
        /// them have to match. See [`Router::when`](crate::Router::when).
        when;

        /// Runs `guard` for each request that this route was chosen for, after the guards of its
        /// routers. See [`Router::guard`](crate::Router::guard).
        guard;
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

/// A [`WebSocketRoute`] or a [`RespondRoute`], as [`Router::route`](crate::Router::route) takes it.
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
            action: Action::Upgrade(route.handler),
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

/// The handler of a route.
#[derive(Clone)]
pub(crate) enum Action {
    Upgrade(UpgradeHandler),
    Respond(Responder),
}

/// Grants an upgrade request.
pub(crate) type UpgradeHandler =
    Arc<dyn Fn(Request, UpgradeRequest, Arc<Config>) -> Upgrade + Send + Sync>;

/// Answers a plain request.
#[derive(Clone)]
pub(crate) enum Responder {
    Sync(Arc<SyncResponder>),
    Async(Arc<AsyncResponder>),
}

type SyncResponder = dyn Fn(&Request) -> Response<Bytes> + Send + Sync;
type AsyncResponder = dyn Fn(Request) -> BoxFuture<'static, Response<Bytes>> + Send + Sync;

impl Responder {
    pub(crate) async fn respond(&self, request: Request) -> Response<Bytes> {
        match self {
            Self::Sync(handler) => handler(&request),
            Self::Async(handler) => handler(request).await,
        }
    }
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Upgrade(_) => "Upgrade(..)",
            Self::Respond(_) => "Respond(..)",
        })
    }
}

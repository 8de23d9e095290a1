//! Building a router: [`Router`].

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use sockless_core::Config;
use sockless_driver::Request;

use crate::listing::RouteInfo;
use crate::origin::Origins;
use crate::proxies::TrustedProxies;
use crate::route::Route;
use crate::scope::{Scope, scope_methods};
use crate::selector::Selector;
use crate::table::{Entry, RouteError, Table, parse};

/// Routes each request to a handler by its path, its method and its subprotocols.
///
/// A router is a [`Service`](sockless_driver::Service), so every runtime can serve it. It consists
/// of *routes* ([`route`](Self::route), [`nest`](Self::nest)) and of properties that apply to all
/// of its routes, in whichever order the builder's methods are called: *settings*
/// ([`websockets`](Self::websockets), [`configure`](Self::configure), [`origins`](Self::origins),
/// [`prefer_server_protocols`](Self::prefer_server_protocols),
/// [`ignore_trailing_slash`](Self::ignore_trailing_slash)), *selectors* ([`when`](Self::when)),
/// *state* ([`state`](Self::state)) and *guards* ([`guard`](Self::guard),
/// [`guard_all`](Self::guard_all)).
///
/// ```
/// use sockless::http::Response;
/// use sockless::{Closed, Origins, Router, Session, respond, websocket};
///
/// async fn echo(mut session: Session) -> Result<(), Closed> {
///     loop {
///         let message = session.recv().await?;
///         session.send(message).await?;
///     }
/// }
///
/// let router = Router::new()
///     .origins(Origins::same_origin())
///     .route("/echo", websocket(echo))
///     .route("/health", respond(|_request| Response::new("ok".into())));
///
/// # async fn serve(router: Router) -> std::io::Result<()> {
/// sockless::serve("127.0.0.1:8080", router).await
/// # }
/// ```
///
/// # Paths
///
/// | in a path | matches | captures |
/// |---|---|---|
/// | `chat` | this text, case-sensitively | |
/// | `v{version}`, `{name}.json` | a segment with this prefix or suffix | the remaining text, which is not empty |
/// | `{id:u64}` | a segment that parses as a `u64`; likewise `bool` and every other integer type | the segment |
/// | `{room}` | a segment that is not empty | the segment |
/// | `{room?}`, at the end | the same, or no segment, or an empty one | the segment, if present |
/// | `*` | a segment that is not empty | |
/// | `{*rest}`, `v{*rest}`, `{*}`, at the end | the rest of the path, which may be empty | the rest with its slashes, if it has a name |
///
/// `{{` and `}}` are literal braces, and `%2A` is a literal star. Paths are case-sensitive. `/chat`
/// and `/chat/` are different paths unless [`ignore_trailing_slash`](Self::ignore_trailing_slash)
/// is set, and `//` is never merged into `/`, so that a proxy that filters by path sees the same
/// path as the router.
///
/// Paths are compared after percent-decoding, in routes and in requests: `/ch%61t` is `/chat`. A
/// `%2F` within a segment does not split it, and `+` is a plus sign. [`Request::param`] returns
/// decoded values. They come from the peer and may contain anything, including slashes and dots.
///
/// # Which path
///
/// If several paths match, they are compared segment by segment from the left, and the first
/// difference decides. From the highest priority to the lowest: [selectors](Self::when), more
/// before fewer, fewer before none; a literal; a parameter, one with a longer prefix and suffix
/// first, then one with a type; `*`; the rest. Where the request's path ends, a route that ends
/// there precedes one whose trailing slash is ignored, then an optional segment that is absent,
/// then an empty rest. Ties are resolved by the order of definition.
///
/// If no route of the best path accepts the request, the next best path is tried. However, an
/// upgrade request that has matched a WebSocket is never answered by a plain response, and a
/// malformed handshake or a rejected origin is final.
///
/// # Which route
///
/// Among the routes of one path, an upgrade request goes to a WebSocket: a GET of HTTP/1.1 with
/// `Upgrade: websocket`, or an extended CONNECT of HTTP/2 (RFC 8441). All other requests go to the
/// `respond` route of their method. Between several WebSockets the subprotocols decide, in the
/// client's order of preference; if none is served, the WebSocket without a subprotocol accepts the
/// request. The route's [`Origins`] are checked, its state is attached, its guards run, and then
/// the upgrade is granted.
///
/// # Other responses
///
/// Each of these responses has one line of plain text with the reason, except in reply to HEAD. If
/// several apply, the first in this list is sent, and among equals that of the better path:
///
/// | status | when |
/// |---|---|
/// | 400 | the path cannot be decoded |
/// | 400, 403 | the handshake is malformed, or the origin is rejected |
/// | 426, with `Upgrade` and `Sec-WebSocket-Version` | the path serves only WebSockets: no upgrade, or another version |
/// | 400 | none of the offered subprotocols is served |
/// | 204, with `Allow` | OPTIONS, unless a route at this path answers it; `OPTIONS *` |
/// | 405, with `Allow` | no route at this path answers the method |
/// | 400 | the query lacks a parameter that every route at this path requires |
/// | 404 | no route has this path |
#[derive(Clone, Default)]
#[must_use = "a router does nothing until it is served"]
pub struct Router {
    pub(crate) table: Table,
    pub(crate) scope: Scope,
    /// Holds the guards that run before a route is chosen, and nothing else.
    pub(crate) before_routing: Scope,
    pub(crate) proxies: Option<TrustedProxies>,
}

impl Router {
    /// Creates a router without routes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Serves `path` with `route`: a [`websocket`](crate::websocket()),
    /// [`websocket_raw`](crate::websocket_raw()), [`respond`](crate::respond()) or
    /// [`respond_async`](crate::respond_async()).
    ///
    /// The empty path equals `/`, the path of the router itself. Several routes may share a path if
    /// no request matches two of them: WebSockets with different subprotocols and at most one
    /// without, responses to different methods, and routes with different selectors. The names of
    /// parameters make no difference: `/{a}` and `/{b}` are the same path.
    ///
    /// # Panics
    ///
    /// Panics if [`try_route`](Self::try_route) returns an error.
    #[track_caller]
    pub fn route(self, path: &str, route: impl Into<Route>) -> Self {
        match self.try_route(path, route) {
            Ok(router) => router,
            Err(error) => panic!("{error}"),
        }
    }

    /// Like [`route`](Self::route), for routes that are only known at run time.
    ///
    /// ```
    /// use sockless::http::Response;
    /// use sockless::{Router, respond};
    ///
    /// let page = || respond(|_request| Response::new("hello".into()));
    /// let error = Router::new().route("/{a}", page()).try_route("/{b}", page()).unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "the route /{b} (GET, HEAD) conflicts with /{a} (GET, HEAD): both answer GET"
    /// );
    /// ```
    ///
    /// # Errors
    ///
    /// Returns a [`RouteError`] if the path or a subprotocol's name is invalid, or if the route
    /// conflicts with an existing one.
    pub fn try_route(mut self, path: &str, route: impl Into<Route>) -> Result<Self, RouteError> {
        self.table.insert(Entry::new(path, route.into())?)?;
        Ok(self)
    }

    /// Adds the routes of `router`, each with `prefix` before its path. Its routes at `/` or at the
    /// empty path are served at the prefix itself.
    ///
    /// ```
    /// use sockless::{Router, Session, websocket};
    ///
    /// async fn chat(session: Session) {}
    ///
    /// let router = Router::new().nest("/chat", Router::new().route("", websocket(chat)));
    /// assert_eq!(router.to_string(), "/chat (WebSocket)\n");
    /// ```
    ///
    /// The routes keep the settings of their router and inherit those that it leaves unset from
    /// this one. This router's guards run first. Several routers may be nested under one prefix,
    /// including `/`.
    ///
    /// # Panics
    ///
    /// Panics if [`try_nest`](Self::try_nest) returns an error.
    #[track_caller]
    pub fn nest(self, prefix: &str, router: Self) -> Self {
        match self.try_nest(prefix, router) {
            Ok(router) => router,
            Err(error) => panic!("{error}"),
        }
    }

    /// Like [`nest`](Self::nest), for routers that are only known at run time.
    ///
    /// # Errors
    ///
    /// Returns a [`RouteError`] if the prefix is invalid or a route conflicts with an existing one.
    pub fn try_nest(mut self, prefix: &str, router: Self) -> Result<Self, RouteError> {
        let prefix = parse(prefix)?;
        let Self { table, mut scope, before_routing, proxies: _ } = router;
        scope.prepend_guards(&before_routing);
        for entry in table.into_entries() {
            self.table.insert(entry.nest(&prefix, &scope))?;
        }
        Ok(self)
    }

    /// Sets the settings of this router's WebSockets. Those of the outermost router also limit the
    /// heads of all requests and the time of all opening handshakes. Default: the outer router's settings, and [`Config::default`] for the
    /// outermost router.
    pub fn websockets(mut self, config: Config) -> Self {
        self.scope.config = Some(Arc::new(config));
        self
    }

    scope_methods! {
        /// Changes some settings of this router's WebSockets.
        ///
        /// `change` receives the settings of [`websockets`](Self::websockets), or those of the
        /// outer router with its changes if this router has none of its own.
        configure;

        /// Restricts this router to requests that match `selector`. If several are given, all of
        /// them have to match.
        ///
        /// For the priority between routes, the selector counts at the place in the path where the
        /// router is nested, before the segments of the router's own routes.
        ///
        /// Routers with selectors of different hosts make virtual servers. With
        /// [`local_port`](Selector::local_port), an admin interface is served on a port of its own.
        when;
    }

    /// Ignores whether a request's path ends with a slash: if no route has exactly this path, a
    /// route whose path differs by one trailing slash is chosen. Default: as the outer router, and
    /// `false` for the outermost one.
    pub fn ignore_trailing_slash(mut self, ignore: bool) -> Self {
        self.scope.ignore_slash = Some(ignore);
        self
    }

    /// Accepts from these proxies the client's address, host and scheme.
    ///
    /// Only the outermost router's setting has an effect, since selectors depend on it. Default: no
    /// proxy is trusted.
    pub fn trust(mut self, proxies: TrustedProxies) -> Self {
        self.proxies = Some(proxies);
        self
    }

    /// Sets which web pages may open this router's WebSockets.
    ///
    /// Default: the outer router's policy. If no router has a policy, requests of all pages are
    /// rejected with 403, so that the choice is made deliberately.
    pub fn origins(mut self, origins: Origins) -> Self {
        self.scope.origins = Some(origins);
        self
    }

    /// Selects among the offered subprotocols by the order in which they were routed, and not by
    /// the client's preference. RFC 6455 §4.2.2, item 5, leaves the choice to the server.
    ///
    /// If routes of several routers share a path, the router of the first one decides. Default: as
    /// the outer router, and `false` for the outermost one.
    pub fn prefer_server_protocols(mut self, prefer: bool) -> Self {
        self.scope.server_order = Some(prefer);
        self
    }

    /// Attaches a clone of `value` to each request of this router's routes, before the guards run.
    /// [`Request::get`] finds it by its type.
    ///
    /// Of several values of the same type, the last one of the innermost router is used. Wrap
    /// values that are large or mutable in an `Arc`, and get them as `Arc<T>`.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU64, Ordering};
    ///
    /// use sockless::{Router, Session, websocket};
    ///
    /// async fn count(session: Session) {
    ///     if let Some(visits) = session.request().get::<Arc<AtomicU64>>() {
    ///         visits.fetch_add(1, Ordering::Relaxed);
    ///     }
    /// }
    ///
    /// let router = Router::new()
    ///     .state(Arc::new(AtomicU64::new(0)))
    ///     .route("/count", websocket(count));
    /// ```
    pub fn state<T: Any + Clone + Send + Sync>(mut self, value: T) -> Self {
        self.scope.add_state(value);
        self
    }

    scope_methods! {
        /// Runs `guard` for each request that one of this router's routes was chosen for, including
        /// nested routes, before the route handles it.
        ///
        /// A guard returns the request, perhaps with a value attached ([`Request::insert`]), or
        /// rejects it with any response.
        ///
        /// Guards run one after another: those of outer routers before those of inner ones, in the
        /// order in which they were added, and the route's own last. Use
        /// [`guard_all`](Self::guard_all) for a guard that has to run for every request. The time
        /// that guards take counts towards the [`opening_timeout`](Config::opening_timeout()) of
        /// the outermost router. The module [`guards`](crate::guards) has ready-made ones.
        ///
        /// ```
        /// use sockless::bytes::Bytes;
        /// use sockless::http::{Response, StatusCode};
        /// use sockless::{Request, Router, text_response};
        ///
        /// #[derive(Clone)]
        /// struct User(String);
        ///
        /// async fn require_token(mut request: Request) -> Result<Request, Response<Bytes>> {
        ///     match request.header("authorization").and_then(|value| value.strip_prefix("Bearer ")) {
        ///         Some(token) => {
        ///             let user = User(token.to_owned());
        ///             request.insert(user);
        ///             Ok(request)
        ///         }
        ///         None => Err(text_response(StatusCode::UNAUTHORIZED, "a bearer token is required\n")),
        ///     }
        /// }
        ///
        /// let router = Router::new().guard(require_token);
        /// ```
        guard;
    }

    /// Runs `guard` for every request, before a route is chosen: also for those that are answered
    /// with 404, 405 or 426 or rejected for their origin. Use it for a [rate
    /// limit](crate::guards::limit_rate). Requests with a malformed head are answered without
    /// reaching the router.
    ///
    /// These guards run before all others, in the order in which they were added. This router's
    /// [`state`](Self::state) is attached by then, and path parameters are not. In a nested router
    /// they run as the first of its [guards](Self::guard), only for requests that one of its routes
    /// was chosen for.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use sockless::Router;
    /// use sockless::guards::{RateLimit, limit_rate};
    ///
    /// let router = Router::new().guard_all(limit_rate(RateLimit::new(20, Duration::from_secs(10))));
    /// ```
    pub fn guard_all<F, Fut>(mut self, guard: F) -> Self
    where
        F: Fn(Request) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Request, Response<Bytes>>> + Send + 'static,
    {
        self.before_routing.add_guard(guard);
        self
    }

    /// Returns all routes, in the order of their definition. [`Display`](fmt::Display) writes them,
    /// one per line.
    ///
    /// ```
    /// use sockless::{Router, Session, websocket};
    ///
    /// async fn chat(session: Session) {}
    ///
    /// let router = Router::new().route("/chat/{room}", websocket(chat).protocol("chat.v2"));
    /// let route = router.routes().next().unwrap();
    /// assert_eq!((route.path(), &*route.protocols()[0]), ("/chat/{room}", "chat.v2"));
    /// ```
    pub fn routes(&self) -> impl Iterator<Item = &RouteInfo> {
        self.table.entries().iter().map(|entry| &entry.info)
    }
}

impl fmt::Display for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for route in self.routes() {
            writeln!(f, "{route}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router")
            .field("routes", &self.routes().collect::<Vec<_>>())
            .field("scope", &self.scope)
            .field("before_routing", &self.before_routing)
            .field("proxies", &self.proxies)
            .finish()
    }
}

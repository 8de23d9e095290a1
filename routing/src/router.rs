//! The router as it is built: [`Router`].

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
use crate::scope::Scope;
use crate::selector::Selector;
use crate::table::{Entry, RouteError, Table, parse};

/// Leads each request to the handler that its path, its method and its subprotocols ask for.
///
/// A router is a [`Service`](sockless_driver::Service): a runtime serves it as it is. It is put
/// together from *routes* ([`route`](Self::route), [`nest`](Self::nest)) and from what holds for all
/// of them, wherever in the chain it stands: *settings* ([`websockets`](Self::websockets),
/// [`configure`](Self::configure), [`origins`](Self::origins),
/// [`prefer_server_protocols`](Self::prefer_server_protocols),
/// [`ignore_trailing_slash`](Self::ignore_trailing_slash)), *selectors* ([`when`](Self::when)),
/// *state* ([`state`](Self::state)) and *guards* ([`guard`](Self::guard),
/// [`guard_all`](Self::guard_all)).
///
/// # Paths
///
/// | in a path | matches | captures |
/// |---|---|---|
/// | `chat` | itself, case-sensitively | |
/// | `v{version}`, `{name}.json` | a segment with this fixed text around something | that |
/// | `{id:u64}` | a segment that parses as a `u64`; so with `bool` and every integer type | it |
/// | `{room}` | a segment that is not empty | it |
/// | `{room?}`, at the end | the same, or no segment, or an empty one | it, if it is there |
/// | `*` | a segment that is not empty | |
/// | `{*rest}`, `v{*rest}`, `{*}`, at the end | all that is left, even nothing | it, slashes and all, if it has a name |
///
/// `{{` and `}}` are braces, and `%2A` is a star. Case and slashes count: `/chat` and `/chat/` are
/// two paths, unless [`ignore_trailing_slash`](Self::ignore_trailing_slash) is set, and `//` is not
/// `/`, as whoever filters paths before this server may think otherwise.
///
/// Paths are compared decoded, so `/ch%61t` is `/chat`, in requests and in routes. A `%2F` inside of
/// a segment does not split it, and `+` is a plus. [`Request::param`] gives parameters decoded. As they
/// come from the peer they may hold anything, slashes and dots too.
///
/// # Which path
///
/// Where several paths match, they are compared segment by segment from the left, and the first
/// difference decides: selectors ([`when`](Self::when)) before none and more of them before fewer; a
/// literal; a parameter, the one with more fixed text first, then the one with a type; the wildcard;
/// the rest. At the end of the request's path, a route that ends there goes before one whose slash
/// is ignored, then an optional segment that is missing, then an empty rest. What is still equal goes
/// by the order of definition.
///
/// A better path without a route that takes the call stands in nobody's way: the next best is tried.
/// But where a request for a WebSocket has come to a WebSocket, no page answers it, and what is wrong
/// with its handshake or its origin is final.
///
/// # Which route
///
/// Of the routes at the path, an upgrade request goes to a WebSocket: a GET of HTTP/1.1 with
/// `Upgrade: websocket`, or a CONNECT of HTTP/2, which a host hands over when its `:protocol` is
/// `websocket` (RFC 8441). Every other request goes to the `respond` route of its method. Of several
/// WebSockets the client's offers decide, in the client's order; if none is served, the one without
/// a subprotocol takes the call. The route's [`Origins`] are checked, its state is attached, its
/// guards run, and then the upgrade is granted.
///
/// # What is answered otherwise
///
/// Each answer has one line of plain text that says what was wrong; to HEAD it goes without. Of
/// several the first in this list, and of two alike that of the better path:
///
/// | status | when |
/// |---|---|
/// | 400 | the path cannot be decoded |
/// | 400, 403 | the handshake is malformed, or the page's origin is refused |
/// | 426, with `Upgrade` and `Sec-WebSocket-Version` | only WebSockets are here, and the request asks for none, or for another version |
/// | 400 | no offered subprotocol is served |
/// | 204, with `Allow` | OPTIONS, and no route at this path answers it; `OPTIONS *` |
/// | 405, with `Allow` | no route at this path answers the method |
/// | 400 | the query lacks what each route at this path needs |
/// | 404 | no route has this path |
#[derive(Clone, Default)]
#[must_use = "a router does nothing until it is served"]
pub struct Router {
    pub(crate) table: Table,
    pub(crate) scope: Scope,
    /// The guards that stand before the routes.
    pub(crate) door: Scope,
    pub(crate) proxies: Option<TrustedProxies>,
}

impl Router {
    /// A router without routes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Serves `path` with `route`: a [`websocket`](crate::websocket()),
    /// [`websocket_raw`](crate::websocket_raw()), [`respond`](crate::respond()) or
    /// [`respond_async`](crate::respond_async()).
    ///
    /// The empty path is `/`, the place of the router itself. Routes may share a path when no request
    /// could mean both: WebSockets of different subprotocols and at most one without, responses to
    /// different methods, routes with different selectors. How parameters are named makes no
    /// difference: `/{a}` and `/{b}` are one path.
    ///
    /// # Panics
    ///
    /// Where [`try_route`](Self::try_route) has an error: a mistake in the program, found when it
    /// starts.
    #[track_caller]
    pub fn route(self, path: &str, route: impl Into<Route>) -> Self {
        match self.try_route(path, route) {
            Ok(router) => router,
            Err(error) => panic!("{error}"),
        }
    }

    /// As [`route`](Self::route), for routes that are not known when the program is compiled.
    ///
    /// # Errors
    ///
    /// When the path or a subprotocol's name is not valid, or the route conflicts with one that is
    /// there.
    pub fn try_route(mut self, path: &str, route: impl Into<Route>) -> Result<Self, RouteError> {
        self.table.insert(Entry::new(path, route.into())?)?;
        Ok(self)
    }

    /// Adds the routes of `router`, each beneath `prefix`; its route `/`, or without a path, is at the
    /// prefix itself.
    ///
    /// ```
    /// use sockless_driver::Session;
    /// use sockless_routing::{Router, websocket};
    ///
    /// async fn chat(session: Session) {}
    ///
    /// let router = Router::new().nest("/chat", Router::new().route("", websocket(chat)));
    /// assert_eq!(router.to_string(), "/chat (WebSocket)\n");
    /// ```
    ///
    /// They keep their router's settings, and get this router's where theirs has none. Requests pass
    /// this router's guards first. Several routers may be nested under one prefix, and under `/`.
    ///
    /// # Panics
    ///
    /// Where [`try_nest`](Self::try_nest) has an error: a mistake in the program, found when it
    /// starts.
    #[track_caller]
    pub fn nest(self, prefix: &str, router: Self) -> Self {
        match self.try_nest(prefix, router) {
            Ok(router) => router,
            Err(error) => panic!("{error}"),
        }
    }

    /// As [`nest`](Self::nest), for routers that are not known when the program is compiled.
    ///
    /// # Errors
    ///
    /// When the prefix is not valid, or a route conflicts with one that is there.
    pub fn try_nest(mut self, prefix: &str, router: Self) -> Result<Self, RouteError> {
        let prefix = parse(prefix)?;
        let Self { table, mut scope, door, proxies: _ } = router;
        scope.enter_door(&door);
        for entry in table.into_entries() {
            self.table.insert(entry.nest(&prefix, &scope))?;
        }
        Ok(self)
    }

    /// The settings of this router's WebSockets. The outermost router's also bound the heads of all
    /// requests. Default: the outer router's, and [`Config::default`] without one.
    pub fn websockets(mut self, config: Config) -> Self {
        self.scope.config = Some(Arc::new(config));
        self
    }

    /// Changes the settings of this router's WebSockets: what `change` leaves as it is stays what
    /// [`websockets`](Self::websockets) set here or in an outer router. Changes of outer routers come
    /// first.
    pub fn configure(mut self, change: impl Fn(Config) -> Config + Send + Sync + 'static) -> Self {
        self.scope.add_change(change);
        self
    }

    /// Serves requests that `selector` selects, and no others. It stands where the router is nested,
    /// before what the router's routes add to the path; of several, all have to select.
    ///
    /// With selectors of different hosts, routers make virtual servers; with
    /// [`local_port`](Selector::local_port), an admin's door that is not open to the world.
    pub fn when(mut self, selector: Selector) -> Self {
        self.scope.selectors.add(selector);
        self
    }

    /// Lets a path that differs from a route's by one slash at its end lead there too, if none
    /// without this difference does. Default: the outer router's, and `false` without one.
    pub fn ignore_trailing_slash(mut self, ignore: bool) -> Self {
        self.scope.ignore_slash = Some(ignore);
        self
    }

    /// Believes what these proxies say of the client. Only the outermost router is asked, since
    /// selectors go by it. Default: nobody is believed.
    pub fn trust(mut self, proxies: TrustedProxies) -> Self {
        self.proxies = Some(proxies);
        self
    }

    /// Which pages may open this router's WebSockets. Default: the outer router's policy. Without any
    /// no page may, and is told so with 403: whom to admit is for you to choose.
    pub fn origins(mut self, origins: Origins) -> Self {
        self.scope.origins = Some(origins);
        self
    }

    /// Of several subprotocols that are offered and served, takes the one that was routed first, and
    /// not the one that the client prefers (RFC 6455 §4.2.2, item 5, leaves it to the server).
    /// Where routes of several routers share a path, the first one's router decides. Default: the
    /// outer router's, and `false` without one.
    pub fn prefer_server_protocols(mut self, prefer: bool) -> Self {
        self.scope.server_order = Some(prefer);
        self
    }

    /// Attaches a clone of `value` to each call of this router's routes, before the guards run:
    /// [`Request::get`] finds it by its type. Of several values of one type the innermost router's last
    /// one stays. Share what is large or changes: `Arc<T>` is the type to ask for then.
    pub fn state<T: Any + Clone + Send + Sync>(mut self, value: T) -> Self {
        self.scope.add_state(value);
        self
    }

    /// Asks `guard` about each call of this router's routes, nested ones included, before it is
    /// served: it passes the call on, perhaps with a value attached ([`Request::insert`]), or refuses it
    /// with a response of any kind.
    ///
    /// Guards run one after the other: the outer router's before the inner one's, and in the order
    /// they were added, and a route's own last. They see only calls that a route was chosen for:
    /// [`guard_all`](Self::guard_all) is for those that see every request. What
    /// they wait for counts towards the outermost router's
    /// [`opening_timeout`](Config::opening_timeout()). [`guards`](crate::guards) has some that are
    /// ready to use.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use http::{Response, StatusCode};
    /// use sockless_driver::Request;
    /// use sockless_routing::{Router, text_response};
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
    ///         None => Err(text_response(StatusCode::UNAUTHORIZED, "a bearer token is needed\n")),
    ///     }
    /// }
    ///
    /// let router = Router::new().guard(require_token);
    /// ```
    pub fn guard<F, Fut>(mut self, guard: F) -> Self
    where
        F: Fn(Request) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Request, Response<Bytes>>> + Send + 'static,
    {
        self.scope.add_guard(guard);
        self
    }

    /// Asks `guard` about every request, before a route is looked for: also about those that are answered
    /// with 404, 405 or 426, or refused for their origin. This is the place of a
    /// [rate limit](crate::guards::limit_rate). Requests whose head is malformed reach no router: they are
    /// answered before.
    ///
    /// These guards run before all others, in the order they were added, with this router's
    /// [`state`](Self::state) attached and no path parameters. In a router that is nested in another
    /// they run as the first of its [guards](Self::guard), and see only calls that one of its routes was
    /// chosen for.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use sockless_routing::Router;
    /// use sockless_routing::guards::{RateLimit, limit_rate};
    ///
    /// let router = Router::new().guard_all(limit_rate(RateLimit::new(20, Duration::from_secs(10))));
    /// ```
    pub fn guard_all<F, Fut>(mut self, guard: F) -> Self
    where
        F: Fn(Request) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Request, Response<Bytes>>> + Send + 'static,
    {
        self.door.add_guard(guard);
        self
    }

    /// All routes, in the order of their definition. [`Display`](fmt::Display) writes the same, a
    /// route to a line.
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
            .field("door", &self.door)
            .field("proxies", &self.proxies)
            .finish()
    }
}

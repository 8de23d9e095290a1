//! The router as it is built: [`Router`].

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use sockless::Config;
use sockless_driver::Call;

use crate::listing::RouteInfo;
use crate::origin::Origins;
use crate::route::Route;
use crate::scope::Scope;
use crate::table::{Entry, RouteError, Table, parse};

/// Leads each request to the handler that its path, its method and its subprotocols ask for.
///
/// A router is a [`Service`](sockless_driver::Service): a runtime serves it as it is. It is put
/// together from *routes* ([`route`](Self::route), [`nest`](Self::nest)) and from what holds for all
/// of them, wherever in the chain it stands: *settings* ([`websockets`](Self::websockets),
/// [`origins`](Self::origins), [`prefer_server_protocols`](Self::prefer_server_protocols)), *state*
/// ([`state`](Self::state)) and *guards* ([`guard`](Self::guard)).
///
/// # Paths
///
/// `{name}` in a path matches what is not empty and has no `/`, alone in its segment or with a
/// literal before or behind it (`/v{version}`, `/{name}.json`); `{*rest}`, at the end, matches
/// everything that is left, if there is something. `{{` and `}}` are braces. Where several paths
/// match, a literal goes before a parameter; paths that no such rule tells apart, like `/{a}` and
/// `/{b}` or `/{a}` and `/{*rest}`, conflict. Case and slashes count: `/chat` and `/chat/` are two
/// paths.
///
/// Paths are compared decoded, so `/ch%61t` is `/chat`, in requests and in routes. A `%2F` inside of
/// a segment does not split it, and `+` is a plus. [`Call::param`] gives parameters decoded. As they
/// come from the peer they may hold anything, slashes and dots too.
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
/// Each answer has one line of plain text that says what was wrong; to HEAD it goes without.
///
/// | status | when |
/// |---|---|
/// | 400 | the path cannot be decoded, the handshake is malformed, no offered subprotocol is served |
/// | 403 | the page's origin is refused |
/// | 404 | no route has this path |
/// | 405, with `Allow` | no route at this path answers the method |
/// | 426, with `Upgrade` and `Sec-WebSocket-Version` | only WebSockets are here, and the request asks for none, or for another version |
#[derive(Clone, Default)]
#[must_use = "a router does nothing until it is served"]
pub struct Router {
    pub(crate) table: Table,
    pub(crate) scope: Scope,
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
    /// Routes may share a path when no request could mean both: WebSockets of different subprotocols
    /// and at most one without, responses to different methods.
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

    /// Adds the routes of `router`, each beneath `prefix`; its route `/` is at the prefix itself.
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
        for entry in router.table.into_entries() {
            self.table.insert(entry.nest(&prefix, &router.scope))?;
        }
        Ok(self)
    }

    /// The settings of this router's WebSockets. The outermost router's also bound the heads of all
    /// requests. Default: the outer router's, and [`Config::default`] without one.
    pub fn websockets(mut self, config: Config) -> Self {
        self.scope.config = Some(Arc::new(config));
        self
    }

    /// Which pages may open this router's WebSockets. Default: the outer router's, and
    /// [`Origins::same_origin`] without one.
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
    /// [`Call::get`] finds it by its type. Of several values of one type the innermost router's last
    /// one stays. Share what is large or changes: `Arc<T>` is the type to ask for then.
    pub fn state<T: Any + Clone + Send + Sync>(mut self, value: T) -> Self {
        self.scope.add_state(value);
        self
    }

    /// Asks `guard` about each call of this router's routes, nested ones included, before it is
    /// served: it passes the call on, perhaps with a value attached ([`Call::insert`]), or refuses it
    /// with a response of any kind.
    ///
    /// Guards run one after the other: the outer router's before the inner one's, and in the order
    /// they were added. They see only calls that a route was chosen for. What they wait for counts
    /// towards the outermost router's [`opening_timeout`](Config::opening_timeout()).
    ///
    /// ```
    /// use bytes::Bytes;
    /// use http::{Response, StatusCode};
    /// use sockless_driver::Call;
    /// use sockless_routing::{Router, text};
    ///
    /// #[derive(Clone)]
    /// struct User(String);
    ///
    /// async fn require_token(mut call: Call) -> Result<Call, Response<Bytes>> {
    ///     match call.header("authorization").and_then(|value| value.strip_prefix("Bearer ")) {
    ///         Some(token) => {
    ///             let user = User(token.to_owned());
    ///             call.insert(user);
    ///             Ok(call)
    ///         }
    ///         None => Err(text(StatusCode::UNAUTHORIZED, "a bearer token is needed\n")),
    ///     }
    /// }
    ///
    /// let router = Router::new().guard(require_token);
    /// ```
    pub fn guard<F, Fut>(mut self, guard: F) -> Self
    where
        F: Fn(Call) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Call, Response<Bytes>>> + Send + 'static,
    {
        self.scope.add_guard(guard);
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
            .finish()
    }
}

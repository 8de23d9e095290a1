//! Routes whose handlers stay on one thread: [`LocalRouter`], [`websocket_local`],
//! [`websocket_raw_local`].

use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response};
use sockless_core::Config;
use sockless_driver::local::{LocalAnswer, LocalBoxFuture, LocalService, SendWrapper};
use sockless_driver::{Outcome, RawSession, Request, Service, Session};

use crate::origin::Origins;
use crate::route::{RespondRoute, Route, WebSocketRoute, websocket, websocket_raw};
use crate::router::Router;
use crate::selector::Selector;
use crate::table::RouteError;

/// A router that stays on one thread, with handlers that do not have to be `Send`.
///
/// It is a [`Router`] to which [local routes](websocket_local) can be added. Settings, guards,
/// state and other routes are those of the router that it is made from.
///
/// ```
/// use std::cell::RefCell;
/// use std::rc::Rc;
///
/// use sockless::http::Response;
/// use sockless::local::{LocalRouter, websocket_local};
/// use sockless::{Origins, Router, Session, respond};
///
/// let names = Rc::new(RefCell::new(Vec::new()));
/// let hello = websocket_local(move |session: Session| {
///     let names = names.clone();
///     async move {
///         let name = session.request().param_str("name").unwrap_or_default().to_owned();
///         names.borrow_mut().push(name);
///         let everyone = names.borrow().join(", ");
///         session.send(everyone).await
///     }
/// });
/// let router = Router::new()
///     .origins(Origins::same_origin())
///     .route("/health", respond(|_request| Response::new("ok".into())));
/// let router = LocalRouter::from(router).route("/hello/{name}", hello);
/// assert_eq!(router.to_string(), "/health (GET, HEAD)\n/hello/{name} (WebSocket)\n");
/// ```
#[derive(Default)]
#[must_use = "a router does nothing until a server has it"]
pub struct LocalRouter {
    router: Router,
    /// It is not `Send`: its handlers are wrapped in a [`SendWrapper`].
    confined: PhantomData<Rc<()>>,
}

impl LocalRouter {
    /// Creates a router without routes, with default settings.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a route; see [`Router::route`].
    ///
    /// # Panics
    ///
    /// Panics if [`try_route`](Self::try_route) returns an error.
    #[track_caller]
    pub fn route(self, path: &str, route: impl Into<LocalRoute>) -> Self {
        match self.try_route(path, route) {
            Ok(router) => router,
            Err(error) => panic!("{error}"),
        }
    }

    /// Like [`route`](Self::route), for routes that are only known at run time.
    ///
    /// # Errors
    ///
    /// As [`Router::try_route`].
    pub fn try_route(self, path: &str, route: impl Into<LocalRoute>) -> Result<Self, RouteError> {
        self.router.try_route(path, route.into().route).map(Self::from)
    }

    /// Adds the routes of `router`, each with `prefix` before its path; see [`Router::nest`].
    ///
    /// # Panics
    ///
    /// Panics if [`try_nest`](Self::try_nest) returns an error.
    #[track_caller]
    pub fn nest(self, prefix: &str, router: impl Into<Self>) -> Self {
        match self.try_nest(prefix, router) {
            Ok(router) => router,
            Err(error) => panic!("{error}"),
        }
    }

    /// Like [`nest`](Self::nest), for routers that are only known at run time.
    ///
    /// # Errors
    ///
    /// As [`Router::try_nest`].
    pub fn try_nest(self, prefix: &str, router: impl Into<Self>) -> Result<Self, RouteError> {
        self.router.try_nest(prefix, router.into().router).map(Self::from)
    }
}

impl From<Router> for LocalRouter {
    fn from(router: Router) -> Self {
        Self { router, confined: PhantomData }
    }
}

impl LocalService for LocalRouter {
    fn call(&self, request: Request) -> LocalBoxFuture<'_, LocalAnswer> {
        LocalService::call(&self.router, request)
    }

    fn config(&self) -> Arc<Config> {
        Service::config(&self.router)
    }
}

/// Writes all routes, one per line.
impl fmt::Display for LocalRouter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.router.fmt(f)
    }
}

impl fmt::Debug for LocalRouter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LocalRouter").field(&self.router).finish()
    }
}

/// Creates a route as [`websocket`] does, with a `handler` that stays on one thread: neither it nor
/// its future has to be `Send`.
///
/// It can be added to a [`LocalRouter`] only.
pub fn websocket_local<F, Fut>(handler: F) -> LocalWebSocketRoute
where
    F: Fn(Session) -> Fut + 'static,
    Fut: Future<Output: Outcome> + 'static,
{
    let handler = SendWrapper::new(handler);
    LocalWebSocketRoute::of(websocket(move |session| SendWrapper::new((*handler)(session))))
}

/// Creates a route as [`websocket_raw`] does, with a `handler` that stays on one thread: neither it
/// nor its future has to be `Send`.
///
/// It can be added to a [`LocalRouter`] only.
pub fn websocket_raw_local<F, Fut>(handler: F) -> LocalWebSocketRoute
where
    F: Fn(RawSession) -> Fut + 'static,
    Fut: Future<Output: Outcome> + 'static,
{
    let handler = SendWrapper::new(handler);
    LocalWebSocketRoute::of(websocket_raw(move |session| SendWrapper::new((*handler)(session))))
}

/// A [`WebSocketRoute`] whose handler stays on one thread.
///
/// Created by [`websocket_local`] and [`websocket_raw_local`]. Its methods are those of
/// [`WebSocketRoute`].
#[derive(Debug)]
#[must_use = "a route does nothing until a router has it"]
pub struct LocalWebSocketRoute {
    route: WebSocketRoute,
    confined: PhantomData<Rc<()>>,
}

impl LocalWebSocketRoute {
    fn of(route: WebSocketRoute) -> Self {
        Self { route, confined: PhantomData }
    }

    /// As [`WebSocketRoute::negotiate_extensions`].
    pub fn negotiate_extensions(self) -> Self {
        Self::of(self.route.negotiate_extensions())
    }

    /// As [`WebSocketRoute::protocol`].
    pub fn protocol(self, name: impl Into<String>) -> Self {
        Self::of(self.route.protocol(name))
    }

    /// As [`WebSocketRoute::response_header`].
    pub fn response_header(self, name: HeaderName, value: HeaderValue) -> Self {
        Self::of(self.route.response_header(name, value))
    }

    /// As [`WebSocketRoute::origins`].
    pub fn origins(self, origins: Origins) -> Self {
        Self::of(self.route.origins(origins))
    }

    /// As [`WebSocketRoute::config`].
    pub fn config(self, config: Config) -> Self {
        Self::of(self.route.config(config))
    }

    /// As [`WebSocketRoute::configure`].
    pub fn configure(self, change: impl Fn(Config) -> Config + Send + Sync + 'static) -> Self {
        Self::of(self.route.configure(change))
    }

    /// As [`WebSocketRoute::when`].
    pub fn when(self, selector: Selector) -> Self {
        Self::of(self.route.when(selector))
    }

    /// As [`WebSocketRoute::guard`].
    pub fn guard<F, Fut>(self, guard: F) -> Self
    where
        F: Fn(Request) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Request, Response<Bytes>>> + Send + 'static,
    {
        Self::of(self.route.guard(guard))
    }
}

/// A route for [`LocalRouter::route`]: a [`LocalWebSocketRoute`], or one of those that a [`Router`]
/// takes.
#[derive(Debug)]
#[must_use = "a route does nothing until a router has it"]
pub struct LocalRoute {
    route: Route,
    confined: PhantomData<Rc<()>>,
}

impl From<LocalWebSocketRoute> for LocalRoute {
    fn from(LocalWebSocketRoute { route, confined }: LocalWebSocketRoute) -> Self {
        Self { route: route.into(), confined }
    }
}

impl From<WebSocketRoute> for LocalRoute {
    fn from(route: WebSocketRoute) -> Self {
        Route::from(route).into()
    }
}

impl From<RespondRoute> for LocalRoute {
    fn from(route: RespondRoute) -> Self {
        Route::from(route).into()
    }
}

impl From<Route> for LocalRoute {
    fn from(route: Route) -> Self {
        Self { route, confined: PhantomData }
    }
}

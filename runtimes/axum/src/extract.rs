//! The extractor: [`WebSocketUpgrade`].

use std::any::Any;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, FromRequestParts, OptionalFromRequestParts, RawPathParams};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Version};
use sockless_core::Config;
use sockless_core::handshake::{UpgradeError, UpgradeRequest};
use sockless_driver::{
    AdmittedRequest, Outcome, RawSession, Reply, Request, ResponseHeaderError, Service, Session,
    Upgrade,
};
use sockless_hyper::{PendingUpgrade, asks_for_websocket, cannot_upgrade, for_version};
use sockless_routing::Origins;

use crate::settings::WebSockets;

/// An extractor for requests that ask for a WebSocket. The handler's response is what one of its
/// methods returns.
///
/// ```
/// use axum::extract::{Query, State};
/// use axum::http::StatusCode;
/// use axum::response::{IntoResponse, Response};
/// use sockless::axum::WebSocketUpgrade;
/// use sockless::{Closed, Session};
///
/// #[derive(Clone)]
/// struct App {
///     token: &'static str,
/// }
///
/// async fn chat(
///     State(app): State<App>,
///     Query(query): Query<Vec<(String, String)>>,
///     ws: WebSocketUpgrade,
/// ) -> Response {
///     if !query.iter().any(|(name, value)| name == "token" && value == app.token) {
///         return StatusCode::UNAUTHORIZED.into_response();
///     }
///     ws.protocols(["chat.v2", "chat.v1"]).on_upgrade(async |mut session: Session| {
///         loop {
///             let message = session.recv().await?;
///             session.send(message).await?;
///         }
///         # #[allow(unreachable_code)]
///         Ok::<_, Closed>(())
///     })
/// }
/// # let _: axum::Router = axum::Router::new()
/// #     .route("/chat", axum::routing::any(chat)).with_state(App { token: "t" });
/// ```
///
/// It goes first among the arguments or after others, as long as the last one is no body. A request
/// that is not a valid handshake never reaches the handler: it is rejected with the same responses
/// as in a `sockless::Router` ([`WebSocketRejection`]). For a route that serves pages too, take an
/// `Option<WebSocketUpgrade>`.
///
/// The [request](Self::request) of the session has the client's address from axum's [`ConnectInfo`],
/// if the application is served with
/// `into_make_service_with_connect_info::<SocketAddr>()`; the parameters of the path; and the
/// values that layers have put into the request's extensions.
///
/// It counts among the connections of [`WebSockets::server`] from here to the end of the session,
/// within its limits.
#[must_use = "the session begins when `on_upgrade` is called and its response is returned"]
pub struct WebSocketUpgrade {
    admitted: AdmittedRequest,
    upgrade: UpgradeRequest,
    selected: Option<String>,
    pending: Option<PendingUpgrade>,
    version: Version,
    config: Arc<Config>,
    origins: Origins,
}

impl WebSocketUpgrade {
    /// Selects the first subprotocol of the client's list that is among `supported`: the client's
    /// order of preference decides. Without one in common, the session has no subprotocol.
    ///
    /// [`selected_protocol`](Self::selected_protocol) returns it, and during the session
    /// `session.request().subprotocol()`.
    pub fn protocols(mut self, supported: impl IntoIterator<Item: AsRef<str>>) -> Self {
        let supported: Vec<_> = supported.into_iter().collect();
        let supported: Vec<_> = supported.iter().map(AsRef::as_ref).collect();
        self.selected = self.upgrade.select(&supported).map(str::to_owned);
        self
    }

    /// Returns the subprotocols that the client offers, in its order of preference.
    pub fn offered_protocols(&self) -> impl Iterator<Item = &str> {
        self.upgrade.subprotocols()
    }

    /// Returns the subprotocol that [`protocols`](Self::protocols) has selected.
    pub fn selected_protocol(&self) -> Option<&str> {
        self.selected.as_deref()
    }

    /// Sets which web pages may open this WebSocket, in place of [`WebSockets::origins`].
    pub fn origins(mut self, origins: Origins) -> Self {
        self.origins = origins;
        self
    }

    /// Sets the settings of the session, in place of [`WebSockets::config`].
    pub fn config(mut self, config: Config) -> Self {
        self.config = Arc::new(config);
        self
    }

    /// Changes some settings of the session.
    pub fn configure(self, change: impl FnOnce(Config) -> Config) -> Self {
        let config = change(Config::clone(&self.config));
        self.config(config)
    }

    /// Attaches a value to the session's request, which
    /// [`Request::get`] returns: `session.request().get::<User>()`.
    pub fn insert<T: Any + Clone + Send + Sync>(mut self, value: T) -> Self {
        self.admitted.request_mut().insert(value);
        self
    }

    /// Adds a header to the response that opens the session, such as `Set-Cookie`.
    ///
    /// # Errors
    ///
    /// [`ResponseHeaderError`] if the handshake sets the header itself, or it is invalid.
    pub fn header<N, V>(mut self, name: N, value: V) -> Result<Self, ResponseHeaderError>
    where
        N: TryInto<HeaderName, Error: Into<http::Error>>,
        V: TryInto<HeaderValue, Error: Into<http::Error>>,
    {
        self.admitted.request_mut().add_response_header(name, value)?;
        Ok(self)
    }

    /// Returns the request.
    pub fn request(&self) -> &Request {
        self.admitted.request()
    }

    /// Accepts the request: `handler` runs with the session once the response, which this returns,
    /// has been sent. It may return `()` or any `Result` ([`Outcome`]).
    ///
    /// Return the response from axum's handler. A page whose origin is not allowed gets a 403
    /// instead, and a server that shuts down sends a 503; then `handler` does not run.
    pub fn on_upgrade<F, Fut>(self, handler: F) -> Response
    where
        F: FnOnce(Session) -> Fut + Send + 'static,
        Fut: Future<Output: Outcome> + Send + 'static,
    {
        self.decide(|request, upgrade, config| {
            Upgrade::websocket(request, upgrade, config, handler)
        })
    }

    /// Like [`on_upgrade`](Self::on_upgrade), for a session of frames. No extension is negotiated.
    pub fn on_upgrade_raw<F, Fut>(self, handler: F) -> Response
    where
        F: FnOnce(RawSession) -> Fut + Send + 'static,
        Fut: Future<Output: Outcome> + Send + 'static,
    {
        self.decide(|request, upgrade, config| Upgrade::raw(request, upgrade, config, handler))
    }

    /// Lets a [`Service`] answer the request, such as a `sockless::Router` or one of its routes:
    /// with its own subprotocols, settings, origin policy and guards, in place of those of this
    /// value, and with what was [inserted](Self::insert).
    ///
    /// ```
    /// use axum::response::Response;
    /// use sockless::axum::WebSocketUpgrade;
    /// use sockless::{Session, websocket};
    ///
    /// async fn chat(session: Session) {}
    ///
    /// async fn either(ws: WebSocketUpgrade) -> Response {
    ///     ws.handler(websocket(chat).protocol("chat.v2")).await
    /// }
    /// # let _ = either;
    /// ```
    ///
    /// The response is 503 if the service takes longer than
    /// [`Config::opening_timeout`], and 500 if it panics.
    ///
    /// Cancel-safe: dropping the future drops the request, which is not answered then.
    pub async fn handler(self, service: impl Service) -> Response {
        respond(self.admitted.answer_by(&service).await, self.pending, self.version)
    }

    fn decide(
        self,
        accept: impl FnOnce(Request, UpgradeRequest, Arc<Config>) -> Upgrade,
    ) -> Response {
        let Self { admitted, upgrade, pending, version, config, origins, .. } = self;
        let reply = admitted.decide(|request| {
            origins.check_request(&request)?;
            Ok(accept(request, upgrade, config))
        });
        respond(reply, pending, version)
    }
}

fn respond(reply: Reply, pending: Option<PendingUpgrade>, version: Version) -> Response {
    match (reply, pending) {
        (Reply::Respond(response), _) => for_version(response, version).map(Body::from),
        (Reply::Upgrade(granted), Some(pending)) => pending.grant(granted).map(|()| Body::empty()),
        (Reply::Upgrade(_), None) => cannot_upgrade().map(Body::from),
    }
}

impl fmt::Debug for WebSocketUpgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketUpgrade")
            .field("request", self.request())
            .field("selected_protocol", &self.selected)
            .finish_non_exhaustive()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for WebSocketUpgrade {
    type Rejection = WebSocketRejection;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, WebSocketRejection> {
        let websockets = WebSockets::of(&parts.extensions).clone();
        let pending = PendingUpgrade::take(parts);
        let peer = ConnectInfo::<SocketAddr>::from_request_parts(parts, &()).await;
        let peer = peer.ok().map(|ConnectInfo(peer)| peer);
        // They are rejected if the path of the route has no parameters.
        let params = RawPathParams::from_request_parts(parts, &()).await.ok();

        let mut head = http::Request::from_parts(parts.clone(), ());
        head.extensions_mut().remove::<WebSockets>();
        let (asks, version) = (asks_for_websocket(&head), head.version());
        let mut request = Request::new(head).with_addrs(peer, None);
        for (name, value) in params.iter().flatten() {
            request.push_param(name, value);
        }
        if let Some(proxies) = &websockets.proxies {
            request.set_forwarded(proxies.forwarded_for(&request));
        }
        let WebSockets { config, origins, .. } = &websockets;
        let admitted = websockets.server().admit(request, config);
        let reject = |response| WebSocketRejection(for_version(response, version));
        let admitted = admitted.map_err(reject)?;
        let upgrade = match (asks, admitted.request().as_http()) {
            (false, http) => Err(UpgradeError::upgrade_required(http)),
            (true, http) if http.method() == Method::CONNECT => {
                UpgradeRequest::from_extended_connect(http)
            }
            (true, http) => UpgradeRequest::from_request(http),
        };
        match upgrade {
            Ok(upgrade) => Ok(Self {
                admitted,
                upgrade,
                selected: None,
                pending,
                version,
                config: config.clone(),
                origins: origins.clone(),
            }),
            Err(error) => match admitted.decide(|_| Err(error.response())) {
                Reply::Respond(response) => Err(reject(response)),
                Reply::Upgrade(_) => unreachable!("no upgrade was decided"),
            },
        }
    }
}

/// `None` for a request that does not ask for a WebSocket, well formed or not.
impl<S: Send + Sync> OptionalFromRequestParts<S> for WebSocketUpgrade {
    type Rejection = WebSocketRejection;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &S,
    ) -> Result<Option<Self>, WebSocketRejection> {
        let head = http::Request::from_parts(parts.clone(), ());
        if !asks_for_websocket(&head) {
            return Ok(None);
        }
        <Self as FromRequestParts<S>>::from_request_parts(parts, state).await.map(Some)
    }
}

/// The response to a request that [`WebSocketUpgrade`] rejects, with one line of text that states
/// the reason.
///
/// * 426 if it does not ask for a WebSocket, or for another version of the protocol;
/// * 400 if the handshake is malformed;
/// * 429, 431 or 503 beyond the limits of the [server](WebSockets::server), or while it shuts down.
#[derive(Debug)]
pub struct WebSocketRejection(http::Response<Bytes>);

impl WebSocketRejection {
    /// Returns the status of the response.
    pub fn status(&self) -> http::StatusCode {
        self.0.status()
    }

    /// Returns the reason.
    pub fn body_text(&self) -> String {
        String::from_utf8_lossy(self.0.body()).trim_end().to_owned()
    }
}

impl IntoResponse for WebSocketRejection {
    fn into_response(self) -> Response {
        self.0.map(Body::from)
    }
}

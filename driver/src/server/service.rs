//! The interface between servers and routers: [`Service`] turns a [`Request`] into an [`Answer`].

use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use sockless_core::handshake::{Grant, UpgradeRequest};
use sockless_core::{Config, Negotiated};

use crate::future::BoxFuture;
use crate::request::{Request, ResponseHeaderError, response_headers};
use crate::session::{Outcome, RawSession, Running, Session};

/// Answers requests: with a response, or with an upgrade to a WebSocket.
///
/// A `Router` is a service, and servers of every runtime take one, so that neither depends on the
/// other. A program implements it to decide about requests without a router:
///
/// ```
/// use std::sync::Arc;
///
/// use sockless::driver::{Answer, Upgrade};
/// use sockless::http::StatusCode;
/// use sockless::proto::handshake::text_response;
/// use sockless::{BoxFuture, Config, Request, Service, Session};
///
/// struct Hello;
///
/// impl Service for Hello {
///     fn call(&self, request: Request) -> BoxFuture<'_, Answer> {
///         let answer = match request.upgrade() {
///             Ok(upgrade) => Answer::Upgrade(Upgrade::websocket(
///                 request,
///                 upgrade,
///                 self.config(),
///                 async |session: Session| session.send("hello").await,
///             )),
///             Err(error) => Answer::Respond(error.response()),
///         };
///         Box::pin(async { answer })
///     }
///
///     fn config(&self) -> Arc<Config> {
///         Arc::default()
///     }
/// }
/// ```
pub trait Service: Send + Sync + 'static {
    /// Answers a request. Dropping the future must have no effect other than that there is no
    /// answer.
    fn call(&self, request: Request) -> BoxFuture<'_, Answer>;

    /// Returns the settings of connections whose request is not answered yet: those for the length
    /// of the request head and for the duration of the opening handshake are used.
    fn config(&self) -> Arc<Config>;
}

impl<S: Service + ?Sized> Service for Arc<S> {
    fn call(&self, request: Request) -> BoxFuture<'_, Answer> {
        (**self).call(request)
    }

    fn config(&self) -> Arc<Config> {
        (**self).config()
    }
}

/// The answer of a [`Service`] to a request.
#[derive(Debug)]
pub enum Answer {
    /// The connection ends with this response.
    Respond(http::Response<Bytes>),
    /// The connection becomes a WebSocket.
    Upgrade(Upgrade),
}

/// An upgrade to a WebSocket: the response to send, and the handler to run after it.
pub struct Upgrade {
    pub(crate) request: Request,
    pub(crate) grant: Grant,
    /// The headers of the response besides those of the handshake.
    pub(crate) headers: HeaderMap,
    /// The response, once [`response`](Self::response) has been called.
    response: OnceLock<Box<http::Response<()>>>,
    pub(crate) negotiated: Negotiated,
    pub(crate) config: Arc<Config>,
    pub(crate) handler: Handler,
}

pub(crate) enum Handler {
    Messages(Box<dyn FnOnce(Session) -> Running + Send>),
    Raw(Box<dyn FnOnce(RawSession) -> Running + Send>),
}

impl Upgrade {
    /// Accepts `upgrade`, which `request` asks for, for a session that `handler` serves.
    ///
    /// The extensions in `config` that the client offers are negotiated.
    pub fn websocket<F, Fut>(
        request: Request,
        mut upgrade: UpgradeRequest,
        config: Arc<Config>,
        handler: F,
    ) -> Self
    where
        F: FnOnce(Session) -> Fut + Send + 'static,
        Fut: Future<Output: Outcome> + Send + 'static,
    {
        upgrade.select_extensions(config.get_extensions());
        let run = move |session| Running::start(|| handler(session));
        Self::new(request, upgrade, config, Handler::Messages(Box::new(run)))
    }

    /// Accepts `upgrade`, which `request` asks for, for a session of frames that `handler` serves.
    ///
    /// Only the extensions that were [selected](UpgradeRequest::select_extensions) before are
    /// negotiated, by default none. They are not applied: frames arrive with their reserved bits
    /// set. All reserved bits are accepted if extensions were
    /// [passed on](UpgradeRequest::pass_extensions).
    pub fn raw<F, Fut>(
        request: Request,
        upgrade: UpgradeRequest,
        config: Arc<Config>,
        handler: F,
    ) -> Self
    where
        F: FnOnce(RawSession) -> Fut + Send + 'static,
        Fut: Future<Output: Outcome> + Send + 'static,
    {
        let run = move |session| Running::start(|| handler(session));
        Self::new(request, upgrade, config, Handler::Raw(Box::new(run)))
    }

    fn new(
        mut request: Request,
        upgrade: UpgradeRequest,
        config: Arc<Config>,
        handler: Handler,
    ) -> Self {
        let (grant, headers, negotiated) = response_headers::accept(&mut request, upgrade);
        let response = OnceLock::new();
        Self { request, grant, headers, response, negotiated, config, handler }
    }

    /// True if the response selects extensions that were not negotiated here, but passed on.
    pub(crate) fn passes_extensions(&self) -> bool {
        self.negotiated.extensions.is_empty() && self.grant.has_extensions()
    }

    /// Returns the response: a 101, or a 200 over HTTP/2.
    pub fn response(&self) -> &http::Response<()> {
        self.response.get_or_init(|| {
            let mut response = self.grant.response();
            response.headers_mut().extend(self.headers.clone());
            Box::new(response)
        })
    }

    /// Adds a header to the response, after others of its name.
    ///
    /// # Errors
    ///
    /// [`ResponseHeaderError`] if the handshake sets the header itself, or it is invalid.
    pub fn add_header<N, V>(&mut self, name: N, value: V) -> Result<(), ResponseHeaderError>
    where
        N: TryInto<HeaderName, Error: Into<http::Error>>,
        V: TryInto<HeaderValue, Error: Into<http::Error>>,
    {
        self.response = OnceLock::new();
        response_headers::add(&mut self.headers, name, value)
    }

    /// Returns the request that asked for the upgrade.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Returns the settings with which the session starts.
    pub fn config(&self) -> &Config {
        &self.config
    }
}

impl fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade")
            .field("request", &self.request)
            .field("response", self.response())
            .field("negotiated", &self.negotiated)
            .finish_non_exhaustive()
    }
}

//! Where runtimes and routers meet: [`Service`] turns a [`Request`] into an [`Answer`].

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use sockless_core::extension::Agreed;
use sockless_core::handshake::UpgradeRequest;
use sockless_core::{Config, Negotiated};

use crate::future::BoxFuture;
use crate::request::Request;
use crate::session::{Outcome, RawSession, Running, Session};

/// Answers calls; a router is one.
///
/// A runtime knows no router and a router no runtime: they meet here.
pub trait Service: Send + Sync + 'static {
    /// Decides about a call: an HTTP response, or an upgrade with the handler that serves it.
    fn call(&self, request: Request) -> BoxFuture<'_, Answer>;

    /// The settings that hold until a route is known: how long a request's head may be and take.
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

/// What a [`Service`] decided about a call.
#[derive(Debug)]
pub enum Answer {
    /// The connection ends with this response.
    Respond(http::Response<Bytes>),
    /// The connection becomes a WebSocket.
    Upgrade(Upgrade),
}

/// An upgrade that was granted: the 101 to send, and the handler to run after it.
pub struct Upgrade {
    pub(crate) request: Request,
    pub(crate) response: http::Response<()>,
    pub(crate) negotiated: Negotiated,
    pub(crate) config: Arc<Config>,
    pub(crate) handler: Handler,
}

pub(crate) enum Handler {
    Messages(Box<dyn FnOnce(Session) -> Running + Send>),
    Raw(Box<dyn FnOnce(RawSession) -> Running + Send>),
}

impl Upgrade {
    /// Grants `upgrade`, made by `request`, a session that `handler` serves, with those of the extensions
    /// in `config` that the client wants.
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

    /// Grants `upgrade`, made by `request`, a session of frames that `handler` serves.
    ///
    /// It has the extensions that were
    /// [selected](UpgradeRequest::select_extensions) before, by default none. They are agreed on and
    /// not worked: frames with their bits arrive as they are.
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
        let (response, negotiated) = upgrade.accept();
        request.set_subprotocol(negotiated.subprotocol.clone());
        request.set_extensions(negotiated.extensions.iter().map(Agreed::params));
        Self { request, response, negotiated, config, handler }
    }

    /// The 101 response, which a router may add headers to.
    pub fn response_mut(&mut self) -> &mut http::Response<()> {
        &mut self.response
    }

    /// The call that was granted.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The settings that the session starts with.
    pub fn config(&self) -> &Config {
        &self.config
    }
}

impl fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade")
            .field("request", &self.request)
            .field("response", &self.response)
            .field("negotiated", &self.negotiated)
            .finish_non_exhaustive()
    }
}

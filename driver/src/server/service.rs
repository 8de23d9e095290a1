//! Where runtimes and routers meet: [`Service`] turns a [`Call`] into an [`Answer`].

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use sockless_core::extension::Agreed;
use sockless_core::handshake::UpgradeRequest;
use sockless_core::{Config, Negotiated};

use crate::future::BoxFuture;
use crate::request::Call;
use crate::session::{Outcome, RawSession, Running, Session};

/// Answers calls; a router is one.
///
/// A runtime knows no router and a router no runtime: they meet here.
pub trait Service: Send + Sync + 'static {
    /// Decides about a call: an HTTP response, or an upgrade with the handler that serves it.
    fn call(&self, call: Call) -> BoxFuture<'_, Answer>;

    /// The settings that hold until a route is known: how long a request's head may be and take.
    fn config(&self) -> Arc<Config>;
}

impl<S: Service + ?Sized> Service for Arc<S> {
    fn call(&self, call: Call) -> BoxFuture<'_, Answer> {
        (**self).call(call)
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
    pub(crate) call: Call,
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
    /// Grants `request`, made by `call`, a session that `handler` serves, with those of the extensions
    /// in `config` that the client wants.
    pub fn websocket<F, Fut>(
        call: Call,
        mut request: UpgradeRequest,
        config: Arc<Config>,
        handler: F,
    ) -> Self
    where
        F: FnOnce(Session) -> Fut + Send + 'static,
        Fut: Future<Output: Outcome> + Send + 'static,
    {
        request.select_extensions(config.get_extensions());
        let run = move |session| Running::start(|| handler(session));
        Self::new(call, request, config, Handler::Messages(Box::new(run)))
    }

    /// Grants `request`, made by `call`, a session of frames that `handler` serves.
    ///
    /// It has the extensions that were
    /// [selected](UpgradeRequest::select_extensions) before, by default none. They are agreed on and
    /// not worked: frames with their bits arrive as they are.
    pub fn raw<F, Fut>(call: Call, request: UpgradeRequest, config: Arc<Config>, handler: F) -> Self
    where
        F: FnOnce(RawSession) -> Fut + Send + 'static,
        Fut: Future<Output: Outcome> + Send + 'static,
    {
        let run = move |session| Running::start(|| handler(session));
        Self::new(call, request, config, Handler::Raw(Box::new(run)))
    }

    fn new(mut call: Call, request: UpgradeRequest, config: Arc<Config>, handler: Handler) -> Self {
        let (response, negotiated) = request.accept();
        call.set_subprotocol(negotiated.subprotocol.clone());
        call.set_extensions(negotiated.extensions.iter().map(Agreed::params));
        Self { call, response, negotiated, config, handler }
    }

    /// The 101 response, which a router may add headers to.
    pub fn response_mut(&mut self) -> &mut http::Response<()> {
        &mut self.response
    }

    /// The call that was granted.
    pub fn call(&self) -> &Call {
        &self.call
    }

    /// The settings that the session starts with.
    pub fn config(&self) -> &Config {
        &self.config
    }
}

impl fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade")
            .field("call", &self.call)
            .field("response", &self.response)
            .field("negotiated", &self.negotiated)
            .finish_non_exhaustive()
    }
}

//! Services with handlers that stay on one thread: [`LocalService`].

use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use send_wrapper::SendWrapper;
use sockless_core::Config;
use sockless_core::handshake::UpgradeRequest;

use super::LocalBoxFuture;
use crate::future::BoxFuture;
use crate::request::{Request, ResponseHeaderError};
use crate::server::{Answer, Service, Upgrade};
use crate::session::{Outcome, RawSession, Session};

/// A [`Service`] that stays on one thread, as its handlers do.
///
/// A `LocalRouter` is one, and so is every [`Service`]. A program implements it to decide about
/// requests without a router:
///
/// ```
/// use std::cell::Cell;
/// use std::rc::Rc;
/// use std::sync::Arc;
///
/// use sockless::local::{LocalAnswer, LocalBoxFuture, LocalService, LocalUpgrade};
/// use sockless::proto::handshake::UpgradeRequest;
/// use sockless::{Config, Request, Session};
///
/// /// Counts the visits, and sends each visitor the number.
/// struct Count {
///     visits: Rc<Cell<u64>>,
/// }
///
/// impl LocalService for Count {
///     fn call(&self, request: Request) -> LocalBoxFuture<'_, LocalAnswer> {
///         let visits = self.visits.clone();
///         let answer = match UpgradeRequest::from_request(request.as_http()) {
///             Ok(upgrade) => LocalAnswer::Upgrade(LocalUpgrade::websocket(
///                 request,
///                 upgrade,
///                 self.config(),
///                 move |session: Session| async move {
///                     visits.set(visits.get() + 1);
///                     session.send(visits.get().to_string()).await
///                 },
///             )),
///             Err(error) => LocalAnswer::Respond(error.response()),
///         };
///         Box::pin(async { answer })
///     }
///
///     fn config(&self) -> Arc<Config> {
///         Arc::default()
///     }
/// }
/// ```
pub trait LocalService: 'static {
    /// Answers a request. Dropping the future must have no effect other than that there is no
    /// answer.
    fn call(&self, request: Request) -> LocalBoxFuture<'_, LocalAnswer>;

    /// As [`Service::config`].
    fn config(&self) -> Arc<Config>;
}

impl<S: Service> LocalService for S {
    fn call(&self, request: Request) -> LocalBoxFuture<'_, LocalAnswer> {
        let answering = Service::call(self, request);
        Box::pin(async { answering.await.into() })
    }

    fn config(&self) -> Arc<Config> {
        Service::config(self)
    }
}

/// The answer of a [`LocalService`] to a request.
#[derive(Debug)]
pub enum LocalAnswer {
    /// The connection ends with this response.
    Respond(http::Response<Bytes>),
    /// The connection becomes a WebSocket.
    Upgrade(LocalUpgrade),
}

impl From<Answer> for LocalAnswer {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Respond(response) => Self::Respond(response),
            Answer::Upgrade(upgrade) => Self::Upgrade(upgrade.into()),
        }
    }
}

/// An [`Upgrade`] whose handler stays on the thread on which it is made.
pub struct LocalUpgrade {
    upgrade: Upgrade,
    /// It is not `Send`: its handler is wrapped in a [`SendWrapper`].
    confined: PhantomData<Rc<()>>,
}

impl LocalUpgrade {
    /// As [`Upgrade::websocket`]; neither `handler` nor its future has to be `Send`.
    pub fn websocket<F, Fut>(
        request: Request,
        upgrade: UpgradeRequest,
        config: Arc<Config>,
        handler: F,
    ) -> Self
    where
        F: FnOnce(Session) -> Fut + 'static,
        Fut: Future<Output: Outcome> + 'static,
    {
        let handler = SendWrapper::new(handler);
        let handler = move |session| SendWrapper::new(handler.take()(session));
        Upgrade::websocket(request, upgrade, config, handler).into()
    }

    /// As [`Upgrade::raw`]; neither `handler` nor its future has to be `Send`.
    pub fn raw<F, Fut>(
        request: Request,
        upgrade: UpgradeRequest,
        config: Arc<Config>,
        handler: F,
    ) -> Self
    where
        F: FnOnce(RawSession) -> Fut + 'static,
        Fut: Future<Output: Outcome> + 'static,
    {
        let handler = SendWrapper::new(handler);
        let handler = move |session| SendWrapper::new(handler.take()(session));
        Upgrade::raw(request, upgrade, config, handler).into()
    }

    /// Returns the response, a 101 or a 200.
    pub fn response(&self) -> &http::Response<()> {
        self.upgrade.response()
    }

    /// Adds a header to the response, as [`Upgrade::add_header`] does.
    ///
    /// # Errors
    ///
    /// As [`Upgrade::add_header`].
    pub fn add_header<N, V>(&mut self, name: N, value: V) -> Result<(), ResponseHeaderError>
    where
        N: TryInto<HeaderName, Error: Into<http::Error>>,
        V: TryInto<HeaderValue, Error: Into<http::Error>>,
    {
        self.upgrade.add_header(name, value)
    }

    /// Returns the request that asked for the upgrade.
    pub fn request(&self) -> &Request {
        self.upgrade.request()
    }

    /// Returns the settings with which the session starts.
    pub fn config(&self) -> &Config {
        self.upgrade.config()
    }
}

impl From<Upgrade> for LocalUpgrade {
    fn from(upgrade: Upgrade) -> Self {
        Self { upgrade, confined: PhantomData }
    }
}

impl fmt::Debug for LocalUpgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LocalUpgrade").field(&self.upgrade).finish()
    }
}

/// A local service for the driver, which takes those that are `Send`. It is used by types that are
/// not `Send` only, so the checks of the wrappers never fail.
pub(super) struct Confined<S>(SendWrapper<S>);

impl<S: LocalService> Confined<S> {
    pub(super) fn new(service: S) -> Self {
        Self(SendWrapper::new(service))
    }
}

impl<S: LocalService> Service for Confined<S> {
    fn call(&self, request: Request) -> BoxFuture<'_, Answer> {
        let answering = self.0.call(request);
        Box::pin(SendWrapper::new(async {
            match answering.await {
                LocalAnswer::Respond(response) => Answer::Respond(response),
                LocalAnswer::Upgrade(LocalUpgrade { upgrade, .. }) => Answer::Upgrade(upgrade),
            }
        }))
    }

    fn config(&self) -> Arc<Config> {
        self.0.config()
    }
}

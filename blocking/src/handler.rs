//! Handlers that block: [`handler`], and a service of one alone.

use std::sync::Arc;

use bytes::Bytes;
use http::header::ORIGIN;
use http::{Response, StatusCode};
use sockless_core::Config;
use sockless_core::handshake::{UpgradeError, UpgradeRequest, is_upgrade_request, text_response};
use sockless_driver::{Answer, BoxError, BoxFuture, Outcome, Request, Service, Upgrade};

use crate::session::Session;
use crate::thread::in_thread;

/// Makes a handler that blocks one that a server of any runtime, a router or a mount takes: each call
/// runs in a thread of its own.
///
/// ```
/// use sockless::blocking::{Session, handler};
/// use sockless::{Closed, Router, websocket};
///
/// fn echo(mut session: Session) -> Result<(), Closed> {
///     loop {
///         let message = session.recv()?;
///         session.send(message)?;
///     }
/// }
///
/// let router = Router::new().route("/echo", websocket(handler(echo)));
/// ```
///
/// If the system has no thread, the session is closed with 1011. A handler whose session is terminated
/// runs on to its end.
pub fn handler<F, O>(
    handler: F,
) -> impl Fn(sockless_driver::Session) -> Handling + Clone + Send + Sync + 'static
where
    F: Fn(Session) -> O + Send + Sync + 'static,
    O: Outcome + 'static,
{
    let handler = Arc::new(handler);
    move |session| {
        let handler = Arc::clone(&handler);
        let work = move || handler(session.into()).into_result();
        Box::pin(async { in_thread(HANDLER_THREAD, work).await? })
    }
}

/// The name of threads that run a handler.
const HANDLER_THREAD: &str = "sockless-serve";

/// A handler that serves every path.
pub(crate) struct Alone {
    handler: Arc<dyn Fn(sockless_driver::Session) -> Handling + Send + Sync>,
    settings: Settings,
}

/// The function that decides about a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) config: Arc<Config>,
    pub(crate) subprotocols: Vec<String>,
    /// Pages of any origin may open a WebSocket; else none may.
    pub(crate) any_origin: bool,
}

type Handling = BoxFuture<'static, Result<(), BoxError>>;

impl Alone {
    pub(crate) fn new<F, O>(alone: F, settings: Settings) -> Self
    where
        F: Fn(Session) -> O + Send + Sync + 'static,
        O: Outcome + 'static,
    {
        Self { handler: Arc::new(handler(alone)), settings }
    }

    fn answer(&self, request: Request) -> Result<Upgrade, Response<Bytes>> {
        let http = request.as_http();
        let upgrade = match is_upgrade_request(http) {
            true => UpgradeRequest::from_request(http),
            false => Err(UpgradeError::upgrade_required(http)),
        };
        let mut upgrade = upgrade.map_err(|error| error.response())?;
        if http.headers().contains_key(ORIGIN) && !self.settings.any_origin {
            return Err(text_response(StatusCode::FORBIDDEN, NO_POLICY));
        }
        let served: Vec<&str> = self.settings.subprotocols.iter().map(String::as_str).collect();
        upgrade.select(&served);
        let (handler, config) = (Arc::clone(&self.handler), self.settings.config.clone());
        Ok(Upgrade::websocket(request, upgrade, config, move |session| handler(session)))
    }
}

const NO_POLICY: &str = "requests from web pages are rejected: the server has no origin policy \
    (Server::any_origin, or Router::origins)\n";

impl Service for Alone {
    fn call(&self, request: Request) -> BoxFuture<'_, Answer> {
        let answer = match self.answer(request) {
            Ok(upgrade) => Answer::Upgrade(upgrade),
            Err(response) => Answer::Respond(response),
        };
        Box::pin(std::future::ready(answer))
    }

    fn config(&self) -> Arc<Config> {
        self.settings.config.clone()
    }
}

//! The router as a [`Service`].

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Method, Response};
use sockless_core::Config;
use sockless_driver::{Answer, BoxFuture, Request, Service};

use crate::choose::{Chosen, ChosenAction, choose};
use crate::reject::{Rejection, options};
use crate::router::Router;
use crate::table::Entry;

static DEFAULT_CONFIG: LazyLock<Arc<Config>> = LazyLock::new(Arc::default);

impl Service for Router {
    fn call(&self, request: Request) -> BoxFuture<'_, Answer> {
        Box::pin(async move {
            let is_head = request.method() == Method::HEAD;
            match self.answer(request).await.unwrap_or_else(Answer::Respond) {
                Answer::Respond(response) if is_head => Answer::Respond(without_body(response)),
                answer => answer,
            }
        })
    }

    fn config(&self) -> Arc<Config> {
        self.scope.settings(|| Arc::clone(&DEFAULT_CONFIG))
    }
}

impl Router {
    async fn answer(&self, mut request: Request) -> Result<Answer, Response<Bytes>> {
        if let Some(proxies) = &self.proxies {
            request.set_forwarded(proxies.forwarded_for(&request));
        }
        self.scope.attach_state(&mut request);
        let mut request = self.before_routing.admit(request).await?;
        if request.method() == Method::OPTIONS && request.path() == "*" {
            // RFC 9110 §9.3.7: it applies to the server, not to a path.
            return Err(options(&[Method::GET, Method::HEAD]));
        }
        let Chosen { entry, action, params } =
            choose(self, &request).map_err(|rejection| match rejection {
                Rejection::MethodNotAllowed { allowed } if request.method() == Method::OPTIONS => {
                    options(&allowed)
                }
                rejection => rejection.response(),
            })?;
        for (name, value) in params {
            request.push_param(name, value);
        }
        request.set_route(&entry.info.path);
        let request = self.admit(entry, request).await?;
        Ok(match action {
            ChosenAction::Upgrade(handler, upgrade) => {
                Answer::Upgrade(handler(request, upgrade, self.config_of(entry)))
            }
            ChosenAction::Respond(responder) => Answer::Respond(responder.respond(request).await),
        })
    }

    fn config_of(&self, entry: &Entry) -> Arc<Config> {
        entry.scope.settings(|| self.config())
    }

    /// Attaches the route's state and runs this router's guards, then those of nested routers and
    /// of the route.
    async fn admit(&self, entry: &Entry, mut request: Request) -> Result<Request, Response<Bytes>> {
        entry.scope.attach_state(&mut request);
        let request = self.scope.admit(request).await?;
        entry.scope.admit(request).await
    }
}

/// Returns the response to HEAD: all headers, including the length of the body, without the body
/// (RFC 9110 §9.3.2).
fn without_body(mut response: Response<Bytes>) -> Response<Bytes> {
    let body = std::mem::take(response.body_mut());
    if !body.is_empty() {
        let length = response.headers_mut().entry(CONTENT_LENGTH);
        length.or_insert(body.len().into());
    }
    response
}

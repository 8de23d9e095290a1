//! The router at work: a call in, an answer out.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Method, Response};
use sockless_core::Config;
use sockless_driver::{Answer, BoxFuture, Call, Service};

use crate::choose::{Chose, Chosen, choose};
use crate::reject::{Rejection, options};
use crate::router::Router;
use crate::table::Entry;

static DEFAULT_CONFIG: LazyLock<Arc<Config>> = LazyLock::new(Arc::default);

impl Service for Router {
    fn call(&self, call: Call) -> BoxFuture<'_, Answer> {
        Box::pin(async move {
            let is_head = call.method() == Method::HEAD;
            match self.answer(call).await.unwrap_or_else(Answer::Respond) {
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
    async fn answer(&self, mut call: Call) -> Result<Answer, Response<Bytes>> {
        if let Some(proxies) = &self.proxies {
            call.set_forwarded(proxies.hear(&call));
        }
        self.scope.attach_state(&mut call);
        let mut call = self.door.admit(call).await?;
        if call.method() == Method::OPTIONS && call.path() == "*" {
            // About the server and none of its paths (RFC 9110 §9.3.7).
            return Err(options(&[Method::GET, Method::HEAD]));
        }
        let Chosen { entry, action, params } =
            choose(self, &call).map_err(|rejection| match rejection {
                Rejection::MethodNotAllowed { allowed } if call.method() == Method::OPTIONS => {
                    options(&allowed)
                }
                rejection => rejection.response(),
            })?;
        for (name, value) in params {
            call.push_param(name, value);
        }
        let call = self.admit(entry, call).await?;
        Ok(match action {
            Chose::Open(open, request) => {
                Answer::Upgrade(open(call, request, self.config_of(entry)))
            }
            Chose::Respond(responder) => Answer::Respond(responder.respond(call).await),
        })
    }

    fn config_of(&self, entry: &Entry) -> Arc<Config> {
        entry.scope.settings(|| self.config())
    }

    /// Attaches the route's state and runs the guards, this router's before the nested ones'.
    async fn admit(&self, entry: &Entry, mut call: Call) -> Result<Call, Response<Bytes>> {
        entry.scope.attach_state(&mut call);
        let call = self.scope.admit(call).await?;
        entry.scope.admit(call).await
    }
}

/// What HEAD gets: all headers, the body's length among them, and no body (RFC 9110 §9.3.2).
fn without_body(mut response: Response<Bytes>) -> Response<Bytes> {
    let body = std::mem::take(response.body_mut());
    if !body.is_empty() {
        let length = response.headers_mut().entry(CONTENT_LENGTH);
        length.or_insert(body.len().into());
    }
    response
}

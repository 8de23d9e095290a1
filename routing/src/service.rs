//! The router at work: a call in, an answer out.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use bytestring::ByteString;
use http::header::{CONTENT_LENGTH, UPGRADE};
use http::{Method, Request, Response, Version};
use sockless::Config;
use sockless::handshake::{UpgradeError, UpgradeRequest};
use sockless_driver::{Answer, BoxFuture, Call, Service};

use crate::origin::Origins;
use crate::pattern::{canonical, decode_value};
use crate::reject::Rejection;
use crate::route::{Open, Responder};
use crate::router::Router;
use crate::table::{Entry, Found};

static DEFAULT_CONFIG: LazyLock<Arc<Config>> = LazyLock::new(Arc::default);

/// A route that takes the call, and what it needs to.
enum Chosen<'r> {
    Open(&'r Entry, &'r Open, UpgradeRequest),
    Respond(&'r Entry, &'r Responder),
}

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
        Arc::clone(self.scope.config.as_ref().unwrap_or(&DEFAULT_CONFIG))
    }
}

impl Router {
    async fn answer(&self, mut call: Call) -> Result<Answer, Response<Bytes>> {
        match self.choose(&mut call).map_err(|r| r.response())? {
            Chosen::Open(entry, open, request) => {
                let call = self.admit(entry, call).await?;
                Ok(Answer::Upgrade(open(call, request, self.config_of(entry))))
            }
            Chosen::Respond(entry, responder) => {
                let call = self.admit(entry, call).await?;
                Ok(Answer::Respond(responder.respond(call).await))
            }
        }
    }

    /// Finds the route and gives the call its parameters.
    fn choose(&self, call: &mut Call) -> Result<Chosen<'_>, Rejection> {
        let (found, params) = self.find(call)?;
        let chosen = self.choose_among(found, call.request())?;
        for (name, value) in params {
            call.push_param(name, value);
        }
        Ok(chosen)
    }

    fn find(&self, call: &Call) -> Result<(Found<'_>, Vec<(ByteString, ByteString)>), Rejection> {
        let path = canonical(call.path()).map_err(Rejection::PathInvalid)?;
        let (found, params) = self.table.find(&path).ok_or(Rejection::NotFound)?;
        let decode = |(name, value): (&str, &str)| (name.into(), decode_value(value));
        Ok((found, params.iter().map(decode).collect()))
    }

    fn choose_among<'r>(
        &self,
        found: Found<'r>,
        request: &Request<()>,
    ) -> Result<Chosen<'r>, Rejection> {
        let serves_websockets = found.websockets().next().is_some();
        if serves_websockets && asks_for_websocket(request) {
            return self.choose_websocket(found, request);
        }
        match found.responder(request.method()) {
            Some((entry, responder)) => Ok(Chosen::Respond(entry, responder)),
            None if serves_websockets && is_get_or_head(request) => {
                Err(Rejection::HandshakeInvalid(no_upgrade(request)))
            }
            None => Err(Rejection::MethodNotAllowed { allowed: found.methods() }),
        }
    }

    fn choose_websocket<'r>(
        &self,
        found: Found<'r>,
        request: &Request<()>,
    ) -> Result<Chosen<'r>, Rejection> {
        let upgrade = match *request.method() {
            Method::CONNECT => UpgradeRequest::from_extended_connect(request),
            _ => UpgradeRequest::from_request(request),
        };
        let mut upgrade = upgrade.map_err(Rejection::HandshakeInvalid)?;
        let (entry, open) = self.choose_protocol(found, &mut upgrade)?;
        let origins = entry.scope.origins.as_ref().or(self.scope.origins.as_ref());
        origins
            .unwrap_or(&Origins::same_origin())
            .check(request)
            .map_err(Rejection::OriginRefused)?;
        Ok(Chosen::Open(entry, open, upgrade))
    }

    fn choose_protocol<'r>(
        &self,
        found: Found<'r>,
        upgrade: &mut UpgradeRequest,
    ) -> Result<(&'r Entry, &'r Open), Rejection> {
        let served = || {
            found.websockets().flat_map(|(entry, open)| {
                let names = entry.info.protocols.iter();
                names.map(move |name| (entry, open, name))
            })
        };
        let chosen = if self.prefers_server_order(found) {
            served().find(|(.., name)| upgrade.subprotocols().any(|offer| offer == *name))
        } else {
            let serving = |offer: &str| served().find(|(.., name)| *name == offer);
            upgrade.subprotocols().find_map(serving)
        };
        if let Some((entry, open, name)) = chosen {
            upgrade.select(&[name.as_str()]);
            return Ok((entry, open));
        }
        let mut websockets = found.websockets();
        let fallback = websockets.find(|(entry, _)| entry.info.protocols.is_empty());
        fallback.ok_or_else(|| Rejection::ProtocolNotServed {
            offered: upgrade.subprotocols().next().is_some(),
            served: served().map(|(.., name)| name.clone()).collect(),
        })
    }

    fn prefers_server_order(&self, found: Found<'_>) -> bool {
        let first = found.websockets().next();
        first
            .and_then(|(entry, _)| entry.scope.server_order)
            .or(self.scope.server_order)
            .unwrap_or(false)
    }

    fn config_of(&self, entry: &Entry) -> Arc<Config> {
        entry.scope.config.clone().unwrap_or_else(|| self.config())
    }

    /// Attaches the state and runs the guards, this router's before the nested ones'.
    async fn admit(&self, entry: &Entry, mut call: Call) -> Result<Call, Response<Bytes>> {
        self.scope.attach_state(&mut call);
        entry.scope.attach_state(&mut call);
        let call = self.scope.admit(call).await?;
        entry.scope.admit(call).await
    }
}

/// Whether the request means a WebSocket, rightly formed or not.
fn asks_for_websocket(request: &Request<()>) -> bool {
    let is_websocket = |token: &str| token.trim().eq_ignore_ascii_case("websocket");
    match (request.method(), request.version()) {
        // In other versions `Upgrade` is to be ignored (RFC 9110 §7.8).
        (&Method::GET, Version::HTTP_11) => {
            let lines = request.headers().get_all(UPGRADE).iter();
            let mut lines = lines.filter_map(|line| line.to_str().ok());
            lines.any(|line| line.split(',').any(is_websocket))
        }
        // RFC 8441 §4. Its `:protocol` is the host's to check: the request does not hold it.
        (&Method::CONNECT, version) => version >= Version::HTTP_2,
        _ => false,
    }
}

fn is_get_or_head(request: &Request<()>) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD)
}

/// Why a GET, or a HEAD that is answered as GET would be (RFC 9110 §9.3.2), gets no WebSocket.
fn no_upgrade(request: &Request<()>) -> UpgradeError {
    match request.version() {
        Version::HTTP_11 => UpgradeError::NotUpgrade,
        _ => UpgradeError::HttpVersion,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::websocket;

    #[test]
    fn a_session_gets_the_nearest_settings_of_its_route() {
        let ws = || websocket(|_session| async {});
        let settings = |len| Config::default().max_message_len(len);
        let inner = Router::new()
            .route("/own", ws().config(settings(3)))
            .route("/inner", ws())
            .websockets(settings(2));
        let router = Router::new()
            .nest("/x", inner)
            .nest("/y", Router::new().route("/outer", ws()))
            .websockets(settings(1));

        let entries = router.table.entries().iter();
        let limits = entries.map(|entry| router.config_of(entry).max_message_len);
        assert_eq!(limits.collect::<Vec<_>>(), [3, 2, 1]);
    }

    #[test]
    fn without_settings_a_session_gets_the_default_ones() {
        let router = Router::new().route("/x", websocket(|_session| async {}));
        let config = router.config_of(&router.table.entries()[0]);
        assert_eq!(*config, Config::default());
    }
}

//! What a host answers without its service, and what it logs of refusals.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::task::Poll;

use bytes::Bytes;
use http::header::{SEC_WEBSOCKET_KEY, UPGRADE};
use http::{Method, StatusCode, Uri, Version};
use sockless_core::handshake::{HeadError, UpgradeError};

use crate::request::Request;
use crate::server::service::{Answer, Service};

/// What a request asked for, as far as a log needs it.
pub(crate) struct Asked {
    uri: Uri,
    peer: Option<SocketAddr>,
    is_handshake: bool,
}

impl Asked {
    pub(crate) fn of(request: &Request) -> Self {
        let (http, headers) = (request.as_http(), request.headers());
        let upgrades = headers.get_all(UPGRADE).iter().any(|value| {
            value.to_str().is_ok_and(|value| value.to_ascii_lowercase().contains("websocket"))
        });
        let is_handshake = upgrades
            || headers.contains_key(SEC_WEBSOCKET_KEY)
            || (http.method() == Method::CONNECT && http.version() >= Version::HTTP_2);
        Self { uri: http.uri().clone(), peer: request.peer_addr(), is_handshake }
    }

    /// Logs the response to it, if that refuses it: at info where a WebSocket was asked for in a
    /// well-formed request, which most often is a mistake in somebody's settings; else at debug.
    pub(crate) fn log(&self, response: &http::Response<Bytes>) {
        let status = response.status();
        if !(status.is_client_error() || status.is_server_error()) {
            return;
        }
        let extensions = response.extensions();
        let malformed = extensions.get::<HeadError>().is_some()
            || extensions.get::<UpgradeError>().is_some_and(UpgradeError::is_malformed);
        // The query may hold a token.
        let (status, path) = (status.as_u16(), self.uri.path().escape_debug());
        let (peer, reason) = (self.peer, reason(response));
        // An answer about upgrades goes to what asks for a WebSocket, or should.
        if !malformed && (self.is_handshake || extensions.get::<UpgradeError>().is_some()) {
            tracing::info!(status, %path, ?peer, %reason, "a request was refused");
        } else {
            tracing::debug!(status, %path, ?peer, %reason, "a request was refused");
        }
    }
}

/// The first line of a refusal, as far as it is text and not long.
fn reason(response: &http::Response<Bytes>) -> String {
    const MAX_LEN: usize = 300;
    let body = response.body();
    let body = String::from_utf8_lossy(&body[..body.len().min(MAX_LEN)]);
    body.lines().next().unwrap_or_default().escape_debug().to_string()
}

/// Asks the service; a panic is answered with 500.
pub(crate) async fn ask(service: &dyn Service, request: Request) -> Answer {
    let mut answering = match std::panic::catch_unwind(AssertUnwindSafe(|| service.call(request))) {
        Ok(answering) => answering,
        Err(_) => return Answer::Respond(internal_error()),
    };
    std::future::poll_fn(move |cx| {
        std::panic::catch_unwind(AssertUnwindSafe(|| answering.as_mut().poll(cx)))
            .unwrap_or_else(|_| Poll::Ready(Answer::Respond(internal_error())))
    })
    .await
}

/// The service took longer to decide than the opening handshake may.
pub(crate) fn undecided() -> http::Response<Bytes> {
    refusal(StatusCode::SERVICE_UNAVAILABLE, "the request was not decided within opening_timeout\n")
}

pub(crate) fn unavailable() -> http::Response<Bytes> {
    refusal(StatusCode::SERVICE_UNAVAILABLE, "the server is shutting down\n")
}

/// The peer has as many connections as it may.
pub(crate) fn too_many() -> http::Response<Bytes> {
    refusal(StatusCode::TOO_MANY_REQUESTS, "this address has as many connections as it may have\n")
}

fn internal_error() -> http::Response<Bytes> {
    tracing::error!("the service panicked; its call is answered with 500");
    refusal(StatusCode::INTERNAL_SERVER_ERROR, "the server met an unexpected condition\n")
}

fn refusal(status: StatusCode, text: &'static str) -> http::Response<Bytes> {
    let mut response = http::Response::new(Bytes::from_static(text.as_bytes()));
    *response.status_mut() = status;
    let plain = http::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(http::header::CONTENT_TYPE, plain);
    response
}

//! The responses that a server gives without its service, and its log of rejected requests.

use std::panic::AssertUnwindSafe;
use std::task::Poll;

use bytes::Bytes;
use http::{Response, StatusCode};
use sockless_core::handshake::{HeadError, UpgradeError, text_response};

use crate::meter::{self, with_reason};
use crate::request::{LoggedParts, Request};
use crate::server::service::{Answer, Service};

/// The parts of a request that a log of its rejection needs.
pub(crate) struct RequestLog(LoggedParts);

impl RequestLog {
    pub(crate) fn new(request: &Request) -> Self {
        Self(request.parts_for_log())
    }

    /// Logs `response` if it rejects the request: at info level if a well-formed request asked for
    /// a WebSocket, since that is most often a mistake in the settings of one end; otherwise at
    /// debug level.
    pub(crate) fn log_response(&self, response: &Response<Bytes>) {
        let status = response.status();
        if !(status.is_client_error() || status.is_server_error()) {
            return;
        }
        let extensions = response.extensions();
        let is_malformed = extensions.get::<HeadError>().is_some()
            || extensions.get::<UpgradeError>().is_some_and(UpgradeError::is_malformed);
        if meter::IS_ENABLED {
            meter::rejected_with(self.kind_of(response), response);
        }
        // Without the query, which may contain a token.
        let (status, path) = (status.as_u16(), self.0.path().escape_debug());
        let (peer, reason) = (self.0.peer_addr(), reason(response));
        // A response about upgrades goes to a request that asks for a WebSocket, or should.
        if !is_malformed && (self.0.is_handshake() || extensions.get::<UpgradeError>().is_some()) {
            tracing::info!(status, %path, ?peer, %reason, "a request was rejected");
        } else {
            tracing::debug!(status, %path, ?peer, %reason, "a request was rejected");
        }
    }

    /// The kind of a rejection by the service, for metrics.
    fn kind_of(&self, response: &Response<Bytes>) -> &'static str {
        match response.extensions() {
            has if has.get::<HeadError>().is_some() => "head",
            has if has.get::<UpgradeError>().is_some() => "handshake",
            _ if self.0.is_handshake() => "service",
            _ => "http",
        }
    }
}

/// The first line of a response, shortened and with its control characters escaped.
fn reason(response: &Response<Bytes>) -> String {
    const MAX_LEN: usize = 300;
    let body = response.body();
    let body = String::from_utf8_lossy(&body[..body.len().min(MAX_LEN)]);
    body.lines().next().unwrap_or_default().escape_debug().to_string()
}

/// Asks the service to answer a request; a panic becomes a 500.
pub(crate) fn ask(
    service: &dyn Service,
    request: Request,
) -> impl Future<Output = Answer> + Unpin + '_ {
    let mut answering = std::panic::catch_unwind(AssertUnwindSafe(|| service.call(request))).ok();
    std::future::poll_fn(move |cx| {
        let poll = || answering.as_mut().map(|answering| answering.as_mut().poll(cx));
        let polled = std::panic::catch_unwind(AssertUnwindSafe(poll)).ok().flatten();
        polled.unwrap_or_else(|| Poll::Ready(Answer::Respond(service_panicked())))
    })
}

/// The service took longer than the opening handshake may.
pub(crate) fn undecided() -> Response<Bytes> {
    let line = "the request was not decided within opening_timeout\n";
    with_reason("undecided", text_response(StatusCode::SERVICE_UNAVAILABLE, line))
}

pub(crate) fn shutting_down() -> Response<Bytes> {
    let line = "the server is shutting down\n";
    with_reason("shutting_down", text_response(StatusCode::SERVICE_UNAVAILABLE, line))
}

/// The peer has as many connections as it may.
pub(crate) fn too_many_connections() -> Response<Bytes> {
    let line = "this address has as many connections as it may have\n";
    with_reason("connections_per_peer", text_response(StatusCode::TOO_MANY_REQUESTS, line))
}

fn service_panicked() -> Response<Bytes> {
    tracing::error!("the service panicked; its request is answered with 500");
    let line = "the server met an unexpected condition\n";
    with_reason("panicked", text_response(StatusCode::INTERNAL_SERVER_ERROR, line))
}

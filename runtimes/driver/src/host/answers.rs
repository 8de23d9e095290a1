//! What a host answers without its service, and what it logs of refusals.

use std::panic::AssertUnwindSafe;
use std::task::Poll;

use bytes::Bytes;
use http::StatusCode;

use crate::call::Call;
use crate::service::{Answer, Service};

/// Asks the service; a panic is answered with 500.
pub(crate) async fn ask(service: &dyn Service, call: Call) -> Answer {
    let mut answering = match std::panic::catch_unwind(AssertUnwindSafe(|| service.call(call))) {
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

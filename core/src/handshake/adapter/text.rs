//! Responses with a plain-text body: [`text_response`].

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};

/// Returns a response with a plain-text body and the `Content-Type` that goes with it.
///
/// ```
/// use http::StatusCode;
/// use sockless_core::handshake::text_response;
///
/// let response = text_response(StatusCode::UNAUTHORIZED, "the token has expired\n");
/// assert_eq!(response.status(), 401);
/// assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
/// ```
pub fn text_response(status: StatusCode, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}

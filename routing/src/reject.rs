//! The answers to what is neither an upgrade nor a route's own response.

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Response, StatusCode};
use sockless_core::handshake::{HeadError, HeadRule, UpgradeError};

use crate::listing::comma_separated;
use crate::origin::OriginRefused;
use crate::path::EscapeError;

/// A response of plain text: what a guard refuses with, what a health check says.
///
/// ```
/// use http::StatusCode;
///
/// let response = sockless_routing::text_response(StatusCode::UNAUTHORIZED, "the token has expired");
/// assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
/// ```
pub fn text_response(status: StatusCode, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// Why no route takes a call.
#[derive(Debug)]
pub(crate) enum Rejection {
    HandshakeInvalid(UpgradeError),
    MethodNotAllowed { allowed: Vec<Method> },
    NotFound,
    OriginRefused(OriginRefused),
    PathInvalid(EscapeError),
    ProtocolNotServed { offered: bool, served: Vec<String> },
    QueryLacks { selector: String },
}

impl Rejection {
    /// The response that says so, in one line.
    pub(crate) fn response(&self) -> Response<Bytes> {
        match self {
            Self::HandshakeInvalid(error) => error.response(),
            Self::MethodNotAllowed { allowed } => method_not_allowed(allowed),
            Self::NotFound => {
                text_response(StatusCode::NOT_FOUND, "nothing is served at this path\n")
            }
            Self::OriginRefused(error) => {
                text_response(StatusCode::FORBIDDEN, format!("{error}\n"))
            }
            Self::PathInvalid(error) => {
                let mut response = text_response(StatusCode::BAD_REQUEST, format!("{error}\n"));
                // For the host, which logs what is malformed less loudly.
                let rule = HeadRule::Target;
                response.extensions_mut().insert(HeadError::Invalid { rule, at: 0 });
                response
            }
            Self::ProtocolNotServed { offered, served } => protocol_not_served(*offered, served),
            Self::QueryLacks { selector } => text_response(
                StatusCode::BAD_REQUEST,
                format!("this path needs more: {selector}\n"),
            ),
        }
    }
}

/// Answers OPTIONS where no route does: with the methods that do something (RFC 9110 §9.3.7).
pub(crate) fn options(allowed: &[Method]) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let allow = format!("{}, OPTIONS", comma_separated(allowed));
    let allow = HeaderValue::try_from(allow).expect("methods are tokens");
    response.headers_mut().insert(header::ALLOW, allow);
    response
}

/// RFC 9110 §15.5.6 demands that `Allow` says what would do.
fn method_not_allowed(allowed: &[Method]) -> Response<Bytes> {
    let allow = comma_separated(allowed);
    let line = format!("this path answers to {allow} only\n");
    let mut response = text_response(StatusCode::METHOD_NOT_ALLOWED, line);
    let allow = HeaderValue::try_from(allow).expect("methods are tokens");
    response.headers_mut().insert(header::ALLOW, allow);
    response
}

fn protocol_not_served(offered: bool, served: &[String]) -> Response<Bytes> {
    let fault = match offered {
        true => "none of the subprotocols in Sec-WebSocket-Protocol is served here",
        false => "Sec-WebSocket-Protocol has to offer a subprotocol here",
    };
    let line = format!("{fault}; served: {}\n", comma_separated(served));
    text_response(StatusCode::BAD_REQUEST, line)
}

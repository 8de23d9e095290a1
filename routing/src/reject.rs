//! Responses to requests that no route handles.

use bytes::Bytes;
use http::header::{ALLOW, HeaderValue};
use http::{Method, Response, StatusCode};
use sockless_core::handshake::{HeadError, HeadRule, UpgradeError, text_response};

use crate::listing::comma_separated;
use crate::origin::OriginRejected;
use crate::path::EscapeError;

/// Why no route handles a request.
#[derive(Debug)]
pub(crate) enum Rejection {
    HandshakeInvalid(UpgradeError),
    MethodNotAllowed { allowed: Vec<Method> },
    NotFound,
    OriginRejected(OriginRejected),
    PathInvalid(EscapeError),
    ProtocolNotServed { offered: bool, served: Vec<String> },
    MissingQuery { selector: String },
}

impl Rejection {
    /// Returns the response, with the reason in one line of text.
    pub(crate) fn response(&self) -> Response<Bytes> {
        match self {
            Self::HandshakeInvalid(error) => error.response(),
            Self::MethodNotAllowed { allowed } => method_not_allowed(allowed),
            Self::NotFound => {
                text_response(StatusCode::NOT_FOUND, "nothing is served at this path\n")
            }
            Self::OriginRejected(error) => {
                text_response(StatusCode::FORBIDDEN, format!("{error}\n"))
            }
            Self::PathInvalid(error) => {
                let mut response = text_response(StatusCode::BAD_REQUEST, format!("{error}\n"));
                // The server logs malformed requests at a lower level.
                let rule = HeadRule::Target;
                response.extensions_mut().insert(HeadError::Invalid { rule, at: 0 });
                response
            }
            Self::ProtocolNotServed { offered, served } => protocol_not_served(*offered, served),
            Self::MissingQuery { selector } => {
                text_response(StatusCode::BAD_REQUEST, format!("this path requires {selector}\n"))
            }
        }
    }
}

/// Answers OPTIONS with the methods of the path, where no route answers it (RFC 9110 §9.3.7).
pub(crate) fn options(allowed: &[Method]) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let allow = format!("{}, OPTIONS", comma_separated(allowed));
    let allow = HeaderValue::try_from(allow).expect("methods are tokens");
    response.headers_mut().insert(ALLOW, allow);
    response
}

/// RFC 9110 §15.5.6 requires `Allow`.
fn method_not_allowed(allowed: &[Method]) -> Response<Bytes> {
    let allow = comma_separated(allowed);
    let line = format!("method not allowed: this path answers {allow}\n");
    let mut response = text_response(StatusCode::METHOD_NOT_ALLOWED, line);
    let allow = HeaderValue::try_from(allow).expect("methods are tokens");
    response.headers_mut().insert(ALLOW, allow);
    response
}

fn protocol_not_served(offered: bool, served: &[String]) -> Response<Bytes> {
    let reason = match offered {
        true => "none of the subprotocols in Sec-WebSocket-Protocol is served at this path",
        false => "this path requires a subprotocol in Sec-WebSocket-Protocol",
    };
    let line = format!("{reason}; served: {}\n", comma_separated(served));
    text_response(StatusCode::BAD_REQUEST, line)
}

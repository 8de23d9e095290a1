//! Responses to errors, in the types of the crate `http`.

use alloc::format;

use bytes::Bytes;
use http::header::HeaderValue;
use http::{Request, Response, StatusCode};

use super::text_response;
use crate::handshake::error::{HeadError, UpgradeError};

impl HeadError {
    /// Returns the response that a server sends before it closes the transport; `None` if the peer is
    /// gone, or has sent nothing that could be answered.
    ///
    /// The status is 400, 408, 431 or 505. [`encode_response`](crate::handshake::encode_response) turns the
    /// response into bytes. The error is among its [extensions](Response::extensions).
    pub fn response(&self) -> Option<Response<Bytes>> {
        let status = status(self.status()?);
        let mut response = text_response(status, format!("{self}\n"));
        response.extensions_mut().insert(*self);
        Some(response)
    }
}

impl UpgradeError {
    /// Returns the error for a GET of HTTP/1.1 that does not ask for an upgrade, where a WebSocket was
    /// expected: [`UpgradeRemoved`](Self::UpgradeRemoved) if a proxy seems to have removed the headers,
    /// else [`NotUpgrade`](Self::NotUpgrade).
    pub fn upgrade_required<B>(request: &Request<B>) -> Self {
        Self::required(request.headers())
    }

    /// Returns the response to send: the status, the headers that the status requires, and one line of
    /// text. The error is among its [extensions](Response::extensions).
    pub fn response(&self) -> Response<Bytes> {
        let mut response = text_response(status(self.status()), format!("{self}\n"));
        response.extensions_mut().insert(*self);
        for (name, value) in self.fields() {
            response.headers_mut().insert(name.http.clone(), HeaderValue::from_static(value));
        }
        response
    }
}

/// The status of an error.
fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_REQUEST)
}

/// The status that was expected in this version of HTTP.
pub(in crate::handshake) fn success(response: &Response<()>) -> &'static str {
    match response.version() < http::Version::HTTP_2 {
        true => "101 Switching Protocols",
        false => "200 OK",
    }
}

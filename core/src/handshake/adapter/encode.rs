//! Encodes requests and responses in the types of the crate `http`.

use alloc::vec::Vec;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST};
use http::{Method, Request, Response, Uri};

use crate::handshake::encode;
use crate::handshake::encode::write_headers;

/// Encodes the head of a request: the request line of HTTP/1.1, the headers with `Host` first, and the
/// empty line. It adds no header and checks none.
///
/// The target takes the origin form, or the authority form for CONNECT (RFC 9112 §3.2). Characters
/// beyond ASCII in it are percent-encoded (RFC 3987 §3.1).
///
/// ```
/// use sockless_core::handshake::encode_request;
///
/// let request = http::Request::get("http://example.com/chat?room=1")
///     .header("Host", "example.com")
///     .body(())?;
/// assert_eq!(encode_request(&request), "GET /chat?room=1 HTTP/1.1\r\nHost: example.com\r\n\r\n");
/// # Ok::<(), http::Error>(())
/// ```
pub fn encode_request(request: &Request<()>) -> Bytes {
    let mut out = Vec::with_capacity(512);
    request_line(&mut out, request.method(), request.uri());
    // RFC 9112 §3.2: `Host` first.
    write_headers(&mut out, request.headers(), |name| HOST == *name);
    write_headers(&mut out, request.headers(), |name| HOST != *name);
    out.extend_from_slice(b"\r\n");
    out.into()
}

/// Encodes a whole response: status line, headers and body, with `Connection: close` and the
/// `Content-Length` of the body.
///
/// Use it for every answer except a 101. Send the bytes, shut down the sending side, and go on reading
/// for a moment: a transport that is closed while received bytes are unread may discard the response.
///
/// The headers of `response` do not change the framing: `Transfer-Encoding` is omitted, `close` replaces
/// `keep-alive` in `Connection`, and `Content-Length` is computed, unless the body is empty, as in an
/// answer to HEAD. The body is omitted if the status does not allow one (1xx, 204, 304).
///
/// ```
/// use bytes::Bytes;
/// use sockless_core::handshake::encode_response;
///
/// let response = http::Response::builder().status(404).body(Bytes::from("no such room\n"))?;
/// assert_eq!(
///     encode_response(&response),
///     "HTTP/1.1 404 Not Found\r\nContent-Length: 13\r\nConnection: close\r\n\r\nno such room\n"
/// );
/// # Ok::<(), http::Error>(())
/// ```
pub fn encode_response(response: &Response<Bytes>) -> Bytes {
    let (status, headers) = (response.status(), response.headers());
    let reason = status.canonical_reason().unwrap_or_default();
    encode::response(status.as_u16(), reason, headers, stated_length(response), response.body())
}

/// The length of the body; for an empty body, the `Content-Length` that the response states, which
/// answers a HEAD request (RFC 9110 §8.6).
fn stated_length(response: &Response<Bytes>) -> u64 {
    let stated = response.headers().get(CONTENT_LENGTH);
    let stated = stated.filter(|_| response.body().is_empty());
    let stated = stated.and_then(|length| length.to_str().ok()?.parse().ok());
    stated.unwrap_or(response.body().len() as u64)
}

pub(super) fn request_line(out: &mut Vec<u8>, method: &Method, uri: &Uri) {
    out.extend_from_slice(method.as_str().as_bytes());
    out.push(b' ');
    match uri.authority() {
        Some(authority) if *method == Method::CONNECT => {
            out.extend_from_slice(authority.as_str().as_bytes());
        }
        _ => {
            write_encoded(out, uri.path());
            if let Some(query) = uri.query() {
                out.push(b'?');
                write_encoded(out, query);
            }
        }
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
}

fn write_encoded(out: &mut Vec<u8>, part: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in part.bytes() {
        if byte.is_ascii() {
            out.push(byte);
        } else {
            let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
            out.extend_from_slice(&[b'%', HEX[high], HEX[low]]);
        }
    }
}

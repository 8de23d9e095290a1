//! Encodes HTTP/1.1 heads.
//!
//! The types of [`http`] hold no carriage return, line feed or NUL in a method, a URI or the value of a
//! header, and the reason phrases are constants of that crate. So no value can end its line early
//! (response splitting).

use alloc::string::ToString;
use alloc::vec::Vec;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, TRANSFER_ENCODING};
use http::{Method, Request, Response, StatusCode, Uri};

use super::list;

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
    write_headers(&mut out, request.headers(), |name| name == HOST);
    write_headers(&mut out, request.headers(), |name| name != HOST);
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
    let (status, headers, body) = (response.status(), response.headers(), response.body());
    let mut out = Vec::with_capacity(256 + body.len());
    status_line(&mut out, status);
    write_headers(&mut out, headers, |name| !is_framing(name) && name != CONNECTION);
    // RFC 9110 §8.6 and §6.4.1: these statuses have no body, and 304 does not describe it either.
    let has_body = !(status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED);
    if has_body {
        write_header(&mut out, &CONTENT_LENGTH, stated_length(response).to_string().as_bytes());
    }
    write_header(&mut out, &CONNECTION, &connection_and_close(headers));
    out.extend_from_slice(b"\r\n");
    if has_body {
        out.extend_from_slice(body);
    }
    out.into()
}

/// The length of the body; for an empty body, the `Content-Length` that the response states, which
/// answers a HEAD request (RFC 9110 §8.6).
fn stated_length(response: &Response<Bytes>) -> u64 {
    let stated = response.headers().get(CONTENT_LENGTH);
    let stated = stated.filter(|_| response.body().is_empty());
    let stated = stated.and_then(|length| length.to_str().ok()?.parse().ok());
    stated.unwrap_or(response.body().len() as u64)
}

/// The head of a 101 with the headers of `response`. Frames follow it, so it has no length and no
/// other status.
pub(super) fn switching_protocols(response: &Response<()>) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    status_line(&mut out, StatusCode::SWITCHING_PROTOCOLS);
    write_headers(&mut out, response.headers(), |name| !is_framing(name));
    out.extend_from_slice(b"\r\n");
    out
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

fn status_line(out: &mut Vec<u8>, status: StatusCode) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    // The space is required even without a phrase (RFC 9112 §4).
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
}

pub(super) fn write_headers(
    out: &mut Vec<u8>,
    headers: &HeaderMap,
    wanted: impl Fn(&HeaderName) -> bool,
) {
    for (name, value) in headers.iter().filter(|(name, _)| wanted(name)) {
        write_header(out, name, value.as_bytes());
    }
}

pub(super) fn write_header(out: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    write_name(out, name.as_str());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Writes a name with capitals, as RFC 6455 does. Names are case-insensitive (RFC 9110 §5.1), but some
/// peers compare bytes, and those expect capitals.
fn write_name(out: &mut Vec<u8>, name: &str) {
    for (index, word) in name.split('-').enumerate() {
        if index > 0 {
            out.push(b'-');
        }
        if word == "websocket" {
            out.extend_from_slice(b"WebSocket");
        } else {
            let first = out.len();
            out.extend_from_slice(word.as_bytes());
            out[first..].iter_mut().take(1).for_each(u8::make_ascii_uppercase);
        }
    }
}

fn is_framing(name: &HeaderName) -> bool {
    name == CONTENT_LENGTH || name == TRANSFER_ENCODING
}

/// The options of `Connection`, such as the `Upgrade` of a 426, followed by `close`.
fn connection_and_close(headers: &HeaderMap) -> Vec<u8> {
    let mut options = Vec::new();
    for option in list(headers, &CONNECTION) {
        let about_keeping = [&b"close"[..], b"keep-alive"];
        if !about_keeping.iter().any(|word| option.eq_ignore_ascii_case(word)) {
            options.extend_from_slice(option);
            options.extend_from_slice(b", ");
        }
    }
    options.extend_from_slice(b"close");
    options
}

//! Encodes HTTP/1.1 heads.
//!
//! No header that is passed to these functions has a carriage return, a line feed or a NUL: the types of
//! the crate `http` hold none, and [`is_header`](super::heads::is_header) has checked the others. So no
//! value can end its line early (response splitting).

use alloc::string::ToString;
use alloc::vec::Vec;
use core::ops::DerefMut;

use bytes::{BufMut, Bytes};

#[cfg(feature = "http")]
use super::fields::Name;
use super::fields::{
    CONNECTION, CONTENT_LENGTH, Fields, HOST, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};

/// A whole response, with `Connection: close`. `len` is the `Content-Length`; the body is omitted if the
/// status does not allow one.
///
/// The headers do not change the framing: `Transfer-Encoding` and `Content-Length` are omitted, and
/// `close` replaces `keep-alive` in `Connection`.
pub(super) fn response(
    status: u16,
    reason: &str,
    headers: &(impl Fields + ?Sized),
    len: u64,
    body: &[u8],
) -> Bytes {
    let mut out = Vec::with_capacity(256 + body.len());
    status_line(&mut out, status, reason);
    write_headers(&mut out, headers, |name| !is_framing(name) && !CONNECTION.is(name));
    // RFC 9110 §8.6 and §6.4.1: these statuses have no body, and 304 does not describe it either.
    let has_body = !matches!(status, 100..200 | 204 | 304);
    if has_body {
        write_header(&mut out, CONTENT_LENGTH.text, len.to_string().as_bytes());
    }
    write_header(&mut out, CONNECTION.text, &connection_and_close(headers));
    out.extend_from_slice(b"\r\n");
    if has_body {
        out.extend_from_slice(body);
    }
    out.into()
}

/// The head of a 101 with these headers. Frames follow it, so it has no length and no other status.
pub(super) fn switching_protocols(headers: &impl Fields) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    status_line(&mut out, 101, reason(101));
    write_headers(&mut out, headers, |name| !is_framing(name));
    out.extend_from_slice(b"\r\n");
    out
}

/// The beginning of a 101, which is the same in all of them, up to the value of `Sec-WebSocket-Accept`.
#[cfg(feature = "http")]
pub(super) const SWITCHING_PROTOCOLS: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n\
    Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ";

/// The head of a 101 with this value of `Sec-WebSocket-Accept`, what was negotiated, and other headers.
#[cfg(feature = "http")]
pub(super) fn grant<'a>(
    out: &mut impl Out,
    accept: &[u8],
    negotiated: impl Iterator<Item = (&'static Name, &'a [u8])>,
    headers: &impl Fields,
) {
    out.put_slice(SWITCHING_PROTOCOLS);
    out.put_slice(accept);
    out.put_slice(b"\r\n");
    for (name, value) in negotiated {
        write_header(out, name.text, value);
    }
    for (name, value) in headers.lines().filter(|(name, _)| !is_framing(name)) {
        write_header(out, name, value);
    }
    out.put_slice(b"\r\n");
}

/// Completes a client's request, whose first line is in `out`.
pub(super) fn upgrade_headers(
    out: &mut Vec<u8>,
    host: &str,
    key: &str,
    offers: Option<&str>,
    headers: &(impl Fields + ?Sized),
) {
    for (name, value) in [
        (&HOST, host),
        (&UPGRADE, "websocket"),
        (&CONNECTION, "Upgrade"),
        (&SEC_WEBSOCKET_KEY, key),
        (&SEC_WEBSOCKET_VERSION, "13"),
    ] {
        write_header(out, name.text, value.as_bytes());
    }
    if let Some(offers) = offers {
        write_header(out, SEC_WEBSOCKET_EXTENSIONS.text, offers.as_bytes());
    }
    write_headers(out, headers, |_| true);
    out.extend_from_slice(b"\r\n");
}

pub(super) fn write_headers(
    out: &mut Vec<u8>,
    headers: &(impl Fields + ?Sized),
    wanted: impl Fn(&str) -> bool,
) {
    for (name, value) in headers.lines().filter(|(name, _)| wanted(name)) {
        write_header(out, name, value);
    }
}

pub(super) fn write_header(out: &mut impl Out, name: &str, value: &[u8]) {
    write_name(out, name);
    out.put_slice(b": ");
    out.put_slice(value);
    out.put_slice(b"\r\n");
}

/// Writes a name with capitals, as RFC 6455 does. Names are case-insensitive (RFC 9110 §5.1), but some
/// peers compare bytes, and those expect capitals.
fn write_name(out: &mut impl Out, name: &str) {
    for (index, word) in name.split('-').enumerate() {
        if index > 0 {
            out.put_u8(b'-');
        }
        if word == "websocket" {
            out.put_slice(b"WebSocket");
        } else {
            let first = out.len();
            out.put_slice(word.as_bytes());
            out[first..].iter_mut().take(1).for_each(u8::make_ascii_uppercase);
        }
    }
}

/// Bytes that are appended to, and can be changed.
pub(super) trait Out: BufMut + DerefMut<Target = [u8]> {}

impl<O: BufMut + DerefMut<Target = [u8]>> Out for O {}

fn status_line(out: &mut Vec<u8>, status: u16, reason: &str) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.to_string().as_bytes());
    // The space is required even without a phrase (RFC 9112 §4).
    out.push(b' ');
    out.extend_from_slice(reason.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The reason phrase of a status that small servers use; empty for others, since it is optional
/// (RFC 9112 §4).
pub(super) fn reason(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

fn is_framing(name: &str) -> bool {
    CONTENT_LENGTH.is(name) || TRANSFER_ENCODING.is(name)
}

/// The options of `Connection`, such as the `Upgrade` of a 426, followed by `close`.
fn connection_and_close(headers: &(impl Fields + ?Sized)) -> Vec<u8> {
    let mut options = Vec::new();
    for option in headers.list(&CONNECTION) {
        let about_keeping = [&b"close"[..], b"keep-alive"];
        if !about_keeping.iter().any(|word| option.eq_ignore_ascii_case(word)) {
            options.extend_from_slice(option);
            options.extend_from_slice(b", ");
        }
    }
    options.extend_from_slice(b"close");
    options
}

//! Whole HTTP/1.1 heads, parsed.
//!
//! The parser is `httparse` with its strictest settings. Before it runs,
//! [`HeadReader`](super::scan::HeadReader) has found the end of the head, counted the lines and
//! rejected bytes that are not allowed in them.

use alloc::vec::Vec;
use core::mem::MaybeUninit;
use core::str;

use bytes::Bytes;
use bytestring::ByteString;
use httparse::{EMPTY_HEADER, Header, Status};

use super::error::HeadRule;
use super::fields::{CONTENT_LENGTH, Fields, HOST, Seldom, TRANSFER_ENCODING};
use super::heads::{Lines, RequestHead, ResponseHead};
use super::{HostPort, MAX_HEADERS};

/// Parses a request of any method, upgrade or not.
pub(super) fn parse_request(head: &Bytes) -> Result<RequestHead, HeadRule> {
    with_request(head, |parsed| {
        let (method, target) = (parsed.method.unwrap_or_default(), parsed.path.unwrap_or_default());
        if !is_target(target, method) {
            return Err(HeadRule::Target);
        }
        Ok(RequestHead {
            method: shared(head, method),
            target: shared(head, target),
            is_http_11: is_http_11(parsed.version),
            lines: lines(head, parsed.headers),
        })
    })
}

/// Parses a response of any status.
pub(super) fn parse_response(head: &Bytes) -> Result<ResponseHead, HeadRule> {
    with_response(head, |parsed| {
        let status = parsed.code.filter(|code| (100..1000).contains(code));
        Ok(ResponseHead {
            status: status.ok_or(HeadRule::StatusLine)?,
            is_http_11: is_http_11(parsed.version),
            lines: lines(head, parsed.headers),
        })
    })
}

/// Parses a request that is complete, and has `read` read it.
pub(super) fn with_request<T>(
    head: &[u8],
    read: impl FnOnce(&httparse::Request<'_, '_>) -> Result<T, HeadRule>,
) -> Result<T, HeadRule> {
    // Not initialized: 128 headers take 4 KiB, and few requests have more than 20.
    let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(head, &mut headers) {
        Ok(Status::Complete(_)) => read_request(&parsed, read),
        Ok(Status::Partial) => Err(HeadRule::RequestLine),
        Err(error) => Err(rule(error, HeadRule::RequestLine)),
    }
}

/// Parses a request at the start of `bytes`, and has `read` read it. Returns its length too; gives `read`
/// back if it is incomplete, or might have to be rejected by the scanner.
///
/// The scanner rejects nothing else that the parser accepts: the parser knows tokens, the version, control
/// bytes, folded lines and the number of headers, but accepts lines that end with a bare line feed.
pub(super) fn with_whole_request<T, R>(
    bytes: &[u8],
    read: R,
) -> Result<(usize, Result<T, HeadRule>), R>
where
    R: FnOnce(&httparse::Request<'_, '_>) -> Result<T, HeadRule>,
{
    let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(bytes, &mut headers) {
        Ok(Status::Complete(len)) if has_only_plain_lines(&bytes[..len]) => {
            Ok((len, read_request(&parsed, read)))
        }
        _ => Err(read),
    }
}

/// True if there is no empty line before the head, and each line feed follows a carriage return.
fn has_only_plain_lines(head: &[u8]) -> bool {
    let is_plain = |(before, byte): (&u8, &u8)| *byte != b'\n' || *before == b'\r';
    // Without a branch for each byte, so that many are compared by one instruction.
    !matches!(head.first(), Some(b'\r' | b'\n'))
        && head.iter().zip(&head[1..]).fold(true, |all, pair| all & is_plain(pair))
}

/// Has `read` read a request, and checks the headers that determine where it ends and which host it is for.
fn read_request<T>(
    parsed: &httparse::Request<'_, '_>,
    read: impl FnOnce(&httparse::Request<'_, '_>) -> Result<T, HeadRule>,
) -> Result<T, HeadRule> {
    /// The crate `http` has no longer names.
    const MAX_NAME_LEN: usize = u16::MAX as usize;
    if parsed.headers.iter().any(|header| header.name.len() > MAX_NAME_LEN) {
        return Err(HeadRule::HeaderName);
    }
    let request = read(parsed)?;
    check_host(&*parsed.headers, is_http_11(parsed.version))?;
    check_length(&*parsed.headers)?;
    Ok(request)
}

/// Parses a response, and has `read` read it.
pub(super) fn with_response<T>(
    head: &[u8],
    read: impl FnOnce(&httparse::Response<'_, '_>) -> Result<T, HeadRule>,
) -> Result<T, HeadRule> {
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut headers);
    match parsed.parse(head) {
        Ok(Status::Complete(_)) => read(&parsed),
        Ok(Status::Partial) => Err(HeadRule::StatusLine),
        Err(error) => Err(rule(error, HeadRule::StatusLine)),
    }
}

/// Checks that a request of HTTP/1.1 has exactly one valid `Host`, and one of HTTP/1.0 at most one
/// (RFC 9112 §3.2).
pub(super) fn check_host(
    headers: &(impl Fields + ?Sized),
    is_http_11: bool,
) -> Result<(), HeadRule> {
    let mut host = Seldom::Never;
    headers.all(&HOST).for_each(|value| host.add(value));
    match host {
        Seldom::Never if !is_http_11 => Ok(()),
        host => check_one_host(host),
    }
}

/// Checks that there is one valid `Host`.
pub(super) fn check_one_host(host: Seldom<'_>) -> Result<(), HeadRule> {
    match host {
        Seldom::Never => Err(HeadRule::HostMissing),
        Seldom::Once(host) => {
            let parsed = str::from_utf8(host).ok().and_then(HostPort::parse);
            parsed.map(drop).ok_or(HeadRule::HostInvalid)
        }
        Seldom::Repeated => Err(HeadRule::HostRepeated),
    }
}

/// Checks that there is at most one `Content-Length`, of digits only, and none together with
/// `Transfer-Encoding`.
///
/// RFC 9112 §6.3 allows a recipient to repair some of the other cases. Nothing is gained by it here,
/// since the body is not read and the connection is not reused, and a proxy that repairs them in
/// another way could be deceived.
fn check_length(headers: &(impl Fields + ?Sized)) -> Result<(), HeadRule> {
    let mut lengths = headers.all(&CONTENT_LENGTH);
    let Some(length) = lengths.next() else { return Ok(()) };
    let is_number = !length.is_empty()
        && length.iter().all(u8::is_ascii_digit)
        && str::from_utf8(length).is_ok_and(|digits| digits.parse::<u64>().is_ok());
    match is_number && lengths.next().is_none() && !headers.contains(&TRANSFER_ENCODING) {
        true => Ok(()),
        false => Err(HeadRule::ContentLength),
    }
}

/// True if a target has the one of the four forms of RFC 9112 §3.2 that fits the method, and only
/// characters that it may have. The crate `http` accepts the same.
pub(super) fn is_target(target: &str, method: &str) -> bool {
    /// The crate `http` indexes a URI with 16 bits.
    const MAX_LEN: usize = u16::MAX as usize - 1;
    if target.len() > MAX_LEN {
        return false;
    }
    if target == "*" {
        return method == "OPTIONS";
    }
    if target.starts_with('/') {
        return method != "CONNECT" && is_path(target);
    }
    let Some(rest) = without_scheme(target) else {
        return method == "CONNECT" && HostPort::parse(target).is_some();
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    HostPort::parse(authority).is_some() && is_path(path)
}

fn without_scheme(uri: &str) -> Option<&str> {
    ["http://", "https://"].into_iter().find_map(|scheme| {
        let start = uri.get(..scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then(|| &uri[scheme.len()..])
    })
}

/// True if a path with an optional query has only characters that need no percent-encoding, or that many
/// clients send without it.
pub(super) fn is_path(text: &str) -> bool {
    let is_path =
        |byte| matches!(byte, b'!' | b'"' | b'$'..=b';' | b'=' | b'@'..=b'_' | b'a'..=b'~');
    let is_query = |byte| matches!(byte, b'!' | b'$'..=b';' | b'=' | b'?'..=b'~');
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    path.bytes().all(is_path) && query.bytes().all(is_query)
}

pub(super) fn is_http_11(minor: Option<u8>) -> bool {
    minor != Some(0)
}

/// The headers in the order of their lines. All share the memory of `head`.
fn lines(head: &Bytes, parsed: &[Header<'_>]) -> Lines {
    let line = |header: &Header<'_>| (shared(head, header.name), head.slice_ref(header.value));
    Lines(parsed.iter().map(line).collect::<Vec<_>>())
}

/// A part of `head` that shares its memory.
fn shared(head: &Bytes, part: &str) -> ByteString {
    ByteString::try_from(head.slice_ref(part.as_bytes())).unwrap_or_default()
}

fn rule(error: httparse::Error, first_line: HeadRule) -> HeadRule {
    match error {
        httparse::Error::HeaderName | httparse::Error::HeaderValue => HeadRule::HeaderName,
        _ => first_line,
    }
}

//! Whole HTTP/1.1 heads, parsed into the types of the `http` crate.
//!
//! The parser is `httparse` with its strictest settings. Before it runs,
//! [`HeadReader`](super::scan::HeadReader) has found the end of the head, counted the lines and
//! rejected bytes that are not allowed in them.

use core::str;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::uri::{Scheme, Uri};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use httparse::{EMPTY_HEADER, Header, Status};

use super::error::HeadRule;
use super::{HostPort, MAX_HEADERS};

/// Parses a request of any method, upgrade or not.
pub(super) fn parse_request(head: &Bytes) -> Result<Request<()>, HeadRule> {
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    match parsed.parse(head) {
        Ok(Status::Complete(_)) => {}
        Ok(Status::Partial) => return Err(HeadRule::RequestLine),
        Err(error) => return Err(rule(error, HeadRule::RequestLine)),
    }
    let method = parsed.method.unwrap_or_default().as_bytes();
    let method = Method::from_bytes(method).map_err(|_| HeadRule::RequestLine)?;

    let mut request = Request::new(());
    *request.uri_mut() = target(head, parsed.path.unwrap_or_default(), &method)?;
    *request.method_mut() = method;
    *request.version_mut() = version(parsed.version);
    *request.headers_mut() = header_map(head, parsed.headers)?;
    check_host(request.headers(), request.version())?;
    check_length(request.headers())?;
    Ok(request)
}

/// Parses a response of any status.
pub(super) fn parse_response(head: &Bytes) -> Result<Response<()>, HeadRule> {
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut headers);
    match parsed.parse(head) {
        Ok(Status::Complete(_)) => {}
        Ok(Status::Partial) => return Err(HeadRule::StatusLine),
        Err(error) => return Err(rule(error, HeadRule::StatusLine)),
    }
    let status = StatusCode::from_u16(parsed.code.unwrap_or_default());

    let mut response = Response::new(());
    *response.status_mut() = status.map_err(|_| HeadRule::StatusLine)?;
    *response.version_mut() = version(parsed.version);
    *response.headers_mut() = header_map(head, parsed.headers)?;
    Ok(response)
}

/// Checks that a request of HTTP/1.1 has exactly one valid `Host`, and one of HTTP/1.0 at most one
/// (RFC 9112 §3.2).
pub(super) fn check_host(headers: &HeaderMap, version: Version) -> Result<(), HeadRule> {
    let mut hosts = headers.get_all(HOST).iter();
    let Some(host) = hosts.next() else {
        let optional = version < Version::HTTP_11;
        return if optional { Ok(()) } else { Err(HeadRule::HostMissing) };
    };
    if hosts.next().is_some() {
        return Err(HeadRule::HostRepeated);
    }
    let parsed = host.to_str().ok().and_then(HostPort::parse);
    parsed.map(drop).ok_or(HeadRule::HostInvalid)
}

/// Checks that there is at most one `Content-Length`, of digits only, and none together with
/// `Transfer-Encoding`.
///
/// RFC 9112 §6.3 allows a recipient to repair some of the other cases. Nothing is gained by it here,
/// since the body is not read and the connection is not reused, and a proxy that repairs them in
/// another way could be deceived.
fn check_length(headers: &HeaderMap) -> Result<(), HeadRule> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let Some(length) = lengths.next() else { return Ok(()) };
    let length = length.as_bytes();
    let is_number = !length.is_empty()
        && length.iter().all(u8::is_ascii_digit)
        && str::from_utf8(length).is_ok_and(|digits| digits.parse::<u64>().is_ok());
    match is_number && lengths.next().is_none() && !headers.contains_key(TRANSFER_ENCODING) {
        true => Ok(()),
        false => Err(HeadRule::ContentLength),
    }
}

/// Parses the target, which must have the one of the four forms of RFC 9112 §3.2 that fits the method.
fn target(head: &Bytes, target: &str, method: &Method) -> Result<Uri, HeadRule> {
    // `Uri` silently drops a fragment; a request target cannot have one (RFC 9112 §3.2).
    if target.contains('#') {
        return Err(HeadRule::Target);
    }
    let uri = Uri::from_maybe_shared(head.slice_ref(target.as_bytes()));
    let uri = uri.map_err(|_| HeadRule::Target)?;
    let is_host = uri.authority().is_some_and(|it| HostPort::parse(it.as_str()).is_some());
    let valid = match uri.scheme() {
        Some(scheme) => (*scheme == Scheme::HTTP || *scheme == Scheme::HTTPS) && is_host,
        None if uri.authority().is_some() => *method == Method::CONNECT && is_host,
        None if target == "*" => *method == Method::OPTIONS,
        None => *method != Method::CONNECT,
    };
    valid.then_some(uri).ok_or(HeadRule::Target)
}

fn version(minor: Option<u8>) -> Version {
    if minor == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 }
}

/// The headers in the order of their lines. All values share the memory of `head`.
fn header_map(head: &Bytes, parsed: &[Header<'_>]) -> Result<HeaderMap, HeadRule> {
    let mut headers = HeaderMap::with_capacity(parsed.len());
    for header in parsed {
        let name = HeaderName::from_bytes(header.name.as_bytes());
        let value = HeaderValue::from_maybe_shared(head.slice_ref(header.value));
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(HeadRule::HeaderName);
        };
        headers.append(name, value);
    }
    Ok(headers)
}

fn rule(error: httparse::Error, first_line: HeadRule) -> HeadRule {
    match error {
        httparse::Error::HeaderName | httparse::Error::HeaderValue => HeadRule::HeaderName,
        _ => first_line,
    }
}

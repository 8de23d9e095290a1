//! Parses heads into the types of the crate `http`.

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::uri::{Scheme, Uri};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use httparse::Header;

use crate::handshake::HostPort;
use crate::handshake::error::HeadRule;
use crate::handshake::head::{is_http_11, with_request, with_response};

/// Parses a request of any method, upgrade or not.
pub(super) fn parse_request(head: &Bytes) -> Result<Request<()>, HeadRule> {
    with_request(head, |parsed| {
        let method = parsed.method.unwrap_or_default().as_bytes();
        let method = Method::from_bytes(method).map_err(|_| HeadRule::RequestLine)?;
        let mut request = Request::new(());
        *request.uri_mut() = target(head, parsed.path.unwrap_or_default(), &method)?;
        *request.method_mut() = method;
        *request.version_mut() = version(parsed.version);
        *request.headers_mut() = header_map(head, parsed.headers)?;
        Ok(request)
    })
}

/// Parses a response of any status.
pub(super) fn parse_response(head: &Bytes) -> Result<Response<()>, HeadRule> {
    with_response(head, |parsed| {
        let status = StatusCode::from_u16(parsed.code.unwrap_or_default());
        let mut response = Response::new(());
        *response.status_mut() = status.map_err(|_| HeadRule::StatusLine)?;
        *response.version_mut() = version(parsed.version);
        *response.headers_mut() = header_map(head, parsed.headers)?;
        Ok(response)
    })
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
    if is_http_11(minor) { Version::HTTP_11 } else { Version::HTTP_10 }
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

//! Headers of the response that opens a session: [`ResponseHeaderError`].

use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRAILER, TRANSFER_ENCODING,
    UPGRADE,
};
use thiserror::Error;
#[cfg(feature = "server")]
use {
    crate::request::Request,
    sockless_core::{
        Negotiated,
        extension::Agreed,
        handshake::{Grant, UpgradeRequest},
    },
};

/// A header cannot be added to the response that opens a session.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ResponseHeaderError {
    /// The name or the value is not valid in HTTP.
    #[error("the header is invalid: {0}")]
    Invalid(#[source] http::Error),
    /// The handshake sets the header itself, or the response cannot have it: `Connection`,
    /// `Upgrade`, `Content-Length`, `Transfer-Encoding`, `Trailer`, `Keep-Alive`, and all names
    /// that begin with `Sec-WebSocket-`.
    #[error("expected a header that the handshake does not set itself, got {0}")]
    Reserved(HeaderName),
}

/// Adds a header after the others of its name.
pub(crate) fn add<N, V>(
    headers: &mut HeaderMap,
    name: N,
    value: V,
) -> Result<(), ResponseHeaderError>
where
    N: TryInto<HeaderName, Error: Into<http::Error>>,
    V: TryInto<HeaderValue, Error: Into<http::Error>>,
{
    let invalid = |error| ResponseHeaderError::Invalid(error);
    let name = name.try_into().map_err(|error| invalid(error.into()))?;
    let value = value.try_into().map_err(|error| invalid(error.into()))?;
    if is_reserved(&name) {
        return Err(ResponseHeaderError::Reserved(name));
    }
    headers.try_append(name, value).map_err(|error| invalid(error.into()))?;
    Ok(())
}

/// Accepts an upgrade. Returns the headers to add to the response. The request gets the result of the
/// negotiation.
#[cfg(feature = "server")]
pub(crate) fn accept(
    request: &mut Request,
    upgrade: UpgradeRequest,
) -> (Grant, HeaderMap, Negotiated) {
    let (grant, negotiated) = upgrade.grant();
    let headers = request.take_response_headers();
    request.set_subprotocol(negotiated.subprotocol.clone());
    request.set_extensions(negotiated.extensions.iter().map(Agreed::params));
    (grant, headers, negotiated)
}

fn is_reserved(name: &HeaderName) -> bool {
    const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
    [CONNECTION, CONTENT_LENGTH, KEEP_ALIVE, TRAILER, TRANSFER_ENCODING, UPGRADE].contains(name)
        || name.as_str().starts_with("sec-websocket-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headers_of_the_handshake_are_rejected() {
        let mut headers = HeaderMap::new();
        let reserved = [
            "Connection",
            "upgrade",
            "Sec-WebSocket-Accept",
            "sec-websocket-protocol",
            "Sec-WebSocket-Extensions",
            "content-length",
            "transfer-encoding",
            "keep-alive",
            "trailer",
        ];
        for name in reserved {
            let error = add(&mut headers, name, "x").unwrap_err();
            assert!(matches!(error, ResponseHeaderError::Reserved(_)), "{name}: {error}");
        }
        for (name, value) in [("a b", "x"), ("x", "a\r\nb"), ("", "x")] {
            let error = add(&mut headers, name, value).unwrap_err();
            assert!(matches!(error, ResponseHeaderError::Invalid(_)), "{name}: {error}");
        }
        assert!(headers.is_empty());
        add(&mut headers, "Set-Cookie", "a=1").unwrap();
        add(&mut headers, "Set-Cookie", "b=2").unwrap();
        assert_eq!(headers.get_all("set-cookie").iter().count(), 2, "both are kept");
    }
}

//! The headers that a program adds to an opening request: [`RequestHeaders`].

use http::HeaderMap;
use http::header::{
    AUTHORIZATION, COOKIE, Entry, HeaderName, HeaderValue, PROXY_AUTHORIZATION,
    SEC_WEBSOCKET_PROTOCOL,
};

/// The headers that a program adds to an opening request, for builders such as
/// [`Connect`](super::Connect) and the test kit's. The first error is kept until
/// [`finish`](Self::finish), so that the builder's methods need not return a `Result`.
#[derive(Debug)]
pub struct RequestHeaders(Result<HeaderMap, http::Error>);

impl RequestHeaders {
    /// Returns an empty set of headers.
    pub fn new() -> Self {
        Self(Ok(HeaderMap::new()))
    }

    /// Adds a header after the others. The values of `Authorization`, `Cookie` and
    /// `Proxy-Authorization` are marked as sensitive.
    pub fn append<N, V>(&mut self, name: N, value: V)
    where
        N: TryInto<HeaderName, Error: Into<http::Error>>,
        V: TryInto<HeaderValue, Error: Into<http::Error>>,
    {
        self.change(|headers| {
            let name = name.try_into().map_err(Into::into)?;
            let mut value = value.try_into().map_err(Into::into)?;
            value.set_sensitive(value.is_sensitive() || is_secret(&name));
            headers.try_append(name, value)?;
            Ok(())
        });
    }

    /// Adds a cookie to the end of the `Cookie` line, which is sensitive.
    pub fn append_cookie(&mut self, name: &str, value: &str) {
        self.change(|headers| {
            let is_token = |byte: u8| HeaderName::from_bytes(&[byte]).is_ok();
            // RFC 6265 §4.1.1.
            let is_value =
                |byte| matches!(byte, 0x21 | 0x23..=0x2B | 0x2D..=0x3A | 0x3C..=0x5B | 0x5D..=0x7E);
            let bare =
                value.strip_prefix('"').and_then(|bare| bare.strip_suffix('"')).unwrap_or(value);
            if name.is_empty() || !name.bytes().all(is_token) || !bare.bytes().all(is_value) {
                // The error of http for a value with a byte that is not allowed.
                HeaderValue::from_bytes(b"\0")?;
            }
            let cookie = [name.as_bytes(), b"=", value.as_bytes()].concat();
            let line = append_to_cookies(headers.get(COOKIE), &cookie)?;
            headers.try_insert(COOKIE, line)?;
            Ok(())
        });
    }

    /// Adds a subprotocol to the end of the `Sec-WebSocket-Protocol` line, which stays sensitive if
    /// it was.
    pub fn append_subprotocol(&mut self, name: &str) {
        self.change(|headers| {
            let value = HeaderValue::try_from(name)?;
            match headers.entry(SEC_WEBSOCKET_PROTOCOL) {
                Entry::Vacant(entry) => {
                    entry.insert(value);
                }
                Entry::Occupied(mut entry) => {
                    let list = [entry.get().as_bytes(), b", ", value.as_bytes()].concat();
                    let mut list = HeaderValue::try_from(list)?;
                    list.set_sensitive(entry.get().is_sensitive());
                    *entry.get_mut() = list;
                }
            }
            Ok(())
        });
    }

    /// Returns the headers.
    ///
    /// # Errors
    ///
    /// Returns the error of the first header or subprotocol that is invalid.
    pub fn finish(self) -> Result<HeaderMap, http::Error> {
        self.0
    }

    fn change(&mut self, change: impl FnOnce(&mut HeaderMap) -> Result<(), http::Error>) {
        if let Ok(headers) = &mut self.0
            && let Err(error) = change(headers)
        {
            self.0 = Err(error);
        }
    }
}

impl Default for RequestHeaders {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns the value of a `Cookie` line with `cookies` at its end, which is sensitive.
pub(super) fn append_to_cookies(
    line: Option<&HeaderValue>,
    cookies: &[u8],
) -> Result<HeaderValue, http::Error> {
    let mut line = match line {
        Some(line) => HeaderValue::try_from([line.as_bytes(), b"; ", cookies].concat())?,
        None => HeaderValue::from_bytes(cookies)?,
    };
    line.set_sensitive(true);
    Ok(line)
}

/// Returns the headers that may be sent to another origin, in their order: all except those that
/// prove who the client is, by their name or because they are marked as sensitive.
pub(super) fn without_secrets(headers: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for (name, value) in headers {
        if !is_secret(name) && !value.is_sensitive() {
            kept.append(name, value.clone());
        }
    }
    kept
}

fn is_secret(name: &HeaderName) -> bool {
    [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION].contains(name)
}

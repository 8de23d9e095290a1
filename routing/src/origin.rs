//! Which pages may open a WebSocket here: [`Origins`].

use std::sync::Arc;

use http::header::{HOST, ORIGIN};
use http::{HeaderMap, HeaderName, Request};
use thiserror::Error;

/// Which pages may open a WebSocket (RFC 6455 §10.2).
///
/// A browser lets any page open a WebSocket to any host, sends the host's cookies along, and says in
/// `Origin` which page it was. A server that does not look can be used by every page that its user
/// visits. So a router refuses with 403, before its guards run, what its policy does not admit; the
/// default is [`same_origin`](Self::same_origin).
///
/// A request without `Origin` does not come from a page, and passes under every policy: what is not
/// a browser could send any `Origin` it likes. Authenticate it with a guard. `Origin: null`, which
/// sandboxed frames and local files send, passes under [`any`](Self::any) alone.
#[derive(Clone, Debug, Default)]
pub struct Origins(Policy);

#[derive(Clone, Debug, Default)]
enum Policy {
    Any,
    List(Arc<[Origin<String>]>),
    #[default]
    SameOrigin,
}

impl Origins {
    /// Pages of any origin, `null` too: for what is public, or guarded by more than cookies.
    pub fn any() -> Self {
        Self(Policy::Any)
    }

    /// Pages from the host and port that the request itself names, in `Host` or in the authority of
    /// its target. The default.
    ///
    /// Hosts are compared without regard to case, and a port that is not named is 80 for `http` and
    /// 443 for `https`. The scheme is compared when the request's target names one, as in HTTP/2;
    /// in HTTP/1.1 it does not. Use [`list`](Self::list) behind a proxy that rewrites `Host`, and in a
    /// private network, where a foreign page may come under a name that it made lead to this server
    /// (DNS rebinding).
    pub fn same_origin() -> Self {
        Self(Policy::SameOrigin)
    }

    /// Pages from exactly these origins, as in `https://example.com` or `http://localhost:3000`: the
    /// scheme, the host and the port have to agree. The server's own origin has to be named as well.
    ///
    /// # Panics
    ///
    /// When one is not an origin: see [`try_list`](Self::try_list).
    #[track_caller]
    pub fn list(origins: impl IntoIterator<Item: AsRef<str>>) -> Self {
        match Self::try_list(origins) {
            Ok(origins) => origins,
            Err(error) => panic!("{error}"),
        }
    }

    /// As [`list`](Self::list), for origins that are not known when the program is compiled.
    ///
    /// # Errors
    ///
    /// When one is not an origin: it has no scheme or no host, or has a path, even `/`. An
    /// internationalized host is written as browsers send it, in Punycode.
    pub fn try_list(origins: impl IntoIterator<Item: AsRef<str>>) -> Result<Self, OriginInvalid> {
        let own = |text: &str| match Origin::parse(text) {
            Some(origin) => Ok(origin.to_owned()),
            None => Err(OriginInvalid(text.to_owned())),
        };
        let list: Result<_, _> = origins.into_iter().map(|o| own(o.as_ref())).collect();
        Ok(Self(Policy::List(list?)))
    }

    /// Whether the policy admits `request`.
    pub(crate) fn check<B>(&self, request: &Request<B>) -> Result<(), OriginRefused> {
        if matches!(self.0, Policy::Any) || !request.headers().contains_key(ORIGIN) {
            return Ok(());
        }
        let text = sole(request.headers(), ORIGIN).ok_or(OriginRefused::NotOne)?;
        let origin = Origin::parse(text).ok_or(OriginRefused::NotOne)?;
        let admitted = match &self.0 {
            Policy::Any => true,
            Policy::List(list) => list.iter().any(|listed| listed.equals(&origin)),
            Policy::SameOrigin => origin.is_of(request),
        };
        match admitted {
            true => Ok(()),
            false => Err(OriginRefused::Foreign(text.to_owned())),
        }
    }
}

/// A text that names no origin was put into a list of them.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not an origin: write scheme://host or scheme://host:port, and no path")]
pub struct OriginInvalid(String);

/// Why a request's `Origin` is refused.
#[derive(Debug, PartialEq, Eq, Error)]
pub(crate) enum OriginRefused {
    #[error("pages of {0} may not open this WebSocket")]
    Foreign(String),
    #[error("the request's Origin does not name the one page it comes from")]
    NotOne,
}

/// A scheme, a host and a port (RFC 6454 §4).
#[derive(Clone, Debug)]
struct Origin<S> {
    scheme: S,
    host: S,
    port: Option<u16>,
}

impl<'a> Origin<&'a str> {
    fn parse(text: &'a str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let (host, port) = split_authority(authority)?;
        let origin = Self { scheme, host, port };
        let is_letter = |b: u8| b.is_ascii_alphanumeric() || b"+-.".contains(&b);
        let is_scheme =
            scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.bytes().all(is_letter);
        is_scheme.then_some(origin)
    }

    fn to_owned(&self) -> Origin<String> {
        Origin { scheme: self.scheme.to_owned(), host: self.host.to_owned(), port: self.port }
    }

    /// Whether a page of this origin and `request` have the same host and port.
    fn is_of<B>(&self, request: &Request<B>) -> bool {
        let target = request.uri();
        let authority = match target.authority() {
            // It overrides Host (RFC 9112 §3.2.2).
            Some(authority) => Some(authority.as_str()),
            None => sole(request.headers(), HOST),
        };
        let Some((host, port)) = authority.and_then(split_authority) else {
            return false;
        };
        let Some(default) = default_port(self.scheme) else {
            return false;
        };
        let is_secure = |scheme: &str| matches!(scheme, "https" | "wss");
        self.host.eq_ignore_ascii_case(host)
            && self.port.unwrap_or(default) == port.unwrap_or(default)
            && target.scheme_str().is_none_or(|scheme| is_secure(scheme) == (default == 443))
    }
}

impl Origin<String> {
    fn equals(&self, other: &Origin<&str>) -> bool {
        self.scheme.eq_ignore_ascii_case(other.scheme)
            && self.host.eq_ignore_ascii_case(other.host)
            && self.port.or(default_port(&self.scheme)) == other.port.or(default_port(other.scheme))
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        s if s.eq_ignore_ascii_case("http") => Some(80),
        s if s.eq_ignore_ascii_case("https") => Some(443),
        _ => None,
    }
}

/// The host and the port of an authority that is nothing more: no user, no path.
fn split_authority(authority: &str) -> Option<(&str, Option<u16>)> {
    // The colons of an IPv6 address stand in brackets.
    let end = authority.find(']').map_or(0, |bracket| bracket + 1);
    let (host, port) = match authority[end..].find(':') {
        Some(colon) => (&authority[..end + colon], &authority[end + colon + 1..]),
        None => (authority, ""),
    };
    let is_host = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let is_letter = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
            !host.is_empty() && host.bytes().all(is_letter)
        }
    };
    let port = match port {
        // An empty port is the default one (RFC 3986 §3.2.3).
        "" => None,
        // The standard parser would take a sign.
        digits if digits.bytes().all(|b| b.is_ascii_digit()) => Some(digits.parse().ok()?),
        _ => return None,
    };
    is_host.then_some((host, port))
}

/// The value of a header that is there exactly once, as readable text.
fn sole(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then_some(value)?.to_str().ok()
}

//! Which pages may open a WebSocket here: [`Origins`].

use std::sync::Arc;

use http::header::ORIGIN;
use sockless_driver::{HostPort, Request};
use thiserror::Error;

/// Which pages may open a WebSocket (RFC 6455 §10.2).
///
/// A browser lets any page open a WebSocket to any host, sends the host's cookies along, and says in
/// `Origin` which page it was. A server that does not look can be used by every page that its user
/// visits. So a router refuses with 403, before its guards run, what its policy does not admit. There
/// is no default: until one is chosen, with [`Router::origins`](crate::Router::origins), no page is
/// admitted at all.
///
/// A request without `Origin` does not come from a page, and passes under every policy: what is not
/// a browser could send any `Origin` it likes. Authenticate it with a guard. `Origin: null`, which
/// sandboxed frames and local files send, passes under [`any`](Self::any) alone.
#[derive(Clone, Debug)]
pub struct Origins(Policy);

#[derive(Clone, Debug)]
enum Policy {
    Any,
    List(Arc<[Origin<String>]>),
    SameOrigin,
}

impl Origins {
    /// Pages of any origin, `null` too: for what is public, or guarded by more than cookies.
    pub fn any() -> Self {
        Self(Policy::Any)
    }

    /// Pages from the host and port that the client asked for: [`Request::authority`]. For most servers that
    /// serve their pages themselves.
    ///
    /// Hosts are compared without regard to case, and a port that is not named is 80 for `http` and
    /// 443 for `https`. The scheme is compared where it is known: [`Request::is_secure`]. Behind a proxy
    /// that rewrites `Host`, tell the router to [trust](crate::Router::trust) it or use
    /// [`list`](Self::list); use that in a private network too, where a foreign page may come under a
    /// name that it made lead to this server (DNS rebinding).
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
    pub fn try_list(
        origins: impl IntoIterator<Item: AsRef<str>>,
    ) -> Result<Self, ParseOriginError> {
        let own = |text: &str| match Origin::parse(text) {
            Some(origin) => Ok(origin.to_owned()),
            None => Err(ParseOriginError(text.to_owned())),
        };
        let list: Result<_, _> = origins.into_iter().map(|o| own(o.as_ref())).collect();
        Ok(Self(Policy::List(list?)))
    }

    /// Whether the policy that was chosen admits `request`.
    pub(crate) fn check(chosen: Option<&Self>, request: &Request) -> Result<(), OriginRefused> {
        if !request.headers().contains_key(ORIGIN) {
            return Ok(());
        }
        let Self(policy) = chosen.ok_or(OriginRefused::Unchosen)?;
        if matches!(policy, Policy::Any) {
            return Ok(());
        }
        let text = request.header(ORIGIN).ok_or(OriginRefused::NotOne)?;
        let origin = Origin::parse(text).ok_or(OriginRefused::NotOne)?;
        let admitted = match policy {
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
pub struct ParseOriginError(String);

/// Why a request's `Origin` is refused.
#[derive(Debug, PartialEq, Eq, Error)]
pub(crate) enum OriginRefused {
    #[error("pages of {0} may not open this WebSocket")]
    Foreign(String),
    #[error("the request's Origin does not name the one page it comes from")]
    NotOne,
    #[error(
        "no page may open this WebSocket: its server has chosen no policy with Router::origins"
    )]
    Unchosen,
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
        let HostPort { host, port } = HostPort::parse(authority)?;
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
    fn is_of(&self, request: &Request) -> bool {
        let Some((own, default)) = request.authority().zip(default_port(self.scheme)) else {
            return false;
        };
        self.host.eq_ignore_ascii_case(own.host)
            && self.port.unwrap_or(default) == own.port.unwrap_or(default)
            && request.is_secure().is_none_or(|is_secure| is_secure == (default == 443))
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

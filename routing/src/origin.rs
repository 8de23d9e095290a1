//! The web pages that may open a WebSocket: [`Origins`].

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::header::ORIGIN;
use sockless_driver::{HostPort, Request};
use thiserror::Error;

use crate::reject::Rejection;

/// The web pages that may open a WebSocket (RFC 6455 §10.2), for
/// [`Router::origins`](crate::Router::origins).
///
/// A browser lets any page open a WebSocket to any host, sends the host's cookies with the request,
/// and names the page in the header `Origin`. A server that does not check it can be used by every
/// page that its user visits (cross-site WebSocket hijacking). A router rejects pages that its
/// policy does not allow with 403, before its guards run. Until a policy is set, it rejects all
/// pages.
///
/// Requests without `Origin` do not come from a page and are accepted by every policy: a client
/// that is not a browser can send any `Origin`. Authenticate them with a guard. `Origin: null`,
/// which browsers send for sandboxed frames and local files, is accepted by [`any`](Self::any)
/// only.
///
/// ```
/// use sockless::{Origins, Router, Session, websocket};
///
/// async fn chat(session: Session) {}
///
/// let router = Router::new()
///     .origins(Origins::list(["https://example.com", "http://localhost:3000"]))
///     .route("/chat", websocket(chat));
/// ```
#[derive(Clone, Debug)]
pub struct Origins(Policy);

#[derive(Clone, Debug)]
enum Policy {
    Any,
    List(Arc<[Origin<String>]>),
    SameOrigin,
}

impl Origins {
    /// Allows pages of any origin, including `null`. Suitable for public data, and for routes whose
    /// authentication does not rely on cookies.
    pub fn any() -> Self {
        Self(Policy::Any)
    }

    /// Allows pages of the host and port of the URL that the client opened: [`Request::authority`].
    /// Suitable for most servers that serve their own pages.
    ///
    /// Hosts are compared without regard to case. A missing port is 80 for `http` and 443 for
    /// `https`. The scheme is compared if it is known: [`Request::is_secure`]. Behind a proxy that
    /// rewrites `Host`, [trust](crate::Router::trust) the proxy or use [`list`](Self::list). Use
    /// `list` also in a private network, where a foreign page may point its own host name at this
    /// server (DNS rebinding).
    pub fn same_origin() -> Self {
        Self(Policy::SameOrigin)
    }

    /// Allows pages of exactly these origins, such as `https://example.com` or
    /// `http://localhost:3000`: the scheme, the host and the port have to match. The server's own
    /// origin is not included unless it is listed.
    ///
    /// # Panics
    ///
    /// Panics if [`try_list`](Self::try_list) returns an error.
    #[track_caller]
    pub fn list(origins: impl IntoIterator<Item: AsRef<str>>) -> Self {
        match Self::try_list(origins) {
            Ok(origins) => origins,
            Err(error) => panic!("{error}"),
        }
    }

    /// Like [`list`](Self::list), for origins that are only known at run time.
    ///
    /// # Errors
    ///
    /// Returns an error if an item has no scheme or no host, or has a path, even `/`.
    /// Internationalized hosts have to be in Punycode, as browsers send them.
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

    /// Checks the `Origin` of a request, for a server without a [`Router`](crate::Router).
    ///
    /// # Errors
    ///
    /// The response to send, a 403, if this policy does not allow the page that sent the request.
    pub fn check_request(&self, request: &Request) -> Result<(), Response<Bytes>> {
        Self::check(Some(self), request)
            .map_err(|error| Rejection::OriginRejected(error).response())
    }

    /// Checks `request` against `policy`, if one was set.
    pub(crate) fn check(policy: Option<&Self>, request: &Request) -> Result<(), OriginRejected> {
        if !request.has_header(ORIGIN) {
            return Ok(());
        }
        let Self(policy) = policy.ok_or(OriginRejected::NoPolicy)?;
        if matches!(policy, Policy::Any) {
            return Ok(());
        }
        let text = request.header(ORIGIN).ok_or(OriginRejected::Invalid)?;
        let origin = Origin::parse(text).ok_or(OriginRejected::Invalid)?;
        let allowed = match policy {
            Policy::Any => true,
            Policy::List(list) => list.iter().any(|listed| listed.equals(&origin)),
            Policy::SameOrigin => origin.is_of(request),
        };
        match allowed {
            true => Ok(()),
            false => Err(OriginRejected::NotAllowed(text.to_owned())),
        }
    }
}

/// An item of a list of origins is not an origin, from [`Origins::try_list`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("invalid origin {0:?}: expected scheme://host or scheme://host:port, without a path")]
pub struct ParseOriginError(String);

/// Why a request is rejected for its `Origin`.
#[derive(Debug, PartialEq, Eq, Error)]
pub(crate) enum OriginRejected {
    #[error("invalid Origin header: expected one origin")]
    Invalid,
    #[error(
        "requests from web pages are rejected: the server has no origin policy (Router::origins)"
    )]
    NoPolicy,
    #[error("pages of the origin {0} may not open this WebSocket")]
    NotAllowed(String),
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

    /// Returns whether a page of this origin and `request` have the same host and port.
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

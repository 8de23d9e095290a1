//! Which redirects are followed, and with what: [`Redirects`].

use std::fmt;

use http::header::{AUTHORIZATION, COOKIE, HeaderMap, LOCATION, PROXY_AUTHORIZATION};
use http::{Response, StatusCode};
use sockless_core::Escaped;

use super::target::{Target, UrlError};

/// The most redirects of one connection, whatever the program allows: as many as browsers follow.
pub(crate) const MAX_REDIRECTS: u32 = 20;

/// The redirects of one connection.
pub(crate) struct Redirects {
    max: u32,
    followed: u32,
    /// Where we have been.
    visited: Vec<String>,
}

impl Redirects {
    pub(crate) fn new(max: u32) -> Self {
        Self { max: max.min(MAX_REDIRECTS), followed: 0, visited: Vec::new() }
    }

    /// Where `response`, the answer of `target`, leads; `None` when it is not to be followed anywhere.
    pub(crate) fn next(
        &mut self,
        target: &Target,
        response: &Response<()>,
    ) -> Result<Option<Target>, RedirectError> {
        let followed = matches!(
            response.status(),
            StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT
        );
        let location = response.headers().get(LOCATION).filter(|_| followed && self.max > 0);
        let Some(location) = location else { return Ok(None) };
        let location = std::str::from_utf8(location.as_bytes())
            .map_err(|_| RedirectError::LocationInvalid(UrlError::Syntax))?;
        let next = target.join(location).map_err(RedirectError::LocationInvalid)?;
        if target.secure && !next.secure {
            return Err(RedirectError::Downgrade { to: next.shown() });
        }
        self.visited.push(target.uri.to_string());
        if self.visited.contains(&next.uri.to_string()) {
            return Err(RedirectError::Loop { to: next.shown() });
        }
        if self.followed == self.max {
            return Err(RedirectError::TooMany { max: self.max, to: next.shown() });
        }
        self.followed += 1;
        let (from, to) = (Escaped(target.shown()), Escaped(next.shown()));
        tracing::debug!(%from, %to, "following a redirect");
        Ok(Some(next))
    }
}

/// The headers that go on to another origin: all but those that prove who we are, by their name or
/// because they were marked as sensitive, in their order.
pub(crate) fn without_secrets(headers: &HeaderMap) -> HeaderMap {
    let is_secret = |name| [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION].contains(name);
    let kept = headers.iter().filter(|(name, value)| !is_secret(name) && !value.is_sensitive());
    let mut headers = HeaderMap::new();
    for (name, value) in kept {
        headers.append(name, value.clone());
    }
    headers
}

/// Why a redirect is not followed. The URLs are shown without their queries, which may be secret, and
/// in `{}` and `{:?}` escaped, as the server wrote them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RedirectError {
    /// It leads from `wss:` to `ws:`, where everybody on the way could listen.
    Downgrade {
        /// Where it leads.
        to: String,
    },
    /// `Location` is no URL of a WebSocket.
    LocationInvalid(UrlError),
    /// It leads where we have been.
    Loop {
        /// Where it leads.
        to: String,
    },
    /// As many have been followed as [`Connect::redirects`](super::Connect::redirects) allows.
    TooMany {
        /// The setting's value, 20 at most.
        max: u32,
        /// Where it leads.
        to: String,
    },
}

impl fmt::Display for RedirectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Downgrade { to } => {
                write!(f, "not from wss to {}, which is not encrypted", Escaped(to))
            }
            Self::LocationInvalid(error) => write!(f, "Location is none for a WebSocket: {error}"),
            Self::Loop { to } => write!(f, "back to {}, in a circle", Escaped(to)),
            Self::TooMany { max, to } => {
                write!(f, "to {}, after redirects = {max} have been followed", Escaped(to))
            }
        }
    }
}

impl std::error::Error for RedirectError {}

//! The redirects of one connection, and the reasons for which one is not followed: [`Redirects`].

use http::header::LOCATION;
use http::{Response, StatusCode};
use sockless_core::Escaped;
use thiserror::Error;

use super::target::{Target, UrlError};

/// The number of redirects that are followed at most, whatever the program allows: as in browsers.
const MAX_REDIRECTS: u32 = 20;

/// The redirects of one connection.
pub(super) struct Redirects {
    max: u32,
    followed: u32,
    /// The URLs that have redirected so far.
    visited: Vec<String>,
}

impl Redirects {
    pub(super) fn new(max: u32) -> Self {
        Self { max: max.min(MAX_REDIRECTS), followed: 0, visited: Vec::new() }
    }

    /// Returns the target to which `response`, the response of `target`, redirects; `None` if it is
    /// not a redirect, or redirects are off.
    pub(super) fn next(
        &mut self,
        target: &Target,
        response: &Response<()>,
    ) -> Result<Option<Target>, RedirectError> {
        let is_redirect = matches!(
            response.status(),
            StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT
        );
        let location = response.headers().get(LOCATION).filter(|_| is_redirect && self.max > 0);
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

/// The reason for which a redirect is not followed.
///
/// URLs are shown without their query, which may contain a token. They are escaped in `{}` and
/// `{:?}`, since the server wrote them.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RedirectError {
    /// The redirect leads from `wss:` to `ws:`, which is not encrypted.
    #[error("expected a wss URL in Location, received {}, which is not encrypted", Escaped(.to))]
    Downgrade {
        /// The URL in `Location`.
        to: String,
    },
    /// `Location` is not a WebSocket URL.
    #[error("Location is not a WebSocket URL: {0}")]
    LocationInvalid(#[source] UrlError),
    /// The redirect leads to a URL that was already visited.
    #[error("Location leads in a loop, back to {}", Escaped(.to))]
    Loop {
        /// The URL in `Location`.
        to: String,
    },
    /// [`Connect::redirects`](super::Connect::redirects) redirects were followed already.
    #[error("Location leads to {}, but redirects = {max} have been followed", Escaped(.to))]
    TooMany {
        /// The value of the setting, 20 at most.
        max: u32,
        /// The URL in `Location`.
        to: String,
    },
}

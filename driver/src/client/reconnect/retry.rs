//! The decision about another attempt: [`Retry`], and a server's `Retry-After`.

use std::time::Duration;

use http::header::{DATE, HeaderMap, RETRY_AFTER};
use http::{Response, StatusCode};

use super::AttemptError;
use crate::client::error::ConnectError;

/// Whether and when another attempt follows, from the condition of
/// [`Reconnect::retry_if`](super::Reconnect::retry_if).
///
/// `true` converts to [`Backoff`](Self::Backoff), and `false` to [`Stop`](Self::Stop).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// No further attempt is made.
    Stop,
    /// An attempt follows after the usual delay, or after the one that the server asked for.
    Backoff,
    /// An attempt follows after this delay, which is used as it is.
    After(Duration),
}

impl From<bool> for Retry {
    fn from(again: bool) -> Self {
        if again { Self::Backoff } else { Self::Stop }
    }
}

/// Returns the delay that the server asked for by `Retry-After` (RFC 9110 §10.2.3) in a 429 or 503.
pub(super) fn retry_after(error: &AttemptError) -> Option<Duration> {
    match error {
        AttemptError::Connect(ConnectError::Rejected { response, .. }) => of_response(response),
        AttemptError::Connect(ConnectError::Proxy { response: Some(response), .. }) => {
            of_response(response)
        }
        _ => None,
    }
}

fn of_response<B>(response: &Response<B>) -> Option<Duration> {
    match response.status() {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            of_headers(response.headers())
        }
        _ => None,
    }
}

/// A date counts from the `Date` of the same response, so that the client's own clock does not
/// matter.
fn of_headers(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok().map(str::trim);
    let after: &str = text(RETRY_AFTER)?;
    if !after.is_empty() && after.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(after.parse().unwrap_or(u64::MAX)));
    }
    let until = httpdate::parse_http_date(after).ok()?;
    let now = httpdate::parse_http_date(text(DATE)?).ok()?;
    Some(until.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(status: u16, headers: &[(&str, &str)]) -> Option<Duration> {
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        of_response(&response.body(()).unwrap())
    }

    #[test]
    fn retry_after_is_read_as_seconds_or_a_date() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(after(429, &[("retry-after", "120")]), seconds(120));
        assert_eq!(after(503, &[("retry-after", " 0 ")]), seconds(0));
        assert_eq!(after(503, &[("retry-after", &"9".repeat(30))]), seconds(u64::MAX));
        let until = ("retry-after", "Sun, 06 Nov 1994 08:50:37 GMT");
        assert_eq!(after(503, &[until, ("date", "Sun, 06 Nov 1994 08:49:37 GMT")]), seconds(60));
        assert_eq!(after(503, &[until, ("date", "Mon, 07 Nov 1994 08:49:37 GMT")]), seconds(0));
        assert_eq!(after(503, &[until]), None, "there is no clock to compare with");
        assert_eq!(after(500, &[("retry-after", "120")]), None);
        for invalid in ["", "-1", "1.5", "soon"] {
            assert_eq!(after(429, &[("retry-after", invalid)]), None, "{invalid}");
        }
    }
}

//! HTTP statuses after which another attempt may succeed: [`is_transient`].

use http::StatusCode;

/// Returns true if the same request may succeed later (RFC 9110 §15, RFC 6585 §4). The statuses
/// 501, 505, 506, 508 and 510 describe what a server supports and how it is set up, and are
/// permanent.
pub(super) fn is_transient(status: StatusCode) -> bool {
    match status.as_u16() {
        501 | 505 | 506 | 508 | 510 => false,
        408 | 425 | 429 => true,
        _ => status.is_server_error(),
    }
}

//! HTTP statuses after which another attempt may succeed: [`is_transient`].

use http::StatusCode;

/// Whether a status says that another time may be better (RFC 9110 §15, RFC 6585 §4). What the server
/// does not support, and how it is set up, stays: 501, 505, 506, 508 and 510.
pub(crate) fn is_transient(status: StatusCode) -> bool {
    match status.as_u16() {
        501 | 505 | 506 | 508 | 510 => false,
        408 | 425 | 429 => true,
        _ => status.is_server_error(),
    }
}

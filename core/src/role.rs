//! The two ends of a connection.

/// Which end of a connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The end that connected. It masks the frames that it sends (RFC 6455 §5.1).
    Client,
    /// The end that accepted the connection. It closes the transport first (RFC 6455 §7.1.1).
    Server,
}

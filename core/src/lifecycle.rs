//! The state of a connection between open and closed, and its requests to the transport.

use crate::event::Party;
use crate::time::Instant;

/// The state of a connection between open and closed; see [`Connection::state`](crate::Connection::state).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Lifecycle {
    /// Neither side has begun to close.
    Open,
    /// Either side has begun to close.
    Closing(Closing),
    /// Nothing is left to send or to wait for: the transport may be dropped.
    Closed,
}

/// The state of a connection that is closing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Closing {
    /// When it began to close.
    pub since: Instant,
    /// The party that began to close.
    pub by: Party,
    /// True if a Close frame was queued or sent.
    pub is_close_sent: bool,
    /// True if the peer's Close frame was received.
    pub is_close_received: bool,
    /// The step that it waits for.
    pub waits_for: ClosingStep,
}

/// The next step of a connection that is closing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ClosingStep {
    /// This end finishes the message that it is sending in chunks, after the peer's Close frame.
    LocalMessage,
    /// The transport takes the bytes that are unsent.
    Output,
    /// The peer sends its Close frame.
    PeerClose,
    /// The peer ends its half of the transport.
    TransportEnd,
}

/// The action for the transport once [`Connection::outbound`](crate::Connection::outbound) is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransportAction {
    /// Drop the transport: the connection is over.
    Close,
    /// Continue to read and write.
    KeepOpen,
    /// Shut down the writing half, and read until the peer ends its half, so that a reset does not
    /// destroy the bytes that were sent last.
    ShutdownWrite,
}

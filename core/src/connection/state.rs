//! What a loop may ask: [`Lifecycle`], and whether to read and to write.

use super::Connection;
use crate::event::Party;
use crate::time::Instant;

/// How far a connection is between open and closed; see [`Connection::state`].
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
    /// What it waits for next.
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

impl Connection {
    /// Returns how far the connection is between open and closed.
    ///
    /// ```
    /// use sockless_core::{
    ///     CloseCode, ClosingStep, Connection, Lifecycle, Instant, Negotiated, Party,
    /// };
    ///
    /// let now = Instant::EPOCH;
    /// let mut server = Connection::server(Negotiated::default(), Default::default(), now);
    /// assert_eq!(server.state(), Lifecycle::Open);
    ///
    /// server.close(CloseCode::NORMAL, now);
    /// let Lifecycle::Closing(closing) = server.state() else { panic!("it is closing") };
    /// assert_eq!((closing.since, closing.by), (now, Party::Local));
    /// assert_eq!((closing.is_close_sent, closing.is_close_received), (true, false));
    /// assert_eq!(closing.waits_for, ClosingStep::Output);
    /// ```
    pub fn state(&self) -> Lifecycle {
        self.raw.state()
    }

    /// Returns true if the loop should read: there is room for answers to what may arrive, or the
    /// connection is closing and reads until its end. After the end of input it returns false.
    #[inline]
    pub fn wants_read(&self) -> bool {
        self.has_room() && !self.raw.eof && !self.raw.is_over()
    }

    /// Returns true while bytes wait to be written, so that the loop should wait for the transport
    /// to accept some. Those that were [popped](crate::Outbound::pop) do not count.
    #[inline]
    pub fn wants_write(&self) -> bool {
        self.raw.outbound.remaining() > 0 || self.has_encodable()
    }

    /// Returns true if there is room for answers to further input, and the application takes events. A
    /// closing connection queues none, and has to read until its end.
    #[inline]
    pub(super) fn has_room(&self) -> bool {
        !self.is_open() || (self.is_writable() && !self.raw.turn.is_paused())
    }
}

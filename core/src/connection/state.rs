//! The state of a connection for a loop: how far it is, and whether to read and to write.

use super::Connection;
use crate::lifecycle::Lifecycle;

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

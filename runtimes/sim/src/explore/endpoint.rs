//! One end of an explored pair: [`Endpoint`].

use std::fmt;

use bytes::{Bytes, BytesMut};
use sockless_core::{Connection, Event, Instant, SendError};

use super::step::PairStep;

/// One end of a [`Pair`](super::Pair): a [`Connection`], or a protocol on top of one.
///
/// Its `Debug` text must contain everything that its behavior depends on, since states are
/// distinguished by it. The derived text of a structure does, and grows with the structure.
///
/// ```
/// use sockless::bytes::BytesMut;
/// use sockless::proto::Connection;
/// use sockless::proto::Event;
/// use sockless::sim::explore::{Endpoint, Explorer, Pair, PairStep};
/// use sockless::{Config, Instant};
///
/// /// Sends each message back.
/// #[derive(Debug)]
/// struct Echo(Connection);
///
/// impl Endpoint for Echo {
///     fn connection(&mut self) -> &mut Connection {
///         &mut self.0
///     }
///
///     fn try_clone(&self) -> Option<Self> {
///         self.0.try_clone().map(Self)
///     }
///
///     fn poll_event(&mut self, inbound: &mut BytesMut, now: Instant) -> Option<Event> {
///         let event = self.0.poll_event(inbound, now)?;
///         if let Event::Message(message) = &event {
///             // An error means that the connection is closing.
///             let _ = self.0.send(message.clone(), now);
///         }
///         Some(event)
///     }
/// }
/// ```
pub trait Endpoint: fmt::Debug + Sized {
    /// Returns the connection.
    fn connection(&mut self) -> &mut Connection;

    /// Returns an independent copy, or `None` if an extension's codec cannot be copied.
    fn try_clone(&self) -> Option<Self>;

    /// Takes the next event; see [`Connection::poll_event`].
    fn poll_event(&mut self, inbound: &mut BytesMut, now: Instant) -> Option<Event> {
        self.connection().poll_event(inbound, now)
    }

    /// Takes all bytes that are to be sent.
    fn take_outbound(&mut self, now: Instant) -> Bytes {
        let connection = self.connection();
        let mut taken = BytesMut::new();
        // A pong that waits for room follows what is taken first.
        while connection.outbound().has_remaining() {
            let mut outbound = connection.outbound();
            taken.extend_from_slice(&outbound.copy_to_bytes(outbound.remaining()));
        }
        connection.handle_blocked(now);
        taken.freeze()
    }

    /// Enforces the deadlines that have passed; see [`Connection::handle_timeout`].
    fn handle_timeout(&mut self, now: Instant) {
        self.connection().handle_timeout(now);
    }

    /// Does a step of the script that concerns the connection.
    ///
    /// # Errors
    ///
    /// As the connection's methods: the step had no effect.
    fn run_step(&mut self, step: &PairStep, now: Instant) -> Result<(), SendError> {
        let connection = self.connection();
        match step {
            PairStep::Abort => connection.abort(now),
            PairStep::BreakTransport => connection.handle_transport_error("broken", now),
            PairStep::Chunk(chunk) => return connection.send_chunk(chunk.clone(), now),
            PairStep::Close(reason) => connection.close(reason.clone(), now),
            PairStep::Ping(payload) => return connection.ping(payload.clone(), now),
            PairStep::Read => connection.set_reading(true, now),
            PairStep::Send(message) => return connection.send(message.clone(), now),
            PairStep::StopReading => connection.set_reading(false, now),
            PairStep::Write(_) => {}
        }
        Ok(())
    }
}

impl Endpoint for Connection {
    fn connection(&mut self) -> &mut Connection {
        self
    }

    fn try_clone(&self) -> Option<Self> {
        Self::try_clone(self)
    }
}

//! One call that drives a connection of messages: [`Connection::poll_output`].

use bytes::BytesMut;

use super::Connection;
use crate::event::Event;
use crate::limits::READ_LEN;
use crate::time::Instant;
use crate::turn::{Output, Wait};

impl Connection {
    /// Returns the next thing to do. This is all that a loop calls, besides reporting what it read
    /// and sending what it has to send:
    ///
    /// ```
    /// use std::io::{self, Read, Write};
    /// use std::net::{Shutdown, TcpStream};
    ///
    /// use bytes::BytesMut;
    /// use sockless_core::{Connection, Event, Instant, Output, Wait};
    ///
    /// /// Runs a turn over a socket that does not block. Returns what to wait for, or `None` at the
    /// /// end.
    /// fn turn(
    ///     connection: &mut Connection,
    ///     stream: &mut TcpStream,
    ///     inbound: &mut BytesMut,
    ///     now: Instant,
    /// ) -> Option<Wait> {
    ///     loop {
    ///         match connection.poll_output(inbound, now) {
    ///             Output::Event(Event::Message(message)) => drop(connection.send(message, now)),
    ///             Output::Event(event) => println!("{event:?}"),
    ///             Output::Write(mut outbound) => match stream.write(outbound.chunk()) {
    ///                 Ok(len) => outbound.advance(len),
    ///                 Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
    ///                 Err(error) => connection.handle_transport_error(error.to_string(), now),
    ///             },
    ///             Output::ShutdownWrite => drop(stream.shutdown(Shutdown::Write)),
    ///             Output::Wait(wait) => return Some(wait),
    ///             Output::Close => return None,
    ///         }
    ///     }
    /// }
    /// # let _ = turn;
    /// ```
    ///
    /// A turn gives the events of `inbound`, then the bytes to write, then at most once what to do
    /// with the transport, and ends with [`Output::Wait`] or [`Output::Close`]. Deadlines that have
    /// passed are enforced on the way, those that the peer may have met after the next read only.
    /// While the queue of bytes to send is full, events wait for the peer to read. A turn is
    /// bounded, by [`limits::TURN_LEN`](crate::limits::TURN_LEN) bytes of messages, in the middle of
    /// one that is inflated too, and by 16 writes: a loop with many connections need not count. What is
    /// compressed for sending counts as well. With more to do, it ends with a `Wait` that has passed
    /// already.
    ///
    /// Between turns append to `inbound` what arrived. Any other method may be called at any time;
    /// [`handle_timeout`](Self::handle_timeout), [`handle_blocked`](Self::handle_blocked) and
    /// [`set_reading`](Self::set_reading) need not be.
    pub fn poll_output(&mut self, inbound: &mut BytesMut, now: Instant) -> Output<'_> {
        self.output_of(&mut &[][..], inbound, now)
    }

    /// Pauses or resumes events: while paused, [`poll_output`](Self::poll_output) returns none but the
    /// end, and [`Wait::read`](Wait#structfield.read) is false, so that the peer's messages wait in its
    /// own memory. What is queued is still written, and deadlines are enforced, except those that a
    /// peer can only meet by sending.
    ///
    /// For an application that has no room for now, such as a proxy whose other end is full. Once
    /// either side has begun to close, the pause has no effect: a closing connection reads until its
    /// end. The transport's end is not seen while paused; see
    /// [`handle_stall`](Self::handle_stall).
    pub fn set_paused(&mut self, paused: bool) {
        self.raw.turn.set_paused(paused);
    }

    /// The next thing to do, with received bytes behind `inbound`.
    pub(super) fn output_of(
        &mut self,
        input: &mut &[u8],
        inbound: &mut BytesMut,
        now: Instant,
    ) -> Output<'_> {
        self.raw.watch.at(now);
        if let Some(event) = self.event_of_turn(input, inbound, now) {
            return Output::Event(event);
        }
        self.flush_waiting();
        if self.raw.may_write() {
            return Output::Write(self.raw.offer());
        }
        if let Some(output) = self.raw.transport_output() {
            return output;
        }
        Output::Wait(self.end_turn(now))
    }

    /// The next event, unless there is no room for the answer to it or the turn has taken enough.
    fn event_of_turn(
        &mut self,
        input: &mut &[u8],
        inbound: &mut BytesMut,
        now: Instant,
    ) -> Option<Event> {
        if !self.has_room() && !self.raw.turn.has_judged() {
            self.fire_timers(now);
        }
        // Of messages that were sent since the last event.
        self.raw.turn.note_coded(self.codecs.take_coded());
        if !self.has_room() || self.raw.turn.is_spent() {
            return self.take_report();
        }
        if self.has_extensions() {
            self.codecs.set_budget(READ_LEN);
        }
        let mut event = self.next_event_from(input, inbound, now);
        if self.has_extensions() && self.codecs.lift_budget() == 0 && event.is_none() {
            self.raw.turn.exhaust();
        } else if event.is_none() && !self.raw.turn.judge() {
            // Once in a turn: what the peer may have met is enforced after the next read only.
            event = self.handle_starved(inbound.len(), now);
        }
        self.seen = inbound.len();
        self.raw.turn.note_coded(self.codecs.take_coded());
        if let Some(event) = &event {
            self.raw.turn.note_event(event.payload_len());
        }
        event
    }

    fn end_turn(&mut self, now: Instant) -> Wait {
        let turn = self.raw.turn.end();
        if turn.is_blocked(self.raw.outbound.handed_out()) || !self.wants_write() {
            self.note_blocked(now);
        }
        let has_room = self.has_room();
        self.set_reading(has_room, now);
        let deadline = self.poll_timeout();
        Wait {
            read: self.wants_read() && !turn.is_spent(),
            write: self.wants_write(),
            until: if turn.is_spent() { Some(now) } else { deadline },
        }
    }
}

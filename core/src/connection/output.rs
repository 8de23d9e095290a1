//! One call that drives a connection: [`Connection::poll_output`].

use bytes::BytesMut;

use super::{Connection, TransportAction};
use crate::event::Event;
use crate::limits::TURN_LEN;
use crate::outbound::Outbound;
use crate::time::Instant;

/// The next thing for a loop to do; see [`Connection::poll_output`].
#[derive(Debug)]
pub enum Output<'a> {
    /// Something happened.
    Event(Event),
    /// Bytes to write. Write once, and [`advance`](Outbound::advance) by what the transport took;
    /// or [`pop`](Outbound::pop) what is handed to a transport that owns what it writes. If neither
    /// was done by the next call, the transport is taken to be full.
    Write(Outbound<'a>),
    /// Shut down the writing half of the transport, and read until the peer ends its half. This
    /// occurs once.
    ShutdownWrite,
    /// The turn is over: wait.
    Wait(Wait),
    /// Drop the transport: the connection is over.
    Close,
}

/// What to wait for; see [`Output::Wait`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Wait {
    /// Read when the transport has bytes, and append them to the read buffer; report the end of
    /// input with [`handle_eof`](Connection::handle_eof). While it is false, do not read.
    pub read: bool,
    /// Bytes are left to write: go on when the transport accepts some.
    pub write: bool,
    /// Go on at this time, whatever happened. It may have passed already: then read what is there
    /// without waiting, and go on. `None` is never.
    pub until: Option<Instant>,
}

/// The part of a turn that is over.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Turn {
    /// [`Queue::handed_out`](crate::outbound::Queue::handed_out) when bytes were last given out to
    /// be written. The lower half shows whether any were taken.
    offered: u32,
    /// The cost of what the turn has done, in units of [`EVENT_COST`].
    spent: u16,
    /// Bytes were given out in this turn.
    has_offered: bool,
    /// The read buffer has run out of bytes, and deadlines that have passed were looked at.
    is_starved: bool,
}

/// The cost of an event besides its payload, in bytes, and the unit of all costs.
const EVENT_COST: usize = 64;

/// The cost of one write: a turn has at most 16.
const WRITE_COST: usize = TURN_LEN / 16;

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
    /// bounded, by [`limits::TURN_LEN`](crate::limits::TURN_LEN) bytes of messages, and by 16
    /// writes: a loop with many connections need not count. With more to do, it ends with a `Wait`
    /// that has passed already.
    ///
    /// Between turns append to `inbound` what arrived. Any other method may be called at any time;
    /// [`handle_timeout`](Self::handle_timeout), [`handle_blocked`](Self::handle_blocked) and
    /// [`set_reading`](Self::set_reading) need not be.
    pub fn poll_output(&mut self, inbound: &mut BytesMut, now: Instant) -> Output<'_> {
        self.output_of(&mut &[][..], inbound, now)
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
        if self.may_write() {
            self.turn.spend(WRITE_COST);
            self.turn.has_offered = true;
            self.turn.offered = self.raw.outbound.handed_out() as u32;
            return Output::Write(self.outbound());
        }
        if !self.raw.has_unsent()
            && let Some(output) = self.transport_output()
        {
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
        if !self.has_room() && !self.turn.is_starved {
            self.fire_timers(now);
        }
        if !self.has_room() || self.turn.is_spent() {
            return self.take_report();
        }
        let mut event = self.next_event_from(input, inbound, now);
        // Once in a turn: what the peer may have met is enforced after the next read only.
        if event.is_none() && !core::mem::replace(&mut self.turn.is_starved, true) {
            event = self.handle_starved(inbound.len(), now);
        }
        self.seen = inbound.len();
        if let Some(event) = &event {
            self.turn.spend(EVENT_COST + event.payload_len());
        }
        event
    }

    /// Returns true if bytes wait, and the transport may accept some of them in this turn.
    fn may_write(&mut self) -> bool {
        self.flush_waiting();
        if self.raw.outbound.remaining() == 0 {
            return false;
        }
        let position = self.raw.outbound.handed_out() as u32;
        !self.turn.has_offered || (self.turn.offered != position && !self.turn.is_spent())
    }

    /// What is to be done with the transport, once all bytes have been sent.
    fn transport_output(&mut self) -> Option<Output<'static>> {
        match self.raw.action() {
            TransportAction::KeepOpen => None,
            TransportAction::Close => Some(Output::Close),
            TransportAction::ShutdownWrite => {
                let ending = self.raw.ending_mut()?;
                let is_done = core::mem::replace(&mut ending.is_shut_down, true);
                (!is_done).then_some(Output::ShutdownWrite)
            }
        }
    }

    fn end_turn(&mut self, now: Instant) -> Wait {
        let turn = core::mem::take(&mut self.turn);
        let is_full = !turn.has_offered || turn.offered == self.raw.outbound.handed_out() as u32;
        if is_full || !self.wants_write() {
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

impl Turn {
    fn spend(&mut self, cost: usize) {
        let units = u16::try_from(cost / EVENT_COST).unwrap_or(u16::MAX);
        self.spent = self.spent.saturating_add(units);
    }

    fn is_spent(&self) -> bool {
        usize::from(self.spent) * EVENT_COST >= TURN_LEN
    }
}

impl Wait {
    /// Returns how long to wait from `now`; zero once the time has passed, and `None` for a wait
    /// without a limit.
    pub fn timeout(&self, now: Instant) -> Option<core::time::Duration> {
        self.until.map(|until| until.saturating_since(now))
    }
}

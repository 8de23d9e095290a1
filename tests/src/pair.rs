//! Two ends on one virtual clock, and the network between them.

use std::time::Duration;

use sockless_core::{Closed, Config, Event, Instant, Message, Role, TransportAction};

use crate::end::{BOTH, End};
use crate::link::{Arrival, Link, Weather};

/// A client, a server, and a link each way.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The client, then the server.
    pub ends: [End; 2],
    /// The link from each end.
    pub links: [Link; 2],
    /// The events of each end.
    pub events: [Vec<Event>; 2],
    /// The clock of both.
    pub now: Instant,
}

impl Pair {
    /// A pair that was opened at the epoch; chance is drawn from `seed`.
    pub fn new(configs: [Config; 2], weather: Weather, seed: u64) -> Self {
        let [client, server] = configs;
        Self {
            ends: [End::new(Role::Client, client), End::new(Role::Server, server)],
            links: [0, 1].map(|side| Link::new(weather, seed.wrapping_mul(2).wrapping_add(side))),
            events: [const { Vec::new() }; 2],
            now: Instant::EPOCH,
        }
    }

    /// Does all that can be done now: both ends write, and poll what has arrived.
    pub fn turn(&mut self) {
        loop {
            self.write(0);
            self.write(1);
            // Not `||`: both ends get their turn.
            if !(self.read(0) | self.read(1)) {
                return;
            }
        }
    }

    /// Leaps to the next deadline or arrival; whether there is one.
    pub fn leap(&mut self) -> bool {
        let deadlines = self.ends.iter().map(|end| end.connection.poll_timeout());
        let arrivals = self.links.iter().map(Link::next_arrival);
        let Some(next) = deadlines.chain(arrivals).flatten().min() else {
            return false;
        };
        self.advance_to(next.max(self.now));
        true
    }

    /// Moves the clock, and fires what is due.
    pub fn advance(&mut self, duration: Duration) {
        self.advance_to(self.now + duration);
    }

    /// Goes on until neither end waits for anything.
    pub fn run(&mut self) {
        for turn in 0.. {
            assert!(turn < 100_000, "the pair never comes to rest: {self:?}");
            self.turn();
            if !self.leap() {
                return;
            }
        }
    }

    /// The whole messages that an end has received, its pieces joined.
    pub fn received(&self, side: usize) -> Vec<Message> {
        let mut messages = Vec::new();
        let mut pieces: Vec<u8> = Vec::new();
        for event in &self.events[side] {
            match event {
                Event::Message(message) => messages.push(message.clone()),
                Event::Chunk(piece) => {
                    pieces.extend_from_slice(piece.data.as_bytes());
                    if piece.last {
                        let whole = std::mem::take(&mut pieces);
                        messages.push(if piece.data.is_text() {
                            String::from_utf8(whole).expect("text is UTF-8").into()
                        } else {
                            whole.into()
                        });
                    }
                }
                _ => {}
            }
        }
        messages
    }

    /// The end of one side, which is its only `Closed` and its last event.
    #[track_caller]
    pub fn closed(&self, side: usize) -> &Closed {
        let events = &self.events[side];
        let is_end = |event: &&Event| matches!(event, Event::Closed(_));
        assert_eq!(events.iter().filter(is_end).count(), 1, "{:?}: {events:?}", BOTH[side]);
        match events.last() {
            Some(Event::Closed(closed)) => closed,
            _ => panic!("the last event is not the end: {events:?}"),
        }
    }

    fn advance_to(&mut self, now: Instant) {
        self.now = now;
        for end in &mut self.ends {
            end.now = now;
            end.connection.handle_timeout(now);
        }
    }

    /// Writes what waits, and then does with the transport what the end says.
    fn write(&mut self, side: usize) {
        let bytes = self.ends[side].drain();
        self.links[side].send(&bytes, self.now);
        if self.ends[side].connection.transport_action() != TransportAction::KeepOpen {
            self.links[side].end(self.now);
        }
    }

    /// Reads and polls; true if bytes arrived or an event was reported.
    fn read(&mut self, side: usize) -> bool {
        let mut moved = false;
        while let Some(arrival) = self.links[1 - side].arrive(self.now) {
            moved = true;
            let events = match arrival {
                Arrival::Bytes(bytes) => self.ends[side].receive(bytes),
                Arrival::Eof => self.ends[side].eof(),
            };
            self.events[side].extend(events);
        }
        let events = self.ends[side].poll();
        moved |= !events.is_empty();
        self.events[side].extend(events);
        moved
    }
}

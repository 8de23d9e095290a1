//! Two ends on one virtual clock, and the network between them.

use std::time::Duration;

use sockless_core::{Closed, Config, Event, Instant, Message, Role, TransportAction};
use sockless_sim::{BareLink, Link};

use crate::end::{BOTH, End};

/// The properties of the links between two ends.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// The longest run of bytes that arrives at once.
    pub chunk: usize,
    /// The longest time that a run takes.
    pub delay: Duration,
    /// After how many bytes each link breaks.
    pub cut: Option<u64>,
}

impl Weather {
    /// Everything arrives at once.
    pub const FINE: Self = Self { chunk: usize::MAX, delay: Duration::ZERO, cut: None };

    fn link(self) -> Link {
        let cut = (self.chunk != usize::MAX).then_some(self.chunk);
        Link::default().capacity(usize::MAX).jitter(self.delay).short_writes(cut).short_reads(cut)
    }
}

/// A client, a server, and a link each way.
#[derive(Debug)]
pub struct Pair {
    /// The client, then the server.
    pub ends: [End; 2],
    /// The link from each end.
    links: [BareLink; 2],
    /// The number of bytes that the link from each end still carries before it breaks.
    left: [u64; 2],
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
            links: [0, 1]
                .map(|side| BareLink::new(weather.link(), seed.wrapping_mul(2).wrapping_add(side))),
            left: [weather.cut.unwrap_or(u64::MAX); 2],
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
        let arrivals = self.links.iter().map(BareLink::next_arrival);
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

    /// The whole messages that an end has received, its chunks joined.
    pub fn received(&self, side: usize) -> Vec<Message> {
        let mut messages = Vec::new();
        let mut chunks: Vec<u8> = Vec::new();
        for event in &self.events[side] {
            match event {
                Event::Message(message) => messages.push(message.clone()),
                Event::Chunk(chunk) => {
                    chunks.extend_from_slice(chunk.data.as_bytes());
                    if chunk.last {
                        let whole = std::mem::take(&mut chunks);
                        messages.push(if chunk.data.is_text() {
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
        let (link, left) = (&mut self.links[side], &mut self.left[side]);
        let mut carried = &bytes[..usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len())];
        *left -= carried.len() as u64;
        while !carried.is_empty() {
            carried = &carried[link.write(carried, self.now)..];
        }
        let is_over = self.ends[side].connection.transport_action() != TransportAction::KeepOpen;
        if is_over || *left == 0 {
            link.end(self.now);
        }
    }

    /// Reads and polls; true if bytes arrived or an event was reported.
    fn read(&mut self, side: usize) -> bool {
        let mut moved = false;
        while let Some(bytes) = self.links[1 - side].read(self.now) {
            moved = true;
            let end = &mut self.ends[side];
            let events = if bytes.is_empty() { end.eof() } else { end.receive(bytes) };
            self.events[side].extend(events);
        }
        let events = self.ends[side].poll();
        moved |= !events.is_empty();
        self.events[side].extend(events);
        moved
    }
}

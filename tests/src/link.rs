//! One direction of a network without the network: bytes arrive in order, delayed, and split anywhere.
//!
//! The simulator's link is part of a world with tasks and a clock. This one is a plain value, so that laws
//! and fuzz targets run two bare connections over it without an executor.

use std::collections::VecDeque;
use std::time::Duration;

use fastrand::Rng;
use sockless_core::Instant;

/// The properties of a link.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// The longest run of bytes that arrives at once.
    pub chunk: usize,
    /// The longest time that a run takes.
    pub delay: Duration,
    /// After how many bytes the link breaks.
    pub cut: Option<u64>,
}

impl Weather {
    /// Everything arrives at once.
    pub const FINE: Self = Self { chunk: usize::MAX, delay: Duration::ZERO, cut: None };
}

/// One delivery of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Bytes.
    Bytes(Vec<u8>),
    /// The end of the stream.
    Eof,
}

/// One direction of a connection.
#[derive(Clone, Debug)]
pub struct Link {
    weather: Weather,
    chance: Rng,
    flying: VecDeque<(Instant, Arrival)>,
    /// When the last thing that was sent arrives: nothing overtakes it.
    last: Instant,
    carried: u64,
    ended: bool,
}

impl Link {
    /// A link whose chance is drawn from `seed`.
    pub fn new(weather: Weather, seed: u64) -> Self {
        Self {
            weather,
            chance: Rng::with_seed(seed),
            flying: VecDeque::new(),
            last: Instant::EPOCH,
            carried: 0,
            ended: false,
        }
    }

    /// Takes bytes; what is sent after the end is lost.
    pub fn send(&mut self, mut bytes: &[u8], now: Instant) {
        while !bytes.is_empty() && !self.ended {
            let room = self.weather.cut.map_or(u64::MAX, |cut| cut - self.carried);
            let longest = self.weather.chunk.min(bytes.len());
            let len = (self.chance.usize(1..=longest) as u64).min(room) as usize;
            let (chunk, rest) = bytes.split_at(len);
            bytes = rest;
            self.carried += len as u64;
            self.fly(Arrival::Bytes(chunk.to_vec()), now);
            if len as u64 == room {
                self.end(now);
            }
        }
    }

    /// The sender sends nothing more.
    pub fn end(&mut self, now: Instant) {
        if !self.ended {
            self.ended = true;
            self.fly(Arrival::Eof, now);
        }
    }

    /// True if the stream has ended.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// When the next thing arrives.
    pub fn next_arrival(&self) -> Option<Instant> {
        self.flying.front().map(|&(at, _)| at)
    }

    /// Returns the bytes that have arrived.
    pub fn arrive(&mut self, now: Instant) -> Option<Arrival> {
        let at = self.next_arrival()?;
        if at > now {
            return None;
        }
        self.flying.pop_front().map(|(_, arrival)| arrival)
    }

    fn fly(&mut self, arrival: Arrival, now: Instant) {
        let most = self.weather.delay.as_millis() as u64;
        let delay = Duration::from_millis(self.chance.u64(0..=most));
        self.last = self.last.max(now + delay);
        self.flying.push_back((self.last, arrival));
    }
}

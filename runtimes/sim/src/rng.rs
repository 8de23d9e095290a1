//! The source of all randomness in a simulation: [`Chance`], and [`SimRng`] for scenarios.

use std::convert::Infallible;
use std::fmt;
use std::ops::Range;

use rand::rngs::ChaCha8Rng;
use rand::{Rng, RngExt, SeedableRng, TryRng};

/// The purposes of streams. Those of one seed are independent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Schedule,
    Scenario,
    Keys,
    Disks,
    Plan,
    /// An end of the connection with this number.
    Wire {
        connection: u64,
        side: u8,
    },
}

impl Stream {
    fn number(self) -> u64 {
        match self {
            Self::Schedule => 1,
            Self::Scenario => 2,
            Self::Keys => 3,
            Self::Disks => 4,
            Self::Plan => 5,
            Self::Wire { connection, side } => connection << 8 | 0x80 | u64::from(side),
        }
    }
}

/// A generator whose numbers depend on its seed only and are equal on every machine.
///
/// Most are never drawn from, and take no memory until they are.
#[derive(Debug)]
pub(crate) enum Chance {
    Number { seed: u64, stream: u64 },
    Bytes([u8; 32]),
    Drawn(Box<ChaCha8Rng>),
}

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self::Number { seed, stream: 0 }
    }

    /// Creates a generator for one purpose.
    pub(crate) fn stream(seed: u64, stream: Stream) -> Self {
        Self::Number { seed, stream: stream.number() }
    }

    /// Creates an independent generator for a part of the simulation.
    pub(crate) fn fork(&mut self) -> Self {
        Self::Bytes(self.bytes())
    }

    pub(crate) fn bytes(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.rng().fill_bytes(&mut bytes);
        bytes
    }

    /// Returns a number from `range`, which is not empty.
    pub(crate) fn in_range(&mut self, range: Range<u64>) -> u64 {
        self.rng().random_range(range)
    }

    #[inline]
    fn rng(&mut self) -> &mut ChaCha8Rng {
        if !matches!(self, Self::Drawn(_)) {
            self.begin();
        }
        match self {
            Self::Drawn(rng) => rng,
            Self::Number { .. } | Self::Bytes(_) => unreachable!("it has just begun"),
        }
    }

    #[cold]
    fn begin(&mut self) {
        let rng = match self {
            Self::Number { seed, stream } => {
                let mut rng = ChaCha8Rng::seed_from_u64(*seed);
                rng.set_stream(*stream);
                rng
            }
            Self::Bytes(seed) => ChaCha8Rng::from_seed(*seed),
            Self::Drawn(_) => return,
        };
        *self = Self::Drawn(Box::new(rng));
    }

    /// Returns a number below `bound`, or zero. Bounds of 0 and 1 draw nothing.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        if bound <= 1 { 0 } else { self.in_range(0..bound) }
    }

    /// Returns a length from 1 to `longest`.
    pub(crate) fn length(&mut self, longest: usize) -> usize {
        1 + self.below(longest as u64) as usize
    }
}

/// A generator of random numbers for one purpose of a scenario, from
/// [`Sim::rng`](crate::Sim::rng): ChaCha with 8 rounds, whose numbers are the same on every machine
/// and in every version.
///
/// It implements [`rand::Rng`], so that the distributions of `rand` and other crates can use it.
pub struct SimRng(ChaCha8Rng);

impl SimRng {
    pub(crate) fn named(seed: u64, name: &str) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed ^ hash(name)))
    }
}

impl TryRng for SimRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.0.next_u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0.next_u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill_bytes(bytes);
        Ok(())
    }
}

impl fmt::Debug for SimRng {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimRng").finish_non_exhaustive()
    }
}

/// Returns a number for a name: FNV-1a.
pub(crate) fn hash(name: &str) -> u64 {
    name.bytes().fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3)
    })
}

/// The generators of a simulation.
pub(crate) enum Chances {
    /// One for all purposes.
    One(Chance),
    /// One for each purpose, so that what one draws changes no other.
    Apart { seed: u64, schedule: Chance, scenario: Chance, keys: Chance, disks: Chance },
}

impl Chances {
    pub(crate) fn one(seed: u64) -> Self {
        Self::One(Chance::new(seed))
    }

    pub(crate) fn apart(seed: u64) -> Self {
        let stream = |stream| Chance::stream(seed, stream);
        Self::Apart {
            seed,
            schedule: stream(Stream::Schedule),
            scenario: stream(Stream::Scenario),
            keys: stream(Stream::Keys),
            disks: stream(Stream::Disks),
        }
    }

    /// Returns the generator of the order of the tasks.
    pub(crate) fn schedule(&mut self) -> &mut Chance {
        match self {
            Self::One(chance) | Self::Apart { schedule: chance, .. } => chance,
        }
    }

    /// Returns the generator of what the scenario draws.
    pub(crate) fn scenario(&mut self) -> &mut Chance {
        match self {
            Self::One(chance) | Self::Apart { scenario: chance, .. } => chance,
        }
    }

    /// Returns the generator of the seeds of connections.
    pub(crate) fn keys(&mut self) -> &mut Chance {
        match self {
            Self::One(chance) | Self::Apart { keys: chance, .. } => chance,
        }
    }

    /// Returns the generator of what disks lose.
    pub(crate) fn disks(&mut self) -> &mut Chance {
        match self {
            Self::One(chance) | Self::Apart { disks: chance, .. } => chance,
        }
    }

    /// Returns the generators of both ends of a connection.
    pub(crate) fn wire(&mut self, connection: u64) -> [Chance; 2] {
        match self {
            Self::One(chance) => [chance.fork(), chance.fork()],
            Self::Apart { seed, .. } => {
                [0, 1].map(|side| Chance::stream(*seed, Stream::Wire { connection, side }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::{Chance, SimRng, Stream};

    #[test]
    fn the_numbers_of_a_named_stream_are_pinned() {
        let draw = |name| SimRng::named(7, name).random_range(0..1000_u32);
        assert_eq!((draw("ada"), draw("ada"), draw("bob")), (131, 131, 115));
    }

    #[test]
    fn equal_seeds_draw_equal_numbers_and_other_seeds_draw_others() {
        let draw = |seed| {
            let mut chance = Chance::new(seed);
            (0..8).map(|_| chance.below(1000)).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn a_fork_draws_other_numbers() {
        let mut chance = Chance::new(7);
        let mut fork = chance.fork();
        assert_ne!(chance.bytes(), fork.bytes());
    }

    #[test]
    fn streams_draw_other_numbers() {
        let wire = |side| Stream::Wire { connection: 1, side };
        let streams =
            [Stream::Schedule, Stream::Scenario, Stream::Keys, Stream::Plan, wire(0), wire(1)];
        let drawn: std::collections::BTreeSet<_> =
            streams.iter().map(|stream| Chance::stream(7, *stream).bytes()).collect();
        assert_eq!(drawn.len(), streams.len());
        assert_eq!(Chance::stream(7, wire(1)).bytes(), Chance::stream(7, wire(1)).bytes());
    }

    #[test]
    fn lengths_are_from_one_to_the_longest() {
        let mut chance = Chance::new(1);
        let lengths: Vec<_> = (0..100).map(|_| chance.length(3)).collect();
        assert_eq!(lengths.iter().min(), Some(&1));
        assert_eq!(lengths.iter().max(), Some(&3));
    }
}

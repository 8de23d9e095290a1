//! The source of all randomness in a simulation: [`Chance`].

use std::ops::Range;

use rand::rngs::ChaCha8Rng;
use rand::{Rng, RngExt, SeedableRng};

/// A generator whose numbers depend on its seed only and are equal on every machine.
pub(crate) struct Chance(ChaCha8Rng);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Creates an independent generator for a part of the simulation.
    pub(crate) fn fork(&mut self) -> Self {
        Self(ChaCha8Rng::from_rng(&mut self.0))
    }

    pub(crate) fn bytes(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    /// Returns a number from `range`, which is not empty.
    pub(crate) fn in_range(&mut self, range: Range<u64>) -> u64 {
        self.0.random_range(range)
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

#[cfg(test)]
mod tests {
    use super::Chance;

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
    fn lengths_are_from_one_to_the_longest() {
        let mut chance = Chance::new(1);
        let lengths: Vec<_> = (0..100).map(|_| chance.length(3)).collect();
        assert_eq!(lengths.iter().min(), Some(&1));
        assert_eq!(lengths.iter().max(), Some(&3));
    }
}

//! Chance out of a number: [`Chance`], which every choice of a simulation is drawn from.

use chacha20::ChaCha8Rng;
use chacha20::rand_core::{Rng, SeedableRng};

/// A stream of choices, the same for ever for the same seed and on every machine.
pub(crate) struct Chance(ChaCha8Rng);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self(ChaCha8Rng::from_seed(bytes))
    }

    /// A stream of its own for a part of the simulation.
    pub(crate) fn fork(&mut self) -> Self {
        Self(ChaCha8Rng::from_seed(self.bytes()))
    }

    pub(crate) fn bytes(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    /// A number below `bound`, or zero. A bound of one costs nothing from the stream.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        if bound <= 1 {
            return 0;
        }
        // The high half of the product is as good as uniform: the bias is below `bound` in 2^64.
        let product = u128::from(self.0.next_u64()) * u128::from(bound);
        (product >> 64) as u64
    }

    /// A length from 1 to `longest`.
    pub(crate) fn length(&mut self, longest: usize) -> usize {
        1 + self.below(longest as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::Chance;

    #[test]
    fn the_same_seed_draws_the_same_and_another_draws_other_numbers() {
        let draw = |seed| {
            let mut chance = Chance::new(seed);
            (0..8).map(|_| chance.below(1000)).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn every_number_below_the_bound_comes_up_about_as_often() {
        let mut chance = Chance::new(0);
        let mut counts = [0; 10];
        for _ in 0..10_000 {
            counts[chance.below(10) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_fork_goes_its_own_way() {
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

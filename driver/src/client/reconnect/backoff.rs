//! How long to wait before the next attempt: [`Backoff`].

use std::time::Duration;

use sockless_core::Seed;

/// Delays that grow exponentially, each drawn from zero up to what it may be ("full jitter"), so that
/// clients that lost one server together do not come back together.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    pub(super) initial: Duration,
    pub(super) max: Duration,
    doublings: u32,
    /// The state of SplitMix64: enough to be apart, and nobody has to guess it.
    state: u64,
}

impl Backoff {
    pub(super) fn new(initial: Duration, max: Duration) -> Self {
        Self { initial, max, doublings: 0, state: 0 }
    }

    pub(super) fn seed(&mut self, seed: &Seed) {
        let words = seed.as_bytes().chunks_exact(8);
        self.state = words.fold(0, |state, word| {
            state.rotate_left(17) ^ u64::from_le_bytes(word.try_into().expect("8 bytes"))
        });
    }

    /// Begins again with the initial delay.
    pub(super) fn reset(&mut self) {
        self.doublings = 0;
    }

    pub(super) fn next_delay(&mut self) -> Duration {
        let factor = 1_u32.checked_shl(self.doublings).unwrap_or(u32::MAX);
        let longest = self.initial.saturating_mul(factor).min(self.max);
        self.doublings = self.doublings.saturating_add(1);
        let share = self.draw() >> 32;
        let nanos = longest.as_nanos().saturating_mul(u128::from(share)) >> 32;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.state;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn backoff(seed: u8) -> Backoff {
        let mut backoff = Backoff::new(100 * MS, 1000 * MS);
        backoff.seed(&Seed::new([seed; 32]));
        backoff
    }

    #[test]
    fn delays_grow_up_to_the_longest_and_begin_again() {
        let limits = [100, 200, 400, 800, 1000, 1000];
        let mut longest = [Duration::ZERO; 6];
        for seed in 0..=255 {
            let mut backoff = backoff(seed);
            for (limit, longest) in limits.iter().zip(&mut longest) {
                let delay = backoff.next_delay();
                assert!(delay <= *limit * MS, "{delay:?}");
                *longest = delay.max(*longest);
            }
            backoff.reset();
            assert!(backoff.next_delay() <= 100 * MS);
        }
        for (limit, longest) in limits.iter().zip(longest) {
            assert!(longest > *limit * MS * 9 / 10, "all of {limit} ms is used: {longest:?}");
        }
    }

    #[test]
    fn seeds_decide() {
        let delays = |seed| {
            let mut backoff = backoff(seed);
            [(); 8].map(|()| backoff.next_delay())
        };
        assert_eq!(delays(1), delays(1));
        assert_ne!(delays(1), delays(2));
    }

    #[test]
    fn no_number_of_attempts_overflows() {
        let mut backoff = Backoff::new(Duration::MAX, Duration::MAX);
        for _ in 0..100 {
            backoff.next_delay();
        }
    }
}

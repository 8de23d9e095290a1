//! The delays between attempts: [`Backoff`].

use std::time::Duration;

use chacha20::ChaCha12Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use sockless_core::Seed;

/// The delays of [`Reconnect`](crate::Reconnect), for clients of an adapter's own: the limit doubles
/// with each delay, and each is drawn between zero and its limit ("full jitter"), so that clients
/// that lost a server together do not come back together.
///
/// ```
/// use std::time::Duration;
///
/// use sockless::Seed;
/// use sockless::driver::Backoff;
///
/// let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
/// backoff.set_seed(&Seed::new([7; 32])); // In production: random bytes.
/// assert!(backoff.next_delay() <= Duration::from_millis(500));
/// assert!(backoff.next_delay() <= Duration::from_secs(1));
/// backoff.reset();
/// assert!(backoff.next_delay() <= Duration::from_millis(500));
/// ```
#[derive(Debug)]
pub struct Backoff {
    initial: Duration,
    max: Duration,
    doublings: u32,
    /// As in a connection: its values are the same on every machine and in every version.
    random: ChaCha12Rng,
}

impl Backoff {
    /// Returns delays of up to `initial` at first and up to `max` later. Until a
    /// [seed](Self::set_seed) is set they are the same in every program.
    pub fn new(initial: Duration, max: Duration) -> Self {
        let random = ChaCha12Rng::from_seed([0; 32]);
        Self { initial, max, doublings: 0, random }
    }

    /// Sets the limit of the first delay.
    pub fn set_initial(&mut self, delay: Duration) {
        self.initial = delay;
    }

    /// Sets the limit of all delays.
    pub fn set_max(&mut self, delay: Duration) {
        self.max = delay;
    }

    /// Sets the seed from which the delays are drawn.
    pub fn set_seed(&mut self, seed: &Seed) {
        self.random = ChaCha12Rng::from_seed(*seed.as_bytes());
    }

    /// Returns to the initial delay.
    pub fn reset(&mut self) {
        self.doublings = 0;
    }

    /// Returns the next delay, and doubles the limit.
    pub fn next_delay(&mut self) -> Duration {
        let factor = 1_u32.checked_shl(self.doublings).unwrap_or(u32::MAX);
        let limit = self.initial.saturating_mul(factor).min(self.max);
        self.doublings = self.doublings.saturating_add(1);
        let share = u128::from(self.random.next_u32());
        let nanos = limit.as_nanos().saturating_mul(share) >> u32::BITS;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn backoff(seed: u8) -> Backoff {
        let mut backoff = Backoff::new(100 * MS, 1000 * MS);
        backoff.set_seed(&Seed::new([seed; 32]));
        backoff
    }

    #[test]
    fn delays_grow_to_the_maximum_and_can_be_reset() {
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
            assert!(
                longest > *limit * MS * 9 / 10,
                "delays are drawn up to {limit} ms: {longest:?}"
            );
        }
    }

    #[test]
    fn a_seed_determines_the_delays() {
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

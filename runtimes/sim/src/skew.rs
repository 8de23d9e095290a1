//! The clock of a machine, as it differs from that of the simulation: [`Skew`].

use std::time::Duration;

use sockless_core::Instant;

/// A clock that shows `local` at `world`, and runs on at a rate of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Skew {
    world: Instant,
    local: Instant,
    /// The parts per million by which it is fast.
    ppm: i32,
}

const MILLION: u128 = 1_000_000;

impl Skew {
    pub(crate) fn none(now: Instant) -> Self {
        Self { world: now, local: now, ppm: 0 }
    }

    /// Makes later changes apply from `now` on.
    pub(crate) fn settle(&mut self, now: Instant) {
        (self.local, self.world) = (self.local(now), now);
    }

    pub(crate) fn jump(&mut self, by: Duration) {
        self.local = self.local + by;
    }

    pub(crate) fn set_ppm(&mut self, ppm: i32) {
        self.ppm = ppm;
    }

    pub(crate) fn local(&self, world: Instant) -> Instant {
        let elapsed = world.saturating_since(self.world).as_nanos();
        self.local + nanos(elapsed * self.rate() / MILLION)
    }

    /// Returns the first time at which the clock has reached `local`.
    pub(crate) fn world(&self, local: Instant) -> Instant {
        let elapsed = local.saturating_since(self.local).as_nanos();
        self.world + nanos((elapsed * MILLION).div_ceil(self.rate()))
    }

    fn rate(&self) -> u128 {
        // At least one part in a million: a clock that stands still would never reach a deadline.
        (1_000_000 + i64::from(self.ppm)).max(1).unsigned_abs().into()
    }
}

fn nanos(nanos: u128) -> Duration {
    u64::try_from(nanos).map_or(Duration::MAX, Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sockless_core::Instant;

    use super::Skew;

    #[test]
    fn a_deadline_is_reached_at_its_time_and_not_before() {
        let at = |nanos| Instant::EPOCH + Duration::from_nanos(nanos);
        for ppm in [-500_000, -7, 0, 3, 999_999] {
            let mut skew = Skew::none(at(1000));
            skew.jump(Duration::from_nanos(17));
            skew.set_ppm(ppm);
            for local in [1017, 1018, 2000, 123_456_789] {
                let world = skew.world(at(local));
                assert!(skew.local(world) >= at(local), "{ppm} {local}");
                let before = at(world.since_epoch().as_nanos() as u64 - 1);
                assert!(before < at(1000) || skew.local(before) < at(local), "{ppm} {local}");
            }
        }
    }
}

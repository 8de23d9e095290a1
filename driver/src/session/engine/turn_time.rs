//! The time of the turn that a thread is in: [`TurnTime`].

use std::cell::Cell;
use std::sync::Arc;

use sockless_core::Instant;

use crate::runtime::Runtime;

thread_local! {
    static CURRENT: Cell<Option<(RuntimeId, Instant)>> = const { Cell::new(None) };
}

/// The address of a runtime, which tells apart those whose clocks may differ.
type RuntimeId = usize;

/// While it lives, this thread polls a handler in a turn that began at a known time.
///
/// A handler that sends to many other sessions, which are not in a turn, then needs the clock for
/// none of them: to read it takes as long as a tenth of a send.
pub(super) struct TurnTime {
    outer: Option<(RuntimeId, Instant)>,
}

impl TurnTime {
    pub(super) fn enter(runtime: &Arc<dyn Runtime>, now: Instant) -> Self {
        Self { outer: CURRENT.replace(Some((id(runtime), now))) }
    }

    /// The time of the turn, or else that of the runtime's clock.
    pub(super) fn or_clock(runtime: &Arc<dyn Runtime>) -> Instant {
        match CURRENT.get() {
            Some((current, now)) if current == id(runtime) => now,
            _ => runtime.now(),
        }
    }
}

impl Drop for TurnTime {
    fn drop(&mut self) {
        CURRENT.set(self.outer);
    }
}

fn id(runtime: &Arc<dyn Runtime>) -> RuntimeId {
    Arc::as_ptr(runtime).addr()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sockless_core::Seed;

    use super::*;
    use crate::future::BoxFuture;
    use crate::runtime::{Clock, Spawn, Timer};

    /// Its clock is always at so many seconds.
    struct Stopped(u64);

    impl Clock for Stopped {
        fn now(&self) -> Instant {
            at(self.0)
        }

        fn timer(&self, _: Instant) -> Box<dyn Timer> {
            unreachable!("no timer is set")
        }
    }

    impl Spawn for Stopped {
        fn spawn(&self, _: BoxFuture<'static, ()>) {
            unreachable!("nothing is spawned")
        }
    }

    impl Runtime for Stopped {
        fn seed(&self) -> Seed {
            unreachable!("nothing is random")
        }
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_epoch(Duration::from_secs(seconds))
    }

    #[test]
    fn the_clock_is_read_outside_of_a_turn_and_for_another_runtime() {
        let [one, other]: [Arc<dyn Runtime>; 2] = [Arc::new(Stopped(10)), Arc::new(Stopped(20))];
        let times = || [&one, &other].map(TurnTime::or_clock);
        assert_eq!(times(), [at(10), at(20)]);
        let turn = TurnTime::enter(&one, at(1));
        assert_eq!(times(), [at(1), at(20)]);
        {
            let _within = TurnTime::enter(&other, at(2));
            assert_eq!(times(), [at(10), at(2)]);
        }
        assert_eq!(times(), [at(1), at(20)]);
        drop(turn);
        assert_eq!(times(), [at(10), at(20)]);
    }
}

//! Virtual time: [`SimTimer`], and the clock that only moves when nothing else can.

use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use sockless_core::Instant;
use sockless_driver::Timer;

use crate::executor::Sim;
use crate::lock;

/// The end of time, where an alarm never goes off.
const NEVER: Instant = Instant::from_epoch(Duration::MAX);

impl Sim {
    /// The virtual time: [`Instant::EPOCH`] at first, moved on only when no task can run.
    pub fn now(&self) -> Instant {
        self.time().now()
    }

    /// Waits until `duration` from now.
    ///
    /// Cancel-safe: dropping it drops the alarm.
    pub fn sleep(&self, duration: Duration) -> SimTimer {
        self.sleep_until(self.now() + duration)
    }

    /// Waits until `deadline`; for one that has passed, not at all.
    ///
    /// Sleeps that end at the same instant end together, and the tasks they wake run in an order
    /// drawn from the seed. A sleep until the end of time ([`Duration::MAX`]) never ends and does
    /// not keep a deadlock from being noticed.
    ///
    /// Cancel-safe: dropping it drops the alarm.
    pub fn sleep_until(&self, deadline: Instant) -> SimTimer {
        SimTimer { alarm: Alarm::new(self.time()), deadline }
    }

    /// Waits until no other task can run at this instant, so that all that was going to happen
    /// without time passing has happened.
    ///
    /// Several that wait end together. Cancel-safe.
    pub async fn settle(&self) {
        let mut alarm = Alarm::new(self.time());
        let mut set = false;
        poll_fn(|cx| {
            if set && !alarm.is_set() {
                return Poll::Ready(());
            }
            set = true;
            // Alarms go off only when nothing is ready, even those of this very instant.
            drop(alarm.set(self.now(), cx.waker()));
            Poll::Pending
        })
        .await;
    }

    /// Runs `future` for no longer than `duration`: `None` when it had not ended by then.
    ///
    /// The future is dropped either way. One that is ready at the deadline itself wins. Cancel-safe
    /// where the future is.
    pub async fn timeout<F: Future>(&self, duration: Duration, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        let mut sleep = self.sleep(duration);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => sleep.poll_expired(cx).map(|()| None),
        })
        .await
    }
}

/// A wait for a moment of virtual time, from [`Sim::sleep`]; as a [`Timer`], it can be set again.
#[must_use = "a sleep does nothing until it is awaited"]
pub struct SimTimer {
    alarm: Alarm,
    deadline: Instant,
}

impl Future for SimTimer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_expired(cx)
    }
}

impl Timer for SimTimer {
    /// Moves the deadline. A task that waits need not poll again to be woken at the new one.
    fn reset(&mut self, deadline: Instant) {
        self.deadline = deadline;
        self.alarm.move_to(deadline);
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.deadline <= self.alarm.time.now() {
            return Poll::Ready(());
        }
        drop(self.alarm.set(self.deadline, cx.waker()));
        Poll::Pending
    }
}

impl fmt::Debug for SimTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimTimer(until {:?})", self.deadline)
    }
}

/// The clock, its alarms, and the digest of what happened when.
pub(crate) struct Time {
    state: Mutex<State>,
}

struct State {
    now: Instant,
    next_id: u64,
    /// By deadline, then by the age of the alarm: each alarm has one entry at most, so resetting a
    /// timer for every message leaves nothing behind.
    alarms: BTreeMap<(Instant, u64), Waker>,
    digest: u64,
}

impl Time {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                now: Instant::EPOCH,
                next_id: 0,
                alarms: BTreeMap::new(),
                digest: 0,
            }),
        }
    }

    pub(crate) fn now(&self) -> Instant {
        lock(&self.state).now
    }

    /// Moves the clock to the earliest alarm and wakes all that are due; false when there is none.
    pub(crate) fn advance(&self) -> bool {
        let mut due = Vec::new();
        {
            let mut state = lock(&self.state);
            match state.alarms.first_key_value() {
                Some((&(earliest, _), _)) if earliest != NEVER => {
                    state.now = state.now.max(earliest);
                }
                _ => return false,
            }
            let now = state.now;
            while let Some(alarm) = state.alarms.first_entry() {
                if alarm.key().0 > now {
                    break;
                }
                due.push(alarm.remove());
            }
        }
        due.into_iter().for_each(Waker::wake);
        true
    }

    /// Takes note of something that happened now.
    pub(crate) fn record(&self, event: [u64; 3]) {
        let mut state = lock(&self.state);
        let now = state.now.since_epoch().as_nanos() as u64;
        // FxHash: weak against an adversary, good at telling two runs apart.
        state.digest = event.into_iter().fold(state.digest ^ now, |digest, word| {
            (digest.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95)
        });
    }

    pub(crate) fn digest(&self) -> u64 {
        lock(&self.state).digest
    }
}

/// One entry among the clock's alarms, taken out when it is dropped.
///
/// Wakers that are replaced are handed to the caller, who may hold a lock that dropping them needs.
pub(crate) struct Alarm {
    time: Arc<Time>,
    id: u64,
    at: Instant,
}

impl Alarm {
    pub(crate) fn new(time: &Arc<Time>) -> Self {
        let mut state = lock(&time.state);
        let id = state.next_id;
        state.next_id += 1;
        Self { time: Arc::clone(time), id, at: NEVER }
    }

    /// Wakes `waker` at `at` and nobody at any other time.
    pub(crate) fn set(&mut self, at: Instant, waker: &Waker) -> Option<Waker> {
        let mut state = lock(&self.time.state);
        if let Some(held) = state.alarms.get(&(at, self.id))
            && held.will_wake(waker)
        {
            return None;
        }
        let replaced = state.alarms.remove(&(self.at, self.id));
        state.alarms.insert((at, self.id), waker.clone());
        self.at = at;
        replaced
    }

    pub(crate) fn clear(&mut self) -> Option<Waker> {
        lock(&self.time.state).alarms.remove(&(self.at, self.id))
    }

    fn move_to(&mut self, at: Instant) {
        let mut state = lock(&self.time.state);
        if let Some(waker) = state.alarms.remove(&(self.at, self.id)) {
            state.alarms.insert((at, self.id), waker);
            self.at = at;
        }
    }

    fn is_set(&self) -> bool {
        lock(&self.time.state).alarms.contains_key(&(self.at, self.id))
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        drop(self.clear());
    }
}

//! Virtual time: the clock, its timers, and the digest of what happened: [`Time`], [`SimTimer`].

use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use sockless_core::Instant;
use sockless_driver::Timer;

use crate::lock;

/// The deadline of an alarm that never fires.
const NEVER: Instant = Instant::from_epoch(Duration::MAX);

/// Waits until no other task can run at this instant.
pub(crate) async fn settle(time: &Arc<Time>) {
    let mut alarm = Alarm::new(time);
    let mut set = false;
    poll_fn(|cx| {
        if set && !alarm.is_set() {
            return Poll::Ready(());
        }
        set = true;
        // Alarms fire only when no task is ready, even those of the present instant.
        drop(alarm.set(time.now(), cx.waker()));
        Poll::Pending
    })
    .await;
}

/// Runs `future` for at most `duration`.
pub(crate) async fn timeout<F: Future>(
    time: &Arc<Time>,
    duration: Duration,
    future: F,
) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut timer = SimTimer::new(time, time.now() + duration);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => timer.poll_expired(cx).map(|()| None),
    })
    .await
}

/// A future that completes at an instant of virtual time, from [`Sim::sleep`](crate::Sim::sleep).
/// As a [`Timer`] it can be reset.
#[must_use = "a timer does nothing until it is awaited"]
pub struct SimTimer {
    alarm: Alarm,
    deadline: Instant,
}

impl SimTimer {
    pub(crate) fn new(time: &Arc<Time>, deadline: Instant) -> Self {
        Self { alarm: Alarm::new(time), deadline }
    }
}

impl Future for SimTimer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_expired(cx)
    }
}

impl Timer for SimTimer {
    /// Changes the deadline. A waiting task is woken at the new one without polling again.
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

/// Something that a simulation records in its fingerprint.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TraceEvent {
    Polled { task: u64 },
    Read { side: usize, len: usize },
    Wrote { side: usize, len: usize },
}

/// The clock, its alarms, and the digest of all events.
pub(crate) struct Time {
    state: Mutex<State>,
}

struct State {
    now: Instant,
    next_id: u64,
    /// Sorted by deadline, then by the age of the alarm. Each alarm has at most one entry, so that
    /// a timer may be reset for every message.
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

    /// Advances the clock to the earliest alarm and wakes all that are due. Returns false without
    /// alarms.
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

    /// Adds an event at the present instant to the digest.
    pub(crate) fn record(&self, event: TraceEvent) {
        let words = match event {
            TraceEvent::Polled { task } => [1, task, 0],
            TraceEvent::Read { side, len } => [2, side as u64, len as u64],
            TraceEvent::Wrote { side, len } => [3, side as u64, len as u64],
        };
        let mut state = lock(&self.state);
        let now = state.now.since_epoch().as_nanos() as u64;
        // FxHash: an adversary could find collisions, but different runs do not collide by
        // accident.
        state.digest = words.into_iter().fold(state.digest ^ now, |digest, word| {
            (digest.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95)
        });
    }

    pub(crate) fn digest(&self) -> u64 {
        lock(&self.state).digest
    }
}

/// At most one entry among the alarms of the clock, removed on drop.
///
/// Replaced wakers are returned to the caller: dropping them may need a lock that the caller holds.
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

    /// Wakes `waker` at `at`, in place of an earlier setting.
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

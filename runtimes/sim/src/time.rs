//! Virtual time: the clock, its timers, and what happened when: [`Time`], [`SimTimer`].

use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use sockless_core::Instant;
use sockless_driver::Timer;

use crate::fingerprint::{Fingerprint, Occurrence};
use crate::hosts::{MachineId, OUTSIDE};
use crate::skew::Skew;
use crate::trace::Log;
use crate::{lock, waits, watchdog};

/// The deadline of an alarm that never fires.
pub(crate) const NEVER: Instant = Instant::from_epoch(Duration::MAX);

/// The last instant of a simulation, 584 years after its start.
const LAST: Instant = Instant::from_epoch(Duration::from_nanos(u64::MAX));

/// Waits until no other task can run at this instant.
pub(crate) async fn settle(time: &Arc<Time>) {
    let mut alarm = Alarm::new(time, Purpose::Test);
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
    let mut timer = SimTimer::new(time, time.local_now() + duration);
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
    /// On the clock of the machine.
    deadline: Instant,
    machine: MachineId,
}

impl SimTimer {
    pub(crate) fn new(time: &Arc<Time>, deadline: Instant) -> Self {
        Self { alarm: Alarm::new(time, Purpose::Test), deadline, machine: time.machine() }
    }

    pub(crate) fn in_background(time: &Arc<Time>, deadline: Instant) -> Self {
        let alarm = Alarm::new(time, Purpose::Background);
        Self { alarm, deadline, machine: time.machine() }
    }

    /// Returns the time at which the machine's clock reaches the deadline.
    fn due(&self) -> Instant {
        self.alarm.time.world_time(self.machine, self.deadline)
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
        self.alarm.move_to(self.due());
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let due = self.due();
        if due <= self.alarm.time.now() {
            return Poll::Ready(());
        }
        drop(self.alarm.set(due, cx.waker()));
        Poll::Pending
    }
}

impl fmt::Debug for SimTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimTimer(until {:?})", self.deadline)
    }
}

/// The clock, its alarms, and the events so far.
pub(crate) struct Time {
    log: Arc<Log>,
    state: Mutex<State>,
    /// The present instant in nanoseconds, beside the state, since it is read far more often than it changes.
    now: AtomicU64,
    /// The machine whose task runs.
    machine: AtomicU32,
    /// The run has failed, and ends after this poll.
    has_failed: AtomicBool,
    /// The present poll has not returned for too long in real time.
    is_overdue: AtomicBool,
}

/// The purpose of an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The code under test.
    Test,
    /// The deadlines of a session, which recur as long as it lasts.
    Background,
    /// The arrival of bytes, which follows from something else.
    Arrival,
}

struct State {
    next_id: u64,
    /// Sorted by deadline, then by the age of the alarm. Each alarm has at most one entry, so that
    /// a timer may be reset for every message.
    alarms: BTreeMap<(Instant, u64), (Waker, Purpose)>,
    fingerprint: Fingerprint,
    /// The clocks of the machines that differ from this one.
    skews: BTreeMap<MachineId, Skew>,
    /// When something happened last that is not in the background, and the number of alarms for the
    /// background since then.
    lived: Instant,
    background: u32,
}

impl Time {
    pub(crate) fn new(log: &Arc<Log>) -> Self {
        Self {
            log: Arc::clone(log),
            state: Mutex::new(State {
                next_id: 0,
                alarms: BTreeMap::new(),
                fingerprint: Fingerprint::default(),
                skews: BTreeMap::new(),
                lived: Instant::EPOCH,
                background: 0,
            }),
            now: AtomicU64::new(0),
            machine: AtomicU32::new(OUTSIDE),
            has_failed: AtomicBool::new(false),
            is_overdue: AtomicBool::new(false),
        }
    }

    /// # Panics
    ///
    /// Panics if the present poll is overdue.
    #[inline]
    pub(crate) fn now(&self) -> Instant {
        if self.is_overdue.load(Ordering::Relaxed) {
            self.fail_overdue();
        }
        self.present()
    }

    /// Moves the clock to `now`, unless it is later.
    fn move_to(&self, now: Instant) {
        let nanos = u64::try_from(now.min(LAST).since_epoch().as_nanos());
        self.now.fetch_max(nanos.expect("the last instant fits"), Ordering::Relaxed);
    }

    /// As [`now`](Self::now), in a poll of any length.
    #[inline]
    fn present(&self) -> Instant {
        Instant::from_epoch(Duration::from_nanos(self.now.load(Ordering::Relaxed)))
    }

    /// Sets the machine whose task runs next.
    pub(crate) fn enter(&self, machine: MachineId) {
        self.machine.store(machine, Ordering::Relaxed);
    }

    /// Returns the machine whose task runs.
    pub(crate) fn machine(&self) -> MachineId {
        self.machine.load(Ordering::Relaxed)
    }

    /// Returns the time on the clock of the machine whose task runs.
    pub(crate) fn local_now(&self) -> Instant {
        let now = self.now();
        match self.machine() {
            OUTSIDE => now,
            machine => self.local_time(machine, now),
        }
    }

    /// Returns what the clock of `machine` shows at `world`.
    pub(crate) fn local_time(&self, machine: MachineId, world: Instant) -> Instant {
        let state = lock(&self.state);
        state.skews.get(&machine).map_or(world, |skew| skew.local(world))
    }

    /// Returns when the clock of `machine` reaches `local`.
    fn world_time(&self, machine: MachineId, local: Instant) -> Instant {
        if machine == OUTSIDE || local == NEVER {
            return local;
        }
        let state = lock(&self.state);
        state.skews.get(&machine).map_or(local, |skew| skew.world(local))
    }

    /// Changes the clock of `machine` from now on.
    pub(crate) fn skew(&self, machine: MachineId, change: impl FnOnce(&mut Skew)) {
        let mut state = lock(&self.state);
        let now = self.present();
        let skew = state.skews.entry(machine).or_insert_with(|| Skew::none(now));
        skew.settle(now);
        change(skew);
    }

    /// Advances the clock to the earliest alarm and wakes all that are due. Returns false without
    /// alarms.
    pub(crate) fn advance(&self) -> bool {
        let mut due = Vec::new();
        {
            let mut state = lock(&self.state);
            match state.alarms.first_key_value() {
                Some((&(earliest, _), _)) if earliest <= LAST => {
                    self.move_to(earliest);
                }
                _ => return false,
            }
            let now = self.present();
            while let Some(alarm) = state.alarms.first_entry() {
                if alarm.key().0 > now {
                    break;
                }
                let (waker, purpose) = alarm.remove();
                match purpose {
                    Purpose::Test => state.live(now),
                    Purpose::Background => state.background += 1,
                    Purpose::Arrival => {}
                }
                due.push(waker);
            }
        }
        due.into_iter().for_each(Waker::wake);
        true
    }

    /// Returns the earliest alarm that fires.
    pub(crate) fn next_alarm(&self) -> Option<Instant> {
        let state = lock(&self.state);
        state.alarms.first_key_value().map(|(&(at, _), _)| at).filter(|at| *at <= LAST)
    }

    /// Advances the clock to `now`, but not beyond the earliest alarm.
    pub(crate) fn catch_up(&self, now: Instant) {
        let now = self.next_alarm().map_or(now, |alarm| alarm.min(now));
        self.move_to(now);
    }

    /// Records that something happens that is not in the background.
    pub(crate) fn live(&self) {
        lock(&self.state).live(self.present());
    }

    /// Returns how long only the background has been active, if it was active often enough.
    pub(crate) fn lifeless(&self) -> Option<Duration> {
        let state = lock(&self.state);
        let lifeless = self.present().saturating_since(state.lived);
        (state.background >= LIFELESS_ALARMS && lifeless > LIFELESS).then_some(lifeless)
    }

    /// Adds an event at the present instant.
    pub(crate) fn record(&self, event: Occurrence) {
        self.record_and(event, false);
    }

    /// Adds an event at the present instant, which may be one that is not in the background.
    pub(crate) fn record_and(&self, event: Occurrence, is_life: bool) {
        let mut state = lock(&self.state);
        let now = self.present();
        if is_life {
            state.live(now);
        }
        self.log.occur(now, event);
        if state.fingerprint.record(now, event) {
            self.fail();
        }
    }

    /// Adds the poll of a task. The log has another entry for it.
    #[inline]
    pub(crate) fn record_poll(&self, task: u64) {
        let event = Occurrence::Polled { task };
        if lock(&self.state).fingerprint.record(self.present(), event) {
            self.fail();
        }
    }

    /// Calls `act` with the events so far.
    pub(crate) fn with_fingerprint<T>(&self, act: impl FnOnce(&mut Fingerprint) -> T) -> T {
        act(&mut lock(&self.state).fingerprint)
    }

    /// Ends the run after this poll.
    pub(crate) fn fail(&self) {
        self.has_failed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Relaxed)
    }

    /// The run goes on nevertheless.
    pub(crate) fn tolerate(&self) {
        self.has_failed.store(false, Ordering::Relaxed);
    }

    /// Makes the next call of the simulator panic.
    pub(crate) fn set_overdue(&self) {
        self.is_overdue.store(true, Ordering::Relaxed);
    }

    #[cold]
    fn fail_overdue(&self) {
        self.is_overdue.store(false, Ordering::Relaxed);
        let place = waits::this_place().unwrap_or_else(|| "an unknown place".to_owned());
        panic!("{} in {place}", watchdog::overdue());
    }
}

impl State {
    fn live(&mut self, now: Instant) {
        self.lived = now;
        self.background = 0;
    }
}

/// The time for which only the background may be active, if it is active so often.
const LIFELESS: Duration = Duration::from_secs(3600);
const LIFELESS_ALARMS: u32 = 10;

/// At most one entry among the alarms of the clock, removed on drop.
///
/// Replaced wakers are returned to the caller: dropping them may need a lock that the caller holds.
pub(crate) struct Alarm {
    time: Arc<Time>,
    purpose: Purpose,
    id: u64,
    at: Instant,
    /// False if it is surely not among the alarms, which saves the search: most are cleared far more
    /// often than they are set.
    may_be_set: bool,
}

impl Alarm {
    pub(crate) fn new(time: &Arc<Time>, purpose: Purpose) -> Self {
        let mut state = lock(&time.state);
        let id = state.next_id;
        state.next_id += 1;
        Self { time: Arc::clone(time), purpose, id, at: NEVER, may_be_set: false }
    }

    /// Wakes `waker` at `at`, in place of an earlier setting.
    pub(crate) fn set(&mut self, at: Instant, waker: &Waker) -> Option<Waker> {
        if waits::is_searching() {
            if self.purpose == Purpose::Test {
                waits::found();
            }
            return None;
        }
        let mut state = lock(&self.time.state);
        let mut replaced = None;
        if self.may_be_set {
            if let Some((held, _)) = state.alarms.get(&(at, self.id))
                && held.will_wake(waker)
            {
                return None;
            }
            replaced = state.alarms.remove(&(self.at, self.id));
        }
        state.alarms.insert((at, self.id), (waker.clone(), self.purpose));
        (self.at, self.may_be_set) = (at, true);
        replaced.map(|(waker, _)| waker)
    }

    #[inline]
    pub(crate) fn may_be_set(&self) -> bool {
        self.may_be_set
    }

    #[inline]
    pub(crate) fn clear(&mut self) -> Option<Waker> {
        match std::mem::take(&mut self.may_be_set) {
            true => self.remove(),
            false => None,
        }
    }

    fn remove(&mut self) -> Option<Waker> {
        let removed = lock(&self.time.state).alarms.remove(&(self.at, self.id));
        removed.map(|(waker, _)| waker)
    }

    fn move_to(&mut self, at: Instant) {
        if !self.may_be_set {
            return;
        }
        let mut state = lock(&self.time.state);
        if let Some(alarm) = state.alarms.remove(&(self.at, self.id)) {
            state.alarms.insert((at, self.id), alarm);
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

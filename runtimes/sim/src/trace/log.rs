//! The events of a run, while it runs: [`Log`].

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use sockless_core::Instant;

use super::{End, Event, FrameEvent, Named, Trace, What};
use crate::fingerprint::Occurrence;
use crate::lock;

/// Keeps the events of a run, if a trace is asked for.
pub(crate) struct Log {
    is_enabled: AtomicBool,
    /// The number of events that happened, kept or not.
    count: AtomicU64,
    has_stopped: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    first: u64,
    events: VecDeque<Event>,
    /// The tasks that were polled.
    tasks: BTreeSet<u64>,
}

impl Log {
    /// Creates the log, which is enabled if the environment asks for traces.
    pub(crate) fn new() -> Self {
        Self {
            is_enabled: AtomicBool::new(directory().is_some() || stop().is_some()),
            count: AtomicU64::new(0),
            has_stopped: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    pub(crate) fn enable(&self) {
        self.is_enabled.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_enabled(&self) -> bool {
        self.is_enabled.load(Ordering::Relaxed)
    }

    /// Returns the number of the event at which the run stops, if it has been reached.
    pub(crate) fn stopped(&self) -> Option<u64> {
        if self.has_stopped.load(Ordering::Relaxed) { stop() } else { None }
    }

    pub(crate) fn trace(&self, seed: u64) -> Trace {
        let State { first, events, .. } = &*lock(&self.state);
        Trace { seed: Some(seed), first: *first, events: events.clone() }
    }

    /// Returns the number of events that happened.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Adds an event and returns its number.
    #[inline]
    pub(crate) fn push(&self, now: Instant, what: impl FnOnce() -> What) -> u64 {
        let number = self.count();
        self.count.store(number + 1, Ordering::Relaxed);
        if self.is_enabled() {
            self.keep(number, now, what());
        }
        number
    }

    fn keep(&self, number: u64, now: Instant, what: What) {
        let State { first, events, .. } = &mut *lock(&self.state);
        if events.is_empty() {
            *first = number;
        }
        if events.len() == KEPT {
            events.pop_front();
            *first += 1;
        }
        let time = u64::try_from(now.since_epoch().as_nanos()).unwrap_or(u64::MAX);
        events.push_back(Event { time, what });
        if stop() == Some(number) {
            self.has_stopped.store(true, Ordering::Relaxed);
        }
    }

    /// Adds the poll of a task, and at its first one its name and its machine.
    pub(crate) fn poll(
        &self,
        now: impl FnOnce() -> Instant,
        task: u64,
        named: impl FnOnce() -> Named,
    ) {
        if !self.is_enabled() {
            self.count.store(self.count() + 1, Ordering::Relaxed);
            return;
        }
        let is_first = lock(&self.state).tasks.insert(task);
        let named = is_first.then(named);
        self.push(now(), || What::Poll { task, named });
    }

    /// Adds what the network does.
    pub(crate) fn occur(&self, now: Instant, occurrence: Occurrence) {
        self.push(now, || match occurrence {
            // The polls of a run have the names of their tasks: see `poll`.
            Occurrence::Polled { task } => What::Poll { task, named: None },
            Occurrence::Read { pipe, side, len } => {
                What::Read { connection: pipe, by: End::of(side), len: len as u64 }
            }
            Occurrence::Wrote { pipe, side, len, .. } => {
                What::Write { connection: pipe, from: End::of(side), len: len as u64 }
            }
        });
    }

    /// Adds bytes to the payload of a frame.
    pub(crate) fn extend(&self, number: u64, bytes: &[u8]) {
        if !self.is_enabled() {
            return;
        }
        let mut state = lock(&self.state);
        let Some(index) = number.checked_sub(state.first) else { return };
        let event = usize::try_from(index).ok().and_then(|index| state.events.get_mut(index));
        if let Some(Event { what: What::Frame(FrameEvent { payload, .. }), .. }) = event {
            let room = PAYLOAD.saturating_sub(payload.0.len());
            payload.0.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    }
}

/// Returns the directory for the traces of runs that fail.
pub(crate) fn directory() -> Option<&'static PathBuf> {
    static DIRECTORY: OnceLock<Option<PathBuf>> = OnceLock::new();
    DIRECTORY.get_or_init(|| std::env::var_os("SOCKLESS_SIM_TRACE").map(PathBuf::from)).as_ref()
}

/// Returns the number of the event at which runs stop.
///
/// # Panics
///
/// Panics if the environment has something else.
fn stop() -> Option<u64> {
    static STOP: OnceLock<Option<u64>> = OnceLock::new();
    *STOP.get_or_init(|| {
        let text = std::env::var("SOCKLESS_SIM_STOP").ok()?;
        let number = text.parse();
        Some(number.unwrap_or_else(|_| {
            panic!("SOCKLESS_SIM_STOP={text} is invalid: expected the number of an event")
        }))
    })
}

/// The number of events that are kept.
const KEPT: usize = 200_000;

/// The bytes that are kept of a payload.
const PAYLOAD: usize = 4096;

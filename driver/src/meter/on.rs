//! Metrics with the feature `metrics`, in the recorder that is installed when a session begins.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use ::metrics::{Counter, Gauge, SharedString, counter, gauge, histogram};
use http::Response;
use sockless_core::{CloseReason, Closed, Instant, Role, Stats, Traffic};

use crate::metrics as names;
use crate::spans::{cause_label, ended_by};

/// True if a recorder is installed. What stands in for it otherwise has no size, so that a recorder
/// without state counts as none.
pub(crate) fn is_recorded() -> bool {
    ::metrics::with_recorder(|recorder| size_of_val(recorder) > 0)
}

/// The time at which something began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    pub(crate) fn start(now: impl FnOnce() -> Instant) -> Self {
        Self(now())
    }

    fn seconds(self, now: Instant) -> f64 {
        now.saturating_since(self.0).as_secs_f64()
    }
}

/// The metrics of one session; empty if no recorder was installed when it began.
pub(crate) struct SessionMeter(Option<Box<Metered>>);

struct Metered {
    labels: Labels,
    opened: Stopwatch,
    open: Level,
    received: Flow,
    sent: Flow,
    queued: Level,
    held: Level,
    round_trips: u64,
}

#[derive(Clone)]
struct Labels {
    role: &'static str,
    route: SharedString,
}

/// Registers a metric with the labels of a session, and others.
macro_rules! labelled {
    ($kind:ident, $name:expr, $labels:expr $(, $label:literal => $value:expr)*) => {
        $kind!($name, "role" => $labels.role, "route" => $labels.route.clone() $(, $label => $value)*)
    };
}

impl SessionMeter {
    pub(crate) fn open(role: Role, route: Option<&Arc<str>>, now: Instant) -> Self {
        if !is_recorded() {
            return Self(None);
        }
        let role = match role {
            Role::Client => "client",
            Role::Server => "server",
        };
        let labels = Labels {
            role,
            route: route.map_or("".into(), |route| SharedString::from(route.clone())),
        };
        labelled!(counter, names::SESSIONS_OPENED, labels).increment(1);
        let level = |name| Level { gauge: labelled!(gauge, name, labels), recorded: 0 };
        let mut open = level(names::SESSIONS);
        open.set(1);
        Self(Some(Box::new(Metered {
            opened: Stopwatch(now),
            open,
            received: Flow::new(&RECEIVED, &labels),
            sent: Flow::new(&SENT, &labels),
            queued: level(names::QUEUED_BYTES),
            held: level(names::HELD_BYTES),
            round_trips: 0,
            labels,
        })))
    }

    /// True if there is something to [record](Self::record).
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Records what has been counted since the last call.
    pub(crate) fn record(&mut self, stats: &Stats, held: usize) {
        let Some(metered) = self.0.as_deref_mut() else { return };
        metered.received.record(&stats.received, &metered.labels);
        metered.sent.record(&stats.sent, &metered.labels);
        metered.queued.set(stats.queued_bytes);
        metered.held.set(held);
        if stats.round_trips > metered.round_trips {
            metered.round_trips = stats.round_trips;
            let histogram = labelled!(histogram, names::ROUND_TRIP_SECONDS, metered.labels);
            stats.round_trip.into_iter().for_each(|round_trip| histogram.record(round_trip));
        }
    }

    pub(crate) fn turn_exhausted(&self) {
        if let Some(Metered { labels, .. }) = self.0.as_deref() {
            labelled!(counter, names::TURNS_EXHAUSTED, labels).increment(1);
        }
    }

    pub(crate) fn handshake_ended(&self, began: Stopwatch, now: Instant) {
        if let Some(Metered { labels, .. }) = self.0.as_deref() {
            labelled!(histogram, names::HANDSHAKE_SECONDS, labels).record(began.seconds(now));
        }
    }

    /// Records that the handler has ended, in the way of `outcome`.
    pub(crate) fn handler_ended(&self, outcome: &'static str, now: Instant) {
        if let Some(Metered { labels, opened, .. }) = self.0.as_deref() {
            let histogram =
                labelled!(histogram, names::HANDLER_SECONDS, labels, "outcome" => outcome);
            histogram.record(opened.seconds(now));
        }
    }

    pub(crate) fn closed(&mut self, closed: &Closed) {
        let Some(Metered { labels, open, .. }) = self.0.as_deref_mut() else { return };
        open.set(0);
        let (party, reason) = ended_by(closed);
        let (cause, code) = (cause_label(closed.cause()), code_label(reason));
        labelled!(
            counter, names::SESSIONS_CLOSED, labels, "party" => party, "cause" => cause, "code" => code
        )
        .increment(1);
    }
}

/// The names of the metrics of one direction.
struct FlowNames {
    messages: &'static str,
    bytes: &'static str,
    compressed: &'static str,
    uncompressed: &'static str,
}

const RECEIVED: FlowNames = FlowNames {
    messages: names::MESSAGES_RECEIVED,
    bytes: names::RECEIVED_BYTES,
    compressed: names::RECEIVED_COMPRESSED_BYTES,
    uncompressed: names::RECEIVED_UNCOMPRESSED_BYTES,
};

const SENT: FlowNames = FlowNames {
    messages: names::MESSAGES_SENT,
    bytes: names::SENT_BYTES,
    compressed: names::SENT_COMPRESSED_BYTES,
    uncompressed: names::SENT_UNCOMPRESSED_BYTES,
};

/// The metrics of one direction.
struct Flow {
    names: &'static FlowNames,
    messages: Total,
    bytes: Total,
    /// The lengths of compressed messages, once there is one.
    compression: Option<Box<Compression>>,
}

struct Compression {
    compressed: Total,
    uncompressed: Total,
}

impl Flow {
    fn new(names: &'static FlowNames, labels: &Labels) -> Self {
        let (messages, bytes) =
            (Total::new(names.messages, labels), Total::new(names.bytes, labels));
        Self { names, messages, bytes, compression: None }
    }

    fn record(&mut self, traffic: &Traffic, labels: &Labels) {
        self.messages.advance(traffic.text_frames + traffic.binary_frames);
        self.bytes.advance(traffic.bytes);
        if traffic.decoded_bytes > 0 {
            let compression = self.compression.get_or_insert_with(|| {
                Box::new(Compression {
                    compressed: Total::new(self.names.compressed, labels),
                    uncompressed: Total::new(self.names.uncompressed, labels),
                })
            });
            compression.compressed.advance(traffic.encoded_bytes);
            compression.uncompressed.advance(traffic.decoded_bytes);
        }
    }
}

/// A counter, and the part of this session's total that it contains.
struct Total {
    counter: Counter,
    recorded: u64,
}

impl Total {
    fn new(name: &'static str, labels: &Labels) -> Self {
        Self { counter: labelled!(counter, name, labels), recorded: 0 }
    }

    /// A total becomes less when frames are put back into the read buffer. They are not counted
    /// again.
    fn advance(&mut self, total: u64) {
        if total > self.recorded {
            self.counter.increment(total - self.recorded);
            self.recorded = total;
        }
    }
}

/// A gauge, and this session's share of it, which is taken back when this is dropped.
struct Level {
    gauge: Gauge,
    recorded: usize,
}

impl Level {
    fn set(&mut self, level: usize) {
        match level.checked_sub(self.recorded) {
            Some(0) => return,
            Some(more) => self.gauge.increment(more as f64),
            None => self.gauge.decrement((self.recorded - level) as f64),
        }
        self.recorded = level;
    }
}

impl Drop for Level {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// The memory budget of a server, from its first session until the server and all sessions are
/// dropped.
#[derive(Default)]
pub(crate) struct BudgetMeter(Mutex<Option<Level>>);

impl BudgetMeter {
    pub(crate) fn set(&self, limit: usize) {
        if is_recorded() {
            let mut level = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let new = || Level { gauge: gauge!(names::MEMORY_BUDGET_BYTES), recorded: 0 };
            level.get_or_insert_with(new).set(limit);
        }
    }
}

impl fmt::Debug for BudgetMeter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BudgetMeter")
    }
}

/// Why a response of the server itself rejects a request.
#[derive(Clone, Copy)]
struct Reason(&'static str);

/// Adds the reason to a response that [`rejected_with`] will count.
pub(crate) fn with_reason<B>(reason: &'static str, mut response: Response<B>) -> Response<B> {
    response.extensions_mut().insert(Reason(reason));
    response
}

/// Counts a request that was rejected with `response`, for the reason in it or else for `reason`.
pub(crate) fn rejected_with<B>(reason: &'static str, response: &Response<B>) {
    let own = response.extensions().get::<Reason>();
    count_rejected(own.map_or(reason, |own| own.0), response.status().as_str().to_owned().into());
}

/// Counts a connection that was dropped without a response.
pub(crate) fn rejected(reason: &'static str) {
    count_rejected(reason, "".into());
}

fn count_rejected(reason: &'static str, status: SharedString) {
    counter!(names::REQUESTS_REJECTED, "reason" => reason, "status" => status).increment(1);
}

/// Records how long a client took to connect.
pub(crate) fn connected(began: Stopwatch, now: impl FnOnce() -> Instant) {
    histogram!(names::HANDSHAKE_SECONDS, "role" => "client", "route" => "")
        .record(began.seconds(now()));
}

pub(crate) fn connect_failed(reason: &'static str) {
    counter!(names::CONNECTS_FAILED, "reason" => reason).increment(1);
}

/// The code with which the session ended. Those that applications define count as one for each
/// range, so that a peer cannot make thousands of series.
fn code_label(reason: Option<&CloseReason>) -> &'static str {
    // RFC 6455 §7.4.1 reserves two codes for what is not in a Close frame.
    let Some(reason) = reason else { return "1006" };
    let Some(code) = reason.code() else { return "1005" };
    match code.get() {
        1000 => "1000",
        1001 => "1001",
        1002 => "1002",
        1003 => "1003",
        1007 => "1007",
        1008 => "1008",
        1009 => "1009",
        1010 => "1010",
        1011 => "1011",
        1012 => "1012",
        1013 => "1013",
        1014 => "1014",
        3000..=3999 => "3xxx",
        4000..=4999 => "4xxx",
        _ => "other",
    }
}

//! The deadlines of an open connection. The closing handshake has its own.

use core::time::Duration;

use super::Connection;
use crate::close::{CloseCode, CloseReason};
use crate::config::{Config, MessageRate};
use crate::event::{Cause, Event, Party, Timeout};
use crate::ping::{PingAction, Pinger};
use crate::time::Instant;

#[derive(Clone, Debug)]
pub(super) struct Timers {
    opened: Instant,
    pinger: Pinger,
    /// When a message was last sent or received.
    last_message: Instant,
    /// The message that is arriving.
    arriving: Option<Arriving>,
    /// True if the caller reads from the transport.
    reading: bool,
    verdict: Verdict,
}

/// The time allowed to a message, or to a frame between messages, that is arriving.
#[derive(Clone, Copy, Debug)]
struct Arriving {
    since: Age,
    /// The deadline of [`Config::message_rate`]. Each byte that arrives extends it, up to the
    /// initial grace.
    until: Age,
}

impl Arriving {
    /// A message that begins at this age.
    fn from(age: Duration, config: &Config) -> Self {
        let since = Age::of(age);
        Self { since, until: since.plus(grace(config)) }
    }
}

/// A time as the age of the connection in nanoseconds, half the size of an [`Instant`]. The
/// greatest value, 584 years, means never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Age(u64);

impl Age {
    fn of(age: Duration) -> Self {
        Self(u64::try_from(age.as_nanos()).unwrap_or(u64::MAX))
    }

    fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(Self::of(duration).0))
    }

    fn instant(self, opened: Instant) -> Instant {
        match self.0 {
            u64::MAX => opened + Duration::MAX,
            nanos => opened + Duration::from_nanos(nanos),
        }
    }
}

/// Decides whether a deadline that has passed is the peer's fault.
///
/// A process that was stopped for a while finds a deadline passed and, in the transport, bytes that
/// came in time. So a deadline is only noted when it is first found to have passed. It is enforced
/// if it has still passed after a poll that ran out of bytes, which every loop reaches by reading
/// first. A loop that needs several reads for the bytes that have come is given [`CATCH_UP`] for
/// them.
#[derive(Clone, Copy, Debug, Default)]
struct Verdict {
    /// The number of polls that ran out of bytes and brought none, while a deadline was noted.
    starved: u16,
    /// Bytes have come since a poll last ran out of them.
    has_received: bool,
    noted: Option<Noted>,
}

/// A deadline that was found to have passed.
#[derive(Clone, Copy, Debug)]
struct Noted {
    /// [`Verdict::starved`] at that time.
    starved: u16,
    /// That time, as the age of the connection in milliseconds.
    at: u32,
}

/// How long enforcing a deadline waits for bytes that are still being read, in milliseconds: much
/// longer than it takes to read what a system buffers, and no help to a peer that never stops
/// sending.
const CATCH_UP: u32 = 250;

impl Verdict {
    /// Returns true if a deadline that has passed is to be enforced at `age`. Notes it otherwise.
    fn is_final(&mut self, age: Duration) -> bool {
        let starved = self.starved;
        let noted = self.noted.get_or_insert_with(|| Noted { starved, at: millis(age) });
        if self.has_received && !noted.is_late(age) {
            noted.starved = starved;
        }
        noted.starved != starved
    }

    /// Records that a poll has run out of bytes.
    #[inline]
    fn note_starved(&mut self, age: impl FnOnce() -> Duration) {
        let has_received = core::mem::take(&mut self.has_received);
        // Only the polls since a deadline was noted count.
        if self.noted.is_some_and(|noted| !has_received || noted.is_late(age())) {
            self.starved = self.starved.wrapping_add(1);
        }
    }
}

impl Noted {
    fn is_late(self, age: Duration) -> bool {
        millis(age).wrapping_sub(self.at) >= CATCH_UP
    }
}

/// An age in milliseconds. It wraps after 49 days, and differences wrap with it.
fn millis(age: Duration) -> u32 {
    age.as_millis() as u32
}

impl Timers {
    pub(super) fn new(config: &Config, now: Instant) -> Self {
        Self {
            opened: now,
            pinger: Pinger::new(config, now),
            last_message: now,
            arriving: None,
            reading: true,
            verdict: Verdict::default(),
        }
    }

    pub(super) fn configure(&mut self, config: &Config, now: Instant) {
        self.pinger.configure(config, now);
        if let Some(arriving) = &mut self.arriving {
            arriving.until = Age::of(now.saturating_since(self.opened)).plus(grace(config));
        }
    }

    /// Records whether the caller reads. While it does not, the peer can neither answer nor
    /// continue a message.
    pub(super) fn set_reading(&mut self, reading: bool, config: &Config, now: Instant) {
        if reading && !self.reading {
            self.pinger.restart_timeout(now);
            // No other message can have come meanwhile, so reading again is progress of this one.
            if let Some(arriving) = &mut self.arriving {
                *arriving = Arriving::from(now.saturating_since(self.opened), config);
            }
        }
        self.reading = reading;
    }

    #[inline]
    pub(super) fn handle_received(&mut self, len: usize, config: &Config, now: Instant) {
        if let (Some(arriving), Some(rate)) = (&mut self.arriving, config.message_rate) {
            let latest = Age::of(now.saturating_since(self.opened)).plus(rate.grace());
            arriving.until = arriving.until.plus(rate.time_for(len as u64)).min(latest);
        }
        self.verdict.has_received = true;
        self.pinger.handle_received();
    }

    pub(super) fn handle_pong(&mut self, payload: &[u8], now: Instant) {
        self.pinger.handle_pong(payload, now);
    }

    #[inline]
    pub(super) fn message_sent(&mut self, now: Instant) {
        self.last_message = now;
    }

    /// Records that a message has begun, unless it had begun with the first bytes of its header.
    #[inline]
    pub(super) fn message_began(&mut self, config: &Config, now: Instant) {
        let age = now.saturating_since(self.opened);
        self.arriving.get_or_insert_with(|| Arriving::from(age, config));
    }

    /// Records that a frame between messages has ended.
    pub(super) fn frame_ended(&mut self) {
        self.arriving = None;
    }

    #[inline]
    pub(super) fn message_ended(&mut self, now: Instant) {
        self.last_message = now;
        self.arriving = None;
    }

    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.pinger.round_trip()
    }

    pub(super) fn round_trips(&self) -> u64 {
        self.pinger.round_trips()
    }
}

impl Connection {
    /// Records the progress of writing.
    fn note_progress(&mut self, is_blocked: bool, now: Instant) {
        if self.raw.note_written(is_blocked, now) {
            // The transport was full: only a peer that reads makes room in it.
            self.timers.pinger.restart_timeout(now);
        }
    }

    /// Records that the caller has written as much as the transport accepts for now.
    pub(super) fn note_blocked(&mut self, now: Instant) {
        self.note_progress(true, now);
        self.raw.note_ending_progress(false, now);
    }

    /// Enforces the deadlines after a poll that ran out of bytes. Returns the end, if that was the
    /// result.
    #[inline(never)]
    pub(super) fn handle_starved(&mut self, available: usize, now: Instant) -> Option<Event> {
        // A header or a control frame that arrives in parts is timed like a message.
        if available == 0 && self.assembly.is_none() && self.raw.incoming.is_none() {
            self.timers.arriving = None;
        } else {
            self.timers.message_began(&self.raw.config, now);
        }
        if self.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.fire_timers(now);
        } else {
            self.timers.verdict.noted = None;
        }
        // For callers that do not report a transport that is full.
        if self.raw.has_unsent() {
            self.note_progress(false, now);
        }
        let opened = self.timers.opened;
        self.timers.verdict.note_starved(|| now.saturating_since(opened));
        self.take_report()
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        if !self.is_open() {
            return self.raw.ending_deadline();
        }
        let pinger = self.timers.pinger_deadline();
        if self.has_no_timeout() {
            return pinger;
        }
        [
            pinger,
            self.deadline_of(Timeout::Idle),
            self.deadline_of(Timeout::Message),
            self.deadline_of(Timeout::Write),
            self.deadline_of(Timeout::MaxAge),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Returns true if none of the deadlines of an open connection runs but for that of the pinger,
    /// as is usual with the default settings.
    #[inline]
    fn has_no_timeout(&self) -> bool {
        let (timers, config) = (&self.timers, &self.raw.config);
        timers.arriving.is_none()
            && self.raw.is_writing_free()
            && config.idle_timeout.is_none()
            && config.max_age.is_none()
    }

    pub(super) fn fire_timers(&mut self, now: Instant) {
        if self.raw.has_unsent() {
            self.note_progress(false, now);
        }
        self.raw.note_ending_progress(false, now);
        let Some(due) = self.due(now) else {
            self.timers.verdict.noted = None;
            return;
        };
        // Neither a ping nor the age of the connection depends on what the peer sends.
        let needs_verdict = !matches!(due, Due::Ping | Due::Timeout(Timeout::MaxAge));
        let age = now.saturating_since(self.timers.opened);
        if needs_verdict && self.timers.reading && !self.timers.verdict.is_final(age) {
            return;
        }
        self.timers.verdict.noted = None;
        match due {
            Due::Ending => self.enforce_ending_deadline(now),
            Due::Timeout(timeout) => self.enforce(timeout, now),
            Due::Ping => self.send_due_ping(now),
        }
    }

    /// The deadline that has passed, the most important one if there are several.
    fn due(&self, now: Instant) -> Option<Due> {
        let has_passed = |deadline: Option<Instant>| deadline.is_some_and(|at| at <= now);
        if !self.is_open() {
            return has_passed(self.next_deadline()).then_some(Due::Ending);
        }
        let timeouts = [Timeout::Write, Timeout::Message, Timeout::MaxAge, Timeout::Idle];
        let timeout = timeouts.into_iter().find(|timeout| has_passed(self.deadline_of(*timeout)));
        if let Some(timeout) = timeout {
            return Some(Due::Timeout(timeout));
        }
        let is_due = has_passed(self.timers.pinger_deadline());
        is_due.then(|| match self.timers.awaits_pong() {
            true => Due::Timeout(Timeout::Ping),
            false => Due::Ping,
        })
    }

    fn enforce(&mut self, timeout: Timeout, now: Instant) {
        let (code, text) = match timeout {
            // The transport would not accept a Close frame either.
            Timeout::Write => {
                return self.end_at_once(Party::Local, Cause::Timeout(timeout), now);
            }
            Timeout::MaxAge => (CloseCode::GOING_AWAY, REASON_MAX_AGE),
            Timeout::Idle => (CloseCode::GOING_AWAY, REASON_IDLE),
            Timeout::Message => (CloseCode::POLICY_VIOLATION, REASON_MESSAGE),
            Timeout::Stall => (CloseCode::POLICY_VIOLATION, REASON_STALL),
            Timeout::Ping | Timeout::Closing => (CloseCode::INTERNAL_ERROR, REASON_PING),
        };
        let reason = CloseReason::new(code, text);
        match timeout {
            Timeout::MaxAge | Timeout::Idle => self.start_closing(reason, Some(timeout), now),
            Timeout::Ping if self.is_write_timed() || self.ping_is_on_its_way() => {
                self.timers.pinger.set_taken(self.raw.outbound.taken());
                self.timers.pinger.restart_timeout(now);
            }
            _ => self.fail_with(Cause::Timeout(timeout), &reason, now),
        }
    }

    /// Ends the connection because the caller could not read for too long.
    pub(super) fn fail_stalled(&mut self, now: Instant) {
        if self.is_open() {
            self.enforce(Timeout::Stall, now);
        }
    }

    fn send_due_ping(&mut self, now: Instant) {
        if !self.timers.reading {
            // The answer to the last one may have arrived and be unread.
            self.timers.pinger.handle_received();
        }
        let Some(PingAction::Ping(payload)) = self.timers.pinger.handle_timeout(now) else {
            return;
        };
        let mark = self.raw.outbound.queued();
        self.timers.pinger.set_mark(mark);
        // Behind a full queue each ping would arrive late, and they would accumulate. The timeouts
        // run nevertheless, and end a connection whose peer neither sends nor accepts a byte.
        if self.is_writable() {
            // The connection is open and the payload 8 bytes long, so this cannot fail.
            let _ = self.send_ping(payload);
        }
        self.timers.pinger.set_taken(self.raw.outbound.taken());
    }

    /// Returns true while bytes wait that the transport does not accept, and the write timeout
    /// bounds the wait. A kernel reports room in large steps: a peer that reads steadily may be
    /// further away from the next one than the ping timeout allows.
    fn is_write_timed(&self) -> bool {
        self.raw.write_deadline().is_some()
    }

    /// Returns true if bytes that were queued before our ping have been taken since we last looked:
    /// then the peer reads, and may not have received the ping for long.
    fn ping_is_on_its_way(&self) -> bool {
        self.timers.pinger.is_on_its_way(self.raw.outbound.taken())
    }

    fn deadline_of(&self, timeout: Timeout) -> Option<Instant> {
        let (timers, config) = (&self.timers, &self.raw.config);
        match timeout {
            Timeout::Idle => config.idle_timeout.map(|limit| timers.last_message + limit),
            Timeout::MaxAge => config.max_age.map(|limit| timers.opened + limit),
            Timeout::Message => self.message_deadline(),
            Timeout::Write => self.raw.write_deadline(),
            Timeout::Closing | Timeout::Ping | Timeout::Stall => None,
        }
    }

    /// The deadline of the message that is arriving; `None` while we do not read, since it cannot
    /// go on then.
    fn message_deadline(&self) -> Option<Instant> {
        let (timers, config) = (&self.timers, &self.raw.config);
        let Arriving { since, until } = timers.arriving?;
        if !timers.reading {
            return None;
        }
        let whole = config.message_timeout;
        let (since, until) = (since.instant(timers.opened), until.instant(timers.opened));
        let slow = config.message_rate.map(|_| until);
        [whole.map(|limit| since + limit), slow].into_iter().flatten().min()
    }
}

impl Timers {
    /// When the pinger is due. While we do not read, pings are sent and no answer is required.
    fn pinger_deadline(&self) -> Option<Instant> {
        if self.reading { self.pinger.poll_timeout() } else { self.pinger.next_ping() }
    }

    fn awaits_pong(&self) -> bool {
        self.reading && self.pinger.awaits_pong()
    }
}

/// The longest pause within a message.
fn grace(config: &Config) -> Duration {
    config.message_rate.map_or(Duration::ZERO, MessageRate::grace)
}

/// The kind of a deadline that has passed.
#[derive(Clone, Copy)]
enum Due {
    Ending,
    Ping,
    Timeout(Timeout),
}

const REASON_IDLE: &str = "no message for too long (idle_timeout)";
const REASON_MAX_AGE: &str = "the connection is too old (max_age)";
const REASON_MESSAGE: &str = "a message took too long (message_timeout, message_rate)";
const REASON_PING: &str = "no answer to a ping (ping_timeout)";
const REASON_STALL: &str = "messages are not received (stall_timeout)";

//! The deadlines of an open connection. The closing handshake has its own.

use core::time::Duration;

use bytes::Buf;

use super::Connection;
use crate::close::{CloseCode, CloseReason};
use crate::config::{Config, MessageRate};
use crate::event::{Cause, Event, Party, Timeout};
use crate::ping::{PingAction, Pinger};
use crate::time::Instant;

#[derive(Clone, Debug)]
pub(super) struct Timers {
    opened: Instant,
    /// The latest time that a call has passed in.
    now: Instant,
    pinger: Pinger,
    /// When a message last went either way.
    last_message: Instant,
    /// A message was sent since the last call that passed in the time: `send` does not.
    message_sent: bool,
    /// The message that is arriving.
    arriving: Option<Arriving>,
    writing: Writing,
    /// Whether the host reads from the transport.
    reading: bool,
    verdict: Verdict,
}

/// How long a message, or a frame between messages, has been arriving and may go on.
#[derive(Clone, Copy, Debug)]
struct Arriving {
    since: Age,
    /// When it has come too slowly. Each byte moves it on, up to where it began.
    until: Age,
}

impl Arriving {
    /// A message that begins at this age.
    fn from(age: Duration, config: &Config) -> Self {
        let since = Age::of(age);
        Self { since, until: since.plus(grace(config)) }
    }
}

/// A time as the age of the connection in nanoseconds: half as long as an [`Instant`]. The greatest, after 584
/// years, is never.
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

/// What has become of the bytes to be sent.
#[derive(Clone, Copy, Debug)]
enum Writing {
    /// None wait, or it is not known since when.
    Free,
    /// `taken` bytes had been taken at `since`, and others waited. `blocked` when the host has reported that
    /// the transport takes no more, so that any progress is the peer's.
    Waits { taken: u64, since: Age, blocked: bool },
}

/// Whether a deadline that has passed may be held against the peer.
///
/// A host that was stopped for a while finds a deadline passed and, in the transport, bytes that came in
/// time. So a deadline is only noted when it is first found to have passed; it is enforced when it still has
/// passed after a poll ran out of bytes, which every loop reaches by reading first. A host that takes several
/// reads for what came has [`CATCH_UP`] for them.
#[derive(Clone, Copy, Debug, Default)]
struct Verdict {
    /// How many polls have run out of bytes, and brought none.
    starved: u16,
    /// Bytes have come since a poll last ran out of them.
    has_received: bool,
    noted: Option<Noted>,
}

/// A deadline that has passed.
#[derive(Clone, Copy, Debug)]
struct Noted {
    /// How many polls had run out of bytes.
    starved: u16,
    /// When it was first noted, in milliseconds of the connection's age.
    at: u32,
}

/// How long after a deadline was noted, in milliseconds, it waits for bytes that are still being read: much
/// longer than it takes to read what a system holds, and no help to a peer that never stops sending.
const CATCH_UP: u32 = 250;

impl Verdict {
    /// Whether a deadline that has passed is to be enforced, at `age`; notes it otherwise.
    fn is_final(&mut self, age: Duration) -> bool {
        let starved = self.starved;
        let noted = self.noted.get_or_insert_with(|| Noted { starved, at: millis(age) });
        if self.has_received && !noted.is_late(age) {
            noted.starved = starved;
        }
        noted.starved != starved
    }

    /// A poll has run out of bytes.
    #[inline]
    fn note_starved(&mut self, age: impl FnOnce() -> Duration) {
        let has_received = core::mem::take(&mut self.has_received);
        if !has_received || self.noted.is_some_and(|noted| noted.is_late(age())) {
            self.starved = self.starved.wrapping_add(1);
        }
    }
}

impl Noted {
    fn is_late(self, age: Duration) -> bool {
        millis(age).wrapping_sub(self.at) >= CATCH_UP
    }
}

/// It wraps after 49 days, and so does a difference.
fn millis(age: Duration) -> u32 {
    age.as_millis() as u32
}

impl Timers {
    pub(super) fn new(config: &Config, now: Instant) -> Self {
        Self {
            opened: now,
            now,
            pinger: Pinger::new(config, now),
            last_message: now,
            message_sent: false,
            arriving: None,
            writing: Writing::Free,
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

    /// While nothing is read, the peer can neither answer nor go on with a message.
    pub(super) fn set_reading(&mut self, reading: bool, config: &Config, now: Instant) {
        if reading && !self.reading {
            self.pinger.excuse(now);
            // No other message can have come meanwhile: what lets us read again is progress of this one.
            if let Some(arriving) = &mut self.arriving {
                *arriving = Arriving::from(now.saturating_since(self.opened), config);
            }
        }
        self.reading = reading;
    }

    /// Takes note of the time.
    #[inline]
    pub(super) fn tick(&mut self, now: Instant) {
        self.now = now;
        if self.message_sent {
            self.message_sent = false;
            self.last_message = now;
        }
    }

    /// The latest time that a call has passed in, for commands that do not.
    pub(super) fn now(&self) -> Instant {
        self.now
    }

    #[inline]
    pub(super) fn handle_received(&mut self, len: usize, config: &Config) {
        if let (Some(arriving), Some(rate)) = (&mut self.arriving, config.message_rate) {
            let latest = Age::of(self.now.saturating_since(self.opened)).plus(rate.grace());
            arriving.until = arriving.until.plus(rate.time_for(len as u64)).min(latest);
        }
        self.verdict.has_received = true;
        self.pinger.handle_received();
    }

    pub(super) fn handle_pong(&mut self, payload: &[u8], now: Instant) {
        self.pinger.handle_pong(payload, now);
    }

    #[inline]
    pub(super) fn message_sent(&mut self) {
        self.message_sent = true;
    }

    /// A message has begun, unless it had with the first bytes of its header.
    #[inline]
    pub(super) fn message_began(&mut self, config: &Config, now: Instant) {
        let age = now.saturating_since(self.opened);
        self.arriving.get_or_insert_with(|| Arriving::from(age, config));
    }

    /// A frame between messages has ended.
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

    /// Takes note of how far `waiting` bytes have come of which `taken` are gone.
    fn note_written(&mut self, taken: u64, waiting: usize, is_blocked: bool, now: Instant) {
        match &mut self.writing {
            Writing::Waits { taken: before, blocked, .. } if waiting > 0 && *before == taken => {
                *blocked |= is_blocked;
            }
            before => {
                if let Writing::Waits { blocked: true, taken: stood, .. } = *before
                    && stood != taken
                {
                    // The transport was full: what made room in it is a peer that takes bytes.
                    self.pinger.excuse(now);
                }
                *before = match waiting {
                    0 => Writing::Free,
                    _ => {
                        let since = Age::of(now.saturating_since(self.opened));
                        Writing::Waits { taken, since, blocked: is_blocked }
                    }
                };
            }
        }
    }
}

impl Connection {
    /// The host has written, and the transport takes no more for now if bytes are left.
    pub(super) fn note_blocked(&mut self, now: Instant) {
        let outbound = &self.raw.outbound;
        self.timers.note_written(outbound.taken(), outbound.remaining(), true, now);
        self.note_ending_progress(false, now);
    }

    /// Fires what is due when a poll has taken all that it could; an end is reported at once.
    #[inline(never)]
    pub(super) fn handle_starved(&mut self, available: usize, now: Instant) -> Option<Event> {
        // A header, or a control frame, that comes bit by bit takes time like a message.
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
        // A host that does not report how far it has written is seen to wait for its transport here.
        let outbound = &self.raw.outbound;
        if outbound.has_remaining() {
            self.timers.note_written(outbound.taken(), outbound.remaining(), false, now);
        }
        let opened = self.timers.opened;
        self.timers.verdict.note_starved(|| now.saturating_since(opened));
        self.ending.as_mut()?.report()
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        if let Some(ending) = &self.ending {
            return ending.deadline(&self.raw.outbound, &self.raw.config);
        }
        if self.has_no_deadline() {
            return None;
        }
        [
            self.timers.pinger_deadline(),
            self.deadline_of(Timeout::Idle),
            self.deadline_of(Timeout::Message),
            self.deadline_of(Timeout::Write),
            self.deadline_of(Timeout::MaxAge),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Whether none of the deadlines of an open connection runs: mostly so, by default.
    #[inline]
    fn has_no_deadline(&self) -> bool {
        let (timers, config) = (&self.timers, &self.raw.config);
        timers.arriving.is_none()
            && matches!(timers.writing, Writing::Free)
            && config.idle_timeout.is_none()
            && config.max_age.is_none()
            && timers.pinger_deadline().is_none()
    }

    pub(super) fn fire_timers(&mut self, now: Instant) {
        self.timers.tick(now);
        let outbound = &self.raw.outbound;
        if outbound.has_remaining() {
            self.timers.note_written(outbound.taken(), outbound.remaining(), false, now);
        }
        if self.ending.is_some() {
            self.note_ending_progress(false, now);
        }
        let Some(due) = self.due(now) else {
            self.timers.verdict.noted = None;
            return;
        };
        // Neither a ping nor the age of the connection depends on what the peer sends: they wait for no verdict.
        let needs_verdict = !matches!(due, Due::Ping | Due::Timeout(Timeout::MaxAge));
        let age = now.saturating_since(self.timers.opened);
        if needs_verdict && self.timers.reading && !self.timers.verdict.is_final(age) {
            return;
        }
        self.timers.verdict.noted = None;
        match due {
            Due::Ending => self.give_up_ending(now),
            Due::Timeout(timeout) => self.enforce(timeout, now),
            Due::Ping => self.send_due_ping(now),
        }
    }

    /// What is due, the most important first.
    fn due(&self, now: Instant) -> Option<Due> {
        let has_passed = |deadline: Option<Instant>| deadline.is_some_and(|at| at <= now);
        if self.ending.is_some() {
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
            // Nor would a Close frame be taken.
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
            Timeout::Ping if self.ping_is_on_its_way() => {
                self.timers.pinger.set_taken(self.raw.outbound.taken());
                self.timers.pinger.excuse(now);
            }
            _ => self.fail_with(Cause::Timeout(timeout), &reason, now),
        }
    }

    /// Ends the connection because the host could not read for too long.
    pub(super) fn fail_stalled(&mut self, now: Instant) {
        if self.ending.is_none() {
            self.enforce(Timeout::Stall, now);
        }
    }

    fn send_due_ping(&mut self, now: Instant) {
        if !self.timers.reading {
            // The answer to the last one may have arrived, and lies unread.
            self.timers.pinger.handle_received();
        }
        let Some(PingAction::Ping(payload)) = self.timers.pinger.handle_timeout(now) else {
            return;
        };
        let mark = self.raw.outbound.queued();
        self.timers.pinger.set_mark(mark);
        // Behind more than enough it would come late, and one more each time. The peer is given up all the
        // same if it neither sends nor takes a byte.
        if self.is_writable() {
            // Open, and eight bytes long: it cannot be refused.
            let _ = self.send_ping(payload);
        }
        self.timers.pinger.set_taken(self.raw.outbound.taken());
    }

    /// Whether something was before our ping when we last looked, and has moved since: then the peer is
    /// alive, and may not have been asked for long.
    fn ping_is_on_its_way(&self) -> bool {
        self.timers.pinger.is_on_its_way(self.raw.outbound.taken())
    }

    fn deadline_of(&self, timeout: Timeout) -> Option<Instant> {
        let (timers, config) = (&self.timers, &self.raw.config);
        match timeout {
            Timeout::Idle => config.idle_timeout.map(|limit| timers.last_message + limit),
            Timeout::MaxAge => config.max_age.map(|limit| timers.opened + limit),
            Timeout::Message => self.message_deadline(),
            Timeout::Write => match timers.writing {
                Writing::Waits { taken, since, .. } if taken == self.raw.outbound.taken() => {
                    let waits = self.raw.outbound.has_remaining();
                    let since = since.instant(timers.opened);
                    config.write_timeout.filter(|_| waits).map(|limit| since + limit)
                }
                _ => None,
            },
            Timeout::Closing | Timeout::Ping | Timeout::Stall => None,
        }
    }

    /// When the message that is arriving must have ended, or gone on; while we do not read, it cannot.
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
    /// When the pinger wants something. While we do not read, it only sends.
    fn pinger_deadline(&self) -> Option<Instant> {
        if self.reading { self.pinger.poll_timeout() } else { self.pinger.next_ping() }
    }

    fn awaits_pong(&self) -> bool {
        self.reading && self.pinger.awaits_pong()
    }
}

/// How long a message may be silent.
fn grace(config: &Config) -> Duration {
    config.message_rate.map_or(Duration::ZERO, MessageRate::grace)
}

/// What is to be done about a deadline that has passed.
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

//! The deadlines of an open connection. The closing handshake has its own.

use core::time::Duration;

use bytes::Buf;

use super::Connection;
use crate::close::{CloseCode, CloseReason};
use crate::config::Config;
use crate::event::{Cause, Timeout};
use crate::ping::{PingAction, Pinger};
use crate::time::Instant;

#[derive(Clone, Debug)]
pub(super) struct Timers {
    opened: Instant,
    /// The time, as last told.
    now: Instant,
    pinger: Pinger,
    /// When a message last went either way.
    last_message: Instant,
    /// A message was sent since the clock was last read: `send` is not told the time.
    message_sent: bool,
    /// When the message that is arriving began.
    message_began: Option<Instant>,
    /// How many bytes must have been taken out for the last ping to be the next.
    ping_mark: u64,
    /// How many had been taken out when the peer was last excused.
    taken: u64,
    reading: bool,
}

impl Timers {
    pub(super) fn new(config: &Config, now: Instant) -> Self {
        Self {
            opened: now,
            now,
            pinger: Pinger::new(config, now),
            last_message: now,
            message_sent: false,
            message_began: None,
            ping_mark: 0,
            taken: 0,
            reading: true,
        }
    }

    pub(super) fn configure(&mut self, config: &Config, now: Instant) {
        self.pinger.configure(config, now);
    }

    pub(super) fn set_reading(&mut self, reading: bool, now: Instant) {
        if reading && !self.reading {
            self.excuse(now);
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

    /// The time, as last told: commands that are not told it have no other.
    pub(super) fn now(&self) -> Instant {
        self.now
    }

    #[inline]
    pub(super) fn handle_received(&mut self) {
        self.pinger.handle_received();
    }

    pub(super) fn handle_pong(&mut self, payload: &[u8], now: Instant) {
        self.pinger.handle_pong(payload, now);
    }

    #[inline]
    pub(super) fn message_sent(&mut self) {
        self.message_sent = true;
    }

    #[inline]
    pub(super) fn message_began(&mut self, now: Instant) {
        self.message_began = Some(now);
    }

    #[inline]
    pub(super) fn message_ended(&mut self, now: Instant) {
        self.last_message = now;
        self.message_began = None;
    }

    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.pinger.round_trip()
    }

    /// Starts every deadline of the peer's afresh: it could not have kept them.
    fn excuse(&mut self, now: Instant) {
        self.pinger.excuse(now);
        self.last_message = now;
        if self.message_began.is_some() {
            self.message_began = Some(now);
        }
    }
}

impl Connection {
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        if let Some(ending) = &self.ending {
            return ending.deadline(!self.raw.outbound.has_remaining());
        }
        [
            self.timers.pinger.poll_timeout(),
            self.deadline_of(Timeout::Idle),
            self.deadline_of(Timeout::Message),
            self.deadline_of(Timeout::MaxAge),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    pub(super) fn fire_timers(&mut self, now: Instant) {
        if self.ending.is_some() {
            if self.next_deadline().is_some_and(|deadline| deadline <= now) {
                self.give_up_ending(now);
            }
            return;
        }
        self.timers.tick(now);
        if !self.timers.reading {
            self.timers.excuse(now);
        }
        let is_due = |timeout| self.deadline_of(timeout).is_some_and(|deadline| deadline <= now);
        if is_due(Timeout::Message) {
            let reason = CloseReason::new(CloseCode::POLICY_VIOLATION, TOLD_MESSAGE);
            return self.fail_with(Cause::Timeout(Timeout::Message), &reason, now);
        }
        for (timeout, told) in [(Timeout::MaxAge, TOLD_MAX_AGE), (Timeout::Idle, TOLD_IDLE)] {
            if is_due(timeout) {
                let reason = CloseReason::new(CloseCode::GOING_AWAY, told);
                return self.start_closing(reason, Some(timeout), now);
            }
        }
        self.fire_pinger(now);
    }

    fn fire_pinger(&mut self, now: Instant) {
        match self.timers.pinger.handle_timeout(now) {
            None => {}
            Some(PingAction::Ping(payload)) => {
                self.timers.ping_mark = self.raw.outbound.queued();
                // Open, and eight bytes long: it cannot be refused.
                let _ = self.send_ping(payload);
                self.timers.taken = self.raw.outbound.taken();
            }
            Some(PingAction::GiveUp) if self.ping_is_on_its_way() => {
                self.timers.taken = self.raw.outbound.taken();
                self.timers.pinger.excuse(now);
            }
            Some(PingAction::GiveUp) => {
                let reason = CloseReason::new(CloseCode::INTERNAL_ERROR, TOLD_PING);
                self.fail_with(Cause::Timeout(Timeout::Ping), &reason, now);
            }
        }
    }

    /// Whether something was before our ping when we last looked, and has moved since: then the peer is
    /// alive, and may not have been asked for long.
    fn ping_is_on_its_way(&self) -> bool {
        let taken = self.raw.outbound.taken();
        taken != self.timers.taken && self.timers.taken < self.timers.ping_mark
    }

    fn deadline_of(&self, timeout: Timeout) -> Option<Instant> {
        let (timers, config) = (&self.timers, &self.raw.config);
        match timeout {
            Timeout::Idle => config.idle_timeout.map(|limit| timers.last_message + limit),
            Timeout::MaxAge => config.max_age.map(|limit| timers.opened + limit),
            Timeout::Message => Some(timers.message_began? + config.message_timeout?),
            _ => None,
        }
    }
}

const TOLD_IDLE: &str = "no message for too long (idle_timeout)";
const TOLD_MAX_AGE: &str = "the connection is too old (max_age)";
const TOLD_MESSAGE: &str = "a message took too long (message_timeout)";
const TOLD_PING: &str = "no answer to a ping (ping_timeout)";

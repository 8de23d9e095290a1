//! The way to a member: [`Outlet`], its session and what waits for it.

use std::collections::VecDeque;
use std::time::Duration;

use bytestring::ByteString;
use sockless_core::{Broadcast, CloseCode, CloseReason};
use sockless_driver::{Sender, TrySendError};

use crate::config::Lag;
use crate::limits::Used;
use crate::machine::{Delivery, Handle};

/// The memory that a message takes while it waits, beside its bytes.
const OVERHEAD: usize = size_of::<Waiting>();

/// A member's session.
pub(crate) struct Outlet {
    sender: Sender,
    /// Properties that most members do not have.
    extra: Option<Box<Extra>>,
}

#[derive(Default)]
struct Extra {
    identity: Option<ByteString>,
    lag: Option<Lag>,
    /// While messages wait; a task sends them.
    queue: Option<Queue>,
    /// The use of the member's rates, if these are limited.
    used: Used,
}

/// An event for many members, encoded.
pub(crate) struct Encoded {
    pub(crate) broadcast: Broadcast,
    pub(crate) conflation_key: Option<ByteString>,
    /// It is a message of the room, which may be dropped if that is reported. Without its other events,
    /// such as the welcome, a client would not know what it receives.
    pub(crate) is_message: bool,
}

/// The result of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivered {
    Sent,
    /// It waits. If it is the first to do so, a task has to [send](Outlet::next) it.
    Waits {
        is_first: bool,
        dropped: u64,
        conflated: bool,
        /// From now on publishers have to wait for the member, at most for this time.
        pauses: Option<Duration>,
    },
    /// The member was too slow, and its session is being closed.
    TooSlow,
    /// The session has ended.
    Closed,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// The bytes of those that count as lag.
    bytes: usize,
    /// The number of messages that were dropped behind all that waits.
    dropped: u64,
    /// The number of bytes above which publishers have to wait, if they ever have to.
    pauses_above: Option<usize>,
}

struct Waiting {
    broadcast: Broadcast,
    conflation_key: Option<ByteString>,
    standing: Standing,
    /// The number of messages that were dropped in front of it.
    dropped: u64,
}

/// The relation of what waits to the policy for lag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It counts as lag, and may be dropped.
    Message,
    /// It counts as lag.
    Event,
    /// From the history, which is no lag.
    History,
}

/// The next step of a task that empties the queue.
pub(crate) enum Next {
    Send(Broadcast),
    /// So many messages were dropped before the next one.
    ReportDropped(u64),
    /// The queue is empty and gone.
    Done,
}

impl Outlet {
    pub(crate) fn new(sender: Sender, identity: Option<ByteString>, lag: Option<Lag>) -> Self {
        let is_usual = identity.is_none() && lag.is_none();
        let extra = (!is_usual).then(|| Box::new(Extra { identity, lag, ..Extra::default() }));
        Self { sender, extra }
    }

    pub(crate) fn sender(&self) -> &Sender {
        &self.sender
    }

    /// The use that the member has made of its rates.
    pub(crate) fn used(&mut self) -> &mut Used {
        &mut self.extra.get_or_insert_default().used
    }

    /// Sends the event if the session has room for it and nothing waits before it. Returns whether it
    /// was sent.
    #[inline]
    pub(crate) fn deliver_at_once(&self, event: &Encoded) -> bool {
        matches!(self.try_send(event), Some(Ok(())))
    }

    /// Sends the event, or fails to; `None` if something waits before it.
    #[inline]
    fn try_send(&self, event: &Encoded) -> Option<Result<(), TrySendError>> {
        let waits = self.extra.as_ref().is_some_and(|extra| extra.queue.is_some());
        (!waits).then(|| self.sender.try_send(&event.broadcast))
    }

    /// Sends the event if the session has room for it and nothing waits before it. Otherwise it
    /// waits, as far as the policy allows.
    pub(crate) fn deliver(&mut self, event: &Encoded, kind: Delivery, usual: Lag) -> Delivered {
        match self.try_send(event) {
            Some(Ok(())) => Delivered::Sent,
            Some(Err(TrySendError::Closed { .. })) => Delivered::Closed,
            Some(Err(_)) | None => self.queue(event, kind, usual),
        }
    }

    #[cold]
    fn queue(&mut self, event: &Encoded, kind: Delivery, usual: Lag) -> Delivered {
        let extra = self.extra.get_or_insert_default();
        let lag = extra.lag.unwrap_or(usual);
        let is_first = extra.queue.is_none();
        let queue = extra.queue.get_or_insert_default();
        let is_conflating = matches!(lag, Lag::Conflate { .. });
        let conflated = is_conflating && queue.conflate(event.conflation_key.as_ref());
        let was_over = queue.is_over();
        queue.push(event, kind);
        let dropped = match lag {
            Lag::DropOldest { max_bytes } => queue.drop_oldest(max_bytes),
            _ => 0,
        };
        let mut pauses = None;
        match lag {
            // What is resumed is no lag.
            _ if kind == Delivery::History || queue.bytes <= lag.max_bytes() => {}
            // Not all publishers can be paused.
            Lag::Wait { max_bytes, max_wait } if queue.bytes <= max_bytes.saturating_mul(2) => {
                queue.pauses_above = Some(max_bytes);
                pauses = (!was_over).then_some(max_wait);
            }
            // What is left cannot be dropped.
            Lag::DropOldest { .. }
            | Lag::Close { .. }
            | Lag::Conflate { .. }
            | Lag::Wait { .. } => {
                extra.queue = None;
                self.sender.close(too_slow());
                return Delivered::TooSlow;
            }
        }
        Delivered::Waits { is_first, dropped, conflated, pauses }
    }

    /// Returns true if publishers have to wait until less waits for this member.
    pub(crate) fn is_over(&self) -> bool {
        let queue = self.extra.as_ref().and_then(|extra| extra.queue.as_ref());
        queue.is_some_and(Queue::is_over)
    }

    /// Takes what is to be sent next.
    pub(crate) fn next(&mut self) -> Next {
        let Some(extra) = &mut self.extra else { return Next::Done };
        let Some(queue) = &mut extra.queue else { return Next::Done };
        let dropped = std::mem::take(queue.dropped_before(0));
        if dropped > 0 {
            return Next::ReportDropped(dropped);
        }
        match queue.pop() {
            Some(waiting) => Next::Send(waiting.broadcast),
            None => {
                extra.queue = None;
                Next::Done
            }
        }
    }
}

impl Handle for Outlet {
    #[inline]
    fn identity(&self) -> Option<&ByteString> {
        self.extra.as_ref()?.identity.as_ref()
    }

    fn close(&self, reason: &CloseReason) {
        self.sender.close(reason.clone());
    }
}

/// The reason for closing a member that is too slow.
pub(crate) fn too_slow() -> CloseReason {
    (CloseCode::TRY_AGAIN_LATER, "the member reads too slowly (RoomConfig::lag)").into()
}

impl Queue {
    fn is_over(&self) -> bool {
        self.pauses_above.is_some_and(|max_bytes| self.bytes > max_bytes)
    }

    fn push(&mut self, event: &Encoded, kind: Delivery) {
        let standing = match kind {
            Delivery::History => Standing::History,
            Delivery::Live if event.is_message => Standing::Message,
            Delivery::Live => Standing::Event,
        };
        let waiting = Waiting {
            broadcast: event.broadcast.clone(),
            conflation_key: event.conflation_key.clone(),
            standing,
            dropped: std::mem::take(&mut self.dropped),
        };
        self.bytes += waiting.cost();
        self.waiting.push_back(waiting);
    }

    fn pop(&mut self) -> Option<Waiting> {
        let waiting = self.waiting.pop_front()?;
        self.bytes -= waiting.cost();
        Some(waiting)
    }

    /// Drops what waits with this key. Returns whether there was something.
    fn conflate(&mut self, key: Option<&ByteString>) -> bool {
        let before = self.waiting.len();
        if key.is_some() {
            self.waiting.retain(|waiting| waiting.conflation_key.as_ref() != key);
            self.bytes = self.waiting.iter().map(Waiting::cost).sum();
        }
        self.waiting.len() < before
    }

    /// Drops the messages that have waited longest until at most `max_bytes` are left, or none of them.
    /// Returns how many.
    fn drop_oldest(&mut self, max_bytes: usize) -> u64 {
        let mut dropped = 0;
        while self.bytes > max_bytes
            && let Some(at) = self.waiting.iter().position(Waiting::may_be_dropped)
            && let Some(oldest) = self.waiting.remove(at)
        {
            self.bytes -= oldest.cost();
            *self.dropped_before(at) += oldest.dropped + 1;
            dropped += 1;
        }
        dropped
    }

    /// The number of messages that were dropped before the place `at`.
    fn dropped_before(&mut self, at: usize) -> &mut u64 {
        match self.waiting.get_mut(at) {
            Some(waiting) => &mut waiting.dropped,
            None => &mut self.dropped,
        }
    }
}

impl Waiting {
    fn cost(&self) -> usize {
        match self.standing {
            Standing::Message | Standing::Event => self.broadcast.message().len() + OVERHEAD,
            Standing::History => 0,
        }
    }

    fn may_be_dropped(&self) -> bool {
        self.standing == Standing::Message
    }
}

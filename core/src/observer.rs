//! Observers of frames and states: [`Observer`], and its place in a connection.

use alloc::boxed::Box;
use core::{fmt, mem};

use crate::event::{Closed, Party};
use crate::extension::Direction;
use crate::frame::{FrameHead, Opcode};
use crate::stats::{Tally, Traffic};
use crate::time::Instant;

/// Is shown the frames of a connection and the changes of its state, for recorders and logs:
/// [`Connection::set_observer`](crate::Connection::set_observer).
///
/// It is called within the methods of the connection, under the lock of a driver: it should return soon. A connection
/// without an observer spends a branch for each frame.
///
/// `now` is the time of the call in which the observation was made, or of the call before, where that one has no time.
///
/// [`trace::JsonTrace`](crate::trace::JsonTrace) is an observer that writes JSON.
///
/// ```
/// use std::sync::mpsc::{Sender, channel};
///
/// use sockless_core::extension::Direction;
/// use sockless_core::{Connection, FrameHead, Instant, Negotiated, Observer};
///
/// /// Reports the length of each frame that is sent.
/// struct Lengths(Sender<u64>);
///
/// impl Observer for Lengths {
///     fn frame(&mut self, _: Instant, direction: Direction, head: &FrameHead) {
///         if direction == Direction::Outgoing {
///             let _ = self.0.send(head.len);
///         }
///     }
/// }
///
/// let now = Instant::EPOCH;
/// let mut server = Connection::server(Negotiated::default(), Default::default(), now);
/// let (sender, lengths) = channel();
/// server.set_observer(Some(Box::new(Lengths(sender))));
/// server.send("hello", now)?;
/// assert_eq!(lengths.recv(), Ok(5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Observer: Send {
    /// Shows the header of a frame that was queued, or taken out of the read buffer. The `mask` of a frame that is sent
    /// is `None`, since its key is drawn later. Default: does nothing.
    ///
    /// A received header has been checked on its own, but not against the frames before it.
    fn frame(&mut self, now: Instant, direction: Direction, head: &FrameHead) {
        let _ = (now, direction, head);
    }

    /// Shows the next bytes of the payload of the last frame in this direction, unmasked and as extensions encoded
    /// them; never none. Default: does nothing.
    ///
    /// That of a frame that is sent comes at once, that of one that is received as it arrives.
    fn payload(&mut self, now: Instant, direction: Direction, bytes: &[u8]) {
        let _ = (now, direction, bytes);
    }

    /// Shows a change of state. Default: does nothing.
    fn state(&mut self, now: Instant, state: &StateChange) {
        let _ = (now, state);
    }
}

/// A change of a connection's state, from [`Observer::state`]. Before the first, the connection is open.
///
/// `Connection::state` returns the state itself, a [`Lifecycle`](crate::Lifecycle).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum StateChange {
    /// This party has begun to end the connection.
    Closing(Party),
    /// It is known how the connection ended. Bytes may still have to be sent.
    Closed(Closed),
}

/// The place for counters and an observer: a null pointer in connections without them.
#[derive(Default)]
pub(crate) struct Watch(Option<Box<Watching>>);

pub(crate) struct Watching {
    now: Instant,
    observer: Option<Box<dyn Observer>>,
    sent: Tally,
    received: Tally,
}

impl Watch {
    /// Returns the former observer.
    pub(crate) fn set(&mut self, observer: Option<Box<dyn Observer>>) -> Option<Box<dyn Observer>> {
        if observer.is_none() && !self.is_set() {
            return None;
        }
        mem::replace(&mut self.start().observer, observer)
    }

    /// Starts to count, unless it has been started.
    pub(crate) fn start(&mut self) -> &mut Watching {
        self.0.get_or_insert_with(|| {
            let (sent, received) = Default::default();
            Box::new(Watching { now: Instant::EPOCH, observer: None, sent, received })
        })
    }

    #[inline(always)]
    pub(crate) fn is_set(&self) -> bool {
        self.0.is_some()
    }

    /// Records the time, for what is observed in calls without one.
    #[inline(always)]
    pub(crate) fn at(&mut self, now: Instant) {
        if let Some(watching) = &mut self.0 {
            watching.now = now;
        }
    }

    /// The time of the last call that had one.
    pub(crate) fn now(&self) -> Instant {
        self.0.as_ref().map_or(Instant::EPOCH, |watching| watching.now)
    }

    #[cold]
    pub(crate) fn frame(&mut self, direction: Direction, head: &FrameHead, payload: &[u8]) {
        let Some(watching) = &mut self.0 else { return };
        watching.tally(direction).note_frame(head.opcode);
        let Some(observer) = &mut watching.observer else { return };
        observer.frame(watching.now, direction, head);
        if !payload.is_empty() {
            observer.payload(watching.now, direction, payload);
        }
    }

    /// Counts bytes that were taken out of the read buffer.
    #[inline]
    pub(crate) fn received(&mut self, len: u64) {
        if let Some(watching) = &mut self.0 {
            watching.received.bytes += len;
        }
    }

    /// Records that an extension has turned `decoded` bytes into `encoded`, or the reverse.
    pub(crate) fn coded(&mut self, direction: Direction, encoded: usize, decoded: usize) {
        if let Some(watching) = &mut self.0 {
            watching.tally(direction).note_coded(encoded, decoded);
        }
    }

    /// Takes back a frame that is put back into the read buffer.
    pub(crate) fn take_back(&mut self, opcode: Opcode, len: usize) {
        if let Some(watching) = &mut self.0 {
            watching.received.take_back(opcode, len as u64);
        }
    }

    /// What was sent, of which the transport has taken `taken` bytes, and what was received.
    pub(crate) fn traffic(&self, taken: u64) -> (Traffic, Traffic) {
        let Some(watching) = &self.0 else {
            return (Tally::default().traffic(taken), Traffic::default());
        };
        (watching.sent.traffic(taken), watching.received.traffic(watching.received.bytes))
    }

    #[cold]
    pub(crate) fn payload(&mut self, direction: Direction, bytes: &[u8]) {
        if let Some(Watching { now, observer: Some(observer), .. }) = self.0.as_deref_mut()
            && !bytes.is_empty()
        {
            observer.payload(*now, direction, bytes);
        }
    }

    pub(crate) fn state(&mut self, now: Instant, state: impl FnOnce() -> StateChange) {
        self.at(now);
        if let Some(Watching { observer: Some(observer), .. }) = self.0.as_deref_mut() {
            observer.state(now, &state());
        }
    }
}

impl Watching {
    fn tally(&mut self, direction: Direction) -> &mut Tally {
        match direction {
            Direction::Incoming => &mut self.received,
            Direction::Outgoing => &mut self.sent,
        }
    }
}

/// A copy of a connection, which explores what would become of it, is neither counted nor observed.
impl Clone for Watch {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_set() { "Watch(set)" } else { "Watch(none)" })
    }
}

//! Observers of frames and states: [`Observer`], and its place in a connection.

use alloc::boxed::Box;
use core::fmt;

use crate::event::{Closed, Party};
use crate::extension::Direction;
use crate::frame::FrameHead;
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
    fn state(&mut self, now: Instant, state: &ConnectionState) {
        let _ = (now, state);
    }
}

/// A state that a connection enters, as an [`Observer`] is shown it. Before the first, it is open.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ConnectionState {
    /// This party has begun to end the connection.
    Closing(Party),
    /// It is known how the connection ended. Bytes may still have to be sent.
    Closed(Closed),
}

/// The place for an observer: a null pointer in connections without one.
#[derive(Default)]
pub(crate) struct Watch(Option<Box<Watching>>);

struct Watching {
    now: Instant,
    observer: Box<dyn Observer>,
}

impl Watch {
    pub(crate) fn set(&mut self, observer: Option<Box<dyn Observer>>) {
        let now = self.now();
        self.0 = observer.map(|observer| Box::new(Watching { now, observer }));
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
        watching.observer.frame(watching.now, direction, head);
        if !payload.is_empty() {
            watching.observer.payload(watching.now, direction, payload);
        }
    }

    #[cold]
    pub(crate) fn payload(&mut self, direction: Direction, bytes: &[u8]) {
        if let Some(watching) = &mut self.0
            && !bytes.is_empty()
        {
            watching.observer.payload(watching.now, direction, bytes);
        }
    }

    pub(crate) fn state(&mut self, now: Instant, state: impl FnOnce() -> ConnectionState) {
        if let Some(watching) = &mut self.0 {
            watching.now = now;
            watching.observer.state(now, &state());
        }
    }
}

/// A copy of a connection, which explores what would become of it, is not observed.
impl Clone for Watch {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_set() { "Watch(observed)" } else { "Watch(none)" })
    }
}

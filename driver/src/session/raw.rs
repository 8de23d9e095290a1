//! Sessions of frames, with nothing automatic: [`RawSession`].

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use sockless_core::{Closed, Config, Frame, Instant, Overflow, SendError};

use crate::request::Request;
use crate::session::Sleep;
use crate::session::engine::machine::Item;
use crate::session::engine::shared::Shared;
use crate::session::engine::waiters::{Wait, Waiting};
use crate::session::{NOT_READ, Session, poll_flushed};

/// A session of frames: masking and the rules of a frame's header, nothing automatic.
///
/// Pings, Close frames and fragments are received and sent as they are; text is not checked. When
/// its handler returns, what was sent is flushed and the transport ends: without a Close frame,
/// unless the handler sent one.
///
/// Every async method is cancel-safe.
pub struct RawSession {
    shared: Arc<Shared>,
    /// A [`Session`] has taken the connection over.
    handed_over: bool,
}

impl RawSession {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        shared.add_handle();
        Self { shared, handed_over: false }
    }

    /// Receives the next frame, whole and unmasked; then, once all were received, how the session
    /// ended.
    ///
    /// Cancel-safe: a frame is either returned or still there.
    ///
    /// # Errors
    ///
    /// How the session ended, each time.
    pub async fn recv(&mut self) -> Result<Frame, Closed> {
        poll_fn(|cx| {
            loop {
                // A machine of frames makes nothing else.
                if let Item::Frame(frame) = std::task::ready!(self.shared.poll_item(cx))? {
                    return Poll::Ready(Ok(frame));
                }
            }
        })
        .await
    }

    /// Sends a frame, waiting while [`Config::high_water`] bytes or more are on their way.
    ///
    /// Cancel-safe: when the future is dropped before it is ready, the frame was not sent.
    ///
    /// # Errors
    ///
    /// How the session ended, or the frame that may not be sent.
    pub async fn send(&self, frame: Frame) -> Result<(), RawSendError> {
        let mut frame = Some(frame);
        let mut waiting = Waiting::new(&self.shared);
        poll_fn(|cx| {
            let mut state = self.shared.lock();
            if let Some(closed) = &state.closed {
                return Poll::Ready(Err(RawSendError::Closed(closed.clone())));
            }
            let writable = state.machine.is_writable();
            let now = state.now_or(|| self.shared.runtime.now());
            let Some(connection) = state.machine.open_frames() else {
                // It has ended; the driver is still to report how.
                state.wait(Wait::Closed, &mut waiting.slot, cx);
                return Poll::Pending;
            };
            if let Some(frame) = frame.take_if(|_| writable) {
                connection.send(frame, now).map_err(RawSendError::Invalid)?;
            }
            if !writable {
                if state.overflow(|config| config.get_send_overflow()) == Overflow::Close {
                    state.close_on_overflow(self.shared.runtime.now(), NOT_READ);
                }
                state.wait(Wait::PartRoom, &mut waiting.slot, cx);
                return Poll::Pending;
            }
            state.ask_driver();
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Waits until all that was sent before has reached the transport.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    ///
    /// How the session ended, if it did before that.
    pub async fn flush(&self) -> Result<(), Closed> {
        let target = self.shared.lock().machine.outbound().queued();
        let mut waiting = Waiting::new(&self.shared);
        poll_fn(|cx| poll_flushed(&self.shared, &mut waiting.slot, target, cx)).await
    }

    /// Waits for the end, and says how it was.
    ///
    /// Cancel-safe.
    pub async fn closed(&self) -> Closed {
        let mut waiting = Waiting::new(&self.shared);
        poll_fn(|cx| self.shared.poll_closed(&mut waiting.slot, cx)).await
    }

    /// Drops the transport now; what was sent may be lost.
    pub fn terminate(&self) {
        self.shared.terminate();
    }

    /// Puts a session of messages on top: from here on pings are answered, fragments joined and
    /// closing handshakes run.
    ///
    /// Frames that have arrived and were not received are the session's; those that were received are
    /// not, so take over between two messages. Extensions that were agreed on work from here on.
    pub fn into_session(mut self) -> Session {
        let session = Session::new(&self.shared);
        self.shared.become_messages();
        self.handed_over = true;
        session
    }

    /// The time on the clock of the session's runtime, which a simulation owns.
    pub fn now(&self) -> Instant {
        self.shared.runtime.now()
    }

    /// Waits for `duration` on that clock, so that a handler that keeps time runs unchanged on every
    /// runtime.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        self.shared.sleep(duration)
    }

    /// The request behind the session.
    pub fn request(&self) -> &Request {
        &self.shared.request
    }

    /// The settings in force.
    pub fn config(&self) -> Arc<Config> {
        self.shared.lock().machine.config().clone()
    }
}

impl Drop for RawSession {
    fn drop(&mut self) {
        if !self.handed_over {
            self.shared.stop_receiving();
        }
        self.shared.drop_handle();
    }
}

impl fmt::Debug for RawSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawSession").field("call", self.request()).finish_non_exhaustive()
    }
}

/// Why [`RawSession::send`] did not send.
#[derive(Clone, Debug)]
pub enum RawSendError {
    /// How the session ended.
    Closed(Closed),
    /// The frame may not be sent.
    Invalid(SendError),
}

impl fmt::Display for RawSendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(closed) => closed.fmt(f),
            Self::Invalid(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RawSendError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Closed(closed) => Some(closed),
            Self::Invalid(error) => Some(error),
        }
    }
}

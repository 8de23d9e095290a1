//! Sessions of frames: [`RawSession`].

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use sockless_core::{CloseCode, Closed, Config, Frame, Instant, Observer, Stats};

use crate::request::Request;
use crate::session::Session;
use crate::session::engine::machine::Item;
use crate::session::engine::shared::{Shared, Waiting};
use crate::session::error::RawSendError;
use crate::session::sleep::Sleep;

/// A session of frames: masking and the header rules of RFC 6455 §5.2, nothing automatic.
///
/// Pings, Close frames and fragments are received and sent as they are, and text is not checked.
/// When the handler returns, the frames that were sent are flushed and the transport is closed,
/// without a Close frame unless the handler sent one.
///
/// Of the settings of [`Config`], these apply: `max_frame_len` and `max_message_len`, the shorter of which limits each
/// frame; masking; `high_water`, `read_ahead` and what happens when they are full; `write_timeout`, `stall_timeout`
/// and `closing_timeout`. Those of messages and of keep-alive do not: there are no automatic pings, no `idle_timeout`,
/// `max_age`, `message_timeout` or `message_rate`, and no extensions. A handler enforces its own with
/// [`sleep`](Self::sleep) and [`terminate`](Self::terminate), or sends pings with a
/// [`Pinger`](sockless_core::Pinger). The settings of an open session of frames cannot be changed.
///
/// Every async method is cancel-safe.
///
/// ```
/// use sockless::{Frame, Opcode, RawSendError, RawSession};
///
/// /// Answers pings and Close frames; sends back all other frames.
/// async fn reflect(mut session: RawSession) -> Result<(), RawSendError> {
///     while let Ok(frame) = session.recv().await {
///         let is_close = frame.opcode == Opcode::Close;
///         session
///             .send(match frame.opcode {
///                 Opcode::Ping => Frame::new(Opcode::Pong, frame.payload),
///                 _ => frame,
///             })
///             .await?;
///         if is_close {
///             break;
///         }
///     }
///     Ok(())
/// }
/// ```
pub struct RawSession {
    shared: Arc<Shared>,
    /// A [`Session`] has taken the connection over.
    is_handed_over: bool,
}

impl RawSession {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        shared.add_handles(1);
        Self { shared, is_handed_over: false }
    }

    /// Receives the next frame, whole and unmasked. Once all frames have been received, returns how
    /// the session ended.
    ///
    /// Cancel-safe: a frame is either returned or received by the next call.
    ///
    /// # Errors
    ///
    /// A [`Closed`] that describes how the session ended, at each call.
    pub async fn recv(&mut self) -> Result<Frame, Closed> {
        self.next().await
    }

    /// Sends a frame, waiting while [`Config::high_water`] bytes or more are queued.
    ///
    /// Cancel-safe: if the future is dropped before it is ready, the frame was not sent.
    ///
    /// # Errors
    ///
    /// [`RawSendError::Closed`] once the session has ended; [`RawSendError::Invalid`] for a control
    /// frame over 125 bytes.
    pub async fn send(&self, frame: Frame) -> Result<(), RawSendError> {
        let mut frame = Some(frame);
        let mut waiting = Waiting::new(&self.shared);
        poll_fn(|cx| {
            let mut state = self.shared.lock();
            state.poll_send_frame(&mut frame, &mut waiting.slot, || self.shared.now(), cx)
        })
        .await
    }

    /// Waits until all frames that were sent before have been given to the operating system.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    ///
    /// A [`Closed`] that describes how the session ended, if it ended first.
    pub async fn flush(&self) -> Result<(), Closed> {
        self.shared.flush().await
    }

    /// Waits for the end of the session, and returns how it ended.
    ///
    /// Cancel-safe.
    pub async fn closed(&self) -> Closed {
        self.shared.closed().await
    }

    /// Drops the transport now. Frames that were sent may be lost.
    pub fn terminate(&self) {
        self.shared.terminate();
    }

    /// Turns this session into one of messages: from here on pings are answered, fragments joined
    /// and closing handshakes run, and extensions that were agreed on are applied.
    ///
    /// Frames that have arrived and were not received become part of messages. Frames that were
    /// received do not, so call it between two messages.
    pub fn into_session(mut self) -> Session {
        let session = Session::new(&self.shared);
        self.shared.raise_to_messages();
        self.is_handed_over = true;
        session
    }

    /// Returns the time on the clock of the session's runtime, which a simulation controls.
    pub fn now(&self) -> Instant {
        self.shared.now()
    }

    /// Waits for `duration` on that clock. A handler that uses it runs unchanged on every runtime.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        self.shared.sleep(duration)
    }

    /// Starts to count frames and received bytes for [`stats`](Self::stats), unless an observer has started it. The
    /// counters take some 200 bytes.
    pub fn start_counting(&self) {
        self.shared.start_counting();
    }

    /// Returns the counters of the session: frames by kind, bytes, what is queued and held, and the round-trip time.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// Sets the observer of the frames and states of this session, or removes it.
    ///
    /// It is called while the session is locked, so it should return soon. It must not call methods of the session, of
    /// its senders or receivers: such a call waits for the lock that its own thread holds, and never returns. To act on
    /// what it is shown, send it to a task, for example through a channel. An observer that is replaced or removed is
    /// dropped without the lock.
    ///
    /// ```
    /// use sockless::proto::{Role, trace::JsonTrace};
    /// use sockless::RawSession;
    ///
    /// fn record(session: &RawSession) {
    ///     let trace = JsonTrace::new(Role::Server, |line: &str| eprint!("{line}"));
    ///     session.set_observer(Some(Box::new(trace)));
    /// }
    /// ```
    pub fn set_observer(&self, observer: Option<Box<dyn Observer>>) {
        self.shared.set_observer(observer);
    }

    /// Returns the HTTP request that opened the session.
    pub fn request(&self) -> &Request {
        &self.shared.request
    }

    /// Returns the settings in force.
    pub fn config(&self) -> Arc<Config> {
        self.shared.config()
    }
}

impl RawSession {
    /// Receives the next frame. One task at a time may call it.
    pub(super) async fn next(&self) -> Result<Frame, Closed> {
        poll_fn(|cx| {
            loop {
                // A connection of frames returns no events but the end, which is not kept.
                if let Item::Frame(frame) = ready!(self.shared.poll_item(cx))? {
                    return Poll::Ready(Ok(frame));
                }
            }
        })
        .await
    }

    /// Closes the transport behind the frames that were sent, without a Close frame.
    pub(super) fn end(&self) {
        self.shared.close(CloseCode::NORMAL.into());
    }
}

impl Drop for RawSession {
    fn drop(&mut self) {
        match self.is_handed_over {
            true => self.shared.drop_handle(),
            false => self.shared.drop_receiver(),
        }
    }
}

impl fmt::Debug for RawSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawSession").field("request", self.request()).finish_non_exhaustive()
    }
}

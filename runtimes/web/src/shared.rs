//! The state of a session, which its handles and the browser's events share: [`Shared`]. It calls the browser through
//! [`Transport`] only.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use sockless_core::{Cause, CloseReason, Closed, Message, OutgoingMessage, Party, Timeout};
use sockless_driver::TrySendError;

use crate::ending::{CloseReport, sendable};
use crate::inbox::{Full, Inbox};
use crate::waiters::{Place, Waiters};

/// The browser's end of a session. It is dropped when the session has ended, and reports nothing afterwards.
pub(crate) trait Transport {
    /// Passes a message to the browser, which queues it. Returns false if the browser closes, and has dropped it.
    fn transmit(self: Rc<Self>, message: &Message) -> bool;
    /// The bytes that the browser has queued.
    fn buffered(&self) -> usize;
    /// Has [`Shared::drained`] called when the browser has queued less, as long as a task waits for that.
    fn watch_buffered(self: Rc<Self>);
    /// Starts the closing handshake, behind all messages, and has [`Shared::closing_timed_out`] called if it makes no progress.
    fn close(self: Rc<Self>, reason: &CloseReason);
}

/// The bounds of a session, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) high_water: usize,
    /// Where the transport has backpressure.
    pub(crate) read_ahead: usize,
    /// Where it has no backpressure.
    pub(crate) max_unread: usize,
}

/// The result of the opening handshake.
#[derive(Clone, Debug, Default)]
pub(crate) struct Agreement {
    pub(crate) subprotocol: String,
    pub(crate) extensions: String,
    pub(crate) has_backpressure: bool,
}

enum Phase {
    Connecting,
    Open,
    /// This end has sent a Close frame first.
    Closing {
        sent: CloseReason,
    },
    Closed(Closed),
}

struct State {
    phase: Phase,
    transport: Option<Rc<dyn Transport>>,
    inbox: Inbox,
    /// The task that waits for a message. There is one receiving half.
    receiver: Option<Waker>,
    /// False once the receiving half was dropped.
    receives: bool,
}

pub(crate) struct Shared {
    limits: Limits,
    agreement: OnceCell<Agreement>,
    state: RefCell<State>,
    /// Wait for room in the inbox.
    readers: Waiters,
    /// Wait until the browser has queued less.
    writers: Waiters,
    /// Wait for the opening, or for the end.
    watchers: Waiters,
}

impl Shared {
    pub(crate) fn new(limits: Limits) -> Rc<Self> {
        let state = State {
            phase: Phase::Connecting,
            transport: None,
            inbox: Inbox::default(),
            receiver: None,
            receives: true,
        };
        Rc::new(Self {
            limits,
            agreement: OnceCell::new(),
            state: RefCell::new(state),
            readers: Waiters::default(),
            writers: Waiters::default(),
            watchers: Waiters::default(),
        })
    }

    pub(crate) fn attach(&self, transport: Rc<dyn Transport>) {
        self.state.borrow_mut().transport = Some(transport);
    }

    /// Returns what was agreed on; `None` before the session is open.
    pub(crate) fn agreement(&self) -> Option<&Agreement> {
        self.agreement.get()
    }

    pub(crate) fn writers(&self) -> &Waiters {
        &self.writers
    }

    pub(crate) fn watchers(&self) -> &Waiters {
        &self.watchers
    }

    pub(crate) fn readers(&self) -> &Waiters {
        &self.readers
    }

    fn transport(&self) -> Option<Rc<dyn Transport>> {
        self.state.borrow().transport.clone()
    }
}

/// A report of the browser.
impl Shared {
    pub(crate) fn opened(&self, agreement: Agreement) {
        if !matches!(self.state.borrow().phase, Phase::Connecting) {
            return; // It has ended meanwhile.
        }
        // Set once, in this phase.
        let _ = self.agreement.set(agreement);
        self.state.borrow_mut().phase = Phase::Open;
        self.watchers.wake();
    }

    /// Keeps a message for the program, or ends the session if too many wait to be received. The message is copied out of
    /// the memory of the browser by `message`, unless its length, at least `min_len`, is too much already.
    pub(crate) fn received(&self, min_len: usize, message: impl FnOnce() -> Message) {
        let has_backpressure = self.agreement.get().is_some_and(|it| it.has_backpressure);
        let mut state = self.state.borrow_mut();
        let is_open = match state.phase {
            Phase::Open => true,
            // Messages over the limit are dropped, so that the peer's Close frame is reached.
            Phase::Closing { .. } => false,
            Phase::Connecting | Phase::Closed(_) => return,
        };
        if !state.receives {
            return;
        }
        // With backpressure, a reader has waited for room before.
        let max = if is_open && has_backpressure { usize::MAX } else { self.limits.max_unread };
        let checked = state.inbox.check(min_len, max);
        let pushed = checked.and_then(|_| state.inbox.push(message(), max));
        let receiver = state.receiver.take();
        drop(state);
        if let Some(receiver) = receiver {
            receiver.wake();
        }
        match pushed {
            Ok(()) => {}
            Err(full) if is_open => self.overflow(full),
            Err(_) => {}
        }
    }

    fn overflow(&self, full: Full) {
        let max = self.limits.max_unread;
        let cause = Cause::Transport(
            format!(
                "expected at most {max} bytes that the program has not received (max_unread), got at least {}",
                full.bytes
            )
            .into(),
        );
        self.abandon(cause);
    }

    /// The browser has queued less than before. Returns true if a task waited for that.
    pub(crate) fn drained(&self) -> bool {
        let waited = !self.writers.is_empty();
        self.writers.wake();
        waited
    }

    pub(crate) fn ended(&self, report: CloseReport) {
        let ours = match &self.state.borrow().phase {
            Phase::Closing { sent } => Some(sent.clone()),
            _ => None,
        };
        self.end(report.into_closed(ours));
    }

    pub(crate) fn closing_timed_out(&self) {
        let sent = match &self.state.borrow().phase {
            Phase::Closing { sent } => sent.clone(),
            _ => return,
        };
        self.end(Closed::new(Party::Local, Cause::Timeout(Timeout::Closing), Some(sent), None));
    }
}

/// A request of the program.
impl Shared {
    /// Ready once the session is open, or was; `false` if the connection could not be opened.
    pub(crate) fn poll_opened(&self, place: &Place<'_>, cx: &Context<'_>) -> Poll<bool> {
        if self.agreement.get().is_some() {
            return Poll::Ready(true);
        }
        if matches!(self.state.borrow().phase, Phase::Closed(_)) {
            return Poll::Ready(false);
        }
        place.wait(cx);
        Poll::Pending
    }

    pub(crate) fn poll_recv(&self, cx: &Context<'_>) -> Poll<Result<Message, Closed>> {
        let mut state = self.state.borrow_mut();
        if let Some(message) = state.inbox.pop() {
            drop(state);
            self.readers.wake();
            return Poll::Ready(Ok(message));
        }
        if let Phase::Closed(closed) = &state.phase {
            return Poll::Ready(Err(closed.clone()));
        }
        let replaced = state.receiver.replace(cx.waker().clone());
        // Without the borrow: the last waker of a task may drop a handle.
        drop(state);
        drop(replaced);
        Poll::Pending
    }

    /// Takes the message out of `message` when it is sent.
    pub(crate) fn poll_send(
        &self,
        message: &mut Option<OutgoingMessage>,
        place: &Place<'_>,
        cx: &Context<'_>,
    ) -> Poll<Result<(), Closed>> {
        let Some(waiting) = message.take() else { return Poll::Ready(Ok(())) };
        match self.try_send(waiting) {
            Ok(()) => return Poll::Ready(Ok(())),
            Err(TrySendError::Full(unsent)) => {
                *message = Some(unsent);
                self.wait_for_buffer(place, cx);
            }
            Err(error) => {
                if let Some(closed) = self.end_of_session() {
                    return Poll::Ready(Err(closed));
                }
                *message = Some(error.into_message().into());
                place.wait(cx);
            }
        }
        Poll::Pending
    }

    pub(crate) fn try_send(&self, message: OutgoingMessage) -> Result<(), TrySendError> {
        let transport = match &*self.state.borrow() {
            State { phase: Phase::Open, transport: Some(transport), .. } => transport.clone(),
            State { phase: Phase::Closed(closed), .. } => {
                return Err(TrySendError::Closed { message, closed: Some(closed.clone()) });
            }
            _ => return Err(TrySendError::Closed { message, closed: None }),
        };
        if transport.buffered() >= self.limits.high_water {
            return Err(TrySendError::Full(message));
        }
        if !transport.transmit(message.message()) {
            return Err(TrySendError::Closed { message, closed: None });
        }
        Ok(())
    }

    /// Ready once the browser has queued nothing.
    pub(crate) fn poll_flush(
        &self,
        place: &Place<'_>,
        cx: &Context<'_>,
    ) -> Poll<Result<(), Closed>> {
        if let Some(closed) = self.end_of_session() {
            return Poll::Ready(Err(closed));
        }
        if self.buffered() == 0 {
            return Poll::Ready(Ok(()));
        }
        self.wait_for_buffer(place, cx);
        Poll::Pending
    }

    /// Waits until the browser has queued less, or for the end.
    fn wait_for_buffer(&self, place: &Place<'_>, cx: &Context<'_>) {
        place.wait(cx);
        if let Some(transport) = self.transport() {
            transport.watch_buffered();
        }
    }

    pub(crate) fn buffered(&self) -> usize {
        self.transport().map_or(0, |transport| transport.buffered())
    }

    pub(crate) fn unread(&self) -> usize {
        self.state.borrow().inbox.bytes()
    }

    /// Ready while a reader may bring another message: there is room, or the session is not open and reads to its end.
    pub(crate) fn poll_room(&self, place: &Place<'_>, cx: &Context<'_>) -> Poll<()> {
        let state = self.state.borrow();
        if state.inbox.bytes() < self.limits.read_ahead || !matches!(state.phase, Phase::Open) {
            return Poll::Ready(());
        }
        place.wait(cx);
        Poll::Pending
    }

    pub(crate) fn poll_closed(&self, place: &Place<'_>, cx: &Context<'_>) -> Poll<Closed> {
        if let Some(closed) = self.end_of_session() {
            return Poll::Ready(closed);
        }
        place.wait(cx);
        Poll::Pending
    }

    pub(crate) fn end_of_session(&self) -> Option<Closed> {
        match &self.state.borrow().phase {
            Phase::Closed(closed) => Some(closed.clone()),
            _ => None,
        }
    }

    /// Starts the closing handshake of an open session.
    pub(crate) fn close(&self, reason: CloseReason) {
        let sent = sendable(reason);
        {
            let mut state = self.state.borrow_mut();
            if !matches!(state.phase, Phase::Open) {
                return;
            }
            state.phase = Phase::Closing { sent: sent.clone() };
        }
        if let Some(transport) = self.transport() {
            transport.close(&sent);
        }
        // Messages that have arrived are read to their end.
        self.readers.wake();
    }

    /// Ends the session now, and leaves the rest of the connection to the browser.
    pub(crate) fn abandon(&self, cause: Cause) {
        let sent = match &self.state.borrow().phase {
            Phase::Closed(_) => return,
            Phase::Closing { sent } => Some(sent.clone()),
            Phase::Connecting => None,
            Phase::Open => Some(CloseReason::EMPTY),
        };
        if let Some(transport) = self.transport() {
            transport.close(&CloseReason::EMPTY);
        }
        self.end(Closed::new(Party::Local, cause, sent, None));
    }

    /// The receiving half was dropped: what arrives is dropped too.
    pub(crate) fn stop_receiving(&self) {
        {
            let mut state = self.state.borrow_mut();
            state.receives = false;
            state.inbox.clear();
        }
        self.readers.wake();
    }

    fn end(&self, closed: Closed) {
        let (transport, receiver) = {
            let mut state = self.state.borrow_mut();
            if matches!(state.phase, Phase::Closed(_)) {
                return;
            }
            state.phase = Phase::Closed(closed);
            (state.transport.take(), state.receiver.take())
        };
        drop(transport);
        if let Some(receiver) = receiver {
            receiver.wake();
        }
        for waiters in [&self.readers, &self.writers, &self.watchers] {
            waiters.wake();
        }
    }
}

#[cfg(test)]
mod tests;

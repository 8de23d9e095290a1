//! A session as a `Sink` of the `futures` crates: [`MessageSink`].

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_sink::Sink;
use sockless_core::{CloseCode, Closed, IntoOutgoing, OutgoingMessage};

use crate::session::engine::shared::Shared;
use crate::session::engine::waiters::Slot;
use crate::session::sender::Sender;

/// A [`Sink`] for the messages of a session, from [`Session::sink`](crate::Session::sink) or
/// [`Sender::sink`].
///
/// `M` is any type that [`send`](Sender::send) accepts. The sink is ready while there is room in
/// the outgoing queue ([`Config::high_water`](sockless_core::Config::high_water)). Flushing it waits
/// as [`Sender::flush`] does. Closing it starts the closing handshake with 1000 and waits for the
/// end of the session.
///
/// It is a type of its own so that the methods of `futures::SinkExt` never stand in for those of a
/// session. Like a [`Sender`], it keeps a client's session open until it is dropped.
///
/// ```
/// use futures_util::{StreamExt, stream};
/// use sockless::{Closed, Session};
///
/// /// Sends what a stream yields, then closes the session.
/// async fn count(session: Session) -> Result<(), Closed> {
///     stream::iter(1..=3).map(|n| Ok(n.to_string())).forward(session.sink()).await
/// }
/// # let _ = count;
/// ```
pub struct MessageSink<M> {
    sender: Sender,
    slot: Slot,
    /// A message that was accepted and could not be queued at once.
    unsent: Option<OutgoingMessage>,
    /// The position that a flush waits for. What others send meanwhile does not prolong it.
    flushing: Option<u64>,
    messages: PhantomData<fn(M)>,
}

impl<M: IntoOutgoing> MessageSink<M> {
    pub(super) fn new(sender: Sender) -> Self {
        Self { sender, slot: Slot::default(), unsent: None, flushing: None, messages: PhantomData }
    }

    /// Sends the message that was accepted and not queued. Then the next operation may use its
    /// slot.
    fn poll_unsent(&mut self, cx: &Context<'_>) -> Poll<Result<(&Shared, &mut Slot), Closed>> {
        let Self { sender, slot, unsent, .. } = self;
        let shared = sender.shared();
        if unsent.is_some() {
            let sent = ready!(shared.lock().poll_send(unsent, slot, || shared.send_time(), cx));
            *unsent = None;
            sent?;
        }
        Poll::Ready(Ok((shared, slot)))
    }
}

impl<M: IntoOutgoing> Sink<M> for MessageSink<M> {
    type Error = Closed;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        let (shared, slot) = ready!(self.poll_unsent(cx))?;
        shared.lock().poll_room(slot, cx)
    }

    fn start_send(mut self: Pin<&mut Self>, message: M) -> Result<(), Closed> {
        // Since the sink was ready, the session may have begun to close, or another message to be
        // sent in chunks. Then this message waits here until it is sent or the end is known.
        if let Err(error) = self.sender.try_send(message) {
            self.unsent = Some(error.into_message().into());
        }
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        ready!(self.poll_unsent(cx))?;
        let Self { sender, slot, flushing, .. } = &mut *self;
        let mut state = sender.shared().lock();
        let position = *flushing.get_or_insert_with(|| state.queued());
        let flushed = ready!(state.poll_flushed(position, slot, cx));
        *flushing = None;
        Poll::Ready(flushed)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        let (shared, slot) = ready!(self.poll_unsent(cx))?;
        shared.close(CloseCode::NORMAL.into());
        shared.poll_closed(slot, cx).map(|_| Ok(()))
    }
}

impl<M> Drop for MessageSink<M> {
    fn drop(&mut self) {
        self.sender.shared().stop_waiting(&self.slot);
    }
}

impl<M> fmt::Debug for MessageSink<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageSink").field("sender", &self.sender).finish_non_exhaustive()
    }
}

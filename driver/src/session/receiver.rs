//! The receiving half of a session: [`Receiver`].

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use sockless_core::{Closed, Event, Message};

use crate::request::Request;
use crate::session::engine::joined::Joined;
use crate::session::engine::machine::Item;
use crate::session::engine::shared::Shared;

/// The receiving half of a [`Session`](crate::Session).
///
/// It is also a [`Stream`] of messages, which ends with the session. Once it is dropped, messages
/// that arrive are dropped.
///
/// ```
/// use sockless::{Receiver, Sender, Session};
///
/// async fn handle(session: Session) {
///     let (sender, mut receiver): (Sender, Receiver) = session.split();
///     let closed = loop {
///         match receiver.recv().await {
///             Ok(message) => println!("received {} bytes", message.len()),
///             Err(closed) => break closed,
///         }
///     };
///     println!("{closed}");
/// #   drop(sender);
/// }
/// ```
pub struct Receiver {
    shared: Arc<Shared>,
    /// The chunks that have been received of an unfinished message.
    joined: Option<Box<Joined>>,
}

impl Receiver {
    /// A receiver that counts among the handles already.
    pub(super) fn counted(shared: Arc<Shared>) -> Self {
        Self { shared, joined: None }
    }

    /// Receives the next message, whole. Once all messages have been received, returns how the
    /// session ended.
    ///
    /// Cancel-safe: a message is either returned or received by the next call.
    ///
    /// # Errors
    ///
    /// A [`Closed`] that describes how the session ended, at each call.
    #[inline]
    pub fn recv(&mut self) -> impl Future<Output = Result<Message, Closed>> {
        poll_fn(|cx| self.poll_recv(cx))
    }

    /// Returns the HTTP request that opened the session.
    pub fn request(&self) -> &Request {
        &self.shared.request
    }
}

impl Receiver {
    #[inline]
    fn poll_recv(&mut self, cx: &Context<'_>) -> Poll<Result<Message, Closed>> {
        let mut state = self.shared.lock();
        if let Some(message) = state.next_message() {
            // A whole message cannot arrive among the chunks of another.
            return Poll::Ready(Ok(message));
        }
        if state.is_drained() {
            state.wait_for_item(cx);
            return Poll::Pending;
        }
        drop(state);
        self.poll_joined(cx)
    }

    /// Receives a message that may arrive in chunks.
    fn poll_joined(&mut self, cx: &Context<'_>) -> Poll<Result<Message, Closed>> {
        loop {
            match ready!(self.poll_next_item(cx))? {
                Item::Event(Event::Message(message)) => return Poll::Ready(Ok(message)),
                Item::Event(Event::Chunk(chunk)) => {
                    let last = chunk.last;
                    let joined = self.joined.get_or_insert_default();
                    joined.push(chunk);
                    let len = joined.len();
                    let mut state = self.shared.lock();
                    state.set_joined(len);
                    let is_too_long = len as u64 > state.config().get_max_message_len();
                    drop(state);
                    if is_too_long {
                        self.shared.reject_message(len as u64);
                        self.skip_message();
                    }
                    if let Some(message) = last.then(|| self.take_joined()).flatten() {
                        return Poll::Ready(Ok(message));
                    }
                }
                // No other event is kept, and a connection of messages returns no frames.
                Item::Event(_) | Item::Frame(_) => {}
            }
        }
    }

    /// The next item, behind the rest of a message that is skipped.
    #[inline]
    pub(crate) fn poll_next_item(&mut self, cx: &Context<'_>) -> Poll<Result<Item, Closed>> {
        loop {
            match ready!(self.shared.poll_item(cx))? {
                Item::Event(Event::Chunk(chunk)) if self.is_skipping() => {
                    if chunk.last {
                        self.joined = None;
                    }
                }
                item => return Poll::Ready(Ok(item)),
            }
        }
    }

    /// The part of a message that was received by a `recv` that was dropped.
    pub(crate) fn take_joined(&mut self) -> Option<Message> {
        let joined = self.joined.take_if(|joined| !joined.is_dropped())?;
        self.shared.lock().set_joined(0);
        joined.into_message()
    }

    /// Drops the rest of the message that is being received.
    pub(crate) fn skip_message(&mut self) {
        self.joined = Some(Box::new(Joined::Dropped));
        self.shared.lock().set_joined(0);
    }

    /// Returns true if the rest of a message is being dropped.
    pub(crate) fn is_skipping(&self) -> bool {
        self.joined.as_ref().is_some_and(|joined| joined.is_dropped())
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.drop_receiver();
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("request", self.request()).finish_non_exhaustive()
    }
}

impl Stream for Receiver {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.poll_recv(cx).map(Result::ok)
    }
}

//! A message too long to hold: [`MessageReader`] receives it as it arrives, [`MessageWriter`] sends it
//! bit by bit.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use sockless_core::{Chunk, CloseCode, Closed, Event, Message};

use crate::session::engine::machine::Item;
use crate::session::engine::waiters::{Wait, Waiting};
use crate::session::{Receiver, Sender, Session};

/// The longest chunk that a reader gives, unless [`Config::recv_chunk_len`](sockless_core::Config::recv_chunk_len) is
/// shorter.
const CHUNK_LEN: u32 = 16 << 10;

impl Receiver {
    /// Waits for the next message to begin, and gives it as it arrives.
    ///
    /// What has arrived is given at once, whatever its length. A message that has been read ahead already comes
    /// in one chunk. One longer than [`Config::max_message_len`](sockless_core::Config::max_message_len) is accepted
    /// up to [`Config::max_streamed_len`](sockless_core::Config::max_streamed_len). When the reader is dropped
    /// before the end, the rest of the message is dropped too.
    ///
    /// Cancel-safe: a message is either returned or still there.
    ///
    /// # Errors
    ///
    /// How the session ended.
    pub async fn reader(&mut self) -> Result<MessageReader<'_>, Closed> {
        self.shared().set_chunk_len(Some(CHUNK_LEN));
        let mut reader = MessageReader { receiver: self, is_text: false, first: None, ended: true };
        let first = match reader.receiver.take_joined() {
            Some(data) => Chunk { data, last: false },
            None => poll_fn(|cx| reader.receiver.poll_part(cx)).await?,
        };
        reader.ended = first.last;
        reader.is_text = first.data.is_text();
        reader.first = Some(first.data);
        Ok(reader)
    }

    /// The next piece of a message, a whole one, or what has arrived of one.
    fn poll_part(&mut self, cx: &Context<'_>) -> Poll<Result<Chunk, Closed>> {
        loop {
            let item = match self.poll_next_item(cx) {
                Poll::Pending if !self.is_skipping() => match self.shared().poll_partial() {
                    Some(item) => item,
                    None => return Poll::Pending,
                },
                polled => ready!(polled)?,
            };
            match item {
                Item::Event(Event::Message(data)) => {
                    return Poll::Ready(Ok(Chunk { data, last: true }));
                }
                Item::Event(Event::Chunk(piece)) => return Poll::Ready(Ok(piece)),
                // No other event is held, and a machine of messages makes no frames.
                Item::Event(_) | Item::Frame(_) => {}
            }
        }
    }
}

/// A message that is arriving.
///
/// As a [`Stream`] it gives the same chunks.
pub struct MessageReader<'a> {
    receiver: &'a mut Receiver,
    is_text: bool,
    first: Option<Message>,
    /// Whether the last chunk has been taken from the session.
    ended: bool,
}

impl MessageReader<'_> {
    /// Whether this is a text message; a chunk of text never splits a character.
    pub fn is_text(&self) -> bool {
        self.is_text
    }

    /// The next chunk, of up to 16 KiB unless the message was whole already; `None` at its end.
    ///
    /// Cancel-safe: a chunk is either returned or still there.
    ///
    /// # Errors
    ///
    /// How the session ended, when it did so inside of the message.
    pub async fn chunk(&mut self) -> Result<Option<Message>, Closed> {
        poll_fn(|cx| self.poll_chunk(cx)).await
    }

    fn poll_chunk(&mut self, cx: &Context<'_>) -> Poll<Result<Option<Message>, Closed>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Ok(Some(first)));
        }
        if self.ended {
            return Poll::Ready(Ok(None));
        }
        let piece = ready!(self.receiver.poll_part(cx))?;
        self.ended = piece.last;
        // All of it may have been given before its end was known.
        Poll::Ready(Ok(Some(piece.data).filter(|data| !data.is_empty() || !piece.last)))
    }
}

impl Stream for MessageReader<'_> {
    type Item = Result<Message, Closed>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_chunk(cx).map(Result::transpose)
    }
}

impl Drop for MessageReader<'_> {
    fn drop(&mut self) {
        self.receiver.shared().set_chunk_len(None);
        if !self.ended {
            self.receiver.skip_message();
        }
    }
}

impl fmt::Debug for MessageReader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageReader").field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl Sender {
    /// Begins a message that is sent bit by bit, once no other one is; other senders wait until it
    /// ends.
    ///
    /// Cancel-safe: when the future is dropped before it is ready, nothing was begun.
    ///
    /// # Errors
    ///
    /// How the session ended.
    pub async fn writer(&self) -> Result<MessageWriter<'_>, Closed> {
        let mut waiting = Waiting::new(self.shared());
        poll_fn(|cx| {
            let mut state = self.shared().lock();
            if let Some(closed) = &state.closed {
                return Poll::Ready(Err(closed.clone()));
            }
            if state.writing {
                state.wait(Wait::Writer, &mut waiting.slot, cx);
                return Poll::Pending;
            }
            state.writing = true;
            Poll::Ready(Ok(()))
        })
        .await?;
        Ok(MessageWriter { sender: self, begun: None })
    }
}

impl Session {
    /// Waits for the next message to begin, and gives it as it arrives; see [`Receiver::reader`].
    ///
    /// # Errors
    ///
    /// How the session ended.
    pub async fn reader(&mut self) -> Result<MessageReader<'_>, Closed> {
        self.as_receiver().reader().await
    }

    /// Begins a message that is sent bit by bit; see [`Sender::writer`].
    ///
    /// # Errors
    ///
    /// How the session ended.
    pub async fn writer(&self) -> Result<MessageWriter<'_>, Closed> {
        self.as_sender().writer().await
    }
}

/// A message that is being sent bit by bit; the first part decides its kind.
///
/// Dropped with parts sent and no end, it closes the session with 1011: half a message cannot be
/// taken back.
pub struct MessageWriter<'a> {
    sender: &'a Sender,
    /// Whether the message is text, once a part has been sent.
    begun: Option<bool>,
}

impl MessageWriter<'_> {
    /// Sends a part, waiting while [`Config::high_water`](sockless_core::Config::high_water) bytes or more
    /// are on their way.
    ///
    /// Cancel-safe: when the future is dropped before it is ready, the part was not sent.
    ///
    /// # Errors
    ///
    /// [`WriteError`].
    pub async fn write(&mut self, part: impl Into<Message>) -> Result<(), WriteError> {
        self.send_chunk(Chunk { data: part.into(), last: false }).await
    }

    /// Sends the last part, and so ends the message.
    ///
    /// Cancel-safe in that a dropped future leaves the message unfinished, which closes the session.
    ///
    /// # Errors
    ///
    /// [`WriteError`].
    pub async fn finish(mut self, part: impl Into<Message>) -> Result<(), WriteError> {
        self.send_chunk(Chunk { data: part.into(), last: true }).await
    }

    async fn send_chunk(&mut self, piece: Chunk) -> Result<(), WriteError> {
        let is_text = piece.data.is_text();
        if self.begun.is_some_and(|begun| begun != is_text) {
            return Err(WriteError::KindMismatch);
        }
        let last = piece.last;
        let mut piece = Some(piece);
        let mut waiting = Waiting::new(self.sender.shared());
        poll_fn(|cx| {
            let mut state = self.sender.shared().lock();
            if let Some(closed) = &state.closed {
                return Poll::Ready(Err(WriteError::Closed(closed.clone())));
            }
            if !state.holds(Wait::PartRoom) {
                state.wait(Wait::PartRoom, &mut waiting.slot, cx);
                return Poll::Pending;
            }
            let now = state.now_or(|| self.sender.shared().runtime.now());
            if let Some(part) = piece.take()
                && let Some(connection) = state.machine.messages()
                && connection.send_chunk(part, now).is_err()
            {
                // Either side has begun to close: how it ends is not known before it has ended.
                state.wait(Wait::Closed, &mut waiting.slot, cx);
                return Poll::Pending;
            }
            state.ask_driver();
            Poll::Ready(Ok(()))
        })
        .await?;
        self.begun = (!last).then_some(is_text);
        Ok(())
    }
}

impl Drop for MessageWriter<'_> {
    fn drop(&mut self) {
        self.sender.shared().stop_writing();
        if self.begun.is_some() {
            self.sender.close((CloseCode::INTERNAL_ERROR, "a message was not finished"));
        }
    }
}

impl fmt::Debug for MessageWriter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageWriter").finish_non_exhaustive()
    }
}

/// Why a part of a message was not sent.
#[derive(Clone, Debug)]
pub enum WriteError {
    /// How the session ended.
    Closed(Closed),
    /// The part is text and the message binary, or the other way round.
    KindMismatch,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(closed) => closed.fmt(f),
            Self::KindMismatch => f.write_str("all parts of one message are of one kind"),
        }
    }
}

impl std::error::Error for WriteError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Closed(closed) => Some(closed),
            Self::KindMismatch => None,
        }
    }
}

//! Messages that are too long to hold: [`MessageReader`] receives one as it arrives,
//! [`MessageWriter`] sends one in chunks.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use sockless_core::{Chunk, CloseCode, Closed, Event, Message};

use crate::session::engine::machine::Item;
use crate::session::engine::shared::Waiting;
use crate::session::error::WriteError;
use crate::session::{Receiver, Sender, Session};

/// The longest chunk that a reader returns, unless
/// [`Config::recv_chunk_len`](sockless_core::Config::recv_chunk_len) is shorter.
const CHUNK_LEN: u32 = 16 << 10;

/// Reading.
impl Receiver {
    /// Waits for the next message to begin, and returns a reader of its chunks.
    ///
    /// Chunks are returned as they arrive, whatever their length. A message that has been read
    /// ahead comes in one chunk. A message longer than
    /// [`Config::max_message_len`](sockless_core::Config::max_message_len) is accepted up to
    /// [`Config::max_streamed_len`](sockless_core::Config::max_streamed_len). If the reader is
    /// dropped before the end of the message, the rest is dropped too.
    ///
    /// Cancel-safe: a message is either returned or received by the next call.
    ///
    /// # Errors
    ///
    /// A [`Closed`] that describes how the session ended.
    pub async fn reader(&mut self) -> Result<MessageReader<'_>, Closed> {
        self.shared().lock().set_chunk_len(Some(CHUNK_LEN));
        let mut reader =
            MessageReader { receiver: self, is_text: false, first: None, has_ended: true };
        let first = match reader.receiver.take_joined() {
            Some(data) => Chunk { data, last: false },
            None => poll_fn(|cx| reader.receiver.poll_next_chunk(cx)).await?,
        };
        reader.has_ended = first.last;
        reader.is_text = first.data.is_text();
        reader.first = Some(first.data);
        Ok(reader)
    }

    /// The next chunk of a message: all of it, or the part that has arrived.
    fn poll_next_chunk(&mut self, cx: &Context<'_>) -> Poll<Result<Chunk, Closed>> {
        loop {
            let item = match self.poll_next_item(cx) {
                Poll::Pending if !self.is_skipping() => match self.shared().lock().poll_partial() {
                    Some(item) => item,
                    None => return Poll::Pending,
                },
                polled => ready!(polled)?,
            };
            match item {
                Item::Event(Event::Message(data)) => {
                    return Poll::Ready(Ok(Chunk { data, last: true }));
                }
                Item::Event(Event::Chunk(chunk)) => return Poll::Ready(Ok(chunk)),
                // No other event is kept, and a connection of messages returns no frames.
                Item::Event(_) | Item::Frame(_) => {}
            }
        }
    }
}

/// A message that is received in chunks as it arrives, from [`Session::reader`].
///
/// It is also a [`Stream`] of the same chunks. If it is dropped before the end of the message, the
/// rest of the message is dropped.
///
/// ```
/// use sockless::{Closed, Session};
///
/// /// Counts the bytes of an upload of any length, and holds 16 KiB of it at a time.
/// async fn upload(mut session: Session) -> Result<(), Closed> {
///     let mut len = 0;
///     let mut reader = session.reader().await?;
///     while let Some(chunk) = reader.chunk().await? {
///         len += chunk.len();
///     }
///     drop(reader);
///     session.send(format!("{len} bytes")).await
/// }
/// ```
pub struct MessageReader<'a> {
    receiver: &'a mut Receiver,
    is_text: bool,
    first: Option<Message>,
    /// The last chunk has been taken from the session.
    has_ended: bool,
}

impl MessageReader<'_> {
    /// Returns true for a text message. Its chunks never split a character.
    pub fn is_text(&self) -> bool {
        self.is_text
    }

    /// Receives the next chunk, or `None` at the end of the message. A chunk has up to 16 KiB,
    /// unless the whole message had been read ahead.
    ///
    /// Cancel-safe: a chunk is either returned or received by the next call.
    ///
    /// # Errors
    ///
    /// A [`Closed`] that describes how the session ended, if it ended within the message.
    pub async fn chunk(&mut self) -> Result<Option<Message>, Closed> {
        poll_fn(|cx| self.poll_chunk(cx)).await
    }

    fn poll_chunk(&mut self, cx: &Context<'_>) -> Poll<Result<Option<Message>, Closed>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Ok(Some(first)));
        }
        if self.has_ended {
            return Poll::Ready(Ok(None));
        }
        let chunk = ready!(self.receiver.poll_next_chunk(cx))?;
        self.has_ended = chunk.last;
        // The last chunk is empty if all bytes were returned before the end was known.
        Poll::Ready(Ok(Some(chunk.data).filter(|data| !data.is_empty() || !chunk.last)))
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
        self.receiver.shared().lock().set_chunk_len(None);
        if !self.has_ended {
            self.receiver.skip_message();
        }
    }
}

impl fmt::Debug for MessageReader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageReader").field("has_ended", &self.has_ended).finish_non_exhaustive()
    }
}

/// Writing.
impl Sender {
    /// Begins a message that is sent in chunks, once no other one is being sent so. Other senders
    /// wait until it ends.
    ///
    /// Cancel-safe: if the future is dropped before it is ready, no message was begun.
    ///
    /// # Errors
    ///
    /// A [`Closed`] that describes how the session ended.
    pub async fn writer(&self) -> Result<MessageWriter<'_>, Closed> {
        let mut waiting = Waiting::new(self.shared());
        poll_fn(|cx| self.shared().lock().poll_writer(&mut waiting.slot, cx)).await?;
        Ok(MessageWriter { sender: self, begun: None })
    }
}

/// Messages in chunks.
impl Session {
    /// Waits for the next message to begin, and returns a reader of its chunks; see
    /// [`Receiver::reader`].
    ///
    /// Cancel-safe: the message is either returned or begins with the next call.
    ///
    /// # Errors
    ///
    /// A [`Closed`] that describes how the session ended.
    pub async fn reader(&mut self) -> Result<MessageReader<'_>, Closed> {
        self.as_receiver().reader().await
    }

    /// Begins a message that is sent in chunks; see [`Sender::writer`].
    ///
    /// Cancel-safe: if the future is dropped before it is ready, no message was begun.
    ///
    /// # Errors
    ///
    /// A [`Closed`] that describes how the session ended.
    pub async fn writer(&self) -> Result<MessageWriter<'_>, Closed> {
        self.as_sender().writer().await
    }
}

/// A message that is sent in chunks, from [`Session::writer`]. The first chunk decides whether it
/// is text or binary.
///
/// If it is dropped after the first chunk and before [`finish`](Self::finish), the session is
/// closed with 1011, because a part of a message cannot be withdrawn.
///
/// ```
/// use sockless::{Session, WriteError};
///
/// /// Sends a table, one line per frame.
/// async fn export(session: Session) -> Result<(), WriteError> {
///     let mut writer = session.writer().await.map_err(WriteError::Closed)?;
///     for line in 0..1_000_000 {
///         writer.write(format!("{line},{}\n", line * line)).await?;
///     }
///     writer.finish("end\n").await
/// }
/// ```
pub struct MessageWriter<'a> {
    sender: &'a Sender,
    /// True if the message is text, once a chunk has been sent.
    begun: Option<bool>,
}

impl MessageWriter<'_> {
    /// Sends a chunk, waiting while [`Config::high_water`](sockless_core::Config::high_water) bytes
    /// or more are queued.
    ///
    /// Cancel-safe: if the future is dropped before it is ready, the chunk was not sent.
    ///
    /// # Errors
    ///
    /// [`WriteError::Closed`] once the session has ended; [`WriteError::KindMismatch`] for text in
    /// a binary message and the other way round.
    pub async fn write(&mut self, chunk: impl Into<Message>) -> Result<(), WriteError> {
        self.send_chunk(Chunk { data: chunk.into(), last: false }).await
    }

    /// Sends the last chunk, and so ends the message.
    ///
    /// If the future is dropped before it is ready, the message stays unfinished, which closes the
    /// session with 1011.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub async fn finish(mut self, chunk: impl Into<Message>) -> Result<(), WriteError> {
        self.send_chunk(Chunk { data: chunk.into(), last: true }).await
    }

    pub(super) async fn send_chunk(&mut self, chunk: Chunk) -> Result<(), WriteError> {
        let is_text = chunk.data.is_text();
        if self.begun.is_some_and(|begun| begun != is_text) {
            return Err(WriteError::KindMismatch);
        }
        let last = chunk.last;
        let mut chunk = Some(chunk);
        let shared = self.sender.shared();
        let mut waiting = Waiting::new(shared);
        poll_fn(|cx| {
            let mut state = shared.lock();
            state.poll_send_chunk(&mut chunk, &mut waiting.slot, || shared.now(), cx)
        })
        .await
        .map_err(WriteError::Closed)?;
        self.begun = (!last).then_some(is_text);
        Ok(())
    }
}

impl Drop for MessageWriter<'_> {
    fn drop(&mut self) {
        self.sender.shared().lock().end_writer();
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

//! Messages that are too long to hold: [`MessageReader`] receives one as it arrives, [`MessageWriter`]
//! sends one in chunks.

use std::fmt;
use std::io::{self, Read, Write};

use bytes::{Buf, Bytes};
use sockless_core::{Closed, Message};
use sockless_driver::WriteError;

use crate::wait::block_on;

/// A message that is received in chunks as it arrives, from [`Session::reader`](crate::Session::reader).
///
/// It implements [`Read`]. Messages over 1 MiB need
/// [`Config::max_streamed_len`](sockless_core::Config::max_streamed_len). If it is dropped before the end of the message, the rest of the message is
/// dropped.
///
/// ```
/// use std::fs::File;
/// use std::io;
///
/// use sockless::blocking::Session;
///
/// /// Stores an upload of any length, and holds 16 KiB of it at a time.
/// fn upload(mut session: Session) -> io::Result<()> {
///     let mut reader = session.reader().map_err(io::Error::other)?;
///     let len = io::copy(&mut reader, &mut File::create("upload")?)?;
///     drop(reader);
///     session.send(format!("{len} bytes")).map_err(io::Error::other)
/// }
/// # let _ = sockless::blocking::handler(upload);
/// ```
pub struct MessageReader<'a> {
    reader: sockless_driver::MessageReader<'a>,
    /// The unread part of a chunk.
    rest: Bytes,
}

impl<'a> MessageReader<'a> {
    pub(crate) fn new(reader: sockless_driver::MessageReader<'a>) -> Self {
        Self { reader, rest: Bytes::new() }
    }

    /// Returns true for a text message.
    pub fn is_text(&self) -> bool {
        self.reader.is_text()
    }
}

/// # Errors
///
/// An error with a [`Closed`] as its source, if the session ended within the message.
impl Read for MessageReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match block_on(self.reader.chunk()).map_err(closed)? {
                Some(chunk) => self.rest = chunk.into_bytes(),
                None => return Ok(0),
            }
        }
        let len = buffer.len().min(self.rest.len());
        self.rest.copy_to_slice(&mut buffer[..len]);
        Ok(len)
    }
}

impl fmt::Debug for MessageReader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageReader").field("reader", &self.reader).finish_non_exhaustive()
    }
}

/// A message that is sent in chunks, from [`Session::writer`](crate::Session::writer). The first chunk
/// decides whether it is text or binary.
///
/// It implements [`Write`], for a binary message. If it is dropped after the first chunk and before
/// [`finish`](Self::finish), the session is closed with 1011, because a part of a message cannot be
/// withdrawn.
///
/// ```
/// use std::fs::File;
/// use std::io;
///
/// use sockless::blocking::Session;
///
/// /// Sends a file of any length as one message.
/// fn download(session: Session) -> io::Result<()> {
///     let mut writer = session.writer().map_err(io::Error::other)?;
///     io::copy(&mut File::open("download")?, &mut writer)?;
///     writer.finish().map_err(io::Error::other)
/// }
/// # let _ = sockless::blocking::handler(download);
/// ```
pub struct MessageWriter<'a> {
    writer: sockless_driver::MessageWriter<'a>,
    /// The kind of the message, once a chunk has been sent.
    is_text: Option<bool>,
}

impl<'a> MessageWriter<'a> {
    pub(crate) fn new(writer: sockless_driver::MessageWriter<'a>) -> Self {
        Self { writer, is_text: None }
    }

    /// Queues a chunk, waiting while [`Config::high_water`](sockless_core::Config::high_water) bytes or
    /// more are queued.
    ///
    /// # Errors
    ///
    /// [`WriteError::Closed`] once the session has ended; [`WriteError::KindMismatch`] for text in a
    /// binary message and the other way round.
    pub fn write_chunk(&mut self, chunk: impl Into<Message>) -> Result<(), WriteError> {
        let chunk = chunk.into();
        let is_text = chunk.is_text();
        block_on(self.writer.write(chunk))?;
        self.is_text = Some(is_text);
        Ok(())
    }

    /// Ends the message. Without a chunk, it is an empty binary message.
    ///
    /// # Errors
    ///
    /// [`WriteError::Closed`] once the session has ended.
    pub fn finish(self) -> Result<(), WriteError> {
        let last = match self.is_text {
            Some(true) => Message::from(""),
            _ => Message::from(Bytes::new()),
        };
        block_on(self.writer.finish(last))
    }
}

/// # Errors
///
/// An error with a [`WriteError`] as its source.
impl Write for MessageWriter<'_> {
    /// Queues a copy of `bytes`.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_chunk(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    /// Does nothing: the session's thread sends what is queued.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for MessageWriter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageWriter").field("is_text", &self.is_text).finish_non_exhaustive()
    }
}

fn closed(closed: Closed) -> io::Error {
    io::Error::other(closed)
}

//! The bytes to send: [`Outbound`].

mod queue;

use bytes::{Buf, Bytes};

use crate::staging::Staging;

pub(crate) use queue::Queue;

/// The bytes that a connection has to send, borrowed from it. Short frames are joined in blocks,
/// long payloads are queued by reference.
///
/// *Lent*: write its [`chunk`](Self::chunk), or several with
/// `chunks_vectored` (with `std`), then [`advance`](Self::advance) by the number of
/// bytes that the transport has taken:
///
/// ```
/// use std::io::{self, IoSlice, Write};
///
/// use sockless_core::Outbound;
///
/// fn write_all(mut outbound: Outbound<'_>, transport: &mut impl Write) -> io::Result<()> {
///     while outbound.has_remaining() {
///         let mut slices = [IoSlice::new(&[]); 16];
///         let count = outbound.chunks_vectored(&mut slices);
///         let written = transport.write_vectored(&slices[..count])?;
///         if written == 0 {
///             return Err(io::ErrorKind::WriteZero.into());
///         }
///         outbound.advance(written);
///     }
///     Ok(())
/// }
/// # use sockless_core::{Connection, Instant, Negotiated};
/// # let now = Instant::EPOCH;
/// # let mut connection = Connection::server(Negotiated::default(), Default::default(), now);
/// # connection.send("hello", now)?;
/// # let mut sent = Vec::new();
/// # write_all(connection.outbound(), &mut sent)?;
/// # assert_eq!(sent, b"\x81\x05hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// *Owned*: for a transport that keeps what it writes until it has written it, such as a completion
/// queue or another thread, [`pop`](Self::pop) the chunks, and report with [`sent`](Self::sent) how
/// much of them was written. Until then they count as unsent, for
/// [`is_writable`](crate::Connection::is_writable), for
/// [`Config::write_timeout`](crate::Config::write_timeout) and for the end of the connection:
///
/// ```
/// # use sockless_core::{Connection, Instant, Negotiated, OutgoingMessage};
/// # let now = Instant::EPOCH;
/// # let mut connection = Connection::server(Negotiated::default(), Default::default(), now);
/// connection.send(vec![7; 1 << 20], now)?;
/// let header = connection.outbound().pop().expect("the header of the frame");
/// let payload = connection.outbound().pop().expect("the payload, without a copy");
/// assert_eq!((header.len(), payload.len()), (10, 1 << 20));
/// assert!(!connection.is_writable(), "nothing was sent");
///
/// connection.outbound().sent(header.len() + payload.len());
/// assert!(connection.is_writable());
/// # Ok::<(), sockless_core::SendError>(())
/// ```
///
/// It is a [`bytes::Buf`] as well, of the bytes that were not popped. Nothing that is done to the
/// value itself, such as to drop, forget or swap it, changes what is queued.
#[derive(Debug)]
pub struct Outbound<'a>(pub(crate) &'a mut Queue);

impl<'a> Outbound<'a> {
    /// Returns the first [`chunk`](Self::chunk), borrowed from the connection itself, for a function
    /// that returns it.
    #[inline]
    pub fn into_chunk(self) -> &'a [u8] {
        self.0.chunk()
    }
}

impl Outbound<'_> {
    /// Returns the number of bytes that wait to be written: all that are unsent but those that were
    /// [popped](Self::pop).
    #[inline]
    pub fn remaining(&self) -> usize {
        self.0.remaining()
    }

    /// Returns true while bytes wait to be written.
    #[inline]
    pub fn has_remaining(&self) -> bool {
        self.0.remaining() > 0
    }

    /// Returns the first bytes to write: those that lie together in memory. It is empty only if
    /// none wait.
    #[inline]
    pub fn chunk(&self) -> &[u8] {
        self.0.chunk()
    }

    /// Returns all bytes to write, in order, as slices that are not empty.
    pub fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        self.0.chunks()
    }

    /// Fills `slices` for a vectored write, and returns how many were filled.
    #[cfg(feature = "std")]
    #[inline]
    pub fn chunks_vectored<'a>(&'a self, slices: &mut [std::io::IoSlice<'a>]) -> usize {
        let mut filled = 0;
        for (slot, chunk) in slices.iter_mut().zip(self.0.chunks()) {
            *slot = std::io::IoSlice::new(chunk);
            filled += 1;
        }
        filled
    }

    /// Removes the first `count` bytes, which the transport has taken. More than wait count as
    /// [`remaining`](Self::remaining).
    #[inline]
    pub fn advance(&mut self, count: usize) {
        self.0.advance(count);
    }

    /// Takes the first `len` bytes, which count as sent; all that wait if there are fewer. Copies
    /// nothing if they are in one long chunk.
    pub fn copy_to_bytes(&mut self, len: usize) -> Bytes {
        self.0.take(len)
    }

    /// Takes the first [`chunk`](Self::chunk) out, without a copy. It counts as unsent until
    /// [`sent`](Self::sent) reports it.
    #[inline]
    pub fn pop(&mut self) -> Option<Bytes> {
        self.0.pop()
    }

    /// Records that the transport has taken the next `count` bytes of those that were
    /// [popped](Self::pop). More than were popped count as all of them.
    #[inline]
    pub fn sent(&mut self, count: usize) {
        self.0.sent(count);
    }

    /// Returns the number of bytes that were [popped](Self::pop) and not reported
    /// [sent](Self::sent).
    pub fn in_flight(&self) -> usize {
        self.0.in_flight()
    }
}

/// # For drivers
///
/// A simple loop gets along without these.
impl Outbound<'_> {
    /// Replaces the memory in which frames are joined by `staging`, and returns the former. While
    /// bytes are unsent, returns `staging` itself.
    #[inline]
    pub fn lend(&mut self, staging: Staging) -> Staging {
        self.0.lend(staging)
    }

    /// Returns the memory in which frames are joined, or `None` while bytes are unsent.
    #[inline]
    pub fn reclaim(&mut self) -> Option<Staging> {
        self.0.reclaim()
    }

    /// Returns the number of bytes queued since the connection was created. All of them have been
    /// sent when [`taken`](Self::taken) reaches it, which it does not if the end of the connection
    /// drops some.
    #[inline]
    pub fn queued(&self) -> u64 {
        self.0.queued()
    }

    /// Returns the number of bytes sent since the connection was created.
    #[inline]
    pub fn taken(&self) -> u64 {
        self.0.taken()
    }
}

impl Buf for Outbound<'_> {
    #[inline]
    fn remaining(&self) -> usize {
        self.0.remaining()
    }

    #[inline]
    fn chunk(&self) -> &[u8] {
        self.0.chunk()
    }

    #[cfg(feature = "std")]
    #[inline]
    fn chunks_vectored<'a>(&'a self, slices: &mut [std::io::IoSlice<'a>]) -> usize {
        Outbound::chunks_vectored(self, slices)
    }

    #[inline]
    fn advance(&mut self, count: usize) {
        self.0.advance(count);
    }

    fn copy_to_bytes(&mut self, len: usize) -> Bytes {
        assert!(len <= self.0.remaining(), "cannot take {len} of {} bytes", self.0.remaining());
        self.0.take(len)
    }
}

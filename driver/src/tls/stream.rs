//! An encrypted transport: [`TlsStream`], of a connection of rustls and another transport.

use std::cell::Cell;
use std::future::poll_fn;
use std::io::{self, BufRead, IoSlice, Write};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use rustls::{Connection, Error, HandshakeKind, InvalidMessage, OtherError, ProtocolVersion};
use sockless_core::limits;

use super::TlsError;
use crate::runtime::{Ending, Io, TlsInfo, TlsVersion};

/// The most plaintext, in bytes, that is encrypted and not written yet: a message of 64 KiB and the
/// headers of frames, so that it takes one write.
const HELD_LEN: usize = limits::READ_LEN;

/// The most bytes of one read of the transport: two records (RFC 8446 §5.1).
const READ_LEN: usize = 32 << 10;

/// The most certificates that a peer may send: as many as OpenSSL follows by default. rustls keeps
/// all, even those that its verifier does not use, and tens of thousands fit into one message.
const MAX_CERTIFICATES: usize = 100;

/// An upper bound in bytes on the memory that a peer can make the TLS layer of one connection hold,
/// whatever the peer sends and however slowly it reads.
///
/// It comes on top of [`Config::memory_ceiling`](sockless_core::Config::memory_ceiling), so that a
/// server of `wss` has to plan with the sum of both for each connection. An idle connection takes
/// a small part of it.
///
/// The bound includes the record or handshake message that is arriving, of up to 64 KiB; ciphertext
/// and plaintext for which the session has no room; up to 64 KiB of ciphertext that the transport
/// has not accepted; the certificates of the peer, which are rejected if they are more than 100; and
/// the keys. Buffers grow to twice their content, and while one is moved both the old and the new
/// one count.
///
/// Not included:
///
/// * What a thread needs while it parses one message of a handshake, up to 2 MiB for each thread.
/// * During the handshake, the list of up to 20,000 empty certificates, 512 KiB. No session exists
///   at that time, so that the sum of both bounds holds.
/// * A client's session tickets, which belong to its [`TlsConnector`](super::TlsConnector).
/// * What the settings of a `ClientConfig` or `ServerConfig` of the program's own add: a small
///   `max_fragment_size`, or, during handshakes of TLS 1.2 with certificates of clients, a copy of
///   the handshake.
///
/// ```
/// use sockless::{Config, tls};
///
/// let config = Config::default().max_message_len(64 << 10).read_ahead(16 << 10);
/// // How many connections over TLS fit into 4 GiB in the worst case.
/// let connections = (4_usize << 30) / (config.memory_ceiling() + tls::MEMORY_CEILING);
/// assert!(connections > 1_500);
/// ```
pub const MEMORY_CEILING: usize = {
    // rustls: a handshake message of up to 64 KiB, in a buffer that grows by doubling.
    let arriving = 3 * HANDSHAKE_LEN;
    // The places of the messages in one record: the shortest ticket has 18 bytes, a place 40.
    let places = 3 * (RECORD_LEN / 18 * 40);
    // The rest of a read, and the buffer of the thread.
    let unread = 2 * READ_LEN;
    let plaintext = 2 * RECORD_LEN;
    let unsent = HELD_LEN + STATE_LEN;
    // Those of rustls, and those of `TlsInfo`.
    let certificates = 2 * (HANDSHAKE_LEN + MAX_CERTIFICATES * 64);
    arriving + places + unread + plaintext + unsent + certificates + STATE_LEN
};

/// The longest handshake message that rustls accepts.
const HANDSHAKE_LEN: usize = 64 << 10;

/// The most plaintext of a record (RFC 8446 §5.1).
const RECORD_LEN: usize = 16 << 10;

/// An upper bound on the state of a connection of rustls, or on the headers of the records that are
/// not sent.
const STATE_LEN: usize = 16 << 10;

/// The number of reads without plaintext that one poll makes before other tasks run.
const ROUNDS: u32 = 16;

thread_local! {
    /// The buffer into which this thread reads ciphertext. rustls takes all of it, except for the
    /// rest when the reader has no room.
    static CIPHERTEXT: Cell<BytesMut> = Cell::default();
}

/// A TLS stream over another transport.
///
/// It holds at most [`MEMORY_CEILING`].
pub(super) struct TlsStream {
    connection: Connection,
    transport: Box<dyn Io>,
    /// Ciphertext that rustls has not received yet.
    unread: BytesMut,
    /// The error of what was received, which is returned once everything before it was read.
    broken: Option<Error>,
    /// Bytes were written to the transport and not flushed yet.
    unflushed: bool,
    /// What rustls has to send are session tickets, which go with the first data.
    holds_tickets: bool,
    /// This end has sent its close_notify.
    closed: bool,
    /// The peer sends nothing further: its close_notify was decrypted, or the transport has ended.
    peer_closed: bool,
}

impl TlsStream {
    /// Performs the handshake over `transport`.
    pub(super) async fn handshake(
        connection: impl Into<Connection>,
        transport: Box<dyn Io>,
    ) -> Result<Box<dyn Io>, TlsError> {
        let mut connection = connection.into();
        connection.set_buffer_limit(Some(HELD_LEN));
        let mut stream = Self {
            connection,
            transport,
            unread: BytesMut::new(),
            broken: None,
            unflushed: false,
            holds_tickets: false,
            closed: false,
            peer_closed: false,
        };
        poll_fn(|cx| stream.poll_handshake(cx)).await?;
        Ok(Box::new(stream))
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TlsError>> {
        loop {
            let is_done = !self.connection.is_handshaking();
            if is_done {
                self.check_certificates()?;
            }
            // In TLS 1.3, a server's last messages are tickets (RFC 8446 §4.6.1), for which no client
            // waits. In TLS 1.2, the client waits for the server's last message.
            self.holds_tickets = is_done
                && matches!(self.connection, Connection::Server(_))
                && self.connection.protocol_version() == Some(ProtocolVersion::TLSv1_3);
            if self.holds_tickets {
                return Poll::Ready(Ok(()));
            }
            // The answer to the peer's last message is sent before the next one is awaited.
            ready!(self.poll_flush(cx)).map_err(cut_or_transport)?;
            if is_done {
                return Poll::Ready(Ok(()));
            }
            // Data after the handshake is left for the reader.
            let received = self.poll_decrypt(cx, |connection| connection.is_handshaking());
            let ended = ready!(received).map_err(cut_or_transport)?;
            if let Some(error) = self.broken.take() {
                // The alert is sent only if the transport takes it at once.
                let _ = self.poll_flush(cx);
                return Poll::Ready(Err(TlsError::of_handshake(error)));
            }
            if ended {
                return Poll::Ready(Err(TlsError::Cut));
            }
        }
    }

    /// Rejects a peer with more certificates than are kept.
    fn check_certificates(&self) -> Result<(), TlsError> {
        match self.connection.peer_certificates() {
            Some(all) if all.len() > MAX_CERTIFICATES => {
                let error = OtherError(Arc::new(TooManyCertificates(all.len())));
                Err(TlsError::Protocol(error.into()))
            }
            _ => Ok(()),
        }
    }

    /// Reads from the transport once and decrypts, as long as `go_on` returns true before each
    /// part; the rest is kept. Returns true if the peer sends nothing further.
    fn poll_decrypt(
        &mut self,
        cx: &mut Context<'_>,
        mut go_on: impl FnMut(&mut Connection) -> bool,
    ) -> Poll<io::Result<bool>> {
        let is_lent = self.unread.is_empty();
        let mut ciphertext = std::mem::take(&mut self.unread);
        if is_lent {
            ciphertext = CIPHERTEXT.take();
            ciphertext.clear();
            ciphertext.reserve(READ_LEN);
            let polled = self.transport.poll_read(cx, &mut ciphertext);
            if !matches!(polled, Poll::Ready(Ok(_))) {
                CIPHERTEXT.set(ciphertext);
                return polled.map_ok(|_| false);
            }
        }
        let mut rest = &ciphertext[..];
        while !rest.is_empty() && self.broken.is_none() && go_on(&mut self.connection) {
            self.decrypt(&mut rest);
        }
        let (len, rest_len) = (ciphertext.len(), rest.len());
        if is_lent {
            self.unread = BytesMut::from(rest);
            CIPHERTEXT.set(ciphertext);
        } else {
            ciphertext.advance(len - rest_len);
            self.unread = ciphertext;
        }
        Poll::Ready(Ok(len == 0))
    }

    /// Passes the next part of `ciphertext` to rustls, as much as it takes at a time.
    fn decrypt(&mut self, ciphertext: &mut &[u8]) {
        let taken = match self.connection.read_tls(ciphertext) {
            Ok(taken) => taken,
            // The records of a handshake message, which may be of one byte each, take more than 64
            // KiB. The other error is that plaintext is held, which has been taken.
            Err(_) => {
                self.broken = Some(Error::InvalidMessage(InvalidMessage::HandshakePayloadTooLarge));
                0
            }
        };
        if taken == 0 {
            // Data after a close_notify is ignored (RFC 8446 §6.1).
            *ciphertext = &[];
            return;
        }
        match self.connection.process_new_packets() {
            Ok(state) => self.peer_closed |= state.peer_has_closed(),
            Err(error) => self.broken = Some(error),
        }
    }

    /// Writes the output of rustls until the transport is not writable.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.holds_tickets = false;
        while self.connection.wants_write() {
            let mut sink = Sink { transport: &mut *self.transport, cx };
            match self.connection.write_tls(&mut sink) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => self.unflushed = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads from the transport once, or takes the rest of the last read, and appends plaintext to
    /// `buffer`.
    fn poll_fill(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<()>> {
        if let Some(error) = self.broken.clone() {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, Broken(error))));
        }
        let ended = ready!(self.poll_decrypt(cx, |connection| {
            // An error is returned by a later call, once everything before it was read.
            let _ = take_plaintext(connection, buffer);
            buffer.len() < buffer.capacity()
        }))?;
        if ended {
            // Reports the end to rustls.
            let _ = self.connection.read_tls(&mut io::empty());
            self.peer_closed = true;
        }
        Poll::Ready(Ok(()))
    }
}

/// Moves plaintext to `buffer`, as long as it has room.
///
/// # Errors
///
/// `WouldBlock` if more may arrive; `UnexpectedEof` at an end without a close_notify.
fn take_plaintext(connection: &mut Connection, buffer: &mut BytesMut) -> io::Result<()> {
    let mut reader = connection.reader();
    loop {
        let room = buffer.capacity() - buffer.len();
        let chunk = reader.fill_buf()?;
        let len = chunk.len().min(room);
        if len == 0 {
            return Ok(());
        }
        buffer.extend_from_slice(&chunk[..len]);
        reader.consume(len);
    }
}

impl Io for TlsStream {
    /// # Errors
    ///
    /// The error of the transport; [`io::ErrorKind::InvalidData`] for invalid TLS;
    /// [`io::ErrorKind::UnexpectedEof`] if the peer ended the connection without a close_notify
    /// (RFC 8446 §6.1).
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        let before = buffer.len();
        for _ in 0..ROUNDS {
            let taken = take_plaintext(&mut self.connection, buffer);
            if buffer.len() > before {
                return Poll::Ready(Ok(buffer.len() - before));
            }
            match taken {
                Ok(()) => return Poll::Ready(Ok(0)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(io::Error::new(error.kind(), Truncated))),
            }
            // Sends an alert, or the answer to a key update (RFC 8446 §4.6.3). The part that cannot
            // be written now is written by the next read or write. An error is ignored, since data
            // that was received before must still be read. Beside tickets, the answer may wait until
            // the next data.
            if !self.holds_tickets || self.broken.is_some() {
                let _ = self.poll_flush(cx);
            }
            ready!(self.poll_fill(cx, buffer))?;
        }
        if buffer.len() > before {
            return Poll::Ready(Ok(buffer.len() - before));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // More is encrypted only when everything before has been written, which bounds the memory. But
        // tickets are few.
        if !self.holds_tickets {
            ready!(self.poll_send(cx))?;
        }
        let len = self.connection.writer().write_vectored(slices)?;
        let _ = self.poll_send(cx)?;
        Poll::Ready(Ok(len))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        if self.unflushed {
            ready!(self.transport.poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.closed {
            self.connection.send_close_notify();
            self.closed = true;
        }
        ready!(self.poll_flush(cx))?;
        self.transport.poll_shutdown(cx)
    }

    fn poll_ending(&mut self, cx: &mut Context<'_>) -> Ending {
        if self.peer_closed || self.broken.is_some() {
            return Ending::Ended;
        }
        self.transport.poll_ending(cx)
    }

    fn tls(&self) -> Option<TlsInfo> {
        let server_name = match &self.connection {
            Connection::Client(_) => None,
            Connection::Server(connection) => connection.server_name().map(Into::into),
        };
        let alpn = self.connection.alpn_protocol().map(Bytes::copy_from_slice);
        let certificates = self.connection.peer_certificates().unwrap_or_default();
        let peer_certificates =
            certificates.iter().map(|der| Bytes::copy_from_slice(der)).collect();
        let is_resumed = self.connection.handshake_kind() == Some(HandshakeKind::Resumed);
        let version = match self.connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => Some(TlsVersion::V1_2),
            Some(ProtocolVersion::TLSv1_3) => Some(TlsVersion::V1_3),
            _ => None,
        };
        Some(TlsInfo { alpn, version, server_name, peer_certificates, is_resumed })
    }
}

/// The transport as a writer for rustls.
struct Sink<'a, 'b> {
    transport: &'a mut dyn Io,
    cx: &'a mut Context<'b>,
}

impl Write for Sink<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.transport.poll_write(self.cx, slices) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Converts an error of the transport: one that the peer causes by ending the connection is
/// [`TlsError::Cut`].
fn cut_or_transport(error: io::Error) -> TlsError {
    match error.kind() {
        io::ErrorKind::BrokenPipe
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::ConnectionReset => TlsError::Cut,
        _ => TlsError::Transport(error),
    }
}

#[derive(Debug)]
struct TooManyCertificates(usize);

impl std::fmt::Display for TooManyCertificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "expected a chain of at most {MAX_CERTIFICATES} certificates, found {}", self.0)
    }
}

impl std::error::Error for TooManyCertificates {}

#[derive(Debug)]
struct Broken(Error);

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Error::AlertReceived(alert) => {
                write!(f, "the peer ended TLS with the alert {alert:?} (RFC 8446 §6.2)")
            }
            error => {
                write!(f, "the peer sent invalid TLS: {}", sockless_core::Escaped(error))
            }
        }
    }
}

impl std::error::Error for Broken {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

#[derive(Debug)]
struct Truncated;

impl std::fmt::Display for Truncated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(
            "the peer ended the connection without a TLS close_notify (RFC 8446 §6.1): its data may \
             be truncated",
        )
    }
}

impl std::error::Error for Truncated {}

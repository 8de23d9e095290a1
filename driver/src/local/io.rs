//! Transports that stay on one thread: [`LocalIo`].

use std::io::{self, IoSlice};
use std::task::{Context, Poll};

use bytes::BytesMut;
use send_wrapper::SendWrapper;

use crate::runtime::{Ending, Io, TlsInfo};

/// A transport that does not have to be `Send`. Every [`Io`] is one.
///
/// The methods have the contracts of those of [`Io`].
///
/// [`SendWrapper`] makes an [`Io`] of it for the functions that take one, such as
/// [`ClientConnection::handshake`](crate::ClientConnection::handshake). The wrapper checks at run
/// time that the transport is used and dropped on the thread on which it was wrapped, and panics
/// otherwise.
pub trait LocalIo: 'static {
    /// As [`Io::poll_read`].
    ///
    /// # Errors
    ///
    /// The error of the transport.
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut)
    -> Poll<io::Result<usize>>;

    /// As [`Io::poll_write`].
    ///
    /// # Errors
    ///
    /// The error of the transport.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>>;

    /// As [`Io::poll_flush`].
    ///
    /// # Errors
    ///
    /// The error of the transport.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// As [`Io::poll_shutdown`].
    ///
    /// # Errors
    ///
    /// The error of the transport.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// As [`Io::poll_ending`]. Default: [`Ending::Unknown`].
    fn poll_ending(&mut self, cx: &mut Context<'_>) -> Ending {
        let _ = cx;
        Ending::Unknown
    }

    /// As [`Io::tls`]. Default: `None`.
    fn tls(&self) -> Option<TlsInfo> {
        None
    }
}

impl<T: Io> LocalIo for T {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        Io::poll_read(self, cx, buffer)
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Io::poll_write(self, cx, slices)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Io::poll_flush(self, cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Io::poll_shutdown(self, cx)
    }

    fn poll_ending(&mut self, cx: &mut Context<'_>) -> Ending {
        Io::poll_ending(self, cx)
    }

    fn tls(&self) -> Option<TlsInfo> {
        Io::tls(self)
    }
}

/// Panics if it is used or dropped on another thread than the one on which it was wrapped.
impl<T: LocalIo> Io for SendWrapper<T> {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        (**self).poll_read(cx, buffer)
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        (**self).poll_write(cx, slices)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        (**self).poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        (**self).poll_shutdown(cx)
    }

    fn poll_ending(&mut self, cx: &mut Context<'_>) -> Ending {
        (**self).poll_ending(cx)
    }

    fn tls(&self) -> Option<TlsInfo> {
        (**self).tls()
    }
}

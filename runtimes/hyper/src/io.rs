//! What hyper gives up after an upgrade, as a transport for the driver: [`Transport`].

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use http::Version;
use hyper::rt::{Read, ReadBuf, Write};
use hyper::upgrade::Upgraded;
use sockless_driver::Io;

/// A connection of HTTP/1.1 or a stream of HTTP/2, after the upgrade.
pub(crate) struct Transport {
    upgraded: Upgraded,
    /// The most that one write takes.
    write_len: usize,
}

impl Transport {
    pub(crate) fn new(upgraded: Upgraded, version: Version) -> Self {
        let write_len = match version {
            Version::HTTP_2 => STREAM_WRITE_LEN,
            _ => usize::MAX,
        };
        Self { upgraded, write_len }
    }
}

impl Io for Transport {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        let mut scratch = SCRATCH.take();
        scratch.resize(SCRATCH_LEN, 0);
        let room = SCRATCH_LEN.min(buffer.capacity() - buffer.len());
        let mut unfilled = ReadBuf::new(&mut scratch[..room]);
        let polled = Pin::new(&mut self.upgraded).poll_read(cx, unfilled.unfilled());
        let polled = polled.map_ok(|()| {
            buffer.extend_from_slice(unfilled.filled());
            unfilled.filled().len()
        });
        SCRATCH.set(scratch);
        polled
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let upgraded = Pin::new(&mut self.upgraded);
        if upgraded.is_write_vectored() {
            return upgraded.poll_write_vectored(cx, slices);
        }
        let slice = slices.iter().find(|slice| !slice.is_empty()).map_or(&[][..], |slice| slice);
        upgraded.poll_write(cx, &slice[..slice.len().min(self.write_len)])
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.upgraded).poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.upgraded).poll_shutdown(cx)
    }
}

/// hyper copies what is written to a stream of HTTP/2, and holds up to three writes until the peer's
/// windows let them pass: each is kept to one DATA frame of the default length (RFC 9113 §6.5.2), so
/// that a peer that does not read costs little more than `high_water`.
const STREAM_WRITE_LEN: usize = 16 << 10;

/// How much one read brings: as much as the driver's own read buffer takes.
const SCRATCH_LEN: usize = 64 << 10;

thread_local! {
    /// What is read into on this thread: to read into the driver's buffer itself takes `unsafe`, since
    /// its room is not initialized, and to initialize it for each read costs more than the copy.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

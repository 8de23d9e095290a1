//! A pool of compressors and inflaters for each thread, so that idle connections hold none.
//!
//! Without `std` no thread is known, and nothing is kept: each message that needs one allocates it.

use alloc::boxed::Box;

use zlib_rs::{Deflate as Compressor, Inflate};

#[cfg(feature = "std")]
mod kept;
#[cfg(not(feature = "std"))]
mod kept {
    use super::*;

    pub(super) fn take_compressor(_: Kind) -> Option<Box<Compressor>> {
        None
    }

    pub(super) fn keep_compressor(_: Kind, _: Box<Compressor>) {}

    pub(super) fn take_inflater() -> Option<Box<Inflate>> {
        None
    }

    pub(super) fn keep_inflater(_: Box<Inflate>) {}
}

/// The parameters of a compressor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) level: u8,
    pub(super) bits: u8,
}

/// Returns a compressor without context.
pub(super) fn lend_compressor(kind: Kind) -> Box<Compressor> {
    kept::take_compressor(kind).unwrap_or_else(|| {
        // zlib has no raw window of 8 bits. A window of 9 bits can be used instead: of its 512 bytes, zlib
        // keeps 262 free for lookahead, so that no distance exceeds 250.
        Box::new(Compressor::new(kind.level.into(), false, kind.bits.max(9)))
    })
}

/// Returns a compressor to the pool.
pub(super) fn give_back_compressor(kind: Kind, mut compressor: Box<Compressor>) {
    compressor.reset();
    kept::keep_compressor(kind, compressor);
}

/// Returns an inflater without context.
///
/// Its window is always the largest: a smaller one does not save memory in zlib-rs, and would reject the
/// messages of peers whose zlib uses 9 bits where 8 were agreed.
pub(super) fn lend_inflater() -> Box<Inflate> {
    kept::take_inflater().unwrap_or_else(|| Box::new(Inflate::new(false, 15)))
}

/// Returns an inflater to the pool.
pub(super) fn give_back_inflater(mut inflater: Box<Inflate>) {
    inflater.reset(false);
    kept::keep_inflater(inflater);
}

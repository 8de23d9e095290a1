//! A pool of compressors and inflaters for each thread, so that idle connections hold none.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::RefCell;

use flate2::{Compress, Compression};
use zlib_rs::Inflate;

/// The largest number of each that a thread keeps. More than one are in use at a time only while several
/// messages are sent or received in parts.
const KEPT: usize = 4;

// Boxed, since connections hold them as boxes: one without an inflater spends only a pointer on it.
#[allow(clippy::vec_box)]
type Inflaters = Vec<Box<Inflate>>;

std::thread_local! {
    static COMPRESSORS: RefCell<Vec<(Kind, Box<Compress>)>> = const { RefCell::new(Vec::new()) };
    static INFLATERS: RefCell<Inflaters> = const { RefCell::new(Vec::new()) };
}

/// The parameters of a compressor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) level: u8,
    pub(super) bits: u8,
}

/// Returns a compressor without context.
pub(super) fn lend_compressor(kind: Kind) -> Box<Compress> {
    let kept = COMPRESSORS.try_with(|compressors| {
        let mut compressors = compressors.borrow_mut();
        let at = compressors.iter().position(|(known, _)| *known == kind)?;
        Some(compressors.swap_remove(at).1)
    });
    kept.ok().flatten().unwrap_or_else(|| {
        // zlib has no raw window of 8 bits. A window of 9 bits can be used instead: of its 512 bytes, zlib
        // keeps 262 free for lookahead, so that no distance exceeds 250.
        let bits = kind.bits.max(9);
        let level = Compression::new(u32::from(kind.level));
        Box::new(Compress::new_with_window_bits(level, false, bits))
    })
}

/// Returns a compressor to the pool.
pub(super) fn give_back_compressor(kind: Kind, mut compressor: Box<Compress>) {
    compressor.reset();
    // Fails while the thread ends: then the compressor is dropped.
    let _ = COMPRESSORS.try_with(|compressors| {
        let mut compressors = compressors.borrow_mut();
        if compressors.len() < KEPT {
            compressors.push((kind, compressor));
        }
    });
}

/// Returns an inflater without context.
///
/// Its window is always the largest: a smaller one does not save memory in zlib-rs, and would reject the
/// messages of peers whose zlib uses 9 bits where 8 were agreed.
pub(super) fn lend_inflater() -> Box<Inflate> {
    let kept = INFLATERS.try_with(|inflaters| inflaters.borrow_mut().pop());
    kept.ok().flatten().unwrap_or_else(|| Box::new(Inflate::new(false, 15)))
}

/// Returns an inflater to the pool.
pub(super) fn give_back_inflater(mut inflater: Box<Inflate>) {
    inflater.reset(false);
    let _ = INFLATERS.try_with(|inflaters| {
        let mut inflaters = inflaters.borrow_mut();
        if inflaters.len() < KEPT {
            inflaters.push(inflater);
        }
    });
}

//! Compressors and inflaters that a thread lends to the connections it serves, so that an idle one
//! holds none.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::RefCell;

use flate2::{Compress, Compression};
use zlib_rs::Inflate;

/// How many of each kind a thread keeps: more than one are out only while messages that arrive or
/// leave in pieces are under way.
const KEPT: usize = 4;

// In boxes, since that is how they are lent: a connection that has none keeps a pointer's room for it.
#[allow(clippy::vec_box)]
type Inflaters = Vec<Box<Inflate>>;

std::thread_local! {
    static COMPRESSORS: RefCell<Vec<(Kind, Box<Compress>)>> = const { RefCell::new(Vec::new()) };
    static INFLATERS: RefCell<Inflaters> = const { RefCell::new(Vec::new()) };
}

/// What compressors differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) level: u8,
    pub(super) bits: u8,
}

/// A compressor that remembers nothing.
pub(super) fn lend_compressor(kind: Kind) -> Box<Compress> {
    let kept = COMPRESSORS.try_with(|compressors| {
        let mut compressors = compressors.borrow_mut();
        let at = compressors.iter().position(|(known, _)| *known == kind)?;
        Some(compressors.swap_remove(at).1)
    });
    kept.ok().flatten().unwrap_or_else(|| {
        // There is no raw window of 8 bits in zlib. One of 9 does in its place: it holds 512 bytes, of
        // which zlib's compressors keep 262 free to look ahead, so that no distance is above 250.
        let bits = kind.bits.max(9);
        let level = Compression::new(u32::from(kind.level));
        Box::new(Compress::new_with_window_bits(level, false, bits))
    })
}

/// Takes a compressor back.
pub(super) fn give_back_compressor(kind: Kind, mut compressor: Box<Compress>) {
    compressor.reset();
    // A thread that ends keeps nothing.
    let _ = COMPRESSORS.try_with(|compressors| {
        let mut compressors = compressors.borrow_mut();
        if compressors.len() < KEPT {
            compressors.push((kind, compressor));
        }
    });
}

/// An inflater that remembers nothing.
///
/// Its window is the largest one always: zlib-rs makes none that takes less, and a smaller one would
/// find fault with peers whose zlib takes 8 bits for 9.
pub(super) fn lend_inflater() -> Box<Inflate> {
    let kept = INFLATERS.try_with(|inflaters| inflaters.borrow_mut().pop());
    kept.ok().flatten().unwrap_or_else(|| Box::new(Inflate::new(false, 15)))
}

/// Takes an inflater back.
pub(super) fn give_back_inflater(mut inflater: Box<Inflate>) {
    inflater.reset(false);
    let _ = INFLATERS.try_with(|inflaters| {
        let mut inflaters = inflaters.borrow_mut();
        if inflaters.len() < KEPT {
            inflaters.push(inflater);
        }
    });
}

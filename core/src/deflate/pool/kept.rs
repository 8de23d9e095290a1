//! The compressors and inflaters that a thread keeps.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::RefCell;

use zlib_rs::{Deflate as Compressor, Inflate};

use super::Kind;

/// The largest number of each that a thread keeps. More than one are in use at a time only while several
/// messages are sent or received in parts.
const KEPT: usize = 4;

// Boxed, since connections hold them as boxes: one without an inflater spends only a pointer on it.
#[allow(clippy::vec_box)]
type Inflaters = Vec<Box<Inflate>>;

std::thread_local! {
    static COMPRESSORS: RefCell<Vec<(Kind, Box<Compressor>)>> = const { RefCell::new(Vec::new()) };
    static INFLATERS: RefCell<Inflaters> = const { RefCell::new(Vec::new()) };
}

pub(super) fn take_compressor(kind: Kind) -> Option<Box<Compressor>> {
    let kept = COMPRESSORS.try_with(|compressors| {
        let mut compressors = compressors.borrow_mut();
        let at = compressors.iter().position(|(known, _)| *known == kind)?;
        Some(compressors.swap_remove(at).1)
    });
    kept.ok().flatten()
}

pub(super) fn keep_compressor(kind: Kind, compressor: Box<Compressor>) {
    // Fails while the thread ends: then the compressor is dropped.
    let _ = COMPRESSORS.try_with(|compressors| {
        let mut compressors = compressors.borrow_mut();
        if compressors.len() < KEPT {
            compressors.push((kind, compressor));
        }
    });
}

pub(super) fn take_inflater() -> Option<Box<Inflate>> {
    INFLATERS.try_with(|inflaters| inflaters.borrow_mut().pop()).ok().flatten()
}

pub(super) fn keep_inflater(inflater: Box<Inflate>) {
    let _ = INFLATERS.try_with(|inflaters| {
        let mut inflaters = inflaters.borrow_mut();
        if inflaters.len() < KEPT {
            inflaters.push(inflater);
        }
    });
}

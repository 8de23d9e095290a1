//! DEFLATE by other hands, and the settings that the cases run through.

use miniz_oxide::deflate::core::{CompressorOxide, create_comp_flags_from_zip_params};
use miniz_oxide::deflate::stream::deflate;
use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZFlush};
use sockless_core::{Config, Deflate, Rsv};

/// The first byte of a compressed message of one frame.
pub(crate) const RSV1: u8 = 0x40;

/// The same with a bit that no extension owns.
pub(crate) const RSV2: u8 = 0x20;

/// The bytes that end a flush.
pub(crate) const TAIL: &[u8] = &[0, 0, 0xFF, 0xFF];

/// All four agreements about what is taken over.
pub(crate) const TAKEOVERS: [(bool, bool); 4] =
    [(false, false), (false, true), (true, false), (true, true)];

/// Settings that compress everything.
pub(crate) fn eager() -> Deflate {
    Deflate::default().min_len(0)
}

/// The same, with what the server's and the client's end take over.
pub(crate) fn taking_over((server, client): (bool, bool)) -> Deflate {
    eager().server_no_context_takeover(!server).client_no_context_takeover(!client)
}

pub(crate) fn with(deflate: Deflate) -> Config {
    Config::default().extension(deflate)
}

/// A compressor that is not ours.
pub(crate) struct Compressor(Box<CompressorOxide>);

impl Compressor {
    pub(crate) fn new() -> Self {
        // A negative window makes a raw stream.
        let flags = create_comp_flags_from_zip_params(6, -15, 0);
        Self(Box::new(CompressorOxide::new(flags)))
    }

    /// A message as it travels: flushed, and without the tail (RFC 7692 §7.2.1).
    pub(crate) fn message(&mut self, mut input: &[u8]) -> Vec<u8> {
        let mut out = vec![0; input.len() * 2 + 1000];
        let mut len = 0;
        loop {
            let done = deflate(&mut self.0, input, &mut out[len..], MZFlush::Sync);
            input = &input[done.bytes_consumed..];
            len += done.bytes_written;
            if input.is_empty() && len < out.len() {
                break;
            }
        }
        out.truncate(len);
        assert_eq!(out.split_off(len - 4), TAIL);
        out
    }
}

/// An inflater that is not ours.
pub(crate) struct Inflater(Box<InflateState>);

impl Inflater {
    pub(crate) fn new() -> Self {
        Self(InflateState::new_boxed(DataFormat::Raw))
    }

    /// The payload of a message, of at most 1 MiB.
    pub(crate) fn message(&mut self, payload: &[u8]) -> Vec<u8> {
        let input = [payload, TAIL].concat();
        let (mut at, mut out, mut len) = (0, vec![0; 2 << 20], 0);
        loop {
            let done = inflate(&mut self.0, &input[at..], &mut out[len..], MZFlush::Sync);
            at += done.bytes_consumed;
            len += done.bytes_written;
            if at == input.len() && done.bytes_written == 0 {
                break;
            }
            assert!(done.bytes_consumed + done.bytes_written > 0, "{:?}", done.status);
        }
        out.truncate(len);
        out
    }
}

/// Text that compresses, the same for the same seed.
pub(crate) fn prose(len: usize, seed: u64) -> String {
    let mut chance = fastrand::Rng::with_seed(seed);
    let words = ["tide", "harbour", "lantern", "€", "sailing", "{\"id\":", "7", "…", " "];
    let mut text = String::new();
    while text.len() < len {
        text.push_str(words[chance.usize(..words.len())]);
    }
    while text.len() > len {
        text.pop();
    }
    text
}

/// Bytes that do not compress, the same for the same seed.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut chance = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| chance.u8(..)).take(len).collect()
}

/// A bit that deflate does not own.
pub(crate) const FOREIGN: Rsv = Rsv::RSV2;

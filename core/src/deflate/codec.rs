//! permessage-deflate at work on one connection (RFC 7692 §7.2).

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;
use flate2::{Compress, FlushCompress};
use zlib_rs::{Inflate, InflateFlush, Status};

use super::Settings;
use super::pool::{self, Kind};
use crate::close::CloseCode;
use crate::extension::{ChunkInfo, Codec, CodecError, Decoded, Encoded};
use crate::frame::Rsv;

/// What a sync flush ends with, which does not travel (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];

/// What stands at the end of a message in place of nothing at all: with the tail it is an empty block
/// (RFC 7692 §7.2.3.6).
const NOTHING: u8 = 0;

/// Two empty blocks: a stream that is between two blocks, and no other, stops after the first.
const EMPTY_BLOCKS: [u8; 10] = [0, 0, 0, 0xFF, 0xFF, 0, 0, 0, 0xFF, 0xFF];

/// A message may inflate to this much at any ratio.
const RATIO_ALLOWANCE: u64 = 4096;

/// What came counts for the ratio by steps of so many bytes, as soon as one begins: what a step inflates to
/// has one bound then, however its bytes were cut.
const RATIO_STEP: u8 = 64;

/// How one direction compresses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context {
    /// The size of the window, as a power of two.
    pub(super) bits: u8,
    /// Whether a message may refer to those before it.
    pub(super) takeover: bool,
}

pub(super) struct DeflateCodec {
    settings: Arc<Settings>,
    encoder: Encoder,
    decoder: Decoder,
}

struct Encoder {
    context: Context,
    /// Made for the first message that needs it, and kept while it has something to remember.
    compressor: Option<Box<Compress>>,
    /// The message that is being sent in pieces is compressed.
    compressing: bool,
}

struct Decoder {
    context: Context,
    /// Made for the first message that needs it, and kept while it has something to remember.
    inflater: Option<Box<Inflate>>,
    /// How many bytes of the message were read and written.
    read: u64,
    written: u64,
    /// How far the step goes that is being read, where there is a `max_ratio`.
    step_left: u8,
    /// The bytes of the message ended with the end of a stream.
    at_end: bool,
    /// The stream is corrupt behind what was written.
    corrupt: bool,
}

/// How far one step of an inflater came.
struct Inflated {
    read: usize,
    written: usize,
}

impl DeflateCodec {
    pub(super) fn new(settings: Arc<Settings>, outgoing: Context, incoming: Context) -> Self {
        let encoder = Encoder { context: outgoing, compressor: None, compressing: false };
        let decoder = Decoder {
            context: incoming,
            inflater: None,
            read: 0,
            written: 0,
            step_left: RATIO_STEP,
            at_end: false,
            corrupt: false,
        };
        Self { settings, encoder, decoder }
    }
}

impl fmt::Debug for DeflateCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeflateCodec")
            .field("outgoing", &self.encoder.context)
            .field("incoming", &self.decoder.context)
            .finish_non_exhaustive()
    }
}

impl Codec for DeflateCodec {
    fn encode(&mut self, part: ChunkInfo, payload: Bytes) -> Result<Encoded, CodecError> {
        if part.first {
            self.encoder.compressing = self.settings.compresses(part, &payload);
        }
        if !self.encoder.compressing {
            return Ok(Encoded { rsv: Rsv::NONE, payload });
        }
        let kind = Kind { level: self.settings.level, bits: self.encoder.context.bits };
        self.encoder.encode(kind, part, payload)
    }

    fn decode(
        &mut self,
        input: &[u8],
        last: bool,
        output: &mut [u8],
    ) -> Result<Decoded, CodecError> {
        let decoded = self.decoder.decode(input, last, output, self.settings.max_ratio)?;
        if decoded.done && last {
            self.decoder.finish();
        }
        Ok(decoded)
    }

    fn fingerprint(&self) -> Option<u64> {
        let Context { bits, takeover } = self.encoder.context;
        // The same settings, by their place in memory, compress alike.
        let settings = Arc::as_ptr(&self.settings) as usize as u64;
        (!takeover).then(|| settings.rotate_left(8) ^ u64::from(bits))
    }

    fn try_clone(&self) -> Option<Box<dyn Codec>> {
        let is_fresh = self.encoder.compressor.is_none() && self.decoder.inflater.is_none();
        let (outgoing, incoming) = (self.encoder.context, self.decoder.context);
        is_fresh.then(|| Box::new(Self::new(self.settings.clone(), outgoing, incoming)) as _)
    }
}

impl Encoder {
    fn encode(
        &mut self,
        kind: Kind,
        part: ChunkInfo,
        payload: Bytes,
    ) -> Result<Encoded, CodecError> {
        let mut compressor = self.compressor.take().unwrap_or_else(|| pool::lend_compressor(kind));
        let is_whole = part.first && part.last;
        // What gets no shorter goes out as it is; that is settled before the first byte of it leaves.
        let limit = if is_whole { payload.len() + TAIL.len() } else { usize::MAX };
        let mut out = Vec::with_capacity((payload.len() / 2 + 64).min(limit));
        let fits = compress(&mut compressor, &payload, &mut out, limit)?;
        if !fits {
            // The peer's inflater does not learn of what it never gets.
            forget(&mut compressor)?;
        }
        if part.last && !self.context.takeover {
            pool::give_back_compressor(kind, compressor);
        } else {
            self.compressor = Some(compressor);
        }
        if !fits {
            return Ok(Encoded { rsv: Rsv::NONE, payload });
        }
        if part.last {
            out.truncate(out.len().saturating_sub(TAIL.len()));
            if out.is_empty() {
                out.push(NOTHING);
            }
        }
        Ok(Encoded { rsv: Rsv::RSV1, payload: out.into() })
    }
}

/// Has a compressor begin anew that was left before all its output was taken.
///
/// zlib-rs 0.6.8 keeps the place of what it has not given out yet: with each stream that is left so, there
/// is less room in its buffer, until it panics. So all of it is taken.
fn forget(compressor: &mut Compress) -> Result<(), CodecError> {
    let mut rest = [0; 1024];
    loop {
        let before = compressor.total_out();
        compressor.compress(&[], &mut rest, FlushCompress::Sync).map_err(|_| ZLIB_FAILED)?;
        if compressor.total_out() - before < rest.len() as u64 {
            break;
        }
    }
    compressor.reset();
    Ok(())
}

/// Compresses all of `input` and flushes, so that whoever inflates the bytes has all of it; false when
/// that takes `limit` bytes or more.
fn compress(
    compressor: &mut Compress,
    mut input: &[u8],
    out: &mut Vec<u8>,
    limit: usize,
) -> Result<bool, CodecError> {
    loop {
        if out.len() == out.capacity() {
            out.reserve_exact(out.len().clamp(64, limit.saturating_sub(out.len()).max(64)));
        }
        let before = compressor.total_in();
        compressor.compress_vec(input, out, FlushCompress::Sync).map_err(|_| ZLIB_FAILED)?;
        input = &input[(compressor.total_in() - before) as usize..];
        if out.len() >= limit {
            return Ok(false);
        }
        if input.is_empty() && out.len() < out.capacity() {
            return Ok(true);
        }
    }
}

impl Decoder {
    fn decode(
        &mut self,
        input: &[u8],
        last: bool,
        output: &mut [u8],
        max_ratio: Option<u32>,
    ) -> Result<Decoded, CodecError> {
        let (mut read, mut written) = (0, 0);
        loop {
            let allowed = max_ratio
                .map_or(u64::MAX, |ratio| self.max_len(ratio).saturating_sub(self.written));
            // What came out before a fault counts first, so that it is the same however the bytes were
            // cut: the next call has nothing else.
            let stops = self.corrupt || allowed == 0 || written == output.len();
            if written > 0 && stops {
                return Ok(Decoded { read, written, done: false });
            }
            if self.corrupt {
                return Err(CORRUPT);
            }
            let offered = &input[read..];
            let useful = max_ratio.map_or(offered.len(), |_| self.step_left.into());
            let offered = &offered[..useful.min(offered.len())];
            // One byte more than is allowed tells that there is more.
            let room = usize::try_from(allowed.max(1)).unwrap_or(usize::MAX);
            let room = room.min(output.len() - written);
            let step = self.inflate(offered, &mut output[written..][..room], InflateFlush::NoFlush);
            read += step.read;
            written += step.written;
            self.read += step.read as u64;
            self.written += step.written as u64;
            if max_ratio.is_some() {
                self.step_left -= step.read as u8;
            }
            if step.written as u64 > allowed {
                return Err(RATIO_EXCEEDED);
            }
            if self.corrupt || step.written == room {
                continue;
            }
            if read == input.len() {
                break;
            }
            if step.read == offered.len() {
                self.step_left = RATIO_STEP;
            } else {
                self.corrupt = step.read == 0 && step.written == 0;
            }
        }
        if last {
            if written > 0 {
                // It counts before a message that is cut off, which the next call looks for.
                return Ok(Decoded { read, written, done: false });
            }
            self.inflate_tail()?;
        }
        Ok(Decoded { read, written, done: true })
    }

    /// To how much the message may inflate by the end of the step that is being read.
    fn max_len(&self, max_ratio: u32) -> u64 {
        let read = self.read + u64::from(self.step_left);
        read.saturating_mul(max_ratio.into()).saturating_add(RATIO_ALLOWANCE)
    }

    /// Inflates what it can; nothing more once it has found the stream to be corrupt.
    fn inflate(&mut self, input: &[u8], output: &mut [u8], flush: InflateFlush) -> Inflated {
        if self.corrupt {
            return Inflated { read: 0, written: 0 };
        }
        let inflater = self.inflater.get_or_insert_with(pool::lend_inflater);
        let (in_before, out_before) = (inflater.total_in(), inflater.total_out());
        let status = inflater.decompress(input, output, flush);
        let read = (inflater.total_in() - in_before) as usize;
        let written = (inflater.total_out() - out_before) as usize;
        self.corrupt = status.is_err();
        if read > 0 || written > 0 {
            self.at_end = status == Ok(Status::StreamEnd);
        }
        if status == Ok(Status::StreamEnd) {
            // A block may be marked as the last; another stream may follow (RFC 7692 §7.2.3.5).
            inflater.reset(false);
        }
        Inflated { read, written }
    }

    /// Puts back the tail that did not travel (RFC 7692 §7.2.2), and checks that the message ends
    /// between two blocks: one that is cut off takes what follows for a part of its own.
    fn inflate_tail(&mut self) -> Result<(), CodecError> {
        if core::mem::take(&mut self.at_end) {
            return Ok(());
        }
        for (input, len) in [(&TAIL[..], TAIL.len()), (&EMPTY_BLOCKS, EMPTY_BLOCKS.len() / 2)] {
            let step = self.inflate(input, &mut [0; 16], InflateFlush::Block);
            if self.corrupt || step.read != len || step.written > 0 || self.at_end {
                return Err(TRUNCATED);
            }
        }
        Ok(())
    }

    /// The message has ended.
    fn finish(&mut self) {
        (self.read, self.written, self.step_left) = (0, 0, RATIO_STEP);
        if !self.context.takeover
            && let Some(inflater) = self.inflater.take()
        {
            pool::give_back_inflater(inflater);
        }
    }
}

const ZLIB_FAILED: CodecError = CodecError::new(CloseCode::INTERNAL_ERROR, "zlib failed");
const CORRUPT: CodecError =
    CodecError::new(CloseCode::INVALID_PAYLOAD, "a message cannot be inflated");
const TRUNCATED: CodecError =
    CodecError::new(CloseCode::INVALID_PAYLOAD, "a compressed message is cut off");
const RATIO_EXCEEDED: CodecError = CodecError::new(
    CloseCode::MESSAGE_TOO_BIG,
    "a message inflates to more than max_ratio times its length",
);

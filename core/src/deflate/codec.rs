//! The codec of permessage-deflate (RFC 7692 §7.2): [`DeflateCodec`].

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;
use zlib_rs::{Deflate as Compressor, DeflateFlush, Inflate, InflateFlush, Status};

use super::Settings;
use super::pool::{self, Kind};
use crate::close::CloseCode;
use crate::extension::{ChunkInfo, Codec, CodecError, Decoded, Encoded};
use crate::frame::Rsv;

/// The end of a sync flush, which is not sent (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];

/// The payload of a message that compresses to nothing but the tail: with the tail it is an empty block
/// (RFC 7692 §7.2.3.6).
const NOTHING: u8 = 0;

/// Two empty blocks: only an inflater that is between two blocks stops after the first.
const EMPTY_BLOCKS: [u8; 10] = [0, 0, 0, 0xFF, 0xFF, 0, 0, 0, 0xFF, 0xFF];

/// A message may inflate to this many bytes at any ratio.
const RATIO_ALLOWANCE: u64 = 4096;

/// The compressed length counts for the ratio in steps of this many bytes, each as soon as it begins: so the
/// limit does not depend on how the bytes were split.
const RATIO_STEP: u8 = 64;

/// The parameters of compression in one direction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context {
    /// The size of the window, as a power of two.
    pub(super) bits: u8,
    /// True if a message may refer to earlier ones.
    pub(super) takeover: bool,
}

pub(super) struct DeflateCodec {
    settings: Arc<Settings>,
    encoder: Encoder,
    decoder: Decoder,
}

struct Encoder {
    context: Context,
    /// Borrowed from the pool for the first message that needs it, and kept during context takeover or
    /// until the last chunk of a message.
    compressor: Option<Box<Compressor>>,
    /// True if the message that is being sent in chunks is compressed.
    compressing: bool,
}

struct Decoder {
    context: Context,
    /// Borrowed from the pool for the first message that needs it, and kept during context takeover or
    /// until the message ends.
    inflater: Option<Box<Inflate>>,
    /// The numbers of bytes of the message that were read and written.
    read: u64,
    written: u64,
    /// The number of bytes left in the current step, if there is a `max_ratio`.
    step_left: u8,
    /// True if the bytes read so far end with the end of a DEFLATE stream.
    at_end: bool,
    /// True if the stream is corrupt after the bytes that were written.
    corrupt: bool,
}

/// The progress of one call of the inflater.
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
    fn encode(&mut self, chunk: ChunkInfo, payload: Bytes) -> Result<Encoded, CodecError> {
        if chunk.first {
            self.encoder.compressing = self.settings.compresses(chunk, &payload);
        }
        if !self.encoder.compressing {
            return Ok(Encoded { rsv: Rsv::NONE, payload });
        }
        let kind = Kind { level: self.settings.level, bits: self.encoder.context.bits };
        self.encoder.encode(kind, chunk, payload)
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
        // Codecs with the same instance of the settings compress alike.
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
        chunk: ChunkInfo,
        payload: Bytes,
    ) -> Result<Encoded, CodecError> {
        let mut compressor = self.compressor.take().unwrap_or_else(|| pool::lend_compressor(kind));
        let is_whole = chunk.first && chunk.last;
        // A message that does not become shorter is sent uncompressed; a chunk cannot be, since this is
        // decided before the first byte of a message is sent.
        let limit = if is_whole { payload.len() + TAIL.len() } else { usize::MAX };
        let mut out = Vec::new();
        let fits = compress(&mut compressor, &payload, &mut out, limit)?;
        if !fits {
            // The peer's inflater does not see this message, so the compressor must not refer to it.
            forget(&mut compressor)?;
        }
        if chunk.last && !self.context.takeover {
            pool::give_back_compressor(kind, compressor);
        } else {
            self.compressor = Some(compressor);
        }
        if !fits {
            return Ok(Encoded { rsv: Rsv::NONE, payload });
        }
        if chunk.last {
            out.truncate(out.len().saturating_sub(TAIL.len()));
            if out.is_empty() {
                out.push(NOTHING);
            }
        }
        Ok(Encoded { rsv: Rsv::RSV1, payload: out.into() })
    }
}

/// Resets a compressor whose output was not read to the end.
///
/// The rest of the output is read first: zlib-rs 0.6.8 does not release the room of unread output in its
/// buffer, and panics once none is left.
fn forget(compressor: &mut Compressor) -> Result<(), CodecError> {
    let mut rest = [0; 1024];
    loop {
        let before = compressor.total_out();
        compressor.compress(&[], &mut rest, DeflateFlush::SyncFlush).map_err(|_| ZLIB_FAILED)?;
        if compressor.total_out() - before < rest.len() as u64 {
            break;
        }
    }
    compressor.reset();
    Ok(())
}

/// Compresses all of `input` to `out` and flushes, so that the output inflates to all of it; false if the
/// output has `limit` bytes or more.
fn compress(
    compressor: &mut Compressor,
    mut input: &[u8],
    out: &mut Vec<u8>,
    limit: usize,
) -> Result<bool, CodecError> {
    let mut len = 0;
    make_room(out, (input.len() / 2 + 64).min(limit))?;
    loop {
        if len == out.len() {
            make_room(out, len.clamp(64, limit.saturating_sub(len).max(64)))?;
        }
        let before = (compressor.total_in(), compressor.total_out());
        let room = &mut out[len..];
        compressor.compress(input, room, DeflateFlush::SyncFlush).map_err(|_| ZLIB_FAILED)?;
        input = &input[(compressor.total_in() - before.0) as usize..];
        len += (compressor.total_out() - before.1) as usize;
        if len >= limit {
            return Ok(false);
        }
        if input.is_empty() && len < out.len() {
            out.truncate(len);
            return Ok(true);
        }
    }
}

/// Appends `len` bytes to be written to.
fn make_room(out: &mut Vec<u8>, len: usize) -> Result<(), CodecError> {
    out.try_reserve_exact(len).map_err(|_| OUT_OF_MEMORY)?;
    out.resize(out.len() + len, 0);
    Ok(())
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
            // Output before an error is returned first, so that the result does not depend on how the
            // bytes were split: the next call returns the error.
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
            // Room for one byte more than is allowed shows whether the limit is exceeded.
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
                // Output is returned before the error of a truncated message, which the next call finds.
                return Ok(Decoded { read, written, done: false });
            }
            self.inflate_tail()?;
        }
        Ok(Decoded { read, written, done: true })
    }

    /// The length to which the message may inflate by the end of the current step.
    fn max_len(&self, max_ratio: u32) -> u64 {
        let read = self.read + u64::from(self.step_left);
        read.saturating_mul(max_ratio.into()).saturating_add(RATIO_ALLOWANCE)
    }

    /// Inflates as much as it can; nothing once the stream is known to be corrupt.
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
            // A block may be marked as the last, and another stream may follow (RFC 7692 §7.2.3.5).
            inflater.reset(false);
        }
        Inflated { read, written }
    }

    /// Appends the tail that was not sent (RFC 7692 §7.2.2), and checks that the message ends between two
    /// blocks: a truncated message would take the next bytes for its own.
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

    /// Prepares for the next message.
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
const OUT_OF_MEMORY: CodecError = CodecError::new(CloseCode::INTERNAL_ERROR, "out of memory");
const CORRUPT: CodecError =
    CodecError::new(CloseCode::INVALID_PAYLOAD, "a message cannot be inflated");
const TRUNCATED: CodecError =
    CodecError::new(CloseCode::INVALID_PAYLOAD, "a compressed message is cut off");
const RATIO_EXCEEDED: CodecError = CodecError::new(
    CloseCode::MESSAGE_TOO_BIG,
    "a message inflates to more than max_ratio times its length",
);

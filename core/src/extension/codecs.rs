//! The chain of codecs of a connection: [`Codecs`].

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use super::{Agreed, ChunkInfo, CodecError, Decoded, Direction, Encoded, Params};
use crate::close::CloseCode;
use crate::error::ProtocolError;
use crate::frame::{FrameHead, Rsv};

/// The largest number of bytes that are decoded in one step.
const CHUNK_LEN: usize = 16 << 10;

/// How much longer a message counts as than it is: what a codec does once for each.
const MESSAGE_LEN: usize = 1 << 10;

/// The codecs of a connection, in the order in which sent messages pass them.
#[derive(Debug, Default)]
pub(crate) struct Codecs(Option<Box<List>>);

/// Boxed, since most connections have no codecs and should spend only a pointer on them.
#[derive(Debug)]
struct List {
    agreed: Vec<Agreed>,
    /// The number of bytes that may be decoded before the caller has something else to do.
    budget: usize,
    /// The number of bytes that were encoded and decoded and are not accounted for yet.
    coded: usize,
}

impl Codecs {
    pub(crate) fn new(agreed: Vec<Agreed>) -> Self {
        if agreed.is_empty() {
            return Self(None);
        }
        // A new block instead of a shrunk one, which would fragment the heap with each connection.
        let mut exact = Vec::with_capacity(agreed.len());
        exact.extend(agreed);
        Self(Some(Box::new(List { agreed: exact, budget: usize::MAX, coded: 0 })))
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Sets the number of bytes that may be decoded.
    #[inline]
    pub(crate) fn set_budget(&mut self, bytes: usize) {
        if let Some(list) = &mut self.0 {
            list.budget = bytes;
        }
    }

    /// Returns true if nothing more may be decoded for now.
    pub(crate) fn is_spent(&self) -> bool {
        self.0.as_ref().is_some_and(|list| list.budget == 0)
    }

    /// Returns how many of them are left, and lifts the limit.
    #[inline]
    pub(crate) fn lift_budget(&mut self) -> usize {
        let lift = |list: &mut Box<List>| core::mem::replace(&mut list.budget, usize::MAX);
        self.0.as_mut().map_or(usize::MAX, lift)
    }

    /// Returns how many bytes were encoded and decoded since the last call, in their length for the
    /// application, with 1 KiB more for each message.
    #[inline]
    pub(crate) fn take_coded(&mut self) -> usize {
        self.0.as_mut().map_or(0, |list| core::mem::take(&mut list.coded))
    }

    fn note_coded(&mut self, bytes: usize) {
        if let Some(list) = &mut self.0 {
            list.coded = list.coded.saturating_add(bytes);
        }
    }

    fn spend(&mut self, bytes: usize) {
        self.note_coded(bytes);
        if let Some(list) = &mut self.0 {
            list.budget = list.budget.saturating_sub(bytes);
        }
    }

    fn all(&self) -> &[Agreed] {
        self.0.as_ref().map_or(&[], |list| &list.agreed)
    }

    fn all_mut(&mut self) -> &mut [Agreed] {
        self.0.as_mut().map_or(&mut [], |list| &mut list.agreed)
    }

    /// The negotiated parameters of each extension.
    pub(crate) fn params(&self) -> impl Iterator<Item = &Params> {
        self.all().iter().map(Agreed::params)
    }

    /// All reserved bits that the codecs use.
    pub(crate) fn rsv(&self) -> Rsv {
        self.all().iter().fold(Rsv::NONE, |all, agreed| all.union(agreed.rsv))
    }

    pub(crate) fn observe(&mut self, direction: Direction, head: &FrameHead) {
        self.all_mut().iter_mut().for_each(|agreed| agreed.codec.observe(direction, head));
    }

    /// Encodes a message or a chunk; an error comes with the name of the extension.
    pub(crate) fn encode(
        &mut self,
        chunk: ChunkInfo,
        payload: Bytes,
    ) -> Result<Encoded, (&'static str, CodecError)> {
        self.note_coded(payload.len());
        let mut encoded = Encoded { rsv: Rsv::NONE, payload };
        for agreed in self.all_mut() {
            let coded = agreed.codec.encode(chunk, encoded.payload);
            let Encoded { rsv, payload } = coded.map_err(|error| (agreed.name, error))?;
            // Only the first frame of a message has the bit.
            let rsv = if chunk.first { rsv.intersection(agreed.rsv) } else { Rsv::NONE };
            encoded = Encoded { rsv: encoded.rsv.union(rsv), payload };
        }
        if encoded.rsv != Rsv::NONE {
            self.note_coded(MESSAGE_LEN);
        }
        Ok(encoded)
    }

    /// Identifies the encoding of a message; `None` if it depends on earlier messages.
    pub(crate) fn fingerprint(&self) -> Option<Vec<(&'static str, u64)>> {
        self.all().iter().map(|agreed| Some((agreed.name, agreed.codec.fingerprint()?))).collect()
    }

    /// Begins to decode a message with the bits `rsv` and a first frame of `len` bytes.
    pub(crate) fn begin(&mut self, rsv: Rsv, len: u64) -> Decoding {
        self.note_coded(MESSAGE_LEN);
        let owners = self.all().iter().enumerate().rev();
        let active = owners.filter(|(_, agreed)| agreed.rsv.intersects(rsv));
        let stages =
            active.map(|(codec, _)| Stage { codec, pending: Vec::new(), done: true, last: false });
        let stages = stages.collect::<Vec<_>>();
        // Most messages compress to a quarter or less; longer ones take several steps.
        let chunk_len = usize::try_from(len.saturating_mul(4)).unwrap_or(CHUNK_LEN);
        let chunk = alloc::vec![0; chunk_len.clamp(256, CHUNK_LEN)];
        Decoding { stages, chunk, written: 0, is_put_back: false, len: 0, done: true }
    }

    pub(crate) fn try_clone(&self) -> Option<Self> {
        let clone = |agreed: &Agreed| {
            let codec = agreed.codec.try_clone()?;
            Some(Agreed { params: agreed.params.clone(), codec, ..*agreed })
        };
        self.all().iter().map(clone).collect::<Option<_>>().map(Self::new)
    }
}

/// A message that is being decoded.
#[derive(Clone, Debug)]
pub(crate) struct Decoding {
    /// The codecs of this message, in the order in which it passes them.
    stages: Vec<Stage>,
    /// The output of the last stage, and the number of bytes in it.
    chunk: Vec<u8>,
    written: usize,
    /// True if the next step returns that output again.
    is_put_back: bool,
    /// The decoded length of the message so far.
    len: u64,
    /// True if all input has been decoded and returned.
    done: bool,
}

/// A codec that takes part in decoding a message.
#[derive(Clone, Debug)]
struct Stage {
    /// The index of the codec in the chain.
    codec: usize,
    /// The bytes that the previous stage has written and this one has not read; unused in the first.
    pending: Vec<u8>,
    /// True if all its input has been decoded.
    done: bool,
    /// True once it was called with `last`.
    last: bool,
}

/// The result of [`Decoding::step`].
pub(crate) struct Step<'a> {
    /// The number of bytes that were read from the input.
    pub(crate) read: usize,
    /// The decoded bytes.
    pub(crate) output: &'a [u8],
    /// The decoded length of the message so far.
    pub(crate) len: u64,
    /// True if the whole input was read, and everything that it decodes to was returned.
    pub(crate) done: bool,
}

/// The bytes of a message that have arrived; `last` is true if they are its end.
struct Input<'a> {
    bytes: &'a [u8],
    last: bool,
}

impl Decoding {
    /// Decodes from the start of `bytes` to at most `room` bytes, which must not be 0.
    pub(crate) fn step(
        &mut self,
        codecs: &mut Codecs,
        bytes: &[u8],
        last: bool,
        room: usize,
    ) -> Result<Step<'_>, ProtocolError> {
        let mut input = Input { bytes, last };
        if !core::mem::take(&mut self.is_put_back) {
            let room = room.min(self.chunk.len());
            (self.written, self.done) =
                pull(codecs, &mut self.stages, &mut input, &mut self.chunk[..room])?;
            codecs.spend(self.written);
            self.len += self.written as u64;
        }
        let read = bytes.len() - input.bytes.len();
        let output = &self.chunk[..self.written];
        Ok(Step { read, output, len: self.len, done: self.done })
    }

    /// Makes the next step return the output of the last one again.
    pub(crate) fn put_back(&mut self) {
        self.is_put_back = true;
    }

    /// The decoded length of the message so far.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// True if a step without more input would return nothing.
    pub(crate) fn is_done(&self) -> bool {
        self.done && !self.is_put_back
    }
}

/// Makes the last of `stages` write to `output`. Returns the number of bytes written, and true if the input
/// is exhausted.
fn pull(
    codecs: &mut Codecs,
    stages: &mut [Stage],
    input: &mut Input<'_>,
    output: &mut [u8],
) -> Result<(usize, bool), ProtocolError> {
    let Some((stage, before)) = stages.split_last_mut() else {
        return Ok((0, true));
    };
    loop {
        if stage.done && stage.last {
            return Ok((0, true));
        }
        let is_first = before.is_empty();
        let mut drained = is_first || stage.last;
        // The output of this stage comes before an error of the previous one.
        if !drained && stage.done && stage.pending.is_empty() {
            let mut passed = core::mem::take(&mut stage.pending);
            passed.resize(CHUNK_LEN, 0);
            let (len, all) = pull(codecs, before, input, &mut passed)?;
            passed.truncate(len);
            stage.pending = passed;
            drained = all;
        }
        let source = if is_first { input.bytes } else { &stage.pending[..] };
        stage.last |= input.last && drained;
        if source.is_empty() && stage.done && !stage.last {
            return Ok((0, drained));
        }
        let Agreed { name, codec, .. } = &mut codecs.all_mut()[stage.codec];
        let failed = |error| ProtocolError::CodecFailed { name, error };
        let Decoded { read, written, done } =
            codec.decode(source, stage.last, output).map_err(failed)?;
        if read == 0 && written == 0 && !done {
            return Err(failed(STUCK));
        }
        stage.done = done;
        if is_first {
            input.bytes = &input.bytes[read..];
        } else {
            stage.pending.drain(..read);
        }
        let all = done && drained;
        if written > 0 || all || is_first {
            return Ok((written, all));
        }
    }
}

/// Reported if a codec neither reads nor writes: otherwise it would be called forever.
const STUCK: CodecError = CodecError::new(CloseCode::INTERNAL_ERROR, "decoding makes no progress");

//! The codecs of one connection, one behind the other.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use super::{Agreed, ChunkInfo, CodecError, Decoded, Direction, Encoded, Params};
use crate::close::CloseCode;
use crate::error::ProtocolError;
use crate::frame::{FrameHead, Rsv};

/// How much is decoded at a time.
const CHUNK_LEN: usize = 16 << 10;

/// The codecs of a connection, in the order in which what is sent passes them.
#[derive(Debug, Default)]
pub(crate) struct Codecs(Option<Box<List>>);

/// What few connections have: most keep no more than a pointer's room for it.
#[derive(Debug)]
struct List {
    agreed: Vec<Agreed>,
}

impl Codecs {
    pub(crate) fn new(agreed: Vec<Agreed>) -> Self {
        if agreed.is_empty() {
            return Self(None);
        }
        // Anew rather than shrunk, which would leave a hole in the heap for each connection.
        let mut exact = Vec::with_capacity(agreed.len());
        exact.extend(agreed);
        Self(Some(Box::new(List { agreed: exact })))
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    fn all(&self) -> &[Agreed] {
        self.0.as_ref().map_or(&[], |list| &list.agreed)
    }

    fn all_mut(&mut self) -> &mut [Agreed] {
        self.0.as_mut().map_or(&mut [], |list| &mut list.agreed)
    }

    /// What was agreed on.
    pub(crate) fn params(&self) -> impl Iterator<Item = &Params> {
        self.all().iter().map(Agreed::params)
    }

    /// All reserved bits that are owned.
    pub(crate) fn rsv(&self) -> Rsv {
        self.all().iter().fold(Rsv::NONE, |all, agreed| all.union(agreed.rsv))
    }

    pub(crate) fn observe(&mut self, direction: Direction, head: &FrameHead) {
        self.all_mut().iter_mut().for_each(|agreed| agreed.codec.observe(direction, head));
    }

    /// Encodes a part of a message; when a codec fails, it is named.
    pub(crate) fn encode(
        &mut self,
        part: ChunkInfo,
        payload: Bytes,
    ) -> Result<Encoded, (&'static str, CodecError)> {
        let mut encoded = Encoded { rsv: Rsv::NONE, payload };
        for agreed in self.all_mut() {
            let coded = agreed.codec.encode(part, encoded.payload);
            let Encoded { rsv, payload } = coded.map_err(|error| (agreed.name, error))?;
            // A bit stands on the first frame of a message only.
            let rsv = if part.first { rsv.intersection(agreed.rsv) } else { Rsv::NONE };
            encoded = Encoded { rsv: encoded.rsv.union(rsv), payload };
        }
        Ok(encoded)
    }

    /// What an encoding depends on, besides the message; `None` when what was sent before counts.
    pub(crate) fn fingerprint(&self) -> Option<Vec<(&'static str, u64)>> {
        self.all().iter().map(|agreed| Some((agreed.name, agreed.codec.fingerprint()?))).collect()
    }

    /// Decodes a message with the bits `rsv`, of which each has its owner.
    pub(crate) fn begin(&self, rsv: Rsv, len: u64) -> Decoding {
        let owners = self.all().iter().enumerate().rev();
        let active = owners.filter(|(_, agreed)| agreed.rsv.intersects(rsv));
        let stages =
            active.map(|(codec, _)| Stage { codec, pending: Vec::new(), done: true, last: false });
        let stages = stages.collect::<Vec<_>>();
        // Most compress to a quarter or less; what is longer takes its turns.
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
    /// The codecs that work on it, in the order in which what is received passes them.
    stages: Vec<Stage>,
    /// What the last one writes to, and how much of it it has written.
    chunk: Vec<u8>,
    written: usize,
    /// Whether the next step gives that once more.
    is_put_back: bool,
    /// How many bytes have come out.
    len: u64,
    /// Whether all that was given has come out.
    done: bool,
}

/// A codec at work on a message.
#[derive(Clone, Debug)]
struct Stage {
    /// Which one it is.
    codec: usize,
    /// What the codec before it has written and it has not read. The first one reads the transport's.
    pending: Vec<u8>,
    /// Whether all that it was given has come out.
    done: bool,
    /// Whether it was told that nothing follows in the message.
    last: bool,
}

/// What one step gave.
pub(crate) struct Step<'a> {
    /// How much of the input was taken.
    pub(crate) read: usize,
    /// What came out of it.
    pub(crate) output: &'a [u8],
    /// How much has come out of the message.
    pub(crate) len: u64,
    /// Whether the whole input was taken, and all of it has come out.
    pub(crate) done: bool,
}

/// The bytes that a message has at the moment.
struct Input<'a> {
    bytes: &'a [u8],
    last: bool,
}

impl Decoding {
    /// Decodes on from the front of `bytes`, to at most `room` bytes, of which there must be one.
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
            self.len += self.written as u64;
        }
        let read = bytes.len() - input.bytes.len();
        let output = &self.chunk[..self.written];
        Ok(Step { read, output, len: self.len, done: self.done })
    }

    /// Has the next step give once more what the last one gave.
    pub(crate) fn put_back(&mut self) {
        self.is_put_back = true;
    }

    /// How many bytes have come out.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing more comes without more bytes.
    pub(crate) fn is_done(&self) -> bool {
        self.done && !self.is_put_back
    }
}

/// Has the last of `stages` write to `output`; how much it wrote, and whether nothing more comes of
/// the input.
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
        // What it has to write comes before what the one before it finds wrong.
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

/// A codec that neither takes nor gives would be asked for ever.
const STUCK: CodecError = CodecError::new(CloseCode::INTERNAL_ERROR, "decoding makes no progress");

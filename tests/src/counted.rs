//! An extension whose codecs count the bytes that they decode.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use sockless_core::extension::{
    ChunkInfo, Codec, CodecError, Decoded, Direction, Encoded, Extension, Params,
};
use sockless_core::{FrameHead, Rsv};

/// Another extension, and the number of bytes that its codecs have decoded.
#[derive(Clone, Debug)]
pub struct Counted<E> {
    extension: E,
    decoded: Arc<AtomicU64>,
    encoded: Arc<AtomicU64>,
}

#[derive(Debug)]
struct CountedCodec {
    codec: Box<dyn Codec>,
    decoded: Arc<AtomicU64>,
    encoded: Arc<AtomicU64>,
}

impl<E: Extension> Counted<E> {
    /// Counts what the codecs of `extension` decode and encode.
    pub fn new(extension: E) -> Self {
        Self { extension, decoded: Arc::default(), encoded: Arc::default() }
    }

    /// The number of bytes that were decoded so far.
    pub fn decoded(&self) -> u64 {
        self.decoded.load(Ordering::Relaxed)
    }

    /// The number of bytes that were encoded so far, before that.
    pub fn encoded(&self) -> u64 {
        self.encoded.load(Ordering::Relaxed)
    }

    fn count(&self, codec: Box<dyn Codec>) -> Box<dyn Codec> {
        let (decoded, encoded) = (Arc::clone(&self.decoded), Arc::clone(&self.encoded));
        Box::new(CountedCodec { codec, decoded, encoded })
    }
}

impl<E: Extension> Extension for Counted<E> {
    fn name(&self) -> &'static str {
        self.extension.name()
    }

    fn rsv(&self) -> Rsv {
        self.extension.rsv()
    }

    fn offers(&self) -> Vec<Params> {
        self.extension.offers()
    }

    fn answer(&self, offer: &Params) -> Option<(Params, Box<dyn Codec>)> {
        let (params, codec) = self.extension.answer(offer)?;
        Some((params, self.count(codec)))
    }

    fn confirm(&self, answer: &Params) -> Option<Box<dyn Codec>> {
        Some(self.count(self.extension.confirm(answer)?))
    }
}

impl Codec for CountedCodec {
    fn observe(&mut self, direction: Direction, head: &FrameHead) {
        self.codec.observe(direction, head);
    }

    fn encode(&mut self, chunk: ChunkInfo, payload: Bytes) -> Result<Encoded, CodecError> {
        self.encoded.fetch_add(payload.len() as u64, Ordering::Relaxed);
        self.codec.encode(chunk, payload)
    }

    fn decode(
        &mut self,
        input: &[u8],
        last: bool,
        output: &mut [u8],
    ) -> Result<Decoded, CodecError> {
        let decoded = self.codec.decode(input, last, output)?;
        self.decoded.fetch_add(decoded.written as u64, Ordering::Relaxed);
        Ok(decoded)
    }
}

//! Extensions of the protocol (RFC 6455 §9): an [`Extension`] is negotiated, a [`Codec`] transforms
//! messages.
//!
//! Add an extension with [`Config::extension`](crate::Config::extension). The opening handshake offers it
//! (client) or answers an offer (server), and each connection that negotiated it has a codec of its own.
//!
//! A codec that changes payloads uses one of the three reserved bits. Received messages without that bit
//! bypass the codec and are not copied. A codec without a bit can only observe frames.
//!
//! If several extensions are negotiated, sent messages pass their codecs in the order of the server's
//! response, and received messages in the reverse order (RFC 6455 §9.1).
//!
//! ```
//! use bytes::Bytes;
//! use sockless_core::extension::{
//!     ChunkInfo, Codec, CodecError, Decoded, Encoded, Extension, Params,
//! };
//! use sockless_core::{Config, Rsv};
//!
//! /// Sends text in upper case and delivers it in lower case.
//! #[derive(Debug)]
//! struct Shout;
//!
//! impl Extension for Shout {
//!     fn name(&self) -> &'static str {
//!         "x-shout"
//!     }
//!     fn rsv(&self) -> Rsv {
//!         Rsv::RSV3
//!     }
//!     fn answer(&self, _offer: &Params) -> Option<(Params, Box<dyn Codec>)> {
//!         Some((Params::new("x-shout"), Box::new(Shouting)))
//!     }
//!     fn confirm(&self, _answer: &Params) -> Option<Box<dyn Codec>> {
//!         Some(Box::new(Shouting))
//!     }
//! }
//!
//! #[derive(Debug)]
//! struct Shouting;
//!
//! impl Codec for Shouting {
//!     fn encode(&mut self, _chunk: ChunkInfo, payload: Bytes) -> Result<Encoded, CodecError> {
//!         Ok(Encoded { rsv: Rsv::RSV3, payload: payload.to_ascii_uppercase().into() })
//!     }
//!     fn decode(&mut self, input: &[u8], _: bool, output: &mut [u8]) -> Result<Decoded, CodecError> {
//!         let len = input.len().min(output.len());
//!         output[..len].copy_from_slice(&input[..len].to_ascii_lowercase());
//!         Ok(Decoded { read: len, written: len, done: len == input.len() })
//!     }
//! }
//!
//! let config = Config::default().extension(Shout);
//! assert_eq!(config.get_extensions().iter().map(|one| one.name()).collect::<Vec<_>>(), ["x-shout"]);
//! ```

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use crate::frame::{FrameHead, Rsv};
use crate::role::Role;

mod codecs;
mod message_codec;
mod params;

pub use crate::error::CodecError;
pub(crate) use codecs::{Codecs, Decoding};
pub use message_codec::MessageCodec;
pub use params::Params;
#[cfg(feature = "handshake")]
pub(crate) use params::is_token_byte;

/// An extension in a [`Config`](crate::Config): negotiates, and makes a [`Codec`] for each connection.
///
/// The [module](self) has an example.
pub trait Extension: fmt::Debug + Send + Sync {
    /// Returns the registered name (RFC 6455 §11.3.2).
    fn name(&self) -> &'static str;

    /// Returns the reserved bits that the codecs use. Default: none.
    fn rsv(&self) -> Rsv {
        Rsv::NONE
    }

    /// Returns the offers of a client, in order of preference. Default: one, without parameters.
    fn offers(&self) -> Vec<Params> {
        [Params::new(self.name())].into()
    }

    /// Returns the server's answer to an offer, and the codec of the connection; `None` declines the offer.
    /// The offers with this name are tried in order until one is answered.
    fn answer(&self, offer: &Params) -> Option<(Params, Box<dyn Codec>)>;

    /// Returns the codec of a client whose offer the server answered; `None` if the answer does not fit the
    /// offers, which fails the handshake.
    fn confirm(&self, answer: &Params) -> Option<Box<dyn Codec>>;

    /// Returns the codec of the end `role` of a connection whose ends are other programs, which agreed on
    /// `answer`; `None` if the parameters are invalid. Unlike `confirm` it does not compare them with offers:
    /// an observer made none. Default: `None`, so that the extension cannot be observed.
    fn codec(&self, answer: &Params, role: Role) -> Option<Box<dyn Codec>> {
        let _ = (answer, role);
        None
    }

    /// Returns the largest number of bytes that a peer can make one codec hold, for
    /// [`Config::memory_ceiling`](crate::Config::memory_ceiling). Default: 0.
    fn memory_ceiling(&self) -> usize {
        0
    }
}

/// The state of an extension on one connection.
///
/// `decode` is the inverse of `encode`: it receives the output of the `encode` of the peer.
pub trait Codec: fmt::Debug + Send {
    /// Observes the header of each frame that is sent or received. Default: does nothing.
    fn observe(&mut self, direction: Direction, head: &FrameHead) {
        let _ = (direction, head);
    }

    /// Encodes a message that is sent, or a chunk of it. Default: leaves the payload as it is.
    ///
    /// Of the returned bits, those that the extension does not use are ignored, and so are all that are
    /// returned with a chunk after the first.
    ///
    /// # Errors
    ///
    /// An error closes the connection with 1011, whatever its code.
    fn encode(&mut self, chunk: ChunkInfo, payload: Bytes) -> Result<Encoded, CodecError> {
        let _ = chunk;
        Ok(Encoded { rsv: Rsv::NONE, payload })
    }

    /// Decodes bytes of a received message that has one of the codec's bits: reads from the start of
    /// `input` and writes to the start of `output`, which is never empty. Default: copies.
    ///
    /// It is called again with the bytes that it has not read and with more room, until it is
    /// [`done`](Decoded::done). `last` is true if `input` is the end of the message: once the codec is done
    /// with it, the next call begins another message.
    ///
    /// # Errors
    ///
    /// If the bytes of the peer are invalid. The connection is closed with the code of the error.
    fn decode(
        &mut self,
        input: &[u8],
        last: bool,
        output: &mut [u8],
    ) -> Result<Decoded, CodecError> {
        let _ = last;
        let len = input.len().min(output.len());
        output[..len].copy_from_slice(&input[..len]);
        Ok(Decoded { read: len, written: len, done: len == input.len() })
    }

    /// Returns a number that is equal for two codecs of one extension if and only if both encode every
    /// message to the same bytes: then a [`Broadcast`](crate::Broadcast) encodes it once for all of them.
    /// `None` if the encoding depends on earlier messages. Default: `None`.
    fn fingerprint(&self) -> Option<u64> {
        None
    }

    /// Returns an independent copy of the codec and its state, if that is possible. Default: `None`.
    fn try_clone(&self) -> Option<Box<dyn Codec>> {
        None
    }
}

/// The direction of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The frame was received.
    Incoming,
    /// The frame is sent.
    Outgoing,
}

/// The properties of a message that is sent, or of a [`Chunk`](crate::Chunk) of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChunkInfo {
    /// True if the message is text.
    pub is_text: bool,
    /// True if the message begins with this chunk.
    pub first: bool,
    /// True if the message ends with this chunk.
    pub last: bool,
    /// True if the sender allows the message to be compressed.
    pub compress: bool,
}

/// The result of [`Codec::encode`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The bits to set on the first frame of the message.
    pub rsv: Rsv,
    /// The encoded payload.
    pub payload: Bytes,
}

/// The progress of [`Codec::decode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// The number of bytes that were read from the input.
    pub read: usize,
    /// The number of bytes that were written to the output.
    pub written: usize,
    /// True if the whole input was read, and everything that it decodes to was written.
    pub done: bool,
}

/// The extensions of a [`Config`](crate::Config), in order of preference.
#[derive(Clone, Debug, Default)]
pub struct Extensions(Vec<Arc<dyn Extension>>);

impl Extensions {
    /// Returns the extensions in order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Extension>> {
        self.0.iter()
    }

    /// Returns `true` if there are no extensions.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns what the end `role` of a connection agreed on whose ends are other programs, from the answers of
    /// its server: for an observer, with a [`MessageCodec`].
    ///
    /// # Errors
    ///
    /// The first answer that is repeated, is of an extension that is not in this list or cannot be
    /// [observed](Extension::codec), or has invalid parameters.
    pub fn agreed(&self, answers: Vec<Params>, role: Role) -> Result<Vec<Agreed>, Params> {
        self.agree(answers, |extension, params| extension.codec(params, role))
    }

    /// Adds an extension after the others, and replaces one of the same name.
    ///
    /// Panics if two extensions use one reserved bit (RFC 6455 §9.1), which is a mistake in the program.
    pub(crate) fn push(&mut self, extension: Arc<dyn Extension>) {
        self.0.retain(|other| other.name() != extension.name());
        if let Some(other) = self.0.iter().find(|other| other.rsv().intersects(extension.rsv())) {
            let (one, two, rsv) = (other.name(), extension.name(), extension.rsv());
            panic!("the extensions {one:?} and {two:?} both use a reserved bit of {rsv:?}");
        }
        self.0.push(extension);
    }

    /// The offers of a client.
    #[cfg(feature = "handshake")]
    pub(crate) fn offers(&self) -> impl Iterator<Item = Params> {
        self.iter().flat_map(|extension| extension.offers())
    }

    /// The answers of a server: for each extension the first offer that it accepts.
    #[cfg(feature = "handshake")]
    pub(crate) fn answer(&self, offers: &[Params]) -> Vec<Agreed> {
        let agree = |extension: &Arc<dyn Extension>| {
            let mut offers = offers.iter().filter(|offer| offer.name() == extension.name());
            let (params, codec) = offers.find_map(|offer| extension.answer(offer))?;
            Some(Agreed { params, rsv: extension.rsv(), name: extension.name(), codec })
        };
        self.iter().filter_map(agree).collect()
    }

    /// The extensions that the server's answers select, or the first answer that does not fit an offer.
    #[cfg(feature = "handshake")]
    pub(crate) fn confirm(&self, answers: Vec<Params>) -> Result<Vec<Agreed>, Params> {
        self.agree(answers, |extension, params| extension.confirm(params))
    }

    fn agree(
        &self,
        answers: Vec<Params>,
        codec: impl Fn(&dyn Extension, &Params) -> Option<Box<dyn Codec>>,
    ) -> Result<Vec<Agreed>, Params> {
        let mut agreed: Vec<Agreed> = Vec::new();
        for params in answers {
            let known = self.iter().find(|extension| extension.name() == params.name());
            // An extension that is answered twice would transform each message twice.
            let known = known.filter(|one| agreed.iter().all(|other| other.name != one.name()));
            let Some(extension) = known else { return Err(params) };
            let Some(codec) = codec(&**extension, &params) else { return Err(params) };
            agreed.push(Agreed { params, rsv: extension.rsv(), name: extension.name(), codec });
        }
        Ok(agreed)
    }
}

/// Two lists are equal if they contain the same instances in the same order.
impl PartialEq for Extensions {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len()
            && self.iter().zip(other.iter()).all(|(a, b)| Arc::ptr_eq(a, b))
    }
}

impl Eq for Extensions {}

/// An extension that both ends agreed on, as part of [`Negotiated`](crate::Negotiated).
#[derive(Debug)]
pub struct Agreed {
    params: Params,
    name: &'static str,
    rsv: Rsv,
    codec: Box<dyn Codec>,
}

impl Agreed {
    /// Returns the agreement to use `extension` with the parameters `params`, for callers that negotiate
    /// themselves.
    pub fn new(extension: &dyn Extension, params: Params, codec: Box<dyn Codec>) -> Self {
        Self { params, name: extension.name(), rsv: extension.rsv(), codec }
    }

    /// Returns the answer of the server.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Returns the reserved bits that the codec uses.
    pub fn rsv(&self) -> Rsv {
        self.rsv
    }
}

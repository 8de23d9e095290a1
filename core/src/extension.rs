//! Extensions of the protocol (RFC 6455 §9): [`Extension`] negotiates, [`Codec`] works.
//!
//! An extension is put into a [`Config`](crate::Config); whoever shakes hands offers or answers it,
//! and each connection that agreed on it gets a codec of its own. A codec that changes payloads owns
//! one of the three reserved bits: messages without it never reach the codec, and stay uncopied. One
//! that owns none observes.
//!
//! With several codecs, what is sent passes them in the order in which the server's answer lists
//! them, and what is received in the reverse order (RFC 6455 §9.1).
//!
//! ```
//! use bytes::Bytes;
//! use sockless_core::extension::{Codec, CodecError, Decoded, Encoded, Extension, Params, ChunkInfo};
//! use sockless_core::{Config, Rsv};
//!
//! /// Says everything in upper case on the wire, and in lower case at home.
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
//!     fn encode(&mut self, _part: ChunkInfo, payload: Bytes) -> Result<Encoded, CodecError> {
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

mod codecs;
mod params;

pub use crate::error::CodecError;
pub(crate) use codecs::{Codecs, Decoding};
pub use params::Params;
#[cfg(feature = "handshake")]
pub(crate) use params::is_token_byte;

/// An extension as it is configured: it negotiates, and makes one [`Codec`] per connection.
pub trait Extension: fmt::Debug + Send + Sync {
    /// The name it is registered under (RFC 6455 §11.3.2).
    fn name(&self) -> &'static str;

    /// The reserved bits that its codecs own. Default: none.
    fn rsv(&self) -> Rsv {
        Rsv::NONE
    }

    /// What a client offers, in its order of preference. Default: the name alone.
    fn offers(&self) -> Vec<Params> {
        [Params::new(self.name())].into()
    }

    /// What a server answers to one offer, and the codec to work with; `None` declines. Each offer of
    /// this name is tried in turn until one is answered.
    fn answer(&self, offer: &Params) -> Option<(Params, Box<dyn Codec>)>;

    /// What a client makes of a server's answer; `None` when that is not what was offered, which
    /// fails the handshake.
    fn confirm(&self, answer: &Params) -> Option<Box<dyn Codec>>;

    /// The most bytes that one codec can be made to hold by a peer, for
    /// [`Config::memory_ceiling`](crate::Config::memory_ceiling). Default: 0.
    fn memory_ceiling(&self) -> usize {
        0
    }
}

/// An extension at work on one connection.
///
/// What it does to a message it may undo: `decode` gets what the peer's `encode` gave.
pub trait Codec: fmt::Debug + Send {
    /// Looks at the header of a frame of any kind, as it travels. Default: nothing.
    fn observe(&mut self, direction: Direction, head: &FrameHead) {
        let _ = (direction, head);
    }

    /// Encodes a part of a message that is sent. The bits count with the first part of a message,
    /// and only those that the extension owns. Default: leaves it as it is.
    ///
    /// # Errors
    ///
    /// When it cannot: the connection is closed with 1011, whatever the error's own code.
    fn encode(&mut self, part: ChunkInfo, payload: Bytes) -> Result<Encoded, CodecError> {
        let _ = part;
        Ok(Encoded { rsv: Rsv::NONE, payload })
    }

    /// Decodes bytes of a message that is received and has one of the codec's bits: takes from the
    /// front of `input`, and writes to the front of `output`, which is never empty.
    ///
    /// It is called again with what it did not read, and with more room, until it is
    /// [`done`](Decoded::done). `last` says that nothing follows `input` in this message: when it is
    /// done then, the next call begins another. Default: copies.
    ///
    /// # Errors
    ///
    /// When the peer's bytes make no sense: the connection is closed with the error's code.
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

    /// A number that codecs of one name share exactly when each of them encodes a whole message to
    /// the same bytes, whatever came before: then one encoding serves them all. `None` says that
    /// what came before counts. Default: `None`.
    fn fingerprint(&self) -> Option<u64> {
        None
    }

    /// A copy that goes on by itself, where one can be made. Default: `None`.
    fn try_clone(&self) -> Option<Box<dyn Codec>> {
        None
    }
}

/// Which way a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// It was received.
    Incoming,
    /// It is sent.
    Outgoing,
}

/// What is known of a part of a message that is sent: of a whole message, or of a
/// [`Chunk`](crate::Chunk).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChunkInfo {
    /// Whether the message is text.
    pub is_text: bool,
    /// Whether the message begins with this part.
    pub first: bool,
    /// Whether the message ends with this part.
    pub last: bool,
    /// Whether the sender lets the message be compressed.
    pub compress: bool,
}

/// What [`Codec::encode`] made of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The bits to set on the first frame of the message.
    pub rsv: Rsv,
    /// The payload in its place.
    pub payload: Bytes,
}

/// How far [`Codec::decode`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// How many bytes of the input it has taken.
    pub read: usize,
    /// How many bytes of the output it has written.
    pub written: usize,
    /// Whether the whole input was taken, and all that it means was written.
    pub done: bool,
}

/// The extensions of a [`Config`](crate::Config), in order of preference.
#[derive(Clone, Debug, Default)]
pub struct Extensions(Vec<Arc<dyn Extension>>);

impl Extensions {
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Extension>> {
        self.0.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds one after the others, in place of one of the same name.
    ///
    /// A reserved bit has one owner (RFC 6455 §9.1): to share one is a mistake in the program.
    pub(crate) fn push(&mut self, extension: Arc<dyn Extension>) {
        self.0.retain(|other| other.name() != extension.name());
        if let Some(other) = self.0.iter().find(|other| other.rsv().intersects(extension.rsv())) {
            let (one, two, rsv) = (other.name(), extension.name(), extension.rsv());
            panic!("the extensions {one:?} and {two:?} both claim a reserved bit of {rsv:?}");
        }
        self.0.push(extension);
    }

    /// What a client offers.
    #[cfg(feature = "handshake")]
    pub(crate) fn offers(&self) -> impl Iterator<Item = Params> {
        self.iter().flat_map(|extension| extension.offers())
    }

    /// What a server agrees to: of each extension the first offer that it answers.
    #[cfg(feature = "handshake")]
    pub(crate) fn answer(&self, offers: &[Params]) -> Vec<Agreed> {
        let agree = |extension: &Arc<dyn Extension>| {
            let mut offers = offers.iter().filter(|offer| offer.name() == extension.name());
            let (params, codec) = offers.find_map(|offer| extension.answer(offer))?;
            Some(Agreed { params, rsv: extension.rsv(), name: extension.name(), codec })
        };
        self.iter().filter_map(agree).collect()
    }

    /// What a client agrees to: all of the server's answers, or the first that is none of its offers.
    #[cfg(feature = "handshake")]
    pub(crate) fn confirm(&self, answers: Vec<Params>) -> Result<Vec<Agreed>, Params> {
        let mut agreed: Vec<Agreed> = Vec::new();
        for params in answers {
            let known = self.iter().find(|extension| extension.name() == params.name());
            // An extension that is answered twice would work on each message twice.
            let known = known.filter(|one| agreed.iter().all(|other| other.name != one.name()));
            let Some(extension) = known else { return Err(params) };
            let Some(codec) = extension.confirm(&params) else { return Err(params) };
            agreed.push(Agreed { params, rsv: extension.rsv(), name: extension.name(), codec });
        }
        Ok(agreed)
    }
}

/// Two lists are equal when they hold the same extensions, not ones that look alike.
impl PartialEq for Extensions {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len()
            && self.iter().zip(other.iter()).all(|(a, b)| Arc::ptr_eq(a, b))
    }
}

impl Eq for Extensions {}

/// An extension that both ends agreed on.
#[derive(Debug)]
pub struct Agreed {
    params: Params,
    name: &'static str,
    rsv: Rsv,
    codec: Box<dyn Codec>,
}

impl Agreed {
    /// An agreement that a host reached by itself: that a codec of `extension` works as `params` say.
    pub fn new(extension: &dyn Extension, params: Params, codec: Box<dyn Codec>) -> Self {
        Self { params, name: extension.name(), rsv: extension.rsv(), codec }
    }

    /// The server's answer.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The reserved bits that the codec owns.
    pub fn rsv(&self) -> Rsv {
        self.rsv
    }
}

//! permessage-deflate (RFC 7692): the settings, and what the two ends agree to.

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use thiserror::Error;

use crate::extension::{ChunkInfo, Codec, Extension, Params};
use crate::frame::Rsv;

mod codec;
mod pool;

use codec::{Context, DeflateCodec};

const NAME: &str = "permessage-deflate";
const SERVER_NO_CONTEXT_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_NO_CONTEXT_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_MAX_WINDOW_BITS: &str = "server_max_window_bits";
const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";

/// The largest LZ77 window: 2^15 bytes.
const MAX_BITS: u8 = 15;

/// What a compressor takes at most: 380,032 bytes with the largest window, measured.
const COMPRESSOR_LEN: usize = 372 << 10;

/// What an inflater takes: 47,552 bytes whatever its window, measured.
const INFLATER_LEN: usize = 47 << 10;

/// What decoding takes besides: the block that it writes to.
const DECODING_LEN: usize = 17 << 10;

/// The extension permessage-deflate (RFC 7692), for either end.
///
/// By default nothing is remembered from one message to the next, in either direction: a connection
/// that is idle holds no compressor and no inflater, and all connections of a thread share a few.
/// A compressor takes 251 KB with a window of 9 bits, 265 KB with 12 and 380 KB with 15; an inflater
/// 48 KB. Context takeover compresses short messages that resemble each other much better, and has
/// each connection keep its own.
///
/// ```
/// use sockless_core::{Config, Deflate};
///
/// let config = Config::default().extension(Deflate::default().min_len(512));
///
/// // Each connection remembers what it sent and received, in windows of 4 KiB.
/// let chatty = Deflate::default()
///     .server_no_context_takeover(false)
///     .client_no_context_takeover(false)
///     .server_max_window_bits(12)
///     .client_max_window_bits(12);
/// let config = config.extension(chatty);
/// # let _ = config;
/// ```
#[derive(Clone, Default)]
pub struct Deflate(Arc<Settings>);

#[derive(Clone)]
struct Settings {
    level: u8,
    min_len: usize,
    max_ratio: Option<u32>,
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: u8,
    client_max_window_bits: u8,
    conditions: Vec<Condition>,
    offer_edits: Vec<OfferEdit>,
}

type Condition = Arc<dyn Fn(ChunkInfo, &[u8]) -> bool + Send + Sync>;
type OfferEdit = Arc<dyn Fn(&mut Vec<Params>) + Send + Sync>;

impl Default for Settings {
    fn default() -> Self {
        Self {
            level: 1,
            min_len: 64,
            max_ratio: None,
            server_no_context_takeover: true,
            client_no_context_takeover: true,
            server_max_window_bits: MAX_BITS,
            client_max_window_bits: MAX_BITS,
            conditions: Vec::new(),
            offer_edits: Vec::new(),
        }
    }
}

impl Deflate {
    /// How hard to compress, from 0, not at all, over 1, fast, to 9. Default: 1.
    ///
    /// # Panics
    ///
    /// When it is more than 9.
    #[must_use]
    pub fn level(mut self, level: u8) -> Self {
        assert!(level <= 9, "the level {level} is not one of 0 to 9");
        self.settings().level = level;
        self
    }

    /// Sends messages shorter than `len` bytes as they are. Default: 64, below which little is won.
    #[must_use]
    pub fn min_len(mut self, len: usize) -> Self {
        self.settings().min_len = len;
        self
    }

    /// Compresses only what meets `condition`, which looks at the payload of a message, or at the first
    /// piece of one. All conditions must be met that were set.
    ///
    /// ```
    /// # use sockless_core::Deflate;
    /// let text_only = Deflate::default().compress_if(|part, _| part.is_text);
    /// # let _ = text_only;
    /// ```
    #[must_use]
    pub fn compress_if(
        mut self,
        condition: impl Fn(ChunkInfo, &[u8]) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.settings().conditions.push(Arc::new(condition));
        self
    }

    /// Fails a connection with 1009 when a message inflates to more than `ratio` times the bytes that
    /// came, rounded up to a multiple of 64, beyond its first 4 KiB. Default: off; the
    /// [`max_message_len`](crate::Config::max_message_len) holds in any case. Deflate itself ends at
    /// 1,032.
    #[must_use]
    pub fn max_ratio(mut self, ratio: impl Into<Option<u32>>) -> Self {
        self.settings().max_ratio = ratio.into();
        self
    }

    /// Whether the server forgets after each message what it sent (RFC 7692 §7.1.1.1). Default: yes.
    /// Where a server does not ask for it itself, it does it for a client that asks.
    #[must_use]
    pub fn server_no_context_takeover(mut self, forgets: bool) -> Self {
        self.settings().server_no_context_takeover = forgets;
        self
    }

    /// Whether the client forgets after each message what it sent (RFC 7692 §7.1.1.2). Default: yes.
    #[must_use]
    pub fn client_no_context_takeover(mut self, forgets: bool) -> Self {
        self.settings().client_no_context_takeover = forgets;
        self
    }

    /// The largest window that the server compresses with, 8 to 15 bits (RFC 7692 §7.1.2.1).
    /// Default: 15.
    ///
    /// # Panics
    ///
    /// When it is none of these.
    #[must_use]
    pub fn server_max_window_bits(mut self, bits: u8) -> Self {
        self.settings().server_max_window_bits = checked(bits);
        self
    }

    /// The largest window that the client compresses with, 8 to 15 bits (RFC 7692 §7.1.2.2). A server
    /// can ask for it only where the client says that it can be asked. Default: 15.
    ///
    /// # Panics
    ///
    /// When it is none of these.
    #[must_use]
    pub fn client_max_window_bits(mut self, bits: u8) -> Self {
        self.settings().client_max_window_bits = checked(bits);
        self
    }

    /// Has `edit` change what a client offers, such as to add an offer to fall back on. Edits run in
    /// the order in which they were set. An answer must fit one of the offers.
    ///
    /// ```
    /// # use sockless_core::{Deflate, extension::Params};
    /// let deflate = Deflate::default()
    ///     .edit_offers(|offers| offers.push(Params::new("permessage-deflate")));
    /// # let _ = deflate;
    /// ```
    #[must_use]
    pub fn edit_offers(mut self, edit: impl Fn(&mut Vec<Params>) + Send + Sync + 'static) -> Self {
        self.settings().offer_edits.push(Arc::new(edit));
        self
    }

    fn settings(&mut self) -> &mut Settings {
        Arc::make_mut(&mut self.0)
    }

    /// The codec of one end, which compresses as `outgoing` says.
    fn codec(&self, outgoing: Context, incoming: Context) -> Box<dyn Codec> {
        Box::new(DeflateCodec::new(self.0.clone(), outgoing, incoming))
    }
}

impl Settings {
    /// Whether a message that is sent, or that begins with this piece, is compressed.
    fn compresses(&self, part: ChunkInfo, payload: &[u8]) -> bool {
        // An empty message gets no shorter.
        let is_long = payload.len() >= self.min_len.max(1) || !part.last;
        part.compress && is_long && self.conditions.iter().all(|holds| holds(part, payload))
    }
}

impl Extension for Deflate {
    fn name(&self) -> &'static str {
        NAME
    }

    fn rsv(&self) -> Rsv {
        Rsv::RSV1
    }

    fn offers(&self) -> Vec<Params> {
        let mut offer = Params::new(NAME);
        if self.0.server_no_context_takeover {
            offer = offer.flag(SERVER_NO_CONTEXT_TAKEOVER);
        }
        if self.0.client_no_context_takeover {
            offer = offer.flag(CLIENT_NO_CONTEXT_TAKEOVER);
        }
        if self.0.server_max_window_bits < MAX_BITS {
            offer = offer.with(SERVER_MAX_WINDOW_BITS, self.0.server_max_window_bits.to_string());
        }
        offer = if self.0.client_max_window_bits < MAX_BITS {
            offer.with(CLIENT_MAX_WINDOW_BITS, self.0.client_max_window_bits.to_string())
        } else {
            // Says that the server may ask (RFC 7692 §7.1.2.2).
            offer.flag(CLIENT_MAX_WINDOW_BITS)
        };
        let mut offers = [offer].into();
        self.0.offer_edits.iter().for_each(|edit| edit(&mut offers));
        offers
    }

    fn answer(&self, offer: &Params) -> Option<(Params, Box<dyn Codec>)> {
        let offered = Terms::parse(offer)?;
        let smaller = |offered: Option<u8>, ours: u8| offered.map(|bits| bits.min(ours));
        let ours = Some(self.0.server_max_window_bits).filter(|&bits| bits < MAX_BITS);
        let client_bits = smaller(offered.client_bits, self.0.client_max_window_bits)
            .or(Some(self.0.client_max_window_bits).filter(|&bits| bits < MAX_BITS));
        let terms = Terms {
            server_no_context_takeover: offered.server_no_context_takeover
                || self.0.server_no_context_takeover,
            client_no_context_takeover: offered.client_no_context_takeover
                || self.0.client_no_context_takeover,
            server_bits: smaller(offered.server_bits, self.0.server_max_window_bits).or(ours),
            // Only a client that says so can be asked (RFC 7692 §7.1.2.2).
            client_bits: client_bits.filter(|_| offered.client_bits_offered),
            client_bits_offered: offered.client_bits_offered,
        };
        Some((terms.to_params(), self.codec(terms.server(), terms.client())))
    }

    fn confirm(&self, answer: &Params) -> Option<Box<dyn Codec>> {
        let terms = Terms::parse(answer)?;
        // An answer always has a number (RFC 7692 §7.1.2.2).
        if terms.client_bits_offered && terms.client_bits.is_none() {
            return None;
        }
        let offers = self.offers();
        let mut offers =
            offers.iter().filter(|offer| offer.name() == NAME).filter_map(Terms::parse);
        if !offers.any(|offered| terms.answers(&offered)) {
            return None;
        }
        // Whoever compresses may always do with less.
        let Context { bits, takeover } = terms.client();
        let outgoing = Context {
            bits: bits.min(self.0.client_max_window_bits),
            takeover: takeover && !self.0.client_no_context_takeover,
        };
        Some(self.codec(outgoing, terms.server()))
    }

    fn memory_ceiling(&self) -> usize {
        COMPRESSOR_LEN + INFLATER_LEN + DECODING_LEN
    }
}

/// Settings that ask for what the parameters of the header say, such as
/// `permessage-deflate; server_no_context_takeover; client_max_window_bits=10`; context takeover that is
/// not excluded is allowed.
///
/// ```
/// # use sockless_core::Deflate;
/// let remembers: Deflate = "permessage-deflate; server_max_window_bits=12".parse()?;
/// # let _ = remembers;
/// # Ok::<(), sockless_core::ParseDeflateError>(())
/// ```
impl FromStr for Deflate {
    type Err = ParseDeflateError;

    fn from_str(text: &str) -> Result<Self, ParseDeflateError> {
        let listed = Params::parse_list([text.as_bytes()]).ok_or(ParseDeflateError)?;
        let [params] = &listed[..] else { return Err(ParseDeflateError) };
        let terms = Terms::parse(params).filter(|_| params.name() == NAME);
        let terms = terms.ok_or(ParseDeflateError)?;
        Ok(Self::default()
            .server_no_context_takeover(terms.server_no_context_takeover)
            .client_no_context_takeover(terms.client_no_context_takeover)
            .server_max_window_bits(terms.server_bits.unwrap_or(MAX_BITS))
            .client_max_window_bits(terms.client_bits.unwrap_or(MAX_BITS)))
    }
}

/// The text is not `permessage-deflate` with parameters of RFC 7692 §7.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not permessage-deflate with parameters of RFC 7692 7.1, each once")]
pub struct ParseDeflateError;

impl fmt::Debug for Deflate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflate")
            .field("level", &self.0.level)
            .field("min_len", &self.0.min_len)
            .field("max_ratio", &self.0.max_ratio)
            .field("server_no_context_takeover", &self.0.server_no_context_takeover)
            .field("client_no_context_takeover", &self.0.client_no_context_takeover)
            .field("server_max_window_bits", &self.0.server_max_window_bits)
            .field("client_max_window_bits", &self.0.client_max_window_bits)
            .field("conditions", &self.0.conditions.len())
            .field("offer_edits", &self.0.offer_edits.len())
            .finish()
    }
}

fn checked(bits: u8) -> u8 {
    assert!((8..=MAX_BITS).contains(&bits), "a window of {bits} bits is not one of 8 to 15");
    bits
}

/// The parameters of RFC 7692 §7.1, of an offer or of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Terms {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_bits: Option<u8>,
    client_bits: Option<u8>,
    /// `client_max_window_bits` is there, with a number or without.
    client_bits_offered: bool,
}

impl Terms {
    /// Reads an offer or an answer; `None` when it has a parameter that is unknown, comes twice, or
    /// has a value that it may not have, upon which it is declined (RFC 7692 §7.1).
    fn parse(params: &Params) -> Option<Self> {
        let mut terms = Self::default();
        for (name, value) in params.iter() {
            let is_new = match name {
                SERVER_NO_CONTEXT_TAKEOVER if value.is_none() => {
                    !core::mem::replace(&mut terms.server_no_context_takeover, true)
                }
                CLIENT_NO_CONTEXT_TAKEOVER if value.is_none() => {
                    !core::mem::replace(&mut terms.client_no_context_takeover, true)
                }
                SERVER_MAX_WINDOW_BITS => terms.server_bits.replace(window_bits(value?)?).is_none(),
                CLIENT_MAX_WINDOW_BITS => {
                    terms.client_bits =
                        value.map_or(Some(None), |value| window_bits(value).map(Some))?;
                    !core::mem::replace(&mut terms.client_bits_offered, true)
                }
                _ => false,
            };
            if !is_new {
                return None;
            }
        }
        Some(terms)
    }

    /// How the server compresses.
    fn server(&self) -> Context {
        Context {
            bits: self.server_bits.unwrap_or(MAX_BITS),
            takeover: !self.server_no_context_takeover,
        }
    }

    /// How the client compresses.
    fn client(&self) -> Context {
        Context {
            bits: self.client_bits.unwrap_or(MAX_BITS),
            takeover: !self.client_no_context_takeover,
        }
    }

    fn to_params(self) -> Params {
        let mut params = Params::new(NAME);
        if self.server_no_context_takeover {
            params = params.flag(SERVER_NO_CONTEXT_TAKEOVER);
        }
        if self.client_no_context_takeover {
            params = params.flag(CLIENT_NO_CONTEXT_TAKEOVER);
        }
        if let Some(bits) = self.server_bits {
            params = params.with(SERVER_MAX_WINDOW_BITS, bits.to_string());
        }
        if let Some(bits) = self.client_bits {
            params = params.with(CLIENT_MAX_WINDOW_BITS, bits.to_string());
        }
        params
    }

    /// Whether a server may answer `offered` with this (RFC 7692 §7.1).
    fn answers(&self, offered: &Self) -> bool {
        let forgets = self.server_no_context_takeover || !offered.server_no_context_takeover;
        let server_window = offered
            .server_bits
            .is_none_or(|most| self.server_bits.is_some_and(|bits| bits <= most));
        let client_window = match self.client_bits {
            None => true,
            Some(bits) => {
                offered.client_bits_offered && bits <= offered.client_bits.unwrap_or(MAX_BITS)
            }
        };
        forgets && server_window && client_window
    }
}

/// A number from 8 to 15, in decimal and without leading zeros (RFC 7692 §7.1.2.1).
fn window_bits(value: &str) -> Option<u8> {
    (8..=MAX_BITS).find(|bits| bits.to_string() == value)
}

#[cfg(test)]
mod tests;

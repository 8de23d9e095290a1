//! permessage-deflate (RFC 7692): [`Deflate`], its settings and its negotiation.

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use thiserror::Error;

use crate::extension::{ChunkInfo, Codec, Extension, Params};
use crate::frame::Rsv;
use crate::role::Role;

mod codec;
mod pool;

use codec::{Context, DeflateCodec};

const NAME: &str = "permessage-deflate";
const SERVER_NO_CONTEXT_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_NO_CONTEXT_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_MAX_WINDOW_BITS: &str = "server_max_window_bits";
const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";

/// The largest LZ77 window, as a power of two: 2^15 bytes.
const MAX_BITS: u8 = 15;

/// The memory of a compressor with the largest window: 380,032 bytes, measured.
const COMPRESSOR_LEN: usize = 372 << 10;

/// The memory of an inflater with any window: 47,552 bytes, measured.
const INFLATER_LEN: usize = 47 << 10;

/// The memory of the output of decoding.
const DECODING_LEN: usize = 17 << 10;

/// The extension permessage-deflate (RFC 7692), for clients and servers.
///
/// By default no message is compressed with the context of earlier ones, in either direction. So an idle
/// connection has no compressor and no inflater, and all connections of a thread share a few; without the
/// feature `std` each message allocates one and gives it back. A compressor
/// takes 251 KB with a window of 9 bits, 265 KB with 12 bits and 380 KB with 15 bits; an inflater takes
/// 48 KB. Context takeover compresses short messages that resemble each other much better, but each
/// connection then keeps its own compressor and inflater.
///
/// ```
/// use sockless::{Config, Deflate};
///
/// let config = Config::default().extension(Deflate::default().min_len(512));
///
/// // Context takeover in both directions, with windows of 4 KiB.
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
    /// Returns the settings of a server that every client can talk to: this end compresses each message
    /// without the context of earlier ones, and clients may use it.
    ///
    /// By default a server requires clients to do without, as RFC 7692 §7.1.1.2 permits; some ignore that,
    /// Tornado's among them, and their second message then ends the connection. The price is an inflater of
    /// 48 KB for each connection, from the first compressed message that it receives.
    ///
    /// ```
    /// use sockless::{Config, Deflate};
    ///
    /// let config = Config::default().extension(Deflate::for_any_client());
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn for_any_client() -> Self {
        Self::default().client_no_context_takeover(false)
    }

    /// Sets the level of compression, from 0 (none) over 1 (fast) to 9 (best). Default: 1.
    ///
    /// # Panics
    ///
    /// If `level` is more than 9.
    #[must_use]
    pub fn level(mut self, level: u8) -> Self {
        assert!(level <= 9, "the level must be 0 to 9, not {level}");
        self.settings().level = level;
        self
    }

    /// Sends messages shorter than `len` bytes uncompressed. Default: 64; shorter messages gain little.
    #[must_use]
    pub fn min_len(mut self, len: usize) -> Self {
        self.settings().min_len = len;
        self
    }

    /// Compresses only messages for which `condition` returns `true`. It receives the payload of the
    /// message, or of its first chunk. If several conditions are set, all must hold.
    ///
    /// ```
    /// # use sockless::Deflate;
    /// let text_only = Deflate::default().compress_if(|chunk, _| chunk.is_text);
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

    /// Closes a connection with 1009 when a message inflates to more than `ratio` times its compressed
    /// length, plus 4 KiB. The compressed length is rounded up to a multiple of 64 bytes. Default: off.
    ///
    /// [`max_message_len`](crate::Config::max_message_len) applies to the inflated length in any case. The
    /// highest ratio that DEFLATE can reach is 1,032.
    #[must_use]
    pub fn max_ratio(mut self, ratio: impl Into<Option<u32>>) -> Self {
        self.settings().max_ratio = ratio.into();
        self
    }

    /// Sets whether the server compresses each message without the context of earlier ones
    /// (RFC 7692 §7.1.1.1). Default: `true`. A server with `false` still does so for a client that requests
    /// it. A client with `true` requests it, and offers to do without in second place, for servers that do
    /// not support the parameter: the connection then keeps its inflater.
    #[must_use]
    pub fn server_no_context_takeover(mut self, enabled: bool) -> Self {
        self.settings().server_no_context_takeover = enabled;
        self
    }

    /// Sets whether the client compresses each message without the context of earlier ones
    /// (RFC 7692 §7.1.1.2). Default: `true`. A server with `true` requires it, which some clients
    /// ignore: see [`for_any_client`](Self::for_any_client).
    #[must_use]
    pub fn client_no_context_takeover(mut self, enabled: bool) -> Self {
        self.settings().client_no_context_takeover = enabled;
        self
    }

    /// Sets the largest window of the server's compressor, 8 to 15 bits (RFC 7692 §7.1.2.1). Default: 15.
    ///
    /// # Panics
    ///
    /// If `bits` is not in this range.
    #[must_use]
    pub fn server_max_window_bits(mut self, bits: u8) -> Self {
        self.settings().server_max_window_bits = checked(bits);
        self
    }

    /// Sets the largest window of the client's compressor, 8 to 15 bits (RFC 7692 §7.1.2.2). Default: 15. A
    /// server can request it only from a client that offers `client_max_window_bits`.
    ///
    /// # Panics
    ///
    /// If `bits` is not in this range.
    #[must_use]
    pub fn client_max_window_bits(mut self, bits: u8) -> Self {
        self.settings().client_max_window_bits = checked(bits);
        self
    }

    /// Changes the offers of a client with `edit`, for example to drop the fallback. Edits run in the order
    /// in which they were set. The answer of the server must fit one of the offers.
    ///
    /// ```
    /// use sockless::Deflate;
    ///
    /// // Only servers that forget: see `server_no_context_takeover`.
    /// let deflate = Deflate::default().edit_offers(|offers| offers.truncate(1));
    /// # let _ = deflate;
    /// ```
    #[must_use]
    pub fn edit_offers(mut self, edit: impl Fn(&mut Vec<Params>) + Send + Sync + 'static) -> Self {
        self.settings().offer_edits.push(Arc::new(edit));
        self
    }

    /// An offer by the settings, which requests that the server compresses without context takeover or not.
    fn offer(&self, server_no_context_takeover: bool) -> Params {
        let mut offer = Params::new(NAME);
        if server_no_context_takeover {
            offer = offer.flag(SERVER_NO_CONTEXT_TAKEOVER);
        }
        if self.0.client_no_context_takeover {
            offer = offer.flag(CLIENT_NO_CONTEXT_TAKEOVER);
        }
        if self.0.server_max_window_bits < MAX_BITS {
            offer = offer.with(SERVER_MAX_WINDOW_BITS, self.0.server_max_window_bits.to_string());
        }
        if self.0.client_max_window_bits < MAX_BITS {
            offer.with(CLIENT_MAX_WINDOW_BITS, self.0.client_max_window_bits.to_string())
        } else {
            // Without a value: the server may request a smaller window (RFC 7692 §7.1.2.2).
            offer.flag(CLIENT_MAX_WINDOW_BITS)
        }
    }

    fn settings(&mut self) -> &mut Settings {
        Arc::make_mut(&mut self.0)
    }

    /// The codec of an end that compresses with `outgoing` and inflates with `incoming`.
    fn new_codec(&self, outgoing: Context, incoming: Context) -> Box<dyn Codec> {
        Box::new(DeflateCodec::new(self.0.clone(), outgoing, incoming))
    }
}

impl Settings {
    /// True if a message is compressed that consists of, or begins with, this payload.
    fn compresses(&self, chunk: ChunkInfo, payload: &[u8]) -> bool {
        // An empty message cannot be compressed.
        let is_long = payload.len() >= self.min_len.max(1) || !chunk.last;
        chunk.compress && is_long && self.conditions.iter().all(|holds| holds(chunk, payload))
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
        let mut offers = vec![self.offer(self.0.server_no_context_takeover)];
        if self.0.server_no_context_takeover {
            // RFC 7692 §7.1.1.1: a server that does not support the parameter declines the first.
            offers.push(self.offer(false));
        }
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
            // Only a client that offers it can be asked for a window (RFC 7692 §7.1.2.2).
            client_bits: client_bits.filter(|_| offered.client_bits_offered),
            client_bits_offered: offered.client_bits_offered,
        };
        Some((terms.to_params(), self.new_codec(terms.server(), terms.client())))
    }

    fn confirm(&self, answer: &Params) -> Option<Box<dyn Codec>> {
        let terms = Terms::parse_answer(answer)?;
        let offers = self.offers();
        let mut offers =
            offers.iter().filter(|offer| offer.name() == NAME).filter_map(Terms::parse);
        if !offers.any(|offered| terms.answers(&offered)) {
            return None;
        }
        // A compressor may always use less than was agreed.
        let Context { bits, takeover } = terms.client();
        let outgoing = Context {
            bits: bits.min(self.0.client_max_window_bits),
            takeover: takeover && !self.0.client_no_context_takeover,
        };
        Some(self.new_codec(outgoing, terms.server()))
    }

    fn codec(&self, answer: &Params, role: Role) -> Option<Box<dyn Codec>> {
        let terms = Terms::parse_answer(answer)?;
        Some(match role {
            Role::Client => self.new_codec(terms.client(), terms.server()),
            Role::Server => self.new_codec(terms.server(), terms.client()),
        })
    }

    fn memory_ceiling(&self) -> usize {
        COMPRESSOR_LEN + INFLATER_LEN + DECODING_LEN
    }
}

/// Parses an element of `Sec-WebSocket-Extensions`, such as
/// `permessage-deflate; server_no_context_takeover; client_max_window_bits=10`. Context takeover is on
/// unless a parameter switches it off.
///
/// ```
/// use sockless::Deflate;
///
/// let with_context: Deflate = "permessage-deflate; server_max_window_bits=12".parse()?;
/// # let _ = with_context;
/// # Ok::<(), sockless::ParseDeflateError>(())
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

/// A text is not `permessage-deflate` with valid parameters (RFC 7692 §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("expected permessage-deflate with the parameters of RFC 7692 7.1, each at most once")]
#[non_exhaustive]
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
    assert!((8..=MAX_BITS).contains(&bits), "the window must have 8 to 15 bits, not {bits}");
    bits
}

/// The parameters of an offer or an answer (RFC 7692 §7.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Terms {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_bits: Option<u8>,
    client_bits: Option<u8>,
    /// True if `client_max_window_bits` is present, with or without a value.
    client_bits_offered: bool,
}

impl Terms {
    /// Parses an offer or an answer; `None`, which declines it, if a parameter is unknown, repeated or has an
    /// invalid value (RFC 7692 §7.1).
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

    /// Parses an answer, in which the value of `client_max_window_bits` is mandatory (RFC 7692 §7.1.2.2).
    fn parse_answer(params: &Params) -> Option<Self> {
        Self::parse(params)
            .filter(|terms| !terms.client_bits_offered || terms.client_bits.is_some())
    }

    /// The context with which the server compresses.
    fn server(&self) -> Context {
        Context {
            bits: self.server_bits.unwrap_or(MAX_BITS),
            takeover: !self.server_no_context_takeover,
        }
    }

    /// The context with which the client compresses.
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

    /// True if this is a valid answer to `offered` (RFC 7692 §7.1).
    fn answers(&self, offered: &Self) -> bool {
        let no_takeover = self.server_no_context_takeover || !offered.server_no_context_takeover;
        let server_window = offered
            .server_bits
            .is_none_or(|most| self.server_bits.is_some_and(|bits| bits <= most));
        let client_window = match self.client_bits {
            None => true,
            Some(bits) => {
                offered.client_bits_offered && bits <= offered.client_bits.unwrap_or(MAX_BITS)
            }
        };
        no_takeover && server_window && client_window
    }
}

/// Parses a decimal number from 8 to 15 without leading zeros (RFC 7692 §7.1.2.1).
fn window_bits(value: &str) -> Option<u8> {
    (8..=MAX_BITS).find(|bits| bits.to_string() == value)
}

#[cfg(test)]
mod tests;

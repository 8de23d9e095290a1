//! Chance as an argument: [`Seed`], and the stream of masking keys drawn from it.

use core::fmt;

use chacha20::ChaCha12Rng;
use chacha20::rand_core::{Rng, SeedableRng};

/// 32 bytes that a connection draws its masking keys and its handshake nonce from.
///
/// Take them from the operating system in production and write them down in a test: RFC 6455 §5.3
/// asks for keys that a peer cannot predict, and the same seed gives the same keys for ever.
/// A seed serves one connection.
#[derive(Clone, PartialEq, Eq)]
pub struct Seed([u8; 32]);

impl Seed {
    /// A seed of these bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for who draws something else than a connection's keys from them.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Never shows the bytes: who knows them can predict every masking key.
impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(..)")
    }
}

/// The stream of masking keys of one connection: ChaCha with 12 rounds, as `rand`'s `StdRng`.
pub(crate) struct MaskKeys(ChaCha12Rng);

impl MaskKeys {
    pub(crate) fn new(seed: Seed) -> Self {
        Self(ChaCha12Rng::from_seed(seed.0))
    }

    /// A fresh key for each frame (RFC 6455 §5.3).
    pub(crate) fn next_key(&mut self) -> [u8; 4] {
        self.0.next_u32().to_le_bytes()
    }

    /// The 16 bytes of a `Sec-WebSocket-Key` (RFC 6455 §4.1).
    #[cfg(feature = "handshake")]
    pub(crate) fn nonce(&mut self) -> [u8; 16] {
        let mut nonce = [0; 16];
        self.0.fill_bytes(&mut nonce);
        nonce
    }
}

/// A fork draws the same keys, which is what exploring the states of a connection needs.
impl Clone for MaskKeys {
    fn clone(&self) -> Self {
        Self(ChaCha12Rng::deserialize_state(&self.0.serialize_state()))
    }
}

impl fmt::Debug for MaskKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MaskKeys(..)")
    }
}

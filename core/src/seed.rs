//! Randomness as an argument: [`Seed`], and the stream of masking keys that it generates.

use core::fmt;

use chacha20::ChaCha12Rng;
use chacha20::rand_core::{Rng, SeedableRng};

/// The 32 bytes of randomness from which a connection generates its masking keys and its handshake
/// nonce.
///
/// RFC 6455 §5.3 requires masking keys that cannot be predicted: in production, take the bytes from the
/// operating system, and use each seed for one connection only. In a test, use fixed bytes: equal seeds
/// generate equal keys, in every version of this crate.
///
/// ```
/// use sockless_core::{Connection, Instant, Negotiated, Seed};
///
/// # fn random_bytes() -> [u8; 32] { [7; 32] }
/// let seed = Seed::new(random_bytes()); // such as `rand::random()`
/// let client = Connection::client(Negotiated::default(), seed, Default::default(), Instant::EPOCH);
/// # let _ = client;
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Seed([u8; 32]);

impl Seed {
    /// Returns the seed with these bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes, for example to seed another generator.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Omits the bytes, which predict every masking key.
impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(..)")
    }
}

/// The masking keys of one connection: ChaCha with 12 rounds, the algorithm of `rand`'s `StdRng`, from the
/// crate that promises the same values in every version.
pub(crate) struct MaskKeys(ChaCha12Rng);

impl MaskKeys {
    pub(crate) fn new(seed: Seed) -> Self {
        Self(ChaCha12Rng::from_seed(seed.0))
    }

    /// A fresh key for each frame (RFC 6455 §5.3).
    pub(crate) fn next_key(&mut self) -> [u8; 4] {
        self.0.next_u32().to_le_bytes()
    }

    /// The next `N` bytes of the stream.
    #[cfg(feature = "handshake")]
    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill_bytes(&mut bytes);
        bytes
    }
}

/// A clone generates the same keys, so that tests can explore the states that follow from one.
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

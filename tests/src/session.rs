//! A peer's side of a session, from sound to malicious, as parts that are easy to vary.

use sockless_core::Config;

use crate::wire::{ENDS, GOES_ON, Writer};

/// The conditions of a session.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// [`Config::recv_chunk_len`].
    pub recv_chunk_len: usize,
    /// [`Config::max_message_len`].
    pub max_message_len: u64,
    /// [`Config::max_frame_len`].
    pub max_frame_len: u64,
    /// [`Config::max_fragments`].
    pub max_fragments: u32,
    /// [`Config::high_water`].
    pub high_water: usize,
    /// True if our end sends its Close frame before anything arrives.
    pub closes: bool,
    /// True if our end is in the middle of a message that it sends in chunks.
    pub sends_chunk: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self::of(&Config::default())
    }
}

impl Setup {
    /// The limits of a configuration.
    pub fn of(config: &Config) -> Self {
        Self {
            recv_chunk_len: config.get_recv_chunk_len(),
            max_message_len: config.get_max_message_len(),
            max_frame_len: config.get_max_frame_len(),
            max_fragments: config.get_max_fragments(),
            high_water: config.get_high_water(),
            closes: false,
            sends_chunk: false,
        }
    }

    /// The configuration with these limits.
    pub fn config(&self) -> Config {
        Config::default()
            .recv_chunk_len(self.recv_chunk_len)
            .max_message_len(self.max_message_len)
            .max_frame_len(self.max_frame_len)
            .max_fragments(self.max_fragments)
            .high_water(self.high_water)
            // A simulated network may take any time.
            .message_rate(None)
            .write_timeout(None)
    }
}

/// A part of what a peer sends.
#[derive(Clone, Debug)]
pub enum Part {
    /// A message in fragments, with control frames between them.
    Message {
        /// The first byte of its first frame, without FIN.
        begins: u8,
        /// The payload of each frame.
        fragments: Vec<Vec<u8>>,
        /// The control frames before each fragment but the first, as first byte and payload.
        between: Vec<(u8, Vec<u8>)>,
    },
    /// One frame, sound or not.
    Frame {
        /// Its first byte.
        first: u8,
        /// Its payload.
        payload: Vec<u8>,
        /// True if the masking is the opposite of what the role requires.
        mask_wrong: bool,
    },
    /// A header whose length takes `width` more bytes than two.
    Claim {
        /// Its first byte.
        first: u8,
        /// The length that it claims.
        len: u64,
        /// 0, 2 or 8.
        width: usize,
    },
    /// Anything at all.
    Garbage(Vec<u8>),
}

/// The bytes of a session.
pub fn bytes(parts: &[Part], peer: Writer) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        match part {
            Part::Message { begins, fragments, between } => {
                push_message(&mut bytes, *begins, fragments, between, peer);
            }
            Part::Frame { first, payload, mask_wrong } => {
                let masks = peer.masks != *mask_wrong;
                bytes.extend(Writer { masks }.frame(*first, payload));
            }
            Part::Claim { first, len, width } => {
                bytes.extend(peer.header_of_width(*first, *len, *width));
            }
            Part::Garbage(garbage) => bytes.extend_from_slice(garbage),
        }
    }
    bytes
}

fn push_message(
    bytes: &mut Vec<u8>,
    begins: u8,
    fragments: &[Vec<u8>],
    between: &[(u8, Vec<u8>)],
    peer: Writer,
) {
    for (i, fragment) in fragments.iter().enumerate() {
        let opcode = if i == 0 { begins } else { GOES_ON };
        let fin = if i + 1 == fragments.len() { ENDS } else { 0 };
        if i > 0
            && let Some((first, payload)) = between.get(i - 1)
        {
            bytes.extend(peer.frame(*first, payload));
        }
        bytes.extend(peer.frame(fin | opcode, fragment));
    }
}

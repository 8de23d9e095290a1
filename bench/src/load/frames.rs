//! The frames to send, encoded in advance.

use std::fmt::Write;

use flate2::{Compress, Compression, FlushCompress};

use super::Shape;
use crate::servers::Job;

/// The frames of one message, repeated as often as a connection may have the message in flight.
///
/// All connections send slices of the same bytes.
pub struct Messages {
    /// The payload of a message.
    pub payload: Vec<u8>,
    /// The length of one message's frames.
    pub len: usize,
    frames: Vec<u8>,
}

impl Messages {
    /// The message of `shape`.
    pub fn new(shape: Shape) -> Self {
        let payload = payload(shape);
        let compressed;
        let (rsv1, content) = if shape.job.deflate {
            compressed = compress(&payload);
            (0x40, &compressed)
        } else {
            (0, &payload)
        };
        let mut first = rsv1 | if shape.text { 0x1 } else { 0x2 };
        let part_len = content.len().div_ceil(shape.fragments.max(1)).max(1);
        let mut one = Vec::new();
        let mut parts = content.chunks(part_len).peekable();
        if parts.peek().is_none() {
            one.extend(masked_frame(0x80 | first, &[], [1, 2, 3, 4]));
        }
        while let Some(part) = parts.next() {
            let fin = if parts.peek().is_none() { 0x80 } else { 0 };
            // A different key for each frame, with four different bytes.
            let key = [0xA7, 0x31, 0x5C, one.len() as u8 ^ 0xE9];
            one.extend(masked_frame(fin | first, part, key));
            first = 0x0;
        }
        let frames = one.repeat(shape.depth.max(1));
        Self { payload, len: one.len(), frames }
    }

    /// The longest slice to send next of `pending` bytes, after `sent` bytes.
    pub fn next(&self, sent: u64, pending: u64) -> &[u8] {
        let from = (sent % self.len as u64) as usize;
        let len = usize::try_from(pending).unwrap_or(usize::MAX).min(self.frames.len() - from);
        &self.frames[from..from + len]
    }
}

/// A frame of a client; `first` is the first byte of the header.
pub fn masked_frame(first: u8, payload: &[u8], key: [u8; 4]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..126 => frame.push(0x80 | len as u8),
        len @ 126..0x1_0000 => {
            frame.push(0x80 | 126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend(key);
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

fn payload(shape: Shape) -> Vec<u8> {
    match shape {
        Shape { size, zeros: true, .. } => vec![0; size],
        Shape { size, job: Job { deflate: true, .. }, .. } => json(size),
        Shape { size, text: true, .. } => text(size),
        Shape { size, .. } => (0..size).map(binary).collect(),
    }
}

/// `payload` compressed as in permessage-deflate without context takeover.
fn compress(payload: &[u8]) -> Vec<u8> {
    let mut compressed = Vec::with_capacity(payload.len() + payload.len() / 100 + 64);
    let mut compress = Compress::new(Compression::default(), false);
    // The capacity is sufficient, so this cannot fail, and ends with an empty stored block.
    let _ = compress.compress_vec(payload, &mut compressed, FlushCompress::Sync);
    compressed.truncate(compressed.len().saturating_sub(4));
    compressed
}

/// `len` bytes of JSON, whose words repeat and whose numbers do not.
fn json(len: usize) -> Vec<u8> {
    let names = ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi"];
    let mut json = String::from("[");
    let mut state: u32 = 1;
    while json.len() < len {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (user, price) = (names[(state >> 29) as usize], state >> 12);
        let _ = write!(
            json,
            "{{\"id\":{state},\"user\":\"{user}\",\"price\":{price},\"side\":\"buy\",\"open\":true}},"
        );
    }
    json.truncate(len);
    json.into_bytes()
}

/// `len` bytes of UTF-8, with characters of one, two, three and four bytes.
pub fn text(len: usize) -> Vec<u8> {
    let sample = "Sphinx of black quartz — прошу, 你好 🦉 ";
    let mut text: String = sample
        .chars()
        .cycle()
        .scan(0, |filled, next| {
            *filled += next.len_utf8();
            (*filled <= len).then_some(next)
        })
        .collect();
    while text.len() < len {
        text.push('.');
    }
    text.into_bytes()
}

/// No runs of equal bytes, so that a misplaced byte is noticed.
fn binary(index: usize) -> u8 {
    (index.wrapping_mul(0x9E37_79B1) >> 13) as u8
}

#[cfg(test)]
mod tests {
    use flate2::{Decompress, FlushDecompress};

    use super::*;

    #[test]
    fn a_compressed_payload_is_complete_and_shorter() {
        for len in [1024, 65_536] {
            let payload = json(len);
            assert_eq!(payload.len(), len);
            let mut compressed = compress(&payload);
            assert!(compressed.len() * 2 < len, "{} of {len}", compressed.len());
            compressed.extend([0, 0, 0xFF, 0xFF]);
            let mut inflated = Vec::with_capacity(len + 1);
            let mut inflate = Decompress::new(false);
            inflate.decompress_vec(&compressed, &mut inflated, FlushDecompress::Sync).unwrap();
            assert!(inflated == payload);
        }
    }

    #[test]
    fn a_message_has_the_requested_number_of_frames() {
        for (size, fragments) in [(16, 4), (1024, 16), (16_384, 64)] {
            let job = Job::default();
            let shape =
                Shape { connections: 1, depth: 1, size, text: true, zeros: false, fragments, job };
            let messages = Messages::new(shape);
            let mut rest = messages.next(0, messages.len as u64);
            let mut firsts = Vec::new();
            while let Some(header) = crate::load::replies::Header::parse(rest) {
                firsts.push(header.first);
                rest = &rest[header.len + header.payload as usize..];
            }
            let expected = [vec![0x01], vec![0x00; fragments - 2], vec![0x80]].concat();
            assert_eq!(firsts, expected);
        }
    }
}

//! The frames to send, made before the first is sent.

use super::Shape;

/// One message's frames, as often as a connection may have it in flight.
///
/// All connections send from the same bytes, so that to send is to cut a slice.
pub struct Messages {
    /// The payload of a message.
    pub payload: Vec<u8>,
    /// How long one message's frames are.
    pub len: usize,
    frames: Vec<u8>,
}

impl Messages {
    /// The message that `shape` asks for.
    pub fn new(shape: Shape) -> Self {
        let payload =
            if shape.text { text(shape.size) } else { (0..shape.size).map(binary).collect() };
        let opcode = if shape.text { 0x1 } else { 0x2 };
        let part_len = shape.size.div_ceil(shape.fragments).max(1);
        let mut one = Vec::new();
        let mut parts = payload.chunks(part_len).peekable();
        if parts.peek().is_none() {
            one.extend(masked_frame(0x80 | opcode, &[], [1, 2, 3, 4]));
        }
        let mut opcode = opcode;
        while let Some(part) = parts.next() {
            let fin = if parts.peek().is_none() { 0x80 } else { 0 };
            // A key that is no word repeated, and another for each frame.
            let key = [0xA7, 0x31, 0x5C, one.len() as u8 ^ 0xE9];
            one.extend(masked_frame(fin | opcode, part, key));
            opcode = 0x0;
        }
        Self { payload, len: one.len(), frames: one.repeat(shape.depth.max(1)) }
    }

    /// What to send next of `pending` bytes, after `sent` have been sent: as much as lies in one piece.
    pub fn next(&self, sent: u64, pending: u64) -> &[u8] {
        let from = (sent % self.len as u64) as usize;
        let len = usize::try_from(pending).unwrap_or(usize::MAX).min(self.frames.len() - from);
        &self.frames[from..from + len]
    }
}

/// A client's frame; `first` is the header's first byte.
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

/// `len` bytes of UTF-8 of one, two, three and four bytes a character.
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

/// No run of equal bytes, so that one that is misplaced is noticed.
fn binary(index: usize) -> u8 {
    (index.wrapping_mul(0x9E37_79B1) >> 13) as u8
}

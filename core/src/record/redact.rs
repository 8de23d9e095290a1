//! Payloads without their content: [`Redactor`].

use alloc::vec::Vec;

use crate::frame::{FrameHead, Opcode, Rsv};

/// Replaces each byte of text by one that UTF-8 treats alike: what was valid stays valid, and what
/// was not fails at the same byte. ASCII becomes `x`.
pub(super) fn text(bytes: &mut [u8]) {
    for byte in bytes {
        *byte = match *byte {
            0x00..=0x7F => b'x',
            0x80..=0x8F => 0x80,
            0x90..=0x9F => 0x90,
            0xA0..=0xBF => 0xA0,
            0xC2..=0xDF => 0xC3,
            0xE1..=0xEC | 0xEE..=0xEF => 0xE1,
            0xF1..=0xF3 => 0xF1,
            0xC0 | 0xC1 | 0xF5..=0xFF => 0xFF,
            other @ (0xE0 | 0xED | 0xF0 | 0xF4) => other,
        };
    }
}

/// Redacts a stream of frames as it arrives. Headers stay as they are.
#[derive(Debug, Default)]
pub(super) struct Redactor {
    /// The beginning of a header.
    head: Vec<u8>,
    payload: Option<Payload>,
    is_text: bool,
    /// Bytes after an invalid frame are not parsed.
    lost: bool,
}

/// The payload that is arriving.
#[derive(Debug)]
struct Payload {
    head: FrameHead,
    taken: u64,
}

/// A compressed message, which cannot be redacted.
#[derive(Debug)]
pub(super) struct Compressed;

impl Redactor {
    /// Redacts the next bytes of the stream.
    pub(super) fn redact(&mut self, bytes: &mut [u8]) -> Result<(), Compressed> {
        for byte in bytes {
            if self.lost {
                *byte = 0;
            } else if let Some(payload) = &mut self.payload {
                payload.redact(byte, self.is_text);
                self.payload.take_if(|payload| payload.taken == payload.head.len);
            } else {
                self.head.push(*byte);
                self.take_head()?;
            }
        }
        Ok(())
    }

    fn take_head(&mut self) -> Result<(), Compressed> {
        let head = match FrameHead::decode(&self.head) {
            Ok(Some((head, _))) => head,
            Ok(None) => return Ok(()),
            Err(_) => {
                self.lost = true;
                return Ok(());
            }
        };
        self.head.clear();
        if head.rsv != Rsv::NONE {
            return Err(Compressed);
        }
        match head.opcode {
            Opcode::Text => self.is_text = true,
            Opcode::Binary => self.is_text = false,
            _ => {}
        }
        self.payload = (head.len > 0).then_some(Payload { head, taken: 0 });
        Ok(())
    }
}

impl Payload {
    fn redact(&mut self, byte: &mut u8, is_text: bool) {
        let key = self.head.mask.map_or(0, |mask| mask[(self.taken % 4) as usize]);
        let mut plain = [*byte ^ key];
        let is_kept = match self.head.opcode {
            // The code.
            Opcode::Close => self.taken < 2,
            // The answers to our own pings, which are numbers.
            Opcode::Pong => self.head.len == 8,
            _ => false,
        };
        if !is_kept {
            match self.head.opcode {
                Opcode::Close => text(&mut plain),
                Opcode::Text | Opcode::Continuation if is_text => text(&mut plain),
                _ => plain = [0],
            }
        }
        *byte = plain[0] ^ key;
        self.taken += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::{Redactor, text};

    #[test]
    fn text_is_as_valid_as_before() {
        let samples: [&[u8]; 7] = [
            b"abc",
            "aß€𐍈".as_bytes(),
            b"\xC3",
            b"a\xC0\x80",
            b"\xED\xA0\x80",
            b"\xF4\x90",
            b"\xE0\x80",
        ];
        for sample in samples {
            let mut redacted = sample.to_vec();
            text(&mut redacted);
            let (before, after) = (core::str::from_utf8(sample), core::str::from_utf8(&redacted));
            assert_eq!(before.map(str::len), after.map(str::len), "{sample:x?}");
        }
    }

    /// Each pair of bytes, and each of them between others, keeps its validity.
    #[test]
    fn every_two_bytes_are_as_valid_as_before() {
        for pair in 0..=u16::MAX {
            for sample in
                [pair.to_be_bytes().to_vec(), [&pair.to_be_bytes()[..], b"\x80\x80"].concat()]
            {
                let mut redacted = sample.clone();
                text(&mut redacted);
                let (before, after) =
                    (core::str::from_utf8(&sample), core::str::from_utf8(&redacted));
                assert_eq!(before.map(str::len), after.map(str::len), "{sample:x?}");
            }
        }
    }

    #[test]
    fn headers_and_close_codes_stay() {
        let mut bytes = *b"\x81\x05hello\x88\x05\x03\xE8bye\x82\x02\x01\x02\x89\x01p";
        let (first, second) = bytes.split_at_mut(4);
        let mut redactor = Redactor::default();
        redactor.redact(first).unwrap();
        redactor.redact(second).unwrap();
        assert_eq!(bytes, *b"\x81\x05xxxxx\x88\x05\x03\xE8xxx\x82\x02\0\0\x89\x01\0");
    }

    #[test]
    fn what_cannot_be_parsed_is_dropped_and_compressed_messages_are_an_error() {
        let mut bytes = *b"\x83\x05secret";
        Redactor::default().redact(&mut bytes).unwrap();
        assert_eq!(bytes[2..], [0; 6]);
        assert!(Redactor::default().redact(&mut [0xC1, 0x01, 0]).is_err());
    }
}

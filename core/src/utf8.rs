//! Validation of UTF-8 that arrives in parts, which may split a character (RFC 6455 §8.1).

use alloc::collections::TryReserveError;
use alloc::string::String;

use crate::error::ProtocolError;

/// Validated text, and the first bytes of a character whose other bytes have not arrived.
#[derive(Clone, Debug, Default)]
pub(crate) struct Text {
    checked: String,
    tail: [u8; 4],
    tail_len: usize,
}

impl Text {
    /// Appends `bytes`.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::TextInvalid`] at the first byte that is invalid at its place, even if the rest of
    /// its character has not arrived.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> Result<(), ProtocolError> {
        while self.tail_len > 0 {
            let Some((&byte, rest)) = bytes.split_first() else {
                return Ok(());
            };
            bytes = rest;
            self.push_to_tail(byte)?;
        }
        let (whole, cut) = bytes.split_at(bytes.len() - cut_character_len(bytes));
        let whole = simdutf8::basic::from_utf8(whole).map_err(|_| ProtocolError::TextInvalid)?;
        self.checked.push_str(whole);
        cut.iter().try_for_each(|&byte| self.push_to_tail(byte))
    }

    /// Appends a byte of a character that is split.
    fn push_to_tail(&mut self, byte: u8) -> Result<(), ProtocolError> {
        self.tail[self.tail_len] = byte;
        self.tail_len += 1;
        match str::from_utf8(&self.tail[..self.tail_len]) {
            Ok(character) => {
                self.checked.push_str(character);
                self.tail_len = 0;
                Ok(())
            }
            // Without an error length, the bytes are the beginning of a character.
            Err(error) if error.error_len().is_none() => Ok(()),
            Err(_) => Err(ProtocolError::TextInvalid),
        }
    }

    /// The length in bytes of everything that was appended and not taken.
    pub(crate) fn len(&self) -> usize {
        self.checked.len() + self.tail_len
    }

    /// The length in bytes of the whole characters.
    pub(crate) fn whole_len(&self) -> usize {
        self.checked.len()
    }

    /// The length in bytes that the text can have without being moved.
    pub(crate) fn capacity(&self) -> usize {
        self.checked.capacity()
    }

    /// Makes room for exactly `additional` bytes.
    pub(crate) fn try_reserve_exact(&mut self, additional: usize) -> Result<(), TryReserveError> {
        self.checked.try_reserve_exact(additional)
    }

    /// Takes the whole characters out; a split one stays for the next chunk.
    pub(crate) fn take(&mut self) -> String {
        core::mem::take(&mut self.checked)
    }

    /// Takes the text out when its last byte has been appended.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::TextInvalid`] if it ends inside a character.
    pub(crate) fn finish(&mut self) -> Result<String, ProtocolError> {
        if self.tail_len > 0 {
            return Err(ProtocolError::TextInvalid);
        }
        Ok(self.take())
    }
}

/// The number of bytes at the end of `bytes` that begin a character without completing it.
fn cut_character_len(bytes: &[u8]) -> usize {
    for (back, &byte) in bytes.iter().rev().take(3).enumerate() {
        let len = match byte {
            0xC0..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xFF => 4,
            // A continuation byte: the character begins earlier.
            0x80..=0xBF => continue,
            0x00..=0x7F => return 0,
        };
        return if len > back + 1 { back + 1 } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push_all<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Result<String, ProtocolError> {
        let mut text = Text::default();
        for part in parts {
            text.push(part)?;
        }
        text.finish()
    }

    #[test]
    fn text_split_anywhere_is_the_same_text() {
        let whole = "a€𐍈ä\u{10FFFF}z";
        for size in 1..=whole.len() {
            assert_eq!(push_all(whole.as_bytes().chunks(size)).as_deref(), Ok(whole));
        }
    }

    /// Every invalid sequence of up to three bytes, and a selection of four, fails at the byte at which the
    /// standard library finds the error.
    #[test]
    fn validation_fails_at_the_first_invalid_byte() {
        for first in 0..=u8::MAX {
            for second in 0..=u8::MAX {
                for third in [0x00, 0x7F, 0x80, 0x9F, 0xA0, 0xBF, 0xC0, 0xFF] {
                    check(&[first, second, third]);
                    for fourth in [0x41, 0x80, 0xBF, 0xF5] {
                        check(&[first, second, third, fourth]);
                    }
                }
            }
        }
    }

    fn check(bytes: &[u8]) {
        let mut text = Text::default();
        for end in 1..=bytes.len() {
            let possible = match str::from_utf8(&bytes[..end]) {
                Ok(_) => true,
                Err(error) => error.error_len().is_none(),
            };
            assert_eq!(text.push(&bytes[end - 1..end]).is_ok(), possible, "{bytes:x?} at {end}");
            let mut whole = Text::default();
            assert_eq!(whole.push(&bytes[..end]).is_ok(), possible, "{bytes:x?} whole to {end}");
            if !possible {
                return;
            }
        }
    }

    #[test]
    fn text_that_ends_inside_a_character_is_invalid() {
        assert_eq!(push_all([&[0xE2, 0x82][..]]), Err(ProtocolError::TextInvalid));
        assert_eq!(push_all([&[0xE2, 0x82][..], &[0xAC]]).as_deref(), Ok("€"));
    }
}

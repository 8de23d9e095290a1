//! The boundaries of messages in a pipe: [`Framing`].

use std::io::{self, BufRead, Read, Write};

use clap::ValueEnum;
use sockless::Message;

/// The longest message that is read with a length in front of it.
const MAX_LEN: u32 = 1 << 30;

/// The boundaries of messages in stdin and stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Framing {
    /// A message is a line; binary messages are hexadecimal.
    Lines,
    /// A zero byte follows each message; binary messages are hexadecimal.
    Null,
    /// Four bytes, the length in big-endian order, precede each message; binary messages are unchanged.
    Length,
}

impl Framing {
    /// Reads the next message; `None` at the end of `input`.
    ///
    /// # Errors
    ///
    /// That of reading; `InvalidData` if what was read is not a message.
    pub(crate) fn read(
        self,
        input: &mut impl BufRead,
        binary: bool,
    ) -> io::Result<Option<Message>> {
        let Some(bytes) = self.read_bytes(input)? else { return Ok(None) };
        if binary && self != Self::Length {
            return hex::decode(bytes.trim_ascii())
                .map(|bytes| Some(bytes.into()))
                .map_err(invalid);
        }
        if binary {
            return Ok(Some(bytes.into()));
        }
        String::from_utf8(bytes).map(|text| Some(text.into())).map_err(invalid)
    }

    fn read_bytes(self, input: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
        let end = match self {
            Self::Lines => b'\n',
            Self::Null => 0,
            Self::Length => return read_with_length(input),
        };
        let mut bytes = Vec::new();
        if input.read_until(end, &mut bytes)? == 0 {
            return Ok(None);
        }
        if bytes.last() == Some(&end) {
            bytes.pop();
        }
        if self == Self::Lines && bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        Ok(Some(bytes))
    }

    /// Writes a message, and flushes it.
    ///
    /// # Errors
    ///
    /// That of writing.
    pub(crate) fn write(self, message: &Message, output: &mut impl Write) -> io::Result<()> {
        let bytes = message.as_bytes();
        match self {
            Self::Length => {
                let len = u32::try_from(bytes.len()).map_err(invalid)?;
                output.write_all(&len.to_be_bytes())?;
                output.write_all(bytes)?;
            }
            Self::Lines | Self::Null => {
                match message.as_text() {
                    Some(text) => output.write_all(text.as_bytes())?,
                    None => output.write_all(hex::encode(bytes).as_bytes())?,
                }
                output.write_all(if self == Self::Lines { b"\n" } else { b"\0" })?;
            }
        }
        output.flush()
    }
}

fn read_with_length(input: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    if input.fill_buf()?.is_empty() {
        return Ok(None);
    }
    let mut len = [0; 4];
    input.read_exact(&mut len)?;
    let len = u32::from_be_bytes(len);
    if len > MAX_LEN {
        return Err(invalid(format!("a message of {len} bytes: the maximum is {MAX_LEN}")));
    }
    // The buffer grows with what arrives, not with what the length claims.
    let mut bytes = Vec::new();
    if input.take(len.into()).read_to_end(&mut bytes)? < len as usize {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(bytes))
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(framing: Framing, mut input: &[u8], binary: bool) -> Vec<Message> {
        std::iter::from_fn(|| framing.read(&mut input, binary).unwrap()).collect()
    }

    #[test]
    fn every_framing_reads_what_it_wrote() {
        for framing in [Framing::Lines, Framing::Null, Framing::Length] {
            let texts = ["", "hello", "Grüße, 世界"].map(Message::from).to_vec();
            let binaries =
                [&b""[..], b"\0\n\xFF", b"1"].map(|bytes| Message::from(bytes.to_vec())).to_vec();
            for (messages, binary) in [(texts, false), (binaries, true)] {
                let mut written = Vec::new();
                messages.iter().for_each(|message| framing.write(message, &mut written).unwrap());
                assert_eq!(read_all(framing, &written, binary), messages, "{framing:?}");
            }
        }
    }

    #[test]
    fn the_last_line_needs_no_end_and_carriage_returns_are_dropped() {
        let expected = ["one", "two"].map(Message::from);
        assert_eq!(read_all(Framing::Lines, b"one\r\ntwo", false), expected);
    }

    #[test]
    fn a_length_that_nothing_follows_is_an_error_and_takes_no_memory() {
        for input in [&b"\0\0"[..], b"\0\0\0\x05abc", b"\x3F\xFF\xFF\xFFabc", b"\xFF\xFF\xFF\xFF"] {
            let error = Framing::Length.read(&mut &input[..], true).unwrap_err();
            let kinds = [io::ErrorKind::UnexpectedEof, io::ErrorKind::InvalidData];
            assert!(kinds.contains(&error.kind()), "{error}");
        }
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        assert!(Framing::Lines.read(&mut &b"\xFF\n"[..], false).is_err());
        assert!(Framing::Lines.read(&mut &b"0x00\n"[..], true).is_err());
    }
}

//! The replies, of which only the frame headers are parsed.

use crate::Result;

/// The position in the replies on one connection.
#[derive(Default)]
pub struct Replies {
    header: [u8; 14],
    header_len: usize,
    /// The rest of the arriving frame's payload.
    payload: u64,
    /// The length of the arriving message so far.
    message: u64,
    first: u8,
}

/// A complete header: its first byte, its length, and the length and masking key of the payload.
pub struct Header {
    pub first: u8,
    pub len: usize,
    pub payload: u64,
    pub key: Option<[u8; 4]>,
}

impl Header {
    /// The header at the start of `bytes`, if it is complete. It may be masked, as in a raw echo.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let &[first, second, ref rest @ ..] = bytes else { return None };
        let (extra, payload) = match second & 0x7F {
            126 => (2, u64::from(u16::from_be_bytes(*rest.first_chunk()?))),
            127 => (8, u64::from_be_bytes(*rest.first_chunk()?)),
            short => (0, u64::from(short)),
        };
        if second & 0x80 == 0 {
            return Some(Self { first, len: 2 + extra, payload, key: None });
        }
        let key = *rest.get(extra..)?.first_chunk()?;
        Some(Self { first, len: 6 + extra, payload, key: Some(key) })
    }
}

impl Replies {
    /// Parses received bytes, and returns the number of messages that end in them.
    ///
    /// Fails if the length of a message is not `expected`. Control frames are skipped, and pings are not answered.
    pub fn take(&mut self, mut bytes: &[u8], expected: u64) -> Result<usize> {
        let mut ended = 0;
        loop {
            let skipped = self.payload.min(bytes.len() as u64);
            self.payload -= skipped;
            bytes = &bytes[skipped as usize..];
            if self.payload > 0 {
                return Ok(ended);
            }
            if self.first & 0x88 == 0x80 {
                if self.message != expected {
                    let message = self.message;
                    return Err(format!(
                        "expected a reply of {expected} bytes, received {message}"
                    )
                    .into());
                }
                ended += 1;
                self.message = 0;
            }
            self.first = 0;
            match self.next_header(bytes)? {
                Some(taken) => bytes = &bytes[taken..],
                None => return Ok(ended),
            }
        }
    }

    /// Begins the next frame, and returns how many bytes of its header were in `bytes`.
    fn next_header(&mut self, bytes: &[u8]) -> Result<Option<usize>> {
        let before = self.header_len;
        let header = if before == 0 {
            Header::parse(bytes)
        } else {
            let more = bytes.len().min(self.header.len() - before);
            self.header[before..before + more].copy_from_slice(&bytes[..more]);
            Header::parse(&self.header[..before + more])
        };
        let Some(header) = header else {
            self.header[before..before + bytes.len()].copy_from_slice(bytes);
            self.header_len += bytes.len();
            return Ok(None);
        };
        if header.first & 0x0F == 0x8 {
            return Err("the server sent a Close frame".into());
        }
        self.header_len = 0;
        self.first = header.first;
        self.payload = header.payload;
        if header.first & 0x08 == 0 {
            self.message += header.payload;
        }
        Ok(Some(header.len - before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::masked_frame;

    #[test]
    fn messages_are_counted_for_any_chunking() {
        for len in [0, 1, 125, 126, 70_000] {
            let payload = vec![0x89; len];
            let mut wire = masked_frame(0x82, &payload, [0; 4]);
            wire.extend(masked_frame(0x02, &payload[..len / 2], [9; 4]));
            wire.extend([0x89, 2, b'h', b'i']);
            wire.extend(masked_frame(0x80, &payload[len / 2..], [9; 4]));
            for cut in (1..wire.len()).filter(|cut| cut % 97 < 20) {
                let mut replies = Replies::default();
                let pieces = [&wire[..cut], &wire[cut..], &wire[..]];
                let ended = pieces.map(|piece| replies.take(piece, len as u64).unwrap());
                assert_eq!(ended.iter().sum::<usize>(), 4, "{len} bytes, cut at {cut}");
            }
            assert!(Replies::default().take(&wire, len as u64 + 1).is_err());
        }
    }
}

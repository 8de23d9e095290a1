//! The frames that come back: only their headers are looked at.

use crate::Result;

/// Where a connection's replies have got to.
#[derive(Default)]
pub struct Replies {
    header: [u8; 14],
    header_len: usize,
    /// What is still to come of the frame that is arriving.
    payload: u64,
    /// How long the message that is arriving is so far.
    message: u64,
    first: u8,
}

/// A header that is whole: its first byte, its own length, the payload's.
pub struct Header {
    pub first: u8,
    pub len: usize,
    pub payload: u64,
    pub key: Option<[u8; 4]>,
}

impl Header {
    /// The header at the front of `bytes`, if it is whole. One that is masked is fine: a raw echo's is.
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
    /// Takes what arrived, and says how many messages have ended in it.
    ///
    /// Each must be as long as `expected`. Control frames are passed over, and a ping is not answered.
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
                    return Err(format!("a reply of {message} bytes, not of {expected}").into());
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

    /// Begins the next frame, and says how many bytes of its header lay in `bytes`.
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
            return Err("the server has closed a connection".into());
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
    fn messages_are_counted_wherever_they_are_cut() {
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

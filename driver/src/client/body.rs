//! The body of a response other than 101, decoded from the bytes that arrive, up to a limit:
//! [`Body`].

use bytes::BytesMut;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{Response, StatusCode};

/// The number of bytes of a body that are kept.
pub(crate) const MAX_BODY_LEN: usize = 64 << 10;

/// The longest line before a chunk, and the longest trailer section. Longer chunk extensions only
/// occur in attacks.
const MAX_LINE_LEN: usize = 4 << 10;

/// A body that is being received (RFC 9112 §6.3). Call [`poll`](Self::poll) with the bytes that
/// arrive until it returns true.
pub(crate) struct Body {
    received: BytesMut,
    next: Next,
    /// True once the end of the body was received.
    complete: bool,
}

/// The next part of the body.
enum Next {
    /// This many bytes.
    Bytes(u64),
    /// The line with the length of the next chunk.
    ChunkLine,
    /// This many bytes of a chunk.
    Chunk(u64),
    /// The line end after a chunk.
    ChunkEnd,
    /// Lines up to an empty one, of this many bytes at most.
    Trailer(usize),
    /// All bytes until the transport ends.
    Eof,
    /// Nothing.
    Nothing,
}

impl Body {
    /// Returns the body that follows this head.
    pub(crate) fn new(response: &Response<()>) -> Self {
        let headers = response.headers();
        let status = response.status();
        let has_none = status.is_informational()
            || status == StatusCode::NO_CONTENT
            || status == StatusCode::NOT_MODIFIED;
        let chunked = headers.get_all(TRANSFER_ENCODING).iter().next_back().is_some_and(|value| {
            let last = value.as_bytes().rsplit(|&byte| byte == b',').next().unwrap_or_default();
            last.trim_ascii().eq_ignore_ascii_case(b"chunked")
        });
        let length = headers.get(CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.trim().parse().ok());
        let next = match length {
            _ if has_none => Next::Nothing,
            _ if chunked => Next::ChunkLine,
            Some(length) if !headers.contains_key(TRANSFER_ENCODING) => Next::Bytes(length),
            _ => Next::Eof,
        };
        Self { received: BytesMut::new(), next, complete: false }
    }

    /// Returns true if the end of the transport is the end of the body.
    pub(crate) fn ends_with_transport(&self) -> bool {
        matches!(self.next, Next::Eof)
    }

    /// Takes the body's bytes out of `inbound`. Returns true if no further bytes are needed.
    pub(crate) fn poll(&mut self, inbound: &mut BytesMut) -> bool {
        loop {
            let taken = match &mut self.next {
                Next::Bytes(0) | Next::Nothing => {
                    self.complete = true;
                    return true;
                }
                Next::Bytes(left) | Next::Chunk(left) if *left > 0 => {
                    let len = inbound.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= len as u64;
                    Some(len)
                }
                Next::Eof => Some(inbound.len()),
                _ => None,
            };
            match taken {
                Some(0) => return false,
                Some(len) => {
                    let room = MAX_BODY_LEN - self.received.len();
                    let bytes = inbound.split_to(len);
                    self.received.extend_from_slice(&bytes[..len.min(room)]);
                    if len > room {
                        return true;
                    }
                }
                None => match self.poll_line(inbound) {
                    Ok(true) => {}
                    Ok(false) => return false,
                    // The bytes before a malformed line are kept: they may explain the status.
                    Err(()) => return true,
                },
            }
        }
    }

    /// Takes a line between chunks. Returns false if it has not arrived, and an error if it is
    /// malformed.
    fn poll_line(&mut self, inbound: &mut BytesMut) -> Result<bool, ()> {
        if let Next::Chunk(_) = self.next {
            self.next = Next::ChunkEnd;
        }
        let searched = &inbound[..inbound.len().min(MAX_LINE_LEN)];
        let Some(end) = searched.windows(2).position(|pair| pair == b"\r\n") else {
            return if inbound.len() < MAX_LINE_LEN { Ok(false) } else { Err(()) };
        };
        let line = inbound.split_to(end + 2);
        let line = &line[..end];
        self.next = match &self.next {
            Next::ChunkLine => match chunk_len(line).ok_or(())? {
                0 => Next::Trailer(MAX_LINE_LEN),
                len => Next::Chunk(len),
            },
            Next::ChunkEnd if line.is_empty() => Next::ChunkLine,
            Next::Trailer(_) if line.is_empty() => Next::Nothing,
            Next::Trailer(room) => Next::Trailer(room.checked_sub(line.len() + 2).ok_or(())?),
            _ => return Err(()),
        };
        Ok(true)
    }

    /// Handles the end of the transport, which completes a body of unknown length.
    pub(crate) fn handle_eof(&mut self) {
        self.complete |= matches!(self.next, Next::Eof);
    }

    /// Returns the bytes that were received, and true if they are the whole body.
    pub(crate) fn into_parts(self) -> (BytesMut, bool) {
        (self.received, self.complete)
    }
}

/// Returns the length at the beginning of a chunk's line, before its extensions (RFC 9112 §7.1).
///
/// `httparse::parse_chunk_size` would take an empty line for a length of 0.
fn chunk_len(line: &[u8]) -> Option<u64> {
    let digits = line.split(|&byte| byte == b';').next()?.trim_ascii();
    let valid = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
    let digits = std::str::from_utf8(digits).ok().filter(|_| valid)?;
    u64::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds a body in parts of this length, then the end of the transport. Returns the bytes, true
    /// if they are complete, and true if `poll` returned true.
    fn read(
        headers: &[(&str, &str)],
        bytes: &[u8],
        cut: usize,
        eof: bool,
    ) -> (Vec<u8>, bool, bool) {
        let mut response = Response::builder().status(503);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        let mut body = Body::new(&response.body(()).unwrap());
        let mut inbound = BytesMut::new();
        let mut over = body.poll(&mut inbound);
        for part in bytes.chunks(cut) {
            if !over {
                inbound.extend_from_slice(part);
                over = body.poll(&mut inbound);
            }
        }
        if eof && !over {
            body.handle_eof();
        }
        let (received, complete) = body.into_parts();
        (received.to_vec(), complete, over)
    }

    const CHUNKED: &[(&str, &str)] = &[("transfer-encoding", "gzip, Chunked")];

    #[test]
    fn a_body_is_the_same_however_it_is_cut() {
        let chunks = b"3\r\nabc\r\n00A;x=y\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\nmore";
        for cut in 1..chunks.len() {
            let whole = |text: &[u8]| (text.to_vec(), true, true);
            let length = &[("content-length", "5")][..];
            assert_eq!(read(length, b"hello, world", cut, false), whole(b"hello"));
            assert_eq!(read(CHUNKED, chunks, cut, false), whole(b"abc0123456789"));
            assert_eq!(
                read(&[], b"until the end", cut, true),
                (b"until the end".to_vec(), true, false)
            );
            assert_eq!(read(&[("content-length", "0")], b"x", cut, false), whole(b""));
        }
    }

    #[test]
    fn a_body_that_is_cut_short_is_not_complete() {
        for (headers, bytes, received) in [
            (&[("content-length", "9")][..], &b"hello"[..], &b"hello"[..]),
            (CHUNKED, b"5\r\nhel", b"hel"),
            (CHUNKED, b"5\r\nhello\r\n", b"hello"),
            (CHUNKED, b"5\r\nhello\r\n0\r\n", b"hello"),
        ] {
            assert_eq!(read(headers, bytes, 1, true), (received.to_vec(), false, false));
        }
    }

    #[test]
    fn a_malformed_line_between_chunks_ends_the_body() {
        for (bytes, received) in [
            (&b"x\r\nhello"[..], &b""[..]),
            (b"-5\r\nhello", b""),
            (b"\r\n", b""),
            (b"10000000000000000\r\n", b""),
            (b"2\r\nhello\r\n", b"he"),
        ] {
            assert_eq!(read(CHUNKED, bytes, 1, true), (received.to_vec(), false, true));
        }
        let endless = [b'1'; MAX_LINE_LEN + 1];
        assert_eq!(read(CHUNKED, &endless, 100, false), (Vec::new(), false, true));
        let trailers = [&b"0\r\n"[..], &b"a: b\r\n".repeat(MAX_LINE_LEN)].concat();
        assert_eq!(read(CHUNKED, &trailers, 100, false), (Vec::new(), false, true));
    }

    #[test]
    fn a_body_is_cut_off_at_the_limit() {
        let long = vec![b'x'; MAX_BODY_LEN + 1];
        let exact = &long[1..];
        let over = (exact.to_vec(), false, true);
        assert_eq!(read(&[], &long, 1000, true), over);
        assert_eq!(read(&[("content-length", "99999999999")], &long, 7000, true), over);
        assert_eq!(read(&[], exact, 1000, true), (exact.to_vec(), true, false));
        let length = MAX_BODY_LEN.to_string();
        let whole = (exact.to_vec(), true, true);
        assert_eq!(read(&[("content-length", &length)], exact, 1000, false), whole);
    }
}

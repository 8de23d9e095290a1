//! The body of an answer that is no 101: [`Body`], which takes it out of what arrives, up to a limit.

use bytes::BytesMut;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{Response, StatusCode};

/// How much of a body is kept.
pub(crate) const MAX_BODY_LEN: usize = 64 << 10;

/// The longest line before a chunk, or in the trailer. Extensions of chunks that are longer exist in
/// attacks only.
const MAX_LINE_LEN: usize = 4 << 10;

/// A body that arrives (RFC 9112 §6.3). Feed [`poll`](Self::poll) until it says that this is all.
pub(crate) struct Body {
    received: BytesMut,
    rest: Rest,
    /// All of it came.
    complete: bool,
}

/// What the body still lacks.
enum Rest {
    /// As many bytes.
    Bytes(u64),
    /// A line with the length of the next chunk.
    ChunkLine,
    /// As many bytes of a chunk.
    Chunk(u64),
    /// The line end behind a chunk.
    ChunkEnd,
    /// Lines up to an empty one, of which there may be as many bytes more.
    Trailer(usize),
    /// Whatever comes until the transport ends.
    Eof,
    /// Nothing.
    Nothing,
}

impl Body {
    /// The body of an answer with this head.
    pub(crate) fn of(response: &Response<()>) -> Self {
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
        let rest = match length {
            _ if has_none => Rest::Nothing,
            _ if chunked => Rest::ChunkLine,
            Some(length) if !headers.contains_key(TRANSFER_ENCODING) => Rest::Bytes(length),
            _ => Rest::Eof,
        };
        Self { received: BytesMut::new(), rest, complete: false }
    }

    /// Whether only the end of the transport says where it ends.
    pub(crate) fn is_open_ended(&self) -> bool {
        matches!(self.rest, Rest::Eof)
    }

    /// Takes what has come of the body; true when no more is wanted.
    pub(crate) fn poll(&mut self, inbound: &mut BytesMut) -> bool {
        loop {
            let taken = match &mut self.rest {
                Rest::Bytes(0) | Rest::Nothing => {
                    self.complete = true;
                    return true;
                }
                Rest::Bytes(left) | Rest::Chunk(left) if *left > 0 => {
                    let len = inbound.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= len as u64;
                    Some(len)
                }
                Rest::Eof => Some(inbound.len()),
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
                    // What came before the nonsense is kept: it may say why.
                    Err(()) => return true,
                },
            }
        }
    }

    /// Takes a line between chunks; false when it has not come, an error when it is none.
    fn poll_line(&mut self, inbound: &mut BytesMut) -> Result<bool, ()> {
        if let Rest::Chunk(_) = self.rest {
            self.rest = Rest::ChunkEnd;
        }
        let searched = &inbound[..inbound.len().min(MAX_LINE_LEN)];
        let Some(end) = searched.windows(2).position(|pair| pair == b"\r\n") else {
            return if inbound.len() < MAX_LINE_LEN { Ok(false) } else { Err(()) };
        };
        let line = inbound.split_to(end + 2);
        let line = &line[..end];
        self.rest = match &self.rest {
            Rest::ChunkLine => match chunk_len(line).ok_or(())? {
                0 => Rest::Trailer(MAX_LINE_LEN),
                len => Rest::Chunk(len),
            },
            Rest::ChunkEnd if line.is_empty() => Rest::ChunkLine,
            Rest::Trailer(_) if line.is_empty() => Rest::Nothing,
            Rest::Trailer(room) => Rest::Trailer(room.checked_sub(line.len() + 2).ok_or(())?),
            _ => return Err(()),
        };
        Ok(true)
    }

    /// The transport has ended, which is the end of a body that states no length.
    pub(crate) fn handle_eof(&mut self) {
        self.complete |= matches!(self.rest, Rest::Eof);
    }

    /// What came of the body, and whether that is all of it.
    pub(crate) fn into_parts(self) -> (BytesMut, bool) {
        (self.received, self.complete)
    }
}

/// The length at the beginning of a chunk's line, before its extensions (RFC 9112 §7.1).
fn chunk_len(line: &[u8]) -> Option<u64> {
    let digits = line.split(|&byte| byte == b';').next()?.trim_ascii();
    let valid = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
    let digits = std::str::from_utf8(digits).ok().filter(|_| valid)?;
    u64::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the body is when it comes in pieces of this length, then the end of the transport.
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
        let mut body = Body::of(&response.body(()).unwrap());
        let mut inbound = BytesMut::new();
        let mut over = body.poll(&mut inbound);
        for piece in bytes.chunks(cut) {
            if !over {
                inbound.extend_from_slice(piece);
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
    fn bodies_come_whole_however_they_are_cut() {
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
    fn what_is_cut_short_is_not_complete() {
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
    fn nonsense_between_chunks_ends_the_body() {
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
    fn more_than_the_limit_is_cut_off() {
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

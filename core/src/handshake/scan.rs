//! Waits for a head: [`HeadReader`] checks each byte once, as it arrives.

use alloc::vec::Vec;

use bytes::{Buf, Bytes, BytesMut};

use super::MAX_HEADERS;
use super::error::{HeadError, HeadRule};
use crate::config::Config;
use crate::extension::is_token_byte;
use crate::time::Instant;

/// The kind of head that is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Request,
    Response,
}

/// Waits for the head of the peer: limits, deadline, end of the transport.
#[derive(Clone, Debug)]
pub(super) struct HeadReader {
    scanner: Scanner,
    /// The bytes that the head may still have: [`Config::max_head_len`] less those of interim responses.
    max: usize,
    room: usize,
    deadline: Instant,
    wait: Wait,
}

#[derive(Clone, Copy, Debug)]
enum Wait {
    /// Waits for more bytes.
    Reading,
    /// The wait has ended for this reason. Bytes that have arrived are examined first.
    Ended(HeadError),
    Failed(HeadError),
    Finished,
}

impl HeadReader {
    pub(super) fn new(kind: Kind, config: &Config, now: Instant) -> Self {
        Self {
            scanner: Scanner::new(kind),
            max: config.max_head_len,
            room: config.max_head_len,
            deadline: now + config.opening_timeout,
            wait: Wait::Reading,
        }
    }

    pub(super) fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }

    /// Takes one head out of `inbound`, and nothing after it; on an error, nothing at all.
    pub(super) fn poll<T>(
        &mut self,
        inbound: &mut BytesMut,
        parse: impl FnOnce(&Bytes) -> Result<T, HeadRule>,
    ) -> Option<Result<T, HeadError>> {
        self.poll_bytes(inbound, |bytes| {
            // A copy: a header that is kept would otherwise keep the whole read buffer in memory.
            let mut head = Vec::new();
            head.try_reserve_exact(bytes.len()).map_err(|_| HeadError::OutOfMemory)?;
            head.extend_from_slice(bytes);
            parse(&Bytes::from(head)).map_err(|rule| HeadError::Invalid { rule, at: bytes.len() })
        })
    }

    /// As [`poll`](Self::poll), without a copy.
    pub(super) fn poll_bytes<T>(
        &mut self,
        inbound: &mut BytesMut,
        parse: impl FnOnce(&[u8]) -> Result<T, HeadError>,
    ) -> Option<Result<T, HeadError>> {
        match self.wait {
            Wait::Failed(error) => return Some(Err(error)),
            Wait::Finished => return None,
            Wait::Reading | Wait::Ended(_) => {}
        }
        let verdict = match (self.scanner.scan(inbound, self.room), self.wait) {
            (Ok(Some(len)), _) => self.take(inbound, len, parse),
            (Ok(None), Wait::Ended(error)) => Err(self.ended(error)),
            (Ok(None), _) => return None,
            (Err(Breach::Head(error)), _) => Err(error),
            (Err(Breach::Room), _) => Err(HeadError::TooLong { max: self.max }),
        };
        if let Err(error) = verdict {
            self.wait = Wait::Failed(error);
        }
        Some(verdict)
    }

    fn take<T>(
        &mut self,
        inbound: &mut BytesMut,
        len: usize,
        parse: impl FnOnce(&[u8]) -> Result<T, HeadError>,
    ) -> Result<T, HeadError> {
        let parsed = parse(&inbound[..len])?;
        inbound.advance(len);
        self.room -= len;
        self.scanner = Scanner::new(self.scanner.kind);
        Ok(parsed)
    }

    /// All bytes that the head may have of `inbound`, if none of them has been examined.
    pub(super) fn unexamined<'a>(&self, inbound: &'a BytesMut) -> Option<&'a [u8]> {
        let is_new = self.scanner.at == 0 && matches!(self.wait, Wait::Reading | Wait::Ended(_));
        is_new.then(|| &inbound[..inbound.len().min(self.room)])
    }

    /// Takes a head of `len` bytes that has been parsed; nothing if it is invalid.
    pub(super) fn take_parsed<T>(
        &mut self,
        inbound: &mut BytesMut,
        len: usize,
        parsed: Result<T, HeadRule>,
    ) -> Result<T, HeadError> {
        let verdict = self
            .take(inbound, len, |_| parsed.map_err(|rule| HeadError::Invalid { rule, at: len }));
        if let Err(error) = verdict {
            self.wait = Wait::Failed(error);
        }
        verdict
    }

    /// Ends the wait: no further head is read.
    pub(super) fn finish(&mut self) {
        if !matches!(self.wait, Wait::Failed(_)) {
            self.wait = Wait::Finished;
        }
    }

    pub(super) fn handle_eof(&mut self) {
        self.end(HeadError::Eof);
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if now >= self.deadline {
            self.end(HeadError::Timeout);
        }
    }

    /// A peer that sent no byte was not slow: there is no request to answer.
    fn ended(&self, error: HeadError) -> HeadError {
        match (error, self.scanner.kind) {
            (HeadError::Timeout, Kind::Request) if self.scanner.at == 0 => HeadError::Silent,
            _ => error,
        }
    }

    fn end(&mut self, error: HeadError) {
        if matches!(self.wait, Wait::Reading) {
            self.wait = Wait::Ended(error);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        matches!(self.wait, Wait::Reading).then_some(self.deadline)
    }
}

/// Finds the end of a head by examining each byte once, and stops at the first byte that no head can
/// have in its place.
///
/// An error depends only on the bytes up to that one. So the result does not depend on how the bytes
/// were split, the work is linear in their number, and a peer that uses another protocol is answered
/// at once. The parser that follows sees complete heads only.
#[derive(Clone, Debug)]
struct Scanner {
    kind: Kind,
    at: usize,
    headers: usize,
    place: Place,
}

/// The position of the scanner within the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before the first byte.
    Start,
    /// After the carriage return of an empty line before the head.
    EmptyCr,
    Method,
    FirstLine,
    /// After the carriage return that ends a line.
    LineCr,
    LineStart,
    HeaderName,
    HeaderValue,
    /// After the carriage return that ends the head.
    EndCr,
    End,
}

enum Breach {
    Head(HeadError),
    /// The head continues beyond the limit of its length.
    Room,
}

impl Scanner {
    const fn new(kind: Kind) -> Self {
        Self { kind, at: 0, headers: 0, place: Place::Start }
    }

    /// Returns the length of the head at the start of `inbound`; `None` if its end has not arrived.
    fn scan(&mut self, inbound: &[u8], room: usize) -> Result<Option<usize>, Breach> {
        while let Some(&byte) = inbound.get(self.at) {
            self.place = self.step(byte, inbound).map_err(Breach::Head)?;
            self.at += 1;
            if self.place == Place::End {
                return Ok(Some(self.at));
            }
            self.skip(&inbound[..inbound.len().min(room)]);
            if self.at >= room {
                return Err(Breach::Room);
            }
        }
        Ok(None)
    }

    /// Skips bytes that do not change the place: nearly all of a head.
    fn skip(&mut self, inbound: &[u8]) {
        let rest = inbound.get(self.at..).unwrap_or_default();
        self.at += match (self.place, self.kind) {
            (Place::FirstLine, Kind::Request) => class::run(rest, class::LINE, is_line_byte),
            (Place::HeaderName, _) => class::run(rest, class::NAME, is_token_byte),
            (Place::HeaderValue, _) => class::run(rest, class::VALUE, is_text_byte),
            _ => 0,
        };
    }

    fn step(&mut self, byte: u8, inbound: &[u8]) -> Result<Place, HeadError> {
        use Place::*;
        let rule = match (self.place, byte) {
            (EmptyCr, b'\n') => return Ok(Start),
            (LineCr, b'\n') => return Ok(LineStart),
            (EndCr, b'\n') => return Ok(End),
            (EmptyCr | LineCr | EndCr, _) => HeadRule::BareCr,
            (_, b'\n') => HeadRule::BareLf,

            // A server skips empty lines before a request (RFC 9112 §2.2), and so does the parser. They
            // count towards the limit.
            (Start, b'\r') if self.kind == Kind::Request => return Ok(EmptyCr),
            (Start, _) => return self.first_byte(byte),
            (Method, b' ') => return Ok(FirstLine),
            (Method, _) if is_token_byte(byte) => return Ok(Method),
            (Method, _) => HeadRule::RequestLine,
            (FirstLine, _) if self.is_other_protocol(byte) => HeadRule::StatusLine,
            (FirstLine, b'\r') => return self.first_line(inbound),
            (FirstLine, _) if self.is_first_line_byte(byte) => return Ok(FirstLine),
            (FirstLine, 0x80..) => HeadRule::Target,

            (LineStart, b'\r') => return Ok(EndCr),
            (LineStart, b' ' | b'\t') => HeadRule::Folded,
            (LineStart, _) if is_token_byte(byte) => return self.header(),
            (HeaderName, _) if is_token_byte(byte) => return Ok(HeaderName),
            (HeaderName, b':') => return Ok(HeaderValue),
            (LineStart | HeaderName, _) => HeadRule::HeaderName,
            (HeaderValue, b'\r') => return Ok(LineCr),
            (HeaderValue, _) if is_text_byte(byte) => return Ok(HeaderValue),
            (FirstLine | HeaderValue | End, _) => HeadRule::ControlByte(byte),
        };
        Err(self.invalid(rule))
    }

    fn first_byte(&self, byte: u8) -> Result<Place, HeadError> {
        match self.kind {
            Kind::Request if is_token_byte(byte) => Ok(Place::Method),
            Kind::Response if byte == b'H' => Ok(Place::FirstLine),
            _ => Err(HeadError::NotHttp { first: byte }),
        }
    }

    /// True if `byte` shows that a status line does not begin with the name of the protocol.
    fn is_other_protocol(&self, byte: u8) -> bool {
        let due = b"HTTP/".get(self.at);
        self.kind == Kind::Response && due.is_some_and(|&due| due != byte)
    }

    /// Checks the name and the version of the protocol when the first line ends: the bytes after the
    /// preface of HTTP/2 are not text.
    fn first_line(&self, inbound: &[u8]) -> Result<Place, HeadError> {
        let mut words = inbound[..self.at].split(|&byte| byte == b' ');
        let (version, rule) = match self.kind {
            Kind::Request => (words.next_back(), HeadRule::RequestLine),
            Kind::Response => (words.next(), HeadRule::StatusLine),
        };
        match version.and_then(|version| version.strip_prefix(b"HTTP/")) {
            Some(b"1.0" | b"1.1") => Ok(Place::LineCr),
            Some([b'0'..=b'9'] | [b'0'..=b'9', b'.', b'0'..=b'9']) => {
                Err(HeadError::VersionUnsupported)
            }
            _ => Err(self.invalid(rule)),
        }
    }

    /// A reason phrase may also have bytes of other encodings.
    fn is_first_line_byte(&self, byte: u8) -> bool {
        match self.kind {
            Kind::Request => is_line_byte(byte),
            Kind::Response => is_text_byte(byte),
        }
    }

    fn header(&mut self) -> Result<Place, HeadError> {
        self.headers += 1;
        if self.headers > MAX_HEADERS {
            return Err(HeadError::TooManyHeaders);
        }
        Ok(Place::HeaderName)
    }

    fn invalid(&self, rule: HeadRule) -> HeadError {
        HeadError::Invalid { rule, at: self.at }
    }
}

/// The bytes of each place in a table, since comparing each byte with ranges takes five times as long.
mod class {
    use super::{is_line_byte, is_text_byte, is_token_byte};

    /// A byte of a request line.
    pub(super) const LINE: u8 = 1;
    /// A byte of the name of a header.
    pub(super) const NAME: u8 = 2;
    /// A byte of the value of a header.
    pub(super) const VALUE: u8 = 4;

    static OF: [u8; 256] = {
        let mut classes = [0; 256];
        let mut byte = 0;
        while byte < classes.len() {
            if is_line_byte(byte as u8) {
                classes[byte] |= LINE;
            }
            if is_token_byte(byte as u8) {
                classes[byte] |= NAME;
            }
            if is_text_byte(byte as u8) {
                classes[byte] |= VALUE;
            }
            byte += 1;
        }
        classes
    };

    /// The number of bytes at the start of `bytes` that are of the `class` of which `is` is true. In a long run, many are
    /// compared with the ranges of `is` by one instruction.
    pub(super) fn run(bytes: &[u8], class: u8, is: impl Fn(u8) -> bool) -> usize {
        const CHUNK: usize = 32;
        let of_class = |bytes: &[u8]| {
            bytes.iter().position(|&byte| OF[usize::from(byte)] & class == 0).unwrap_or(bytes.len())
        };
        let Some((first, rest)) = bytes.split_at_checked(CHUNK) else { return of_class(bytes) };
        let short = of_class(first);
        if short < CHUNK {
            return short;
        }
        let are_all = |chunk: &&[u8]| chunk.iter().fold(true, |all, &byte| all & is(byte));
        let chunks = rest.chunks_exact(CHUNK).take_while(are_all).count();
        (1 + chunks) * CHUNK + of_class(&rest[chunks * CHUNK..])
    }
}

/// True for the bytes that a request line may have: visible ASCII and spaces (RFC 9112 §3).
const fn is_line_byte(byte: u8) -> bool {
    matches!(byte, b' '..=b'~')
}

/// True for the bytes that the value of a header may have (RFC 9110 §5.5).
pub(super) const fn is_text_byte(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

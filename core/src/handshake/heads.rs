//! Heads that were received or are sent, without the types of the crate `http`: [`RequestHead`] and
//! [`ResponseHead`].

use alloc::string::ToString;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;
use bytestring::ByteString;

use super::encode;
use super::error::InvalidHeader;
use super::fields::{CONTENT_LENGTH, CONTENT_TYPE, Fields, TRANSFER_ENCODING};

/// The head of a request that [`ServerHandshake::poll_head`](super::ServerHandshake::poll_head) received:
/// any request of HTTP/1.1, upgrade or not.
///
/// ```
/// use bytes::BytesMut;
/// use sockless_core::handshake::ServerHandshake;
/// use sockless_core::Instant;
///
/// let mut handshake = ServerHandshake::new(Default::default(), Instant::EPOCH);
/// let mut inbound = BytesMut::from("GET /chat?room=1 HTTP/1.1\r\nHost: example.com\r\n\r\n");
/// let head = handshake.poll_head(&mut inbound).expect("the head is complete")?;
/// assert_eq!((head.method(), head.target()), ("GET", "/chat?room=1"));
/// assert_eq!(head.header("host"), Some(&b"example.com"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct RequestHead {
    pub(super) method: ByteString,
    pub(super) target: ByteString,
    pub(super) is_http_11: bool,
    pub(super) lines: Lines,
}

impl RequestHead {
    /// Returns the method, such as `GET`; it is case-sensitive.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// Returns the target as it was received: usually a path with an optional query, such as
    /// `/chat?room=1`; an absolute URI from a client that uses a proxy; `*` with OPTIONS, and an authority
    /// with CONNECT (RFC 9112 §3.2).
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Returns `true` if the version is HTTP/1.1, and `false` if it is HTTP/1.0.
    pub fn is_http_11(&self) -> bool {
        self.is_http_11
    }

    /// Returns the header lines in order: names in the case in which they were received, and values.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.lines.lines()
    }

    /// Returns the value of the first header line with this name, which is compared without case.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.lines.first(name)
    }
}

/// Omits the headers and the target, which may contain cookies and passwords.
impl fmt::Debug for RequestHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("RequestHead");
        shown.field("method", &self.method).field("headers", &self.lines.0.len());
        shown.finish_non_exhaustive()
    }
}

/// The head of a response: one that a client received, or one that a server sends.
///
/// ```
/// use sockless_core::handshake::ResponseHead;
///
/// let mut head = ResponseHead::new(200);
/// head.push_header("Content-Type", "text/html")?;
/// assert_eq!(
///     head.encode(b"<h1>It works</h1>"),
///     "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 17\r\nConnection: close\r\n\r\n\
///      <h1>It works</h1>"
/// );
/// # Ok::<(), sockless_core::handshake::InvalidHeader>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ResponseHead {
    pub(super) status: u16,
    pub(super) is_http_11: bool,
    pub(super) lines: Lines,
}

impl ResponseHead {
    /// Creates a head with this status and without headers.
    ///
    /// # Panics
    ///
    /// If `status` is not in the range 100 to 999.
    pub fn new(status: u16) -> Self {
        assert!((100..1000).contains(&status), "a status is 100 to 999, not {status}");
        Self { status, is_http_11: true, lines: Lines::default() }
    }

    /// Returns the status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Returns the header lines in order.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.lines.lines()
    }

    /// Returns the value of the first header line with this name, which is compared without case.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.lines.first(name)
    }

    /// Adds a header line, such as a cookie.
    ///
    /// # Errors
    ///
    /// [`InvalidHeader`] if `name` is not a token, or `value` has a byte that no header can have, such as
    /// the end of a line. `Content-Length` and `Transfer-Encoding` are rejected too: they follow from the
    /// body.
    pub fn push_header(
        &mut self,
        name: &str,
        value: impl AsRef<[u8]>,
    ) -> Result<(), InvalidHeader> {
        let value = value.as_ref();
        let is_framing = CONTENT_LENGTH.is(name) || TRANSFER_ENCODING.is(name);
        if is_framing || !is_header(name, value) {
            return Err(InvalidHeader(name.into()));
        }
        self.lines.0.push((name.into(), Bytes::copy_from_slice(value)));
        Ok(())
    }

    /// Encodes the whole response: status line, headers and body, with `Connection: close` and the length
    /// of the body.
    ///
    /// Use it for every answer except a 101. Send the bytes, shut down the sending side, and go on reading
    /// for a moment: a transport that is closed while received bytes are unread may discard the response.
    /// The body is omitted if the status does not allow one (1xx, 204, 304).
    pub fn encode(&self, body: &[u8]) -> Bytes {
        let len = body.len() as u64;
        encode::response(self.status, encode::reason(self.status), &self.lines, len, body)
    }

    /// A response of one line of text, with these headers besides.
    pub(super) fn text(status: u16, headers: &[(&str, &str)], text: impl fmt::Display) -> Bytes {
        let content_type = (CONTENT_TYPE.text, PLAIN_TEXT);
        let lines = [&content_type].into_iter().chain(headers);
        let lines = lines.map(|&(name, value)| (name, value.as_bytes())).collect::<Vec<_>>();
        let (reason, body) = (encode::reason(status), text.to_string() + "\n");
        encode::response(status, reason, &lines[..], body.len() as u64, body.as_bytes())
    }
}

/// Omits the headers, which may contain cookies and passwords.
impl fmt::Debug for ResponseHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("ResponseHead");
        shown.field("status", &self.status).field("headers", &self.lines.0.len());
        shown.finish_non_exhaustive()
    }
}

/// The media type of one line of text.
pub(super) const PLAIN_TEXT: &str = "text/plain; charset=utf-8";

/// Header lines that share the memory of the head in which they were received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lines(pub(super) Vec<(ByteString, Bytes)>);

impl Lines {
    fn first(&self, name: &str) -> Option<&[u8]> {
        let mut lines = self.lines().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        lines.next().map(|(_, value)| value)
    }
}

impl Fields for Lines {
    fn lines(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }
}

/// True if the name is a token, and the value has only bytes that a value may have (RFC 9110 §5).
pub(super) fn is_header(name: &str, value: &[u8]) -> bool {
    use super::scan::is_text_byte;
    use crate::extension::is_token_byte;

    !name.is_empty()
        && name.bytes().all(is_token_byte)
        && value.iter().all(|&byte| is_text_byte(byte))
}

//! A request head in the buffer in which it arrived: [`BorrowedRequest`].

use core::fmt;
use core::marker::PhantomData;

use bytes::BytesMut;

use super::error::HeadError;
use super::fields::Fields;
use super::head::{is_http_11, is_target, with_request, with_whole_request};
use super::server::ServerHandshake;
use super::{HeadRule, UpgradeError, UpgradeRequest};

/// The head of a request of HTTP/1.1 or HTTP/1.0, borrowed from the buffer in which it arrived, for servers that keep it in
/// a form of their own. [`ServerHandshake::poll_borrowed`] returns it.
///
/// ```
/// use bytes::BytesMut;
/// use sockless_core::Instant;
/// use sockless_core::handshake::ServerHandshake;
///
/// let mut handshake = ServerHandshake::new(Default::default(), Instant::EPOCH);
/// let mut inbound = BytesMut::from("GET /chat HTTP/1.1\r\nHost: example.com\r\n\r\n");
/// let host = handshake.poll_borrowed(&mut inbound, |request| {
///     let mut lines = request.headers();
///     lines.find(|(name, _)| name.eq_ignore_ascii_case("host")).map(|(_, value)| value.to_vec())
/// });
/// assert_eq!(host.expect("the head is complete")?.as_deref(), Some(&b"example.com"[..]));
/// # Ok::<(), sockless_core::handshake::HeadError>(())
/// ```
pub struct BorrowedRequest<'a> {
    method: &'a str,
    target: &'a str,
    is_http_11: bool,
    lines: &'a [httparse::Header<'a>],
}

impl<'a> BorrowedRequest<'a> {
    /// Returns the method, such as `GET`; it is case-sensitive.
    pub fn method(&self) -> &'a str {
        self.method
    }

    /// Returns the target as it was received; see [`RequestHead::target`](super::RequestHead::target).
    pub fn target(&self) -> &'a str {
        self.target
    }

    /// Returns `true` if the version is HTTP/1.1, and `false` if it is HTTP/1.0.
    pub fn is_http_11(&self) -> bool {
        self.is_http_11
    }

    /// Returns the header lines in order: names in the case in which they were received, and values.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + Clone {
        self.lines.iter().map(|line| (line.name, line.value))
    }
}

/// Omits the headers and the target, which may contain cookies and passwords.
impl fmt::Debug for BorrowedRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("BorrowedRequest");
        shown.field("method", &self.method).field("headers", &self.lines.len());
        shown.finish_non_exhaustive()
    }
}

impl ServerHandshake {
    /// Takes the request out of `inbound` as [`poll_head`](Self::poll_head) does, and has `read` read it there, without a
    /// copy.
    ///
    /// # Errors
    ///
    /// As [`poll_head`](Self::poll_head).
    pub fn poll_borrowed<T>(
        &mut self,
        inbound: &mut BytesMut,
        read: impl FnOnce(&BorrowedRequest<'_>) -> T,
    ) -> Option<Result<T, HeadError>> {
        let read = |parsed: &httparse::Request<'_, '_>| {
            let (method, target) =
                (parsed.method.unwrap_or_default(), parsed.path.unwrap_or_default());
            if !is_target(target, method) {
                return Err(HeadRule::Target);
            }
            let (is_http_11, lines) = (is_http_11(parsed.version), &*parsed.headers);
            Ok(read(&BorrowedRequest { method, target, is_http_11, lines }))
        };
        let request = self.poll_parsed(inbound, read)?;
        self.reader.finish();
        Some(request)
    }

    fn poll_parsed<T>(
        &mut self,
        inbound: &mut BytesMut,
        mut read: impl FnOnce(&httparse::Request<'_, '_>) -> Result<T, HeadRule>,
    ) -> Option<Result<T, HeadError>> {
        // Most heads are complete when they are first looked at.
        if let Some(bytes) = self.reader.unexamined(inbound) {
            match with_whole_request(bytes, read) {
                Ok((len, parsed)) => return Some(self.reader.take_parsed(inbound, len, parsed)),
                Err(unread) => read = unread,
            }
        }
        self.reader.poll_bytes(inbound, |head| {
            let request = with_request(head, read);
            request.map_err(|rule| HeadError::Invalid { rule, at: head.len() })
        })
    }
}

impl UpgradeRequest {
    /// Checks the header lines of a GET of HTTP/1.1, as [`from_headers`](Self::from_headers) does, for callers that do not
    /// have them in a slice.
    ///
    /// # Errors
    ///
    /// As [`from_headers`](Self::from_headers).
    pub fn from_lines<'a>(
        lines: impl Iterator<Item = (&'a str, &'a [u8])> + Clone,
    ) -> Result<Self, UpgradeError> {
        Self::from_fields(&Listed(lines, PhantomData))
    }
}

/// Header lines of an iterator.
struct Listed<'a, I>(I, PhantomData<&'a str>);

impl<'a, I: Iterator<Item = (&'a str, &'a [u8])> + Clone> Fields for Listed<'a, I> {
    fn lines(&self) -> impl Iterator<Item = (&str, &[u8])> {
        #[expect(clippy::map_identity, reason = "it shortens the lifetime of the items")]
        self.0.clone().map(|(name, value)| (name, value))
    }
}

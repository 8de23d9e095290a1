//! Close codes and reasons, as types that only hold what can be sent (RFC 6455 §7.4).

use core::fmt;
use core::num::NonZeroU16;

use bytestring::ByteString;

use crate::escape::Escaped;

/// A code that a Close frame can contain: 1000 to 1003, 1007 to 1014, or 3000 to 4999.
///
/// The codes 1005, 1006 and 1015 mean that no code was received (RFC 6455 §7.4.1). They cannot be sent and
/// have no `CloseCode`; [`Closed`](crate::Closed) has that information.
///
/// ```
/// use sockless::CloseCode;
///
/// assert_eq!(CloseCode::new(1000), Some(CloseCode::NORMAL));
/// assert_eq!(CloseCode::new(4999).map(CloseCode::get), Some(4999));
/// assert_eq!(CloseCode::new(1006), None);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(NonZeroU16);

macro_rules! close_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        impl CloseCode {
            $($(#[$doc])* pub const $name: Self = Self(NonZeroU16::new($code).unwrap());)*

            const fn name(self) -> Option<&'static str> {
                match self.get() {
                    $($code => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

close_codes! {
    /// 1000: the connection has fulfilled its purpose.
    NORMAL = 1000;
    /// 1001: the server shuts down, or the browser leaves the page.
    GOING_AWAY = 1001;
    /// 1002: the peer broke the protocol.
    PROTOCOL_ERROR = 1002;
    /// 1003: the peer sent a kind of data that cannot be accepted.
    UNSUPPORTED_DATA = 1003;
    /// 1007: the payload of a message does not fit its type, such as text that is not UTF-8.
    INVALID_PAYLOAD = 1007;
    /// 1008: a message violates a policy, and no other code applies.
    POLICY_VIOLATION = 1008;
    /// 1009: a message is too long to be processed.
    MESSAGE_TOO_BIG = 1009;
    /// 1010: the server did not negotiate an extension that the client requires.
    EXTENSION_REQUIRED = 1010;
    /// 1011: the server encountered an unexpected condition.
    INTERNAL_ERROR = 1011;
    /// 1012: the service is restarting (IANA registry).
    SERVICE_RESTART = 1012;
    /// 1013: the service is overloaded; try again later (IANA registry).
    TRY_AGAIN_LATER = 1013;
    /// 1014: a gateway received an invalid response from its upstream server (IANA registry).
    BAD_GATEWAY = 1014;
}

impl CloseCode {
    /// Returns the code with this number, or `None` if it cannot be sent.
    pub const fn new(code: u16) -> Option<Self> {
        match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => match NonZeroU16::new(code) {
                Some(code) => Some(Self(code)),
                None => None,
            },
            _ => None,
        }
    }

    /// Returns the number.
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Debug for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{} ({name})", self.get()),
            None => write!(f, "{}", self.get()),
        }
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// The payload of a Close frame: a code and a text for people, or nothing.
///
/// Methods that close a session accept `impl Into<CloseReason>`: a [`CloseCode`], or a pair of a code and
/// a text.
///
/// ```
/// use sockless::{CloseCode, CloseReason};
///
/// let reason = CloseReason::new(CloseCode::GOING_AWAY, "restarting");
/// assert_eq!(reason.to_string(), "1001 restarting");
/// assert_eq!(reason, (CloseCode::GOING_AWAY, "restarting").into());
/// assert_eq!(CloseReason::EMPTY.code(), None);
/// ```
///
/// `Display` [escapes](crate::Escaped) the text, which may come from a peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CloseReason {
    code: Option<CloseCode>,
    text: ByteString,
}

impl CloseReason {
    /// The length of the longest text in bytes: 125 for the payload of a control frame, less 2 for the
    /// code (RFC 6455 §5.5).
    pub const MAX_TEXT_LEN: usize = 123;

    /// The reason of a Close frame without a payload.
    pub const EMPTY: Self = Self { code: None, text: ByteString::new() };

    /// Returns the reason with this code and text. A text longer than
    /// [`MAX_TEXT_LEN`](Self::MAX_TEXT_LEN) bytes is truncated after the last character that fits.
    pub fn new(code: CloseCode, text: impl Into<ByteString>) -> Self {
        let text = text.into();
        let fits = text.floor_char_boundary(Self::MAX_TEXT_LEN);
        let text = if fits < text.len() { ByteString::from(&text[..fits]) } else { text };
        Self { code: Some(code), text }
    }

    /// Returns the code; `None` for a Close frame without a payload.
    pub const fn code(&self) -> Option<CloseCode> {
        self.code
    }

    /// Returns the text, which may be empty.
    ///
    /// A text from a peer can contain line breaks and escape sequences: wrap it in
    /// [`Escaped`](crate::Escaped) to print it.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl From<CloseCode> for CloseReason {
    fn from(code: CloseCode) -> Self {
        Self { code: Some(code), text: ByteString::new() }
    }
}

impl<T: Into<ByteString>> From<(CloseCode, T)> for CloseReason {
    fn from((code, text): (CloseCode, T)) -> Self {
        Self::new(code, text)
    }
}

/// As an error, it is what a handler returns to close its session with this code and text.
impl core::error::Error for CloseReason {}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            None => f.write_str("no code"),
            Some(code) if self.text.is_empty() => code.fmt(f),
            Some(code) => write!(f, "{code} {}", Escaped(&self.text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn exactly_the_codes_that_can_be_sent_are_valid() {
        let valid: alloc::vec::Vec<u16> =
            (0..=u16::MAX).filter(|&code| CloseCode::new(code).is_some()).collect();
        let expected: alloc::vec::Vec<u16> =
            (1000..=1003).chain(1007..=1014).chain(3000..=4999).collect();
        assert_eq!(valid, expected);
    }

    #[test]
    fn a_long_text_is_truncated_between_characters() {
        let reason = CloseReason::new(CloseCode::NORMAL, "ä".repeat(62));
        assert_eq!(reason.text().len(), 122);
        let reason = CloseReason::new(CloseCode::NORMAL, "a".repeat(123));
        assert_eq!(reason.text().len(), 123);
    }

    #[test]
    fn a_reason_is_displayed_as_its_code_and_text() {
        assert_eq!(CloseReason::EMPTY.to_string(), "no code");
        assert_eq!(CloseReason::from(CloseCode::NORMAL).to_string(), "1000");
        assert_eq!(CloseReason::from((CloseCode::NORMAL, "bye")).to_string(), "1000 bye");
    }
}

//! Headers in the representations that the handshake reads: [`Fields`].

#[cfg(feature = "http")]
use http::header::{HeaderMap, HeaderName, HeaderValue};

/// The name of a header that the handshake reads or writes.
#[derive(Debug)]
pub(super) struct Name {
    /// In lower case.
    pub(super) text: &'static str,
    /// The same, which a [`HeaderMap`] finds without parsing it.
    #[cfg(feature = "http")]
    pub(super) http: HeaderName,
}

macro_rules! names {
    ($($name:ident = $text:literal;)*) => {
        $(pub(super) static $name: Name = Name {
            text: $text,
            #[cfg(feature = "http")]
            http: http::header::$name,
        };)*
    };
}

names! {
    ALLOW = "allow";
    CONNECTION = "connection";
    CONTENT_LENGTH = "content-length";
    CONTENT_TYPE = "content-type";
    HOST = "host";
    SEC_WEBSOCKET_ACCEPT = "sec-websocket-accept";
    SEC_WEBSOCKET_EXTENSIONS = "sec-websocket-extensions";
    SEC_WEBSOCKET_KEY = "sec-websocket-key";
    SEC_WEBSOCKET_PROTOCOL = "sec-websocket-protocol";
    SEC_WEBSOCKET_VERSION = "sec-websocket-version";
    TRANSFER_ENCODING = "transfer-encoding";
    UPGRADE = "upgrade";
}

impl Name {
    pub(super) fn is(&self, name: &str) -> bool {
        self.text.eq_ignore_ascii_case(name)
    }
}

/// A header that must not occur more than once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Seldom<'a> {
    #[default]
    Never,
    Once(&'a [u8]),
    Repeated,
}

impl<'a> Seldom<'a> {
    pub(super) fn add(&mut self, value: &'a [u8]) {
        *self = match self {
            Self::Never => Self::Once(value),
            Self::Once(_) | Self::Repeated => Self::Repeated,
        };
    }
}

/// The header lines of a head.
pub(super) trait Fields {
    /// The names, in any case, and the values, in order.
    fn lines(&self) -> impl Iterator<Item = (&str, &[u8])>;

    /// The values of the lines with this name, in order.
    fn all(&self, name: &'static Name) -> impl Iterator<Item = &[u8]> {
        self.lines().filter(|(other, _)| name.is(other)).map(|(_, value)| value)
    }

    fn contains(&self, name: &'static Name) -> bool {
        self.all(name).next().is_some()
    }

    /// The elements of a header that is a comma-separated list, over all its lines in order.
    ///
    /// Skips empty elements, as RFC 9110 §5.6.1.2 requires.
    fn list(&self, name: &'static Name) -> impl Iterator<Item = &[u8]> {
        self.all(name)
            .flat_map(|line| line.split(|&byte| byte == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|element| !element.is_empty())
    }

    /// True if a list contains `token`, compared without case.
    fn lists(&self, name: &'static Name, token: &str) -> bool {
        self.list(name).any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
    }
}

impl Fields for [(&str, &[u8])] {
    fn lines(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.iter().copied()
    }
}

impl Fields for [httparse::Header<'_>] {
    fn lines(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.iter().map(|header| (header.name, header.value))
    }
}

#[cfg(feature = "http")]
impl Fields for HeaderMap {
    fn lines(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.iter().map(|(name, value)| (name.as_str(), value.as_bytes()))
    }

    fn all(&self, name: &'static Name) -> impl Iterator<Item = &[u8]> {
        self.get_all(&name.http).iter().map(HeaderValue::as_bytes)
    }
}

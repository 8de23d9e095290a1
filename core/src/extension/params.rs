//! One element of `Sec-WebSocket-Extensions`, and the grammar of the header (RFC 6455 §9.1).

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use bytestring::ByteString;

/// An extension's name with its parameters: an offer of a client, or a server's answer to one.
///
/// ```
/// use sockless::extension::Params;
///
/// let params = Params::new("permessage-deflate").flag("client_no_context_takeover").with("server_max_window_bits", "10");
/// assert_eq!(
///     params.to_string(),
///     "permessage-deflate; client_no_context_takeover; server_max_window_bits=10"
/// );
/// assert_eq!(Params::parse_list([params.to_string().as_bytes()]), Some(vec![params]));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Params {
    name: ByteString,
    params: Vec<(ByteString, Option<ByteString>)>,
}

impl Params {
    /// The extension `name`, without parameters.
    ///
    /// # Panics
    ///
    /// When `name` is no token (RFC 9110 §5.6.2).
    pub fn new(name: impl Into<ByteString>) -> Self {
        Self { name: token(name), params: Vec::new() }
    }

    /// Adds a parameter without a value.
    ///
    /// # Panics
    ///
    /// When `name` is no token.
    #[must_use]
    pub fn flag(mut self, name: impl Into<ByteString>) -> Self {
        self.params.push((token(name), None));
        self
    }

    /// Adds a parameter with a value.
    ///
    /// # Panics
    ///
    /// When `name` or `value` is no token, which a value must be even where it is quoted
    /// (RFC 6455 §9.1).
    #[must_use]
    pub fn with(mut self, name: impl Into<ByteString>, value: impl Into<ByteString>) -> Self {
        self.params.push((token(name), Some(token(value))));
        self
    }

    /// The extension's name. Case matters (RFC 6455 §9.1).
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The parameters in order, with their values, quotes taken off.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.params.iter().map(|(name, value)| (&**name, value.as_deref()))
    }

    /// Whether a parameter of this name is there, with or without a value.
    pub fn contains(&self, name: &str) -> bool {
        self.iter().any(|(given, _)| given == name)
    }

    /// Reads all lines of a header as one list, in order; `None` when any of it does not conform to
    /// the grammar of RFC 6455 §9.1.
    pub fn parse_list<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Option<Vec<Self>> {
        let mut list = Vec::new();
        for line in lines {
            Reader(line).read_line(&mut list)?;
        }
        Some(list)
    }
}

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.iter().try_for_each(|(name, value)| match value {
            None => write!(f, "; {name}"),
            Some(value) => write!(f, "; {name}={value}"),
        })
    }
}

fn token(text: impl Into<ByteString>) -> ByteString {
    let text = text.into();
    assert!(is_token(text.as_bytes()), "{text:?} is no token");
    text
}

fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().copied().all(is_token_byte)
}

/// Whether `byte` may be part of a token (RFC 9110 §5.6.2).
pub(crate) const fn is_token_byte(byte: u8) -> bool {
    matches!(byte,
        b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`'
        | b'|' | b'~' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z')
}

/// What is left of a line; each byte is looked at once.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn read_line(&mut self, list: &mut Vec<Params>) -> Option<()> {
        loop {
            self.skip_spaces();
            // Empty elements are passed over, as RFC 9110 §5.6.1.2 asks.
            if !self.0.is_empty() && self.0[0] != b',' {
                list.push(self.read_element()?);
            }
            match self.0.split_first() {
                None => return Some(()),
                Some((b',', rest)) => self.0 = rest,
                Some(_) => return None,
            }
        }
    }

    fn read_element(&mut self) -> Option<Params> {
        let mut element = Params { name: self.read_token()?, params: Vec::new() };
        self.skip_spaces();
        while self.take(b';') {
            self.skip_spaces();
            let name = self.read_token()?;
            self.skip_spaces();
            let value = if self.take(b'=') {
                self.skip_spaces();
                Some(if self.take(b'"') { self.read_quoted()? } else { self.read_token()? })
            } else {
                None
            };
            element.params.push((name, value));
            self.skip_spaces();
        }
        Some(element)
    }

    fn read_token(&mut self) -> Option<ByteString> {
        let len = self.0.iter().take_while(|&&byte| is_token_byte(byte)).count();
        let (token, rest) = self.0.split_at(len);
        self.0 = rest;
        (len > 0).then(|| str::from_utf8(token).ok().map(ByteString::from))?
    }

    /// The rest of a quoted string, which unquoted must be a token (RFC 6455 §9.1).
    fn read_quoted(&mut self) -> Option<ByteString> {
        let mut value = String::new();
        loop {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            let byte = match byte {
                b'"' => return (!value.is_empty()).then(|| value.into()),
                b'\\' => {
                    let (&escaped, rest) = self.0.split_first()?;
                    self.0 = rest;
                    escaped
                }
                byte => byte,
            };
            if !is_token_byte(byte) {
                return None;
            }
            value.push(char::from(byte));
        }
    }

    fn skip_spaces(&mut self) {
        self.0 = self.0.trim_ascii_start();
    }

    fn take(&mut self, byte: u8) -> bool {
        match self.0.split_first() {
            Some((&first, rest)) if first == byte => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec;

    use super::*;

    fn parse(line: &str) -> Option<Vec<Params>> {
        Params::parse_list([line.as_bytes()])
    }

    #[test]
    fn a_list_is_read_over_all_its_lines() {
        let lines = [&b"a;x , , b; y = 2"[..], b"", b"a; z=\"q\\r\""];
        let expected = vec![
            Params::new("a").flag("x"),
            Params::new("b").with("y", "2"),
            Params::new("a").with("z", "qr"),
        ];
        assert_eq!(Params::parse_list(lines), Some(expected));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let params = Params::new("constructor").flag("__proto__").with("x", "1").flag("x");
        assert_eq!(parse(&params.to_string()), Some(vec![params]));
    }

    #[test]
    fn what_does_not_conform_is_refused() {
        for line in [
            ";",
            "a;",
            "a; ;b",
            "a b",
            "a; b=",
            "a; b=\"",
            "a; b=\"\"",
            "a; b=\"c",
            "a; b=\"\\",
            "a; b=\"c d\"",
            "a; b=\"c\"d",
            "=",
            "a=1",
            "a; =1",
            "\u{e4}",
            "a; b=\u{e4}",
            "a\0",
            "(a)",
            "a; b=1=2",
            "a,;",
        ] {
            assert_eq!(parse(line), None, "{line:?}");
        }
    }

    #[test]
    fn a_long_unterminated_string_is_looked_at_once() {
        let line = "a; b=\"".to_string() + &"\\x".repeat(8_000);
        assert_eq!(parse(&line), None);
    }

    #[test]
    #[should_panic = "no token"]
    fn a_name_that_is_no_token_is_the_callers_mistake() {
        let _ = Params::new("a b");
    }
}

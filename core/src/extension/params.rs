//! One element of `Sec-WebSocket-Extensions`, and the grammar of the header (RFC 6455 §9.1).

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use bytestring::ByteString;

/// An extension's name with its parameters: an offer of a client, or a server's answer to one.
///
/// ```
/// use sockless_core::extension::Params;
///
/// let params = Params::new("permessage-deflate").flag("client_no_context_takeover").with("server_max_window_bits", "10");
/// assert_eq!(
///     params.to_string(),
///     "permessage-deflate; client_no_context_takeover; server_max_window_bits=10"
/// );
/// assert_eq!(Params::parse_list([params.to_string().as_bytes()]), Some(vec![params]));
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Params(
    /// As it is written: tokens with `; ` and `=` between them, and so in one block of memory of just
    /// that length, which idle connections keep.
    ByteString,
);

impl Params {
    /// The extension `name`, without parameters.
    ///
    /// # Panics
    ///
    /// When `name` is no token (RFC 9110 §5.6.2).
    pub fn new(name: impl Into<ByteString>) -> Self {
        Self(token(name))
    }

    /// Adds a parameter without a value.
    ///
    /// # Panics
    ///
    /// When `name` is no token.
    #[must_use]
    pub fn flag(self, name: impl Into<ByteString>) -> Self {
        Self([&*self.0, "; ", &*token(name)].concat().into())
    }

    /// Adds a parameter with a value.
    ///
    /// # Panics
    ///
    /// When `name` or `value` is no token, which a value must be even where it is quoted
    /// (RFC 6455 §9.1).
    #[must_use]
    pub fn with(self, name: impl Into<ByteString>, value: impl Into<ByteString>) -> Self {
        Self([&*self.0, "; ", &*token(name), "=", &*token(value)].concat().into())
    }

    /// The extension's name. Case matters (RFC 6455 §9.1).
    pub fn name(&self) -> &str {
        self.0.split_once("; ").map_or(&*self.0, |(name, _)| name)
    }

    /// The parameters in order, with their values, quotes taken off.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.0.split("; ").skip(1).map(|param| match param.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (param, None),
        })
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
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Params({self})")
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
        let mut element = String::new();
        self.read_token(&mut element)?;
        self.skip_spaces();
        while self.take(b';') {
            self.skip_spaces();
            element.push_str("; ");
            self.read_token(&mut element)?;
            self.skip_spaces();
            if self.take(b'=') {
                self.skip_spaces();
                element.push('=');
                match self.take(b'"') {
                    true => self.read_quoted(&mut element)?,
                    false => self.read_token(&mut element)?,
                }
            }
            self.skip_spaces();
        }
        Some(Params((&*element).into()))
    }

    fn read_token(&mut self, element: &mut String) -> Option<()> {
        let len = self.0.iter().take_while(|&&byte| is_token_byte(byte)).count();
        let (token, rest) = self.0.split_at(len);
        self.0 = rest;
        element.push_str(str::from_utf8(token).ok()?);
        (len > 0).then_some(())
    }

    /// The rest of a quoted string, which unquoted must be a token (RFC 6455 §9.1).
    fn read_quoted(&mut self, element: &mut String) -> Option<()> {
        let before = element.len();
        loop {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            let byte = match byte {
                b'"' => return (element.len() > before).then_some(()),
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
            element.push(char::from(byte));
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

//! The elements of `Sec-WebSocket-Extensions`: [`Params`] (RFC 6455 §9.1).

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use bytestring::ByteString;

/// The name of an extension with its parameters: an offer of a client, or the answer of a server.
///
/// ```
/// use sockless_core::extension::Params;
///
/// let params = Params::new("permessage-deflate")
///     .flag("client_no_context_takeover")
///     .with("server_max_window_bits", "10");
/// assert_eq!(
///     params.to_string(),
///     "permessage-deflate; client_no_context_takeover; server_max_window_bits=10"
/// );
/// assert_eq!(Params::parse_list([params.to_string().as_bytes()]), Some(vec![params]));
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Params(
    /// The header's text, with exactly `; ` and `=` as separators: one block of memory of minimal length,
    /// since idle connections keep it.
    ByteString,
);

impl Params {
    /// Returns the extension `name` without parameters.
    ///
    /// # Panics
    ///
    /// If `name` is not a token (RFC 9110 §5.6.2).
    pub fn new(name: impl Into<ByteString>) -> Self {
        Self(token(name))
    }

    /// Adds a parameter without a value.
    ///
    /// # Panics
    ///
    /// If `name` is not a token.
    #[must_use]
    pub fn flag(self, name: impl Into<ByteString>) -> Self {
        Self([&*self.0, "; ", &*token(name)].concat().into())
    }

    /// Adds a parameter with a value.
    ///
    /// # Panics
    ///
    /// If `name` or `value` is not a token; even a quoted value must be one (RFC 6455 §9.1).
    #[must_use]
    pub fn with(self, name: impl Into<ByteString>, value: impl Into<ByteString>) -> Self {
        Self([&*self.0, "; ", &*token(name), "=", &*token(value)].concat().into())
    }

    /// Returns the name of the extension, which is case-sensitive (RFC 6455 §9.1).
    pub fn name(&self) -> &str {
        self.0.split_once("; ").map_or(&*self.0, |(name, _)| name)
    }

    /// Returns the parameters in order, with their values without quotes.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.0.split("; ").skip(1).map(|param| match param.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (param, None),
        })
    }

    /// Returns `true` if there is a parameter with this name, with or without a value.
    pub fn contains(&self, name: &str) -> bool {
        self.iter().any(|(given, _)| given == name)
    }

    /// Parses all lines of a header as one list, in order; `None` if they do not conform to the grammar of
    /// RFC 6455 §9.1.
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
    assert!(is_token(text.as_bytes()), "{text:?} is not a token");
    text
}

fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().copied().all(is_token_byte)
}

/// True if `byte` is allowed in a token (RFC 9110 §5.6.2).
pub(crate) const fn is_token_byte(byte: u8) -> bool {
    matches!(byte,
        b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`'
        | b'|' | b'~' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z')
}

/// The rest of a line; each byte is read once.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn read_line(&mut self, list: &mut Vec<Params>) -> Option<()> {
        loop {
            self.skip_spaces();
            // Skips empty elements, as RFC 9110 §5.6.1.2 requires.
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

    /// Reads the rest of a quoted string, whose content must be a token (RFC 6455 §9.1).
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
    fn a_list_continues_over_all_lines_of_the_header() {
        let lines = [&b"a;x , , b; y = 2"[..], b"", b"a; z=\"q\\r\""];
        let expected = vec![
            Params::new("a").flag("x"),
            Params::new("b").with("y", "2"),
            Params::new("a").with("z", "qr"),
        ];
        assert_eq!(Params::parse_list(lines), Some(expected));
    }

    #[test]
    fn displayed_parameters_are_parsed_again() {
        let params = Params::new("constructor").flag("__proto__").with("x", "1").flag("x");
        assert_eq!(parse(&params.to_string()), Some(vec![params]));
    }

    #[test]
    fn a_line_that_does_not_conform_is_rejected() {
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
    fn an_unterminated_string_takes_linear_time() {
        let line = "a; b=\"".to_string() + &"\\x".repeat(8_000);
        assert_eq!(parse(&line), None);
    }

    #[test]
    #[should_panic = "not a token"]
    fn a_name_that_is_not_a_token_panics() {
        let _ = Params::new("a b");
    }
}

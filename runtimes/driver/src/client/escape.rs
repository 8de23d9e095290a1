//! What a stranger wrote, on its way to a log or a terminal: [`Escaped`].

use std::fmt::{self, Write};

/// Shows a value with an escape in place of each character that is not printable, such as ESC, a line
/// feed, U+009B or a change of the writing direction: a terminal would obey it, and a log would begin a
/// new line. Quotes and backslashes stay as they are, so that nothing is escaped twice.
pub(crate) struct Escaped<T>(pub(crate) T);

impl<T: fmt::Display> fmt::Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaper(f), "{}", self.0)
    }
}

struct Escaper<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl Write for Escaper<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|char| self.write_char(char))
    }

    fn write_char(&mut self, char: char) -> fmt::Result {
        match char {
            ' '..='~' => self.0.write_char(char),
            char => write!(self.0, "{}", char.escape_debug()),
        }
    }
}

/// The most bytes of a body that an error shows.
const MAX_EXCERPT_LEN: usize = 200;

/// Shows the beginning of a body in quotes, and nothing where there is none.
pub(crate) struct Excerpt<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = self.0.trim_ascii();
        if body.is_empty() {
            return Ok(());
        }
        let excerpt = String::from_utf8_lossy(&body[..body.len().min(MAX_EXCERPT_LEN)]);
        let more = if body.len() > MAX_EXCERPT_LEN { "..." } else { "" };
        write!(f, ": {excerpt:?}{more}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_printable_is_left_as_it_is() {
        let text = "it's \"a\\b\" \u{e4} \x1b[2J\r\n\u{9b}\u{85}\u{7f}\u{202e}\0";
        let shown = r#"it's "a\b" ä \u{1b}[2J\r\n\u{9b}\u{85}\u{7f}\u{202e}\0"#;
        assert_eq!(Escaped(text).to_string(), shown);
        assert_eq!(Escaped(Escaped(text)).to_string(), shown);
    }

    #[test]
    fn the_beginning_of_a_body_is_shown() {
        assert_eq!(Excerpt(b" \r\n").to_string(), "");
        assert_eq!(Excerpt(b"no\x1b\n").to_string(), r#": "no\u{1b}""#);
        let long = "\u{e4}".repeat(MAX_EXCERPT_LEN);
        let shown = Excerpt(long.as_bytes()).to_string();
        assert_eq!(shown, format!(": \"{}\"...", "\u{e4}".repeat(MAX_EXCERPT_LEN / 2)));
    }
}

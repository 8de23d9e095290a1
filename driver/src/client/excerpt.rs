//! The beginning of a body, for an error text: [`Excerpt`].

use std::fmt;

/// The number of bytes of a body that an error shows at most.
const MAX_EXCERPT_LEN: usize = 200;

/// Shows the beginning of a body in quotes after a colon, and nothing if the body is empty.
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

/// Shows the first line of a body as [`Excerpt`] does.
pub(crate) struct FirstLine<'a>(pub(crate) &'a [u8]);

impl fmt::Display for FirstLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.0.trim_ascii().split(|&byte| matches!(byte, b'\r' | b'\n')).next();
        Excerpt(first.unwrap_or_default()).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_a_body_is_shown() {
        assert_eq!(Excerpt(b" \r\n").to_string(), "");
        assert_eq!(Excerpt(b"no\x1b\n").to_string(), r#": "no\u{1b}""#);
        assert_eq!(FirstLine(b"\n one\r\ntwo").to_string(), ": \"one\"");
        assert_eq!(FirstLine(b"\n").to_string(), "");
        let long = "\u{e4}".repeat(MAX_EXCERPT_LEN);
        let shown = Excerpt(long.as_bytes()).to_string();
        assert_eq!(shown, format!(": \"{}\"...", "\u{e4}".repeat(MAX_EXCERPT_LEN / 2)));
    }
}

//! Text of a peer, made safe to print: [`Escaped`].

use core::fmt::{self, Write};

/// Displays a value on one line, with nothing in it that a log or a terminal acts on.
///
/// Escaped as `\n` or `\u{1b}` are control characters (U+0000–U+001F, U+007F–U+009F), the line and
/// paragraph separators (U+2028, U+2029) and the characters that change the direction of text (U+061C,
/// U+200E, U+200F, U+202A–U+202E, U+2066–U+206F). All other text stays as it is, whatever its script, and
/// so does a backslash: to escape twice changes nothing.
///
/// The `Display` of each type of this workspace that may hold a peer's text does this. It is for text that
/// a program prints or logs on its own, such as [`CloseReason::text`](crate::CloseReason::text), which is
/// as the peer sent it.
///
/// ```
/// use sockless_core::Escaped;
///
/// let text = "bye\n2026-01-01 ERROR forged, 再见";
/// assert_eq!(Escaped(text).to_string(), r"bye\n2026-01-01 ERROR forged, 再见");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Escaped<T>(
    /// What is displayed.
    pub T,
);

impl<T: fmt::Display> fmt::Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

/// Escapes what is written into it.
struct Escaping<'a, W>(&'a mut W);

impl<W: Write> Write for Escaping<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut from = 0;
        for (at, unsafe_char) in text.char_indices().filter(|(_, char)| is_escaped(*char)) {
            self.0.write_str(&text[from..at])?;
            write_escape(self.0, unsafe_char)?;
            from = at + unsafe_char.len_utf8();
        }
        self.0.write_str(&text[from..])
    }
}

/// Not by `char::escape_debug`, which leaves some of these alone where it deems them printable.
fn write_escape(out: &mut impl Write, char: char) -> fmt::Result {
    match char {
        '\t' | '\n' | '\r' => write!(out, "{}", char.escape_default()),
        _ => write!(out, "{}", char.escape_unicode()),
    }
}

const fn is_escaped(char: char) -> bool {
    matches!(char,
        '\0'..='\u{1F}'
        | '\u{7F}'..='\u{9F}'
        | '\u{61C}'
        | '\u{200E}' | '\u{200F}'
        | '\u{2028}'..='\u{202E}'
        | '\u{2066}'..='\u{206F}')
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn what_a_terminal_acts_on_is_escaped() {
        for (text, expected) in [
            ("a\r\nb\tc", r"a\r\nb\tc"),
            ("\u{1B}[31mred\u{7F}\u{9B}0m", r"\u{1b}[31mred\u{7f}\u{9b}0m"),
            ("\0", r"\u{0}"),
            ("a\u{2028}b\u{2029}c", r"a\u{2028}b\u{2029}c"),
            ("\u{202E}gnp.exe\u{2066}", r"\u{202e}gnp.exe\u{2066}"),
        ] {
            assert_eq!(Escaped(text).to_string(), expected);
        }
    }

    #[test]
    fn printable_text_stays_readable() {
        for text in ["", "say \"bye\", it's ok", r"C:\new", "grüße, 你好, नमस्ते, שלום, 👩‍👩‍👧, e\u{301}"]
        {
            assert_eq!(Escaped(text).to_string(), text);
        }
    }

    #[test]
    fn exactly_these_characters_are_escaped_and_only_once() {
        for char in '\0'..=char::MAX {
            let bidi = matches!(char,
                '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{206F}');
            let line = matches!(char, '\u{2028}' | '\u{2029}');
            let mut buffer = [0; 4];
            let text = &*char.encode_utf8(&mut buffer);
            let once = Escaped(text).to_string();
            assert_eq!(once != text, char.is_control() || bidi || line, "{char:?}");
            assert_eq!(Escaped(&once).to_string(), once);
        }
    }
}

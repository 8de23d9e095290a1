//! Text from a peer, made safe to print: [`Escaped`].

use core::fmt::{self, Write};

/// Displays a value on one line, without characters that a log or a terminal interprets.
///
/// These characters are escaped, as in `\n` or `\u{1b}`: control characters (U+0000–U+001F, U+007F–U+009F), the line and
/// paragraph separators (U+2028, U+2029) and the characters that change the direction of text (U+061C,
/// U+200E, U+200F, U+202A–U+202E, U+2066–U+206F). All other text is unchanged, in any script, and so is
/// the backslash: escaping twice has no further effect.
///
/// Types of this library that can contain text from a peer escape it in their `Display`. Use `Escaped` for
/// text that a program prints or logs on its own, such as
/// [`CloseReason::text`](crate::CloseReason::text).
///
/// ```
/// use sockless::Escaped;
///
/// let text = "bye\n2026-01-01 ERROR forged, 再见";
/// assert_eq!(Escaped(text).to_string(), r"bye\n2026-01-01 ERROR forged, 再见");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Escaped<T>(
    /// The value to display.
    pub T,
);

impl<T: fmt::Display> fmt::Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

/// Escapes all text that is written to it.
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

/// `char::escape_debug` would leave some of these characters as they are.
fn write_escape(out: &mut impl Write, char: char) -> fmt::Result {
    match char {
        '\t' | '\n' | '\r' => write!(out, "{}", char.escape_default()),
        _ => write!(out, "{}", char.escape_unicode()),
    }
}

pub(crate) const fn is_escaped(char: char) -> bool {
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
    fn characters_that_a_terminal_interprets_are_escaped() {
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
    fn printable_text_is_unchanged() {
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

//! Queries, as browsers read and write them.

use std::borrow::Cow;

/// The parameters of `query`, by the parser of application/x-www-form-urlencoded
/// (<https://url.spec.whatwg.org/#urlencoded-parsing>).
pub(super) fn pairs(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    })
}

fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let mut bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    while let Some((&first, rest)) = bytes.split_first() {
        let (byte, rest) = match (first, rest) {
            (b'+', rest) => (b' ', rest),
            (b'%', [high, low, rest @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, rest),
                _ => (first, &bytes[1..]),
            },
            (byte, rest) => (byte, rest),
        };
        out.push(byte);
        bytes = rest;
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

fn digit(byte: u8) -> Option<u8> {
    // A hexadecimal digit fits a byte.
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(query: &str) -> Vec<(String, String)> {
        pairs(query).map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
    }

    #[test]
    fn names_and_values_are_decoded_in_order() {
        let expected = [("a", "1 2"), ("b c", "é"), ("a", "3=4"), ("d", ""), ("", "e")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(decoded("a=1+2&b%20c=%c3%A9&&a=3=4&d&=e"), expected);
        assert_eq!(decoded(""), []);
    }

    #[test]
    fn what_is_malformed_stands_for_itself() {
        for (query, value) in [
            ("v=%", "%"),
            ("v=%4", "%4"),
            ("v=%zz", "%zz"),
            ("v=%+1", "% 1"),
            ("v=%%41", "%A"),
            ("v=100%25", "100%"),
            ("v=%ff", "\u{fffd}"),
            ("v=%2B", "+"),
        ] {
            assert_eq!(decoded(query), [("v".to_owned(), value.to_owned())], "{query}");
        }
    }

    #[test]
    fn what_has_nothing_to_decode_is_not_copied() {
        let (name, value) = pairs("name=ada").next().unwrap();
        assert!(matches!((name, value), (Cow::Borrowed(_), Cow::Borrowed(_))));
    }
}

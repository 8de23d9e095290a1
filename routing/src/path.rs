//! Paths brought into one canonical form before they are compared.
//!
//! In the canonical form every escape is decoded but `%2F` and `%25`. So two spellings of one path
//! are equal (RFC 3986 §6.2.2), an encoded slash does not split a segment, and what is still
//! encoded can be decoded later without ambiguity.

use std::borrow::Cow;

use bytestring::ByteString;
use percent_encoding::percent_decode_str;
use thiserror::Error;

/// The canonical form of a path, or of a part of one; the text itself, not copied, when nothing is
/// escaped.
pub(crate) fn canonical(path: &str) -> Result<Cow<'_, str>, EscapeError> {
    if !path.contains('%') {
        return Ok(Cow::Borrowed(path));
    }
    let mut out = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let high = digit().ok_or(EscapeError::Malformed)?;
        let low = digit().ok_or(EscapeError::Malformed)?;
        match (high * 16 + low) as u8 {
            b'/' => out.extend_from_slice(b"%2F"),
            b'%' => out.extend_from_slice(b"%25"),
            decoded => out.push(decoded),
        }
    }
    let path = String::from_utf8(out).map_err(|_| EscapeError::NotUtf8)?;
    Ok(Cow::Owned(path))
}

/// The part of a canonical segment between `prefix` and `suffix`, which are canonical too.
pub(crate) fn between<'a>(segment: &'a str, prefix: &str, suffix: &str) -> Option<&'a str> {
    let inner = segment.strip_prefix(prefix)?.strip_suffix(suffix)?;
    // The digits of an escape are no characters of the path: `{x}5` does not match `%25`.
    let cuts_an_escape = inner.bytes().rev().take(2).any(|byte| byte == b'%');
    (!inner.is_empty() && !cuts_an_escape).then_some(inner)
}

/// Decodes what the canonical form left encoded in a parameter's value.
pub(crate) fn decode_value(canonical: &str) -> ByteString {
    // The canonical form is UTF-8 and its two escapes are ASCII, so nothing is ever replaced.
    percent_decode_str(canonical).decode_utf8_lossy().as_ref().into()
}

/// Why a path cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum EscapeError {
    #[error("the path has a % that two hexadecimal digits do not follow")]
    Malformed,
    #[error("the path is not UTF-8 when its escapes are decoded")]
    NotUtf8,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_without_escapes_is_not_copied() {
        assert!(matches!(canonical("/a/b+c"), Ok(Cow::Borrowed("/a/b+c"))));
    }

    #[test]
    fn spellings_of_one_path_have_one_canonical_form() {
        assert_eq!(canonical("/%63h%61t").unwrap(), "/chat");
        assert_eq!(canonical("/a%2fb").unwrap(), canonical("/a%2Fb").unwrap());
        assert_eq!(canonical("/caf%C3%A9").unwrap(), "/café");
    }

    #[test]
    fn an_encoded_percent_is_decoded_once_and_last() {
        assert_eq!(canonical("/%252F").unwrap(), "/%252F");
        assert_eq!(decode_value("%252F"), "%2F");
        assert_eq!(decode_value("a%2Fb"), "a/b");
    }

    #[test]
    fn a_malformed_escape_is_an_error_wherever_it_stands() {
        for path in ["/%", "/%4", "/%zz", "/a%u0041", "/%+1", "/%4é"] {
            assert_eq!(canonical(path), Err(EscapeError::Malformed), "{path}");
        }
        assert_eq!(canonical("/%ff"), Err(EscapeError::NotUtf8));
    }

    #[test]
    fn what_stands_around_a_parameter_does_not_cut_an_escape() {
        assert_eq!(between("a1b", "a", "b"), Some("1"));
        assert_eq!(between("a%25b", "a", "b"), Some("%25"));
        assert_eq!(between("100%25", "", "%25"), Some("100"));
        for (segment, prefix, suffix) in
            [("ab", "a", "b"), ("aba", "ab", "ba"), ("a", "", ""), ("x%25", "", "5")]
        {
            let found = between(segment, prefix, suffix);
            assert_eq!(found, (segment == "a").then_some("a"), "{segment}");
        }
        assert_eq!(between("x%2F", "", "2F"), None);
    }
}

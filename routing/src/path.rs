//! The canonical form in which paths are compared.
//!
//! In the canonical form every escape is decoded except `%2F` and `%25`. So two spellings of one
//! path are equal (RFC 3986 §6.2.2), an encoded slash does not split a segment, and the remaining
//! escapes can be decoded later without ambiguity.

use std::borrow::Cow;

use bytestring::ByteString;
use percent_encoding::percent_decode_str;
use thiserror::Error;

/// Returns the canonical form of a path or of a part of one. Text without escapes is not copied.
pub(crate) fn canonical(path: &str) -> Result<Cow<'_, str>, EscapeError> {
    if !path.contains('%') {
        return Ok(Cow::Borrowed(path));
    }
    // The decoder passes malformed escapes through.
    let is_escape = |rest: &str| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if !path.split('%').skip(1).all(is_escape) {
        return Err(EscapeError::Malformed);
    }
    let mut out = String::with_capacity(path.len());
    for (index, segment) in path.split('/').enumerate() {
        let decoded = percent_decode_str(segment).decode_utf8();
        let decoded = decoded.map_err(|_| EscapeError::NotUtf8)?;
        out.push_str(if index == 0 { "" } else { "/" });
        out.push_str(&decoded.replace('%', "%25").replace('/', "%2F"));
    }
    Ok(Cow::Owned(out))
}

/// Returns the part of a canonical segment between `prefix` and `suffix`, unless it is empty.
pub(crate) fn between<'a>(segment: &'a str, prefix: &str, suffix: &str) -> Option<&'a str> {
    let inner = segment.strip_prefix(prefix)?.strip_suffix(suffix)?;
    // A suffix must not match the digits of an escape: `{x}5` does not match `%25`.
    let cuts_an_escape = inner.bytes().rev().take(2).any(|byte| byte == b'%');
    (!inner.is_empty() && !cuts_an_escape).then_some(inner)
}

/// Decodes the escapes that are left in the canonical form of a parameter's value.
pub(crate) fn decode_value(canonical: &str) -> ByteString {
    // The canonical form is UTF-8 and its two escapes are ASCII, so nothing is ever replaced.
    percent_decode_str(canonical).decode_utf8_lossy().as_ref().into()
}

/// Why a path cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum EscapeError {
    #[error("malformed path: expected two hexadecimal digits after each %")]
    Malformed,
    #[error("malformed path: its percent-encoded bytes are not valid UTF-8")]
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
    fn a_malformed_escape_is_an_error_at_any_position() {
        for path in ["/%", "/%4", "/%zz", "/a%u0041", "/%+1", "/%4é", "/%", "/%%41", "/%4%41"] {
            assert_eq!(canonical(path), Err(EscapeError::Malformed), "{path}");
        }
        assert_eq!(canonical("/%ff"), Err(EscapeError::NotUtf8));
    }

    #[test]
    fn a_prefix_or_suffix_does_not_cut_an_escape() {
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

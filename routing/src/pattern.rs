//! Paths of routes and paths of requests, brought into one canonical form before they are compared.
//!
//! In the canonical form every escape is decoded but `%2F` and `%25`. So two spellings of one path
//! are equal (RFC 3986 §6.2.2), an encoded slash does not split a segment, and what is still
//! encoded can be decoded later without ambiguity.

use std::borrow::Cow;

use bytestring::ByteString;
use percent_encoding::percent_decode_str;
use thiserror::Error;

/// The path of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    written: String,
    canonical: String,
}

impl Pattern {
    /// Checks `path` as far as it can be checked alone; the rest is `matchit`'s to refuse.
    pub(crate) fn parse(path: &str) -> Result<Self, PatternError> {
        if !path.starts_with('/') {
            return Err(PatternError::SlashMissing);
        }
        Ok(Self { written: path.to_owned(), canonical: canonical_pattern(path)? })
    }

    /// This path beneath `prefix`; `/` beneath a prefix is the prefix itself.
    pub(crate) fn beneath(&self, prefix: &Self) -> Self {
        Self {
            written: join(&prefix.written, &self.written),
            canonical: join(&prefix.canonical, &self.canonical),
        }
    }

    /// The path as the application wrote it.
    pub(crate) fn written(&self) -> &str {
        &self.written
    }

    /// The path as `matchit` takes it.
    pub(crate) fn canonical(&self) -> &str {
        &self.canonical
    }
}

/// The canonical form of a request's path; the path itself, not copied, when nothing is escaped.
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

/// Decodes what the canonical form left encoded in a parameter's value.
pub(crate) fn decode_value(canonical: &str) -> ByteString {
    // The canonical form is UTF-8 and its two escapes are ASCII, so nothing is ever replaced.
    percent_decode_str(canonical).decode_utf8_lossy().as_ref().into()
}

/// Why a path cannot be a route's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum PatternError {
    #[error(
        "braces stand around a parameter, as in {{name}} or {{*rest}}, and double for themselves"
    )]
    BracesUnmatched,
    #[error(transparent)]
    Escape(#[from] EscapeError),
    #[error("a parameter's name is made of letters, digits, _ and -")]
    NameInvalid,
    #[error("a query or a fragment is not part of a path")]
    NotPath,
    #[error("a path begins with /")]
    SlashMissing,
}

/// Why a path cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum EscapeError {
    #[error("the path has a % that two hexadecimal digits do not follow")]
    Malformed,
    #[error("the path is not UTF-8 when its escapes are decoded")]
    NotUtf8,
}

fn join(prefix: &str, path: &str) -> String {
    match path {
        "/" => prefix.to_owned(),
        _ => [prefix.strip_suffix('/').unwrap_or(prefix), path].concat(),
    }
}

fn canonical_pattern(path: &str) -> Result<String, PatternError> {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(brace) = rest.find(['{', '}']) {
        push_literal(&mut out, &rest[..brace])?;
        rest = &rest[brace..];
        let taken =
            if rest.starts_with("{{") || rest.starts_with("}}") { 2 } else { parameter_len(rest)? };
        out.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    push_literal(&mut out, rest)?;
    Ok(out)
}

fn push_literal(out: &mut String, literal: &str) -> Result<(), PatternError> {
    if literal.contains(['?', '#']) {
        return Err(PatternError::NotPath);
    }
    // A brace that was escaped with % stands for itself, which matchit writes doubled.
    let literal = canonical(literal)?.replace('{', "{{").replace('}', "}}");
    out.push_str(&literal);
    Ok(())
}

/// The length of the parameter that `rest` begins with.
fn parameter_len(rest: &str) -> Result<usize, PatternError> {
    let inner = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
    let (inner, _) = inner.ok_or(PatternError::BracesUnmatched)?;
    let name = inner.strip_prefix('*').unwrap_or(inner);
    // Narrower than matchit, to leave room for types and options behind the name.
    let is_valid = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || !name.chars().all(is_valid) {
        return Err(PatternError::NameInvalid);
    }
    Ok(inner.len() + 2)
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
    fn an_escaped_brace_in_a_route_is_a_literal() {
        let pattern = Pattern::parse("/%7Bx%7D/{{y}}/{z}").unwrap();
        assert_eq!(pattern.canonical(), "/{{x}}/{{y}}/{z}");
        assert_eq!(pattern.written(), "/%7Bx%7D/{{y}}/{z}");
    }

    #[test]
    fn what_is_no_path_is_refused() {
        use PatternError::*;
        for (path, error) in [
            ("", SlashMissing),
            ("chat", SlashMissing),
            ("/{", BracesUnmatched),
            ("/}", BracesUnmatched),
            ("/a}b", BracesUnmatched),
            ("/{}", NameInvalid),
            ("/{*}", NameInvalid),
            ("/{id:int}", NameInvalid),
            ("/{id?}", NameInvalid),
            ("/a?b", NotPath),
            ("/a#b", NotPath),
            ("/%4", Escape(EscapeError::Malformed)),
        ] {
            assert_eq!(Pattern::parse(path), Err(error), "{path}");
        }
    }

    #[test]
    fn a_path_is_joined_to_its_prefix_by_one_slash() {
        for (prefix, path, joined) in [
            ("/admin", "/log", "/admin/log"),
            ("/admin/", "/log", "/admin/log"),
            ("/admin", "/", "/admin"),
            ("/admin/", "/", "/admin/"),
            ("/", "/log", "/log"),
            ("/", "/", "/"),
        ] {
            let prefix = Pattern::parse(prefix).unwrap();
            let path = Pattern::parse(path).unwrap();
            assert_eq!(path.beneath(&prefix).written(), joined);
            assert_eq!(path.beneath(&prefix).canonical(), joined);
        }
    }
}

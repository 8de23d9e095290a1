//! Paths of routes: [`Pattern`], a sequence of [`Segment`]s.

use std::fmt;
use std::str::FromStr;

use bytestring::ByteString;
use thiserror::Error;

use crate::path::{EscapeError, canonical};

/// The path of a route. [`check`](Self::check) verifies the complete path: before that, an optional
/// segment or the rest may be followed by the segments of a nested route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    written: String,
    segments: Vec<Segment>,
}

/// A segment of a route's path. Its literal text is in canonical form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    Literal(String),
    Param {
        prefix: String,
        name: ByteString,
        kind: Option<ParamType>,
        suffix: String,
        optional: bool,
    },
    /// `*`
    Wildcard,
    /// `{*name}` or `{*}`, which matches the rest of the path, even if it is empty.
    Rest {
        prefix: String,
        name: Option<ByteString>,
    },
}

/// A type of the standard library that a parameter's value has to parse as.
#[derive(Clone, Copy)]
pub(crate) struct ParamType {
    pub(crate) name: &'static str,
    pub(crate) fits: fn(&str) -> bool,
}

impl Pattern {
    pub(crate) fn parse(path: &str) -> Result<Self, PatternError> {
        let written = if path.is_empty() { "/" } else { path };
        let segments = written.strip_prefix('/').ok_or(PatternError::SlashMissing)?;
        let segments = segments.split('/').map(Segment::parse).collect::<Result<_, _>>()?;
        Ok(Self { written: written.to_owned(), segments })
    }

    /// Checks the length of the path and the position of its segments.
    pub(crate) fn check(&self) -> Result<(), PatternError> {
        if self.segments.len() > MAX_SEGMENTS {
            return Err(PatternError::TooLong);
        }
        let (_, before) = self.segments.split_last().expect("a path has a segment");
        match before.iter().find(|segment| segment.is_last()) {
            Some(Segment::Rest { .. }) => Err(PatternError::RestNotLast),
            Some(_) => Err(PatternError::OptionalNotLast),
            None => Ok(()),
        }
    }

    /// Returns this path with `prefix` before it, and how many of its segments are the prefix's.
    /// `/` with a prefix is the prefix itself.
    pub(crate) fn prefixed_with(&self, prefix: &Self) -> (Self, usize) {
        if self.is_root() {
            let own = if prefix.is_root() { 0 } else { prefix.segments.len() };
            return (prefix.clone(), own);
        }
        let stem = prefix.written.strip_suffix('/').unwrap_or(&prefix.written);
        let written = [stem, &self.written].concat();
        let mut segments = prefix.segments.clone();
        segments.pop_if(|last| *last == Segment::empty());
        let own = segments.len();
        segments.extend_from_slice(&self.segments);
        (Self { written, segments }, own)
    }

    /// Returns the path as the program wrote it.
    pub(crate) fn written(&self) -> &str {
        &self.written
    }

    pub(crate) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Returns the names of the parameters and of the rest, in the order of the path.
    pub(crate) fn names(&self) -> impl Iterator<Item = Option<&ByteString>> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Param { name, .. } => Some(Some(name)),
            Segment::Rest { name, .. } => Some(name.as_ref()),
            Segment::Literal(_) | Segment::Wildcard => None,
        })
    }

    fn is_root(&self) -> bool {
        self.segments == [Segment::empty()]
    }
}

/// Bounds the recursion of a search, which is one call deep for each segment.
const MAX_SEGMENTS: usize = 256;

impl Segment {
    fn empty() -> Self {
        Self::Literal(String::new())
    }

    /// Returns true if no segment may follow.
    fn is_last(&self) -> bool {
        matches!(self, Self::Rest { .. } | Self::Param { optional: true, .. })
    }

    fn parse(text: &str) -> Result<Self, PatternError> {
        if text == "*" {
            return Ok(Self::Wildcard);
        }
        let (prefix, rest) = literal(text)?;
        let Some(rest) = rest else {
            return Ok(Self::Literal(prefix));
        };
        let (inner, rest) = rest.split_once('}').ok_or(PatternError::BracesUnmatched)?;
        let (suffix, more) = literal(rest)?;
        if more.is_some() {
            return Err(PatternError::TwoParams);
        }
        match inner.strip_prefix('*') {
            Some(_) if !suffix.is_empty() => Err(PatternError::RestNotLast),
            Some("") => Ok(Self::Rest { prefix, name: None }),
            Some(name) => Ok(Self::Rest { prefix, name: Some(parse_name(name)?) }),
            None => {
                let (inner, optional) = match inner.strip_suffix('?') {
                    Some(inner) => (inner, true),
                    None => (inner, false),
                };
                let (name, kind) = match inner.split_once(':') {
                    Some((name, kind)) => (name, Some(kind.parse()?)),
                    None => (inner, None),
                };
                Ok(Self::Param { prefix, name: parse_name(name)?, kind, suffix, optional })
            }
        }
    }
}

/// Splits `text` at its first parameter: the literal text, and the text after the opening brace.
fn literal(text: &str) -> Result<(String, Option<&str>), PatternError> {
    let mut out = String::new();
    let mut rest = text;
    loop {
        let end = rest.find(['{', '}']).unwrap_or(rest.len());
        let (fixed, from_brace) = rest.split_at(end);
        if fixed.contains(['?', '#']) {
            return Err(PatternError::NotPath);
        }
        if fixed.contains('*') {
            return Err(PatternError::StarInText);
        }
        out.push_str(&canonical(fixed)?);
        rest = match from_brace.as_bytes() {
            [] => return Ok((out, None)),
            [a, b, ..] if a == b => &from_brace[2..],
            [b'{', ..] => return Ok((out, Some(&from_brace[1..]))),
            _ => return Err(PatternError::BracesUnmatched),
        };
        out.push(char::from(from_brace.as_bytes()[0]));
    }
}

fn parse_name(name: &str) -> Result<ByteString, PatternError> {
    let is_valid = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    match !name.is_empty() && name.chars().all(is_valid) {
        true => Ok(name.into()),
        false => Err(PatternError::NameInvalid),
    }
}

macro_rules! types {
    ($($type:ident),*) => {
        [$(ParamType { name: stringify!($type), fits: parses::<$type> }),*]
    };
}

/// The types of parameters.
const TYPES: [ParamType; 13] =
    types![bool, i8, i16, i32, i64, i128, isize, u8, u16, u32, u64, u128, usize];

fn parses<T: FromStr>(text: &str) -> bool {
    text.parse::<T>().is_ok()
}

impl FromStr for ParamType {
    type Err = PatternError;

    fn from_str(name: &str) -> Result<Self, PatternError> {
        TYPES.into_iter().find(|kind| kind.name == name).ok_or(PatternError::TypeUnknown)
    }
}

impl PartialEq for ParamType {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for ParamType {}

impl fmt::Debug for ParamType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The rule that a route's path violates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum PatternError {
    #[error(
        "unmatched brace: write {{name}} or {{*rest}} for a parameter, and {{{{ or }}}} for a brace"
    )]
    BracesUnmatched,
    #[error(transparent)]
    Escape(#[from] EscapeError),
    #[error("the name of a parameter consists of letters, digits, _ and -")]
    NameInvalid,
    #[error("a path contains no query and no fragment")]
    NotPath,
    #[error("{{name?}} is allowed at the end of a path only")]
    OptionalNotLast,
    #[error("{{*rest}} is allowed at the end of a path only")]
    RestNotLast,
    #[error("a path begins with /")]
    SlashMissing,
    #[error("* has to be the only character of its segment: write %2A for a literal star")]
    StarInText,
    #[error("a path has at most {MAX_SEGMENTS} segments")]
    TooLong,
    #[error("a segment has at most one parameter")]
    TwoParams,
    #[error("the type of a parameter is bool or an integer type, as in {{name:u64}}")]
    TypeUnknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(text: &str) -> Segment {
        Segment::Literal(text.to_owned())
    }

    fn param(prefix: &str, name: &str, suffix: &str) -> Segment {
        Segment::Param {
            prefix: prefix.to_owned(),
            name: name.into(),
            kind: None,
            suffix: suffix.to_owned(),
            optional: false,
        }
    }

    #[test]
    fn a_path_is_a_sequence_of_segments() {
        let pattern = Pattern::parse("/a/v{id}.json/*/{n:u8?}").unwrap();
        let optional = Segment::Param {
            prefix: String::new(),
            name: "n".into(),
            kind: Some("u8".parse().unwrap()),
            suffix: String::new(),
            optional: true,
        };
        let expected = [literal("a"), param("v", "id", ".json"), Segment::Wildcard, optional];
        assert_eq!(pattern.segments(), expected);
        assert_eq!(pattern.names().flatten().collect::<Vec<_>>(), ["id", "n"]);
    }

    #[test]
    fn the_rest_may_have_a_prefix_and_no_name() {
        for (path, prefix, name) in [
            ("/{*}", "", None),
            ("/{*rest}", "", Some(ByteString::from("rest"))),
            ("/pre{*rest}", "pre", Some(ByteString::from("rest"))),
        ] {
            let rest = Segment::Rest { prefix: prefix.to_owned(), name };
            assert_eq!(Pattern::parse(path).unwrap().segments(), [rest]);
        }
    }

    #[test]
    fn an_escaped_brace_in_a_route_is_a_literal() {
        let pattern = Pattern::parse("/%7Bx%7D/{{y}}/{{{z}}}/%2A%3F").unwrap();
        let expected = [literal("{x}"), literal("{y}"), param("{", "z", "}"), literal("*?")];
        assert_eq!(pattern.segments(), expected);
        assert_eq!(pattern.written(), "/%7Bx%7D/{{y}}/{{{z}}}/%2A%3F");
    }

    #[test]
    fn an_invalid_path_is_rejected() {
        use PatternError::*;
        let long = "/x".repeat(MAX_SEGMENTS + 1);
        for (path, error) in [
            ("chat", SlashMissing),
            ("/{", BracesUnmatched),
            ("/}", BracesUnmatched),
            ("/a}b", BracesUnmatched),
            ("/{a/b}", BracesUnmatched),
            ("/{}", NameInvalid),
            ("/{?}", NameInvalid),
            ("/{:u8}", NameInvalid),
            ("/{* }", NameInvalid),
            ("/{*rest?}", NameInvalid),
            ("/{id:int}", TypeUnknown),
            ("/{id:}", TypeUnknown),
            ("/{a}{b}", TwoParams),
            ("/{id?}/x", OptionalNotLast),
            ("/{*rest}/x", RestNotLast),
            ("/{*rest}.js", RestNotLast),
            ("/a*", StarInText),
            ("/**", StarInText),
            ("/a?b", NotPath),
            ("/a#b", NotPath),
            ("/{id}?b", NotPath),
            ("/%4", Escape(EscapeError::Malformed)),
            (&long, TooLong),
        ] {
            let checked = Pattern::parse(path).and_then(|pattern| pattern.check());
            assert_eq!(checked, Err(error), "{path}");
        }
    }

    #[test]
    fn a_path_is_joined_to_its_prefix_by_one_slash() {
        for (prefix, path, joined, own) in [
            ("/admin", "/log", "/admin/log", 1),
            ("/admin/", "/log", "/admin/log", 1),
            ("/admin", "/", "/admin", 1),
            ("/admin", "", "/admin", 1),
            ("/admin/", "/", "/admin/", 2),
            ("/", "/log", "/log", 0),
            ("", "/log", "/log", 0),
            ("/", "/", "/", 0),
            ("/", "/log/", "/log/", 0),
        ] {
            let prefix = Pattern::parse(prefix).unwrap();
            let path = Pattern::parse(path).unwrap();
            let (path, prefix_len) = path.prefixed_with(&prefix);
            assert_eq!((path.written(), prefix_len), (joined, own));
            assert_eq!(path, Pattern::parse(joined).unwrap());
        }
    }
}

//! The messages of the envelope.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::publication::MemberId;

/// How deep arrays and objects may be nested in what a client sends. Receivers parse it by recursion.
const MAX_DEPTH: usize = 64;

/// What a client sends: the fields of all types.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Request<'a> {
    #[serde(rename = "type", borrow)]
    pub(crate) kind: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) room: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) conflate: Option<String>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<&'a RawValue>,
}

/// What a server sends: the fields of all types.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Reply<'a> {
    #[serde(rename = "type", borrow)]
    pub(crate) kind: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) request: Option<String>,
    #[serde(default, borrow, skip_serializing_if = "str::is_empty")]
    pub(crate) room: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) position: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) resumed: Option<Resumption>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) you: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) count: Option<u64>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub(crate) members: Option<Vec<Person<'a>>>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub(crate) member: Option<Person<'a>>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<Person<'a>>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<&'a RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) base64: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<RefusalCode>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) retry_after_ms: Option<u64>,
}

/// A member of a room.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Person<'a> {
    pub(crate) id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) identity: Option<String>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<&'a RawValue>,
}

/// The fate of what a client has missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Resumption {
    New,
    Complete,
    #[serde(other)]
    Gap,
}

/// The reason why a server refused what a client sent; `code` in an `error` of the
/// [envelope](crate::json#the-envelope), in snake case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RefusalCode {
    /// `invalid`: it is not a message of the envelope, or a field is not what it must be.
    Invalid,
    /// `name`: the text is not the name of a room.
    Name,
    /// `unknown_namespace`: the server has no such namespace.
    UnknownNamespace,
    /// `already_joined`: the session is in this room.
    AlreadyJoined,
    /// `not_joined`: the session is not in this room.
    NotJoined,
    /// `full`: the room has as many members as it may.
    Full,
    /// `denied`: the application does not permit it.
    Denied,
    /// `too_many_rooms`: the session is in as many rooms as it may.
    TooManyRooms,
    /// `too_long`: a message, a key or the data of a member is too long.
    TooLong,
    /// `too_fast`: the client sends too much of it. `retry_after_ms` states when it may again.
    TooFast,
    /// `removed`: the membership has ended.
    Removed,
    /// `unavailable`: the servers cannot reach each other. What was published may be so or not: it can
    /// be sent again with the same key.
    Unavailable,
    /// A code of a later server.
    #[serde(other)]
    Other,
}

impl Reply<'_> {
    pub(crate) fn to_text(&self) -> String {
        serde_json::to_string(self).expect("the fields are text, numbers and JSON")
    }
}

/// The id of a member, as text.
pub(crate) fn id_text(id: MemberId) -> String {
    format!("{:x}.{}", id.node, id.number)
}

/// Returns the text as a value, if it is JSON.
pub(crate) fn raw(text: &str) -> Option<&RawValue> {
    serde_json::from_str(text).ok()
}

/// Returns true if arrays and objects in `json` are not nested too deeply.
pub(crate) fn is_shallow(json: &str) -> bool {
    let (mut depth, mut is_text, mut is_escaped) = (0_usize, false, false);
    for byte in json.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = is_text,
            b'"' => is_text = !is_text,
            b'[' | b'{' if !is_text => depth += 1,
            b']' | b'}' if !is_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_is_counted_outside_of_strings() {
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert!(is_shallow(&nested(64)) && !is_shallow(&nested(65)));
        assert!(is_shallow(&format!(r#""\"{}""#, "[{".repeat(100))));
        assert!(is_shallow(&"[],".repeat(1000)));
    }

    #[test]
    fn unknown_fields_and_codes_are_those_of_later_versions() {
        let text = r#"{"type":"error","code":"tired","until":"tomorrow","room":"a:b"}"#;
        let reply: Reply<'_> = serde_json::from_str(text).unwrap();
        assert_eq!(reply.code, Some(RefusalCode::Other));
        assert_eq!(
            serde_json::to_string(&RefusalCode::TooManyRooms).unwrap(),
            "\"too_many_rooms\""
        );
    }
}

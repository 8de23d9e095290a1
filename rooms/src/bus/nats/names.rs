//! The names of streams and subjects: [`Names`].

use std::fmt::Write;

use crate::name::RoomKey;

/// The names on the server, which begin with the prefix.
pub(super) struct Names(String);

impl Names {
    pub(super) fn new(prefix: &str) -> Self {
        Self(encode(prefix))
    }

    /// The stream of a namespace.
    pub(super) fn stream(&self, namespace: &str) -> String {
        format!("{}-{namespace}", self.0)
    }

    /// The subjects of the rooms of a namespace, as the stream's settings name them.
    pub(super) fn all_stored(&self, namespace: &str) -> String {
        format!("{}.{namespace}.room.*", self.0)
    }

    /// The subjects to which the stream sends what it has stored.
    pub(super) fn all_live(&self, namespace: &str) -> String {
        format!("{}.{namespace}.live.{{{{wildcard(1)}}}}", self.0)
    }

    /// The subject with the log of a room.
    pub(super) fn stored(&self, room: &RoomKey) -> String {
        format!("{}.{}.room.{}", self.0, room.namespace(), encode(room.room()))
    }

    /// The subject on which a room's items and signals come.
    pub(super) fn live(&self, room: &RoomKey) -> String {
        format!("{}.{}.live.{}", self.0, room.namespace(), encode(room.room()))
    }

    /// The identity of a publication with an idempotency key among all of the stream.
    pub(super) fn once(room: &RoomKey, key: &str) -> String {
        format!("{} {}", encode(room.room()), encode(key))
    }
}

/// Writes all bytes but ASCII letters, digits, `-` and `_` as `=` and two hexadecimal digits. Subjects
/// have their own meaning for dots, stars and angle brackets, and no spaces; NATS 2.9 formats names
/// with percent signs.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(encoded, "={byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_names_are_one_token() {
        let names = Names::new("my shop.");
        let room = RoomKey::new("chat", "a.* > 🏠").unwrap();
        let token = "a=2E=2A=20=3E=20=F0=9F=8F=A0";
        assert_eq!(names.stored(&room), format!("my=20shop=2E.chat.room.{token}"));
        assert_eq!(names.live(&room), format!("my=20shop=2E.chat.live.{token}"));
        assert_eq!(names.stream("chat"), "my=20shop=2E-chat");
        assert_eq!(Names::once(&room, "a\r\nb"), format!("{token} a=0D=0Ab"));
    }
}

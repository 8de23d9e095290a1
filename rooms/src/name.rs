//! The names of rooms: [`RoomKey`].

use std::fmt;
use std::sync::Arc;

use sockless_core::Escaped;
use thiserror::Error;

/// The longest name of a room or a namespace, in bytes.
pub const MAX_NAME_LEN: usize = 255;

/// The name of a room with its namespace, `namespace:room`: the key of the room on a
/// [`Bus`](crate::Bus).
///
/// A namespace consists of ASCII letters, digits, `-` and `_`. The name of a room is any text without
/// control characters. Both have 1 to [`MAX_NAME_LEN`] bytes.
///
/// ```
/// use sockless::rooms::RoomKey;
///
/// let key = RoomKey::new("chat", "lobby: the first")?;
/// assert_eq!(key.as_str(), "chat:lobby: the first");
/// assert_eq!((key.namespace(), key.room()), ("chat", "lobby: the first"));
/// assert!(RoomKey::new("chat", "").is_err());
/// # Ok::<(), sockless::rooms::RoomNameError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomKey(Arc<str>);

/// The reason why a text is not the name of a room.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RoomNameError {
    /// It is empty or too long.
    #[error("expected a name of 1 to {MAX_NAME_LEN} bytes, got one of {len}")]
    Length {
        /// Its length in bytes.
        len: usize,
    },
    /// It contains a character that a name must not have: a control character or, in a namespace,
    /// anything but an ASCII letter, a digit, `-` and `_`.
    #[error("expected a name without the character {}", Escaped(.character))]
    Character {
        /// The first such character.
        character: char,
    },
    /// It has no colon between a namespace and a room.
    #[error("expected a namespace, a colon and the name of a room")]
    NoNamespace,
}

impl RoomKey {
    /// Returns the key of `room` in `namespace`.
    ///
    /// # Errors
    ///
    /// [`RoomNameError`] if either is not a name.
    pub fn new(namespace: &str, room: &str) -> Result<Self, RoomNameError> {
        check_namespace(namespace)?;
        check(room, |character| !character.is_control())?;
        Ok(Self(format!("{namespace}:{room}").into()))
    }

    /// Returns the key with the text that [`as_str`](Self::as_str) returned.
    ///
    /// # Errors
    ///
    /// [`RoomNameError`] if it is not a key.
    pub fn parse(text: &str) -> Result<Self, RoomNameError> {
        let (namespace, room) = text.split_once(':').ok_or(RoomNameError::NoNamespace)?;
        Self::new(namespace, room)
    }

    /// Returns the whole key.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the namespace.
    pub fn namespace(&self) -> &str {
        self.split().0
    }

    /// Returns the name of the room in its namespace.
    pub fn room(&self) -> &str {
        self.split().1
    }

    fn split(&self) -> (&str, &str) {
        // A namespace has no colon.
        self.0.split_once(':').unwrap_or((&self.0, ""))
    }
}

pub(crate) fn check_namespace(name: &str) -> Result<(), RoomNameError> {
    check(name, |character| character.is_ascii_alphanumeric() || matches!(character, '-' | '_'))
}

fn check(name: &str, is_allowed: impl Fn(char) -> bool) -> Result<(), RoomNameError> {
    if name.is_empty() || name.len() > MAX_NAME_LEN {
        return Err(RoomNameError::Length { len: name.len() });
    }
    match name.chars().find(|&character| !is_allowed(character)) {
        Some(character) => Err(RoomNameError::Character { character }),
        None => Ok(()),
    }
}

impl fmt::Debug for RoomKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl fmt::Display for RoomKey {
    /// [Escapes](Escaped) the name, which a client may have chosen.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(&*self.0).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_and_endless_names_are_errors() {
        let endless = "x".repeat(1 << 20);
        assert_eq!(RoomKey::new("chat", ""), Err(RoomNameError::Length { len: 0 }));
        assert_eq!(RoomKey::new("chat", &endless), Err(RoomNameError::Length { len: 1 << 20 }));
        assert_eq!(RoomKey::new("chat", "a\nb"), Err(RoomNameError::Character { character: '\n' }));
        assert_eq!(RoomKey::new("a:b", "c"), Err(RoomNameError::Character { character: ':' }));
        assert_eq!(RoomKey::parse("chat"), Err(RoomNameError::NoNamespace));
        assert!(RoomKey::new("chat", "häuschen 🏠:*").is_ok());
    }
}

//! Places in a room's stream of messages: [`Position`].

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A place in the stream of messages of a room: the epoch names the stream, the offset counts the
/// messages in it.
///
/// A stream begins at offset 0, and its first message has offset 1. It gets a new epoch when its
/// messages can no longer be counted from where they were, as after a restart of a server that keeps
/// them in memory. Positions of different epochs cannot be compared.
///
/// It travels as text, `epoch.offset`, with the epoch in hexadecimal and the offset in decimal. A
/// client treats it as opaque.
///
/// ```
/// use sockless::rooms::Position;
///
/// let position: Position = "c0ffee.42".parse()?;
/// assert_eq!(position.offset, 42);
/// assert_eq!(position.to_string(), "c0ffee.42");
/// assert!("from nowhere".parse::<Position>().is_err());
/// # Ok::<(), sockless::rooms::ParsePositionError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The stream.
    pub epoch: Epoch,
    /// The number of messages of the stream up to here.
    pub offset: u64,
}

/// The identity of a stream, which no other stream has; see [`Position`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

impl Position {
    /// Returns the position of the message after this one.
    pub(crate) fn next(self) -> Self {
        Self { offset: self.offset.saturating_add(1), ..self }
    }

    /// Returns the position of the message before this one.
    pub(crate) fn previous(self) -> Self {
        Self { offset: self.offset.saturating_sub(1), ..self }
    }

    /// Returns true if `self` is in the same stream as `other`, and behind it.
    pub(crate) fn is_after(self, other: Self) -> bool {
        self.epoch == other.epoch && self.offset > other.offset
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{}", self.epoch.0, self.offset)
    }
}

/// The error of a text that is not a [`Position`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("expected a position such as c0ffee.42: an epoch in hexadecimal, a dot, and an offset")]
pub struct ParsePositionError(());

impl FromStr for Position {
    type Err = ParsePositionError;

    fn from_str(text: &str) -> Result<Self, ParsePositionError> {
        let error = ParsePositionError(());
        let (epoch, offset) = text.split_once('.').ok_or(error)?;
        // The parsers of numbers accept a sign.
        if !epoch.bytes().chain(offset.bytes()).all(|byte| byte.is_ascii_hexdigit()) {
            return Err(error);
        }
        let epoch = u64::from_str_radix(epoch, 16).map_err(|_| error)?;
        let offset = offset.parse().map_err(|_| error)?;
        Ok(Self { epoch: Epoch(epoch), offset })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_survives_its_text() {
        for position in [(0, 0), (u64::MAX, u64::MAX), (0xc0ffee, 42)] {
            let position = Position { epoch: Epoch(position.0), offset: position.1 };
            assert_eq!(position.to_string().parse(), Ok(position));
        }
    }

    #[test]
    fn other_texts_are_errors() {
        let overlong = format!("1.{}", "9".repeat(1 << 16));
        for text in
            ["", ".", "1", "1.", ".1", "+1.1", "1.+1", "1.-1", "1.1.1", "g.1", " 1.1", &overlong]
        {
            assert!(text.parse::<Position>().is_err(), "{}", &text[..text.len().min(20)]);
        }
    }
}

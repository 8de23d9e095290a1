//! The messages of a room on the server: [`Record`].

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use crate::position::Position;
use crate::publication::{Item, Publication};

/// The first byte of each kind.
const ITEM: u8 = b'i';
const MARK: u8 = b'm';
const SIGNAL: u8 = b's';

/// The content of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Record {
    Item(Item),
    /// The position of the room, without a publication.
    Mark(Position),
    Signal(Bytes),
}

impl Record {
    /// Returns the record with these bytes, if they are one of a known form.
    pub(super) fn from_bytes(bytes: &Bytes) -> Option<Self> {
        let rest = bytes.slice(1.min(bytes.len())..);
        match *bytes.first()? {
            SIGNAL => Some(Self::Signal(rest)),
            ITEM => {
                let (position, publication) = position_of(&rest)?;
                let publication = Arc::new(Publication::from_bytes(publication)?);
                Some(Self::Item(Item { position: Some(position), publication }))
            }
            MARK => {
                let (position, nothing) = position_of(&rest)?;
                nothing.is_empty().then_some(Self::Mark(position))
            }
            _ => None,
        }
    }

    /// The position of the room behind the record.
    pub(super) fn position(&self) -> Option<Position> {
        match self {
            Self::Item(item) => item.position,
            Self::Mark(position) => Some(*position),
            Self::Signal(_) => None,
        }
    }
}

pub(super) fn item(position: Position, publication: &[u8]) -> Bytes {
    at(ITEM, position, publication)
}

pub(super) fn mark(position: Position) -> Bytes {
    at(MARK, position, b"")
}

pub(super) fn signal(signal: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(1 + signal.len());
    bytes.put_u8(SIGNAL);
    bytes.put_slice(signal);
    bytes.freeze()
}

fn at(kind: u8, position: Position, rest: &[u8]) -> Bytes {
    let position = position.to_string();
    let mut bytes = BytesMut::with_capacity(2 + position.len() + rest.len());
    bytes.put_u8(kind);
    bytes.put_slice(position.as_bytes());
    bytes.put_u8(b' ');
    bytes.put_slice(rest);
    bytes.freeze()
}

/// The position before the first space, and what follows.
fn position_of(bytes: &Bytes) -> Option<(Position, Bytes)> {
    let len = bytes.iter().take(40).position(|byte| *byte == b' ')?;
    let position = str::from_utf8(&bytes[..len]).ok()?.parse().ok()?;
    Some((position, bytes.slice(len + 1..)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::Epoch;

    const AT: Position = Position { epoch: Epoch(u64::MAX), offset: u64::MAX };

    #[test]
    fn records_survive_their_bytes() {
        let publication = Arc::new(Publication::new("a b"));
        let bytes = item(AT, &publication.to_bytes());
        let item = Record::Item(Item { position: Some(AT), publication });
        assert_eq!(Record::from_bytes(&bytes), Some(item));
        assert_eq!(Record::from_bytes(&mark(AT)), Some(Record::Mark(AT)));
        let bytes = Bytes::from_static(b" x");
        assert_eq!(Record::from_bytes(&signal(&bytes)), Some(Record::Signal(bytes)));
    }

    #[test]
    fn other_bytes_are_no_record() {
        let endless = format!("i{} \x01\x01x", "9".repeat(100));
        for bytes in [
            "",
            "x",
            "i",
            "m",
            "i1",
            "m1.1",
            "m1.1 x",
            "i1.1 ",
            "i1.1 \x02",
            "i1 \x01\x01x",
            &endless,
        ] {
            let bytes = Bytes::copy_from_slice(bytes.as_bytes());
            assert_eq!(Record::from_bytes(&bytes), None, "{bytes:?}");
        }
    }
}

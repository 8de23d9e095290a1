//! The messages of servers to each other about the members of a room: [`Signal`].

use bytes::{Buf, BufMut, Bytes, BytesMut};
use bytestring::ByteString;
use sockless_core::{CloseCode, CloseReason};

use crate::event::Occupant;
use crate::publication::MemberId;

/// The first byte: the version of this format.
const FORMAT: u8 = 1;

/// A message of one server to all others that have members in the same room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signal {
    pub(crate) node: u64,
    pub(crate) body: SignalBody,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SignalBody {
    /// All servers are to send their state.
    Ask,
    State {
        version: u64,
        occupants: Vec<Occupant>,
    },
    Joined {
        version: u64,
        occupant: Occupant,
    },
    Left {
        version: u64,
        number: u32,
    },
    Beat {
        version: u64,
    },
    /// The members with this identity are to be disconnected.
    Disconnect {
        identity: ByteString,
        reason: CloseReason,
    },
    /// All members are to be disconnected.
    Close {
        reason: CloseReason,
    },
}

impl Signal {
    pub(crate) fn to_bytes(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(32);
        bytes.put_u8(FORMAT);
        bytes.put_u64(self.node);
        match &self.body {
            SignalBody::Ask => bytes.put_u8(0),
            SignalBody::State { version, occupants } => {
                bytes.put_u8(1);
                bytes.put_u64(*version);
                occupants.iter().for_each(|occupant| put(&mut bytes, occupant));
            }
            SignalBody::Joined { version, occupant } => {
                bytes.put_u8(2);
                bytes.put_u64(*version);
                put(&mut bytes, occupant);
            }
            SignalBody::Left { version, number } => {
                bytes.put_u8(3);
                bytes.put_u64(*version);
                bytes.put_u32(*number);
            }
            SignalBody::Beat { version } => {
                bytes.put_u8(4);
                bytes.put_u64(*version);
            }
            SignalBody::Disconnect { identity, reason } => {
                bytes.put_u8(5);
                put_part(&mut bytes, identity.as_bytes());
                put_reason(&mut bytes, reason);
            }
            SignalBody::Close { reason } => {
                bytes.put_u8(6);
                put_reason(&mut bytes, reason);
            }
        }
        bytes.freeze()
    }

    /// Returns `None` for bytes that are not a signal.
    pub(crate) fn from_bytes(mut bytes: Bytes) -> Option<Self> {
        if bytes.try_get_u8().ok()? != FORMAT {
            return None;
        }
        let node = bytes.try_get_u64().ok()?;
        let body = match bytes.try_get_u8().ok()? {
            0 => SignalBody::Ask,
            1 => {
                let version = bytes.try_get_u64().ok()?;
                let mut occupants = Vec::new();
                while !bytes.is_empty() {
                    occupants.push(get(node, &mut bytes)?);
                }
                SignalBody::State { version, occupants }
            }
            2 => {
                let version = bytes.try_get_u64().ok()?;
                SignalBody::Joined { version, occupant: get(node, &mut bytes)? }
            }
            3 => {
                let version = bytes.try_get_u64().ok()?;
                SignalBody::Left { version, number: bytes.try_get_u32().ok()? }
            }
            4 => SignalBody::Beat { version: bytes.try_get_u64().ok()? },
            5 => {
                let identity = ByteString::try_from(get_part(&mut bytes)?).ok()?;
                SignalBody::Disconnect { identity, reason: get_reason(&mut bytes)? }
            }
            6 => SignalBody::Close { reason: get_reason(&mut bytes)? },
            _ => return None,
        };
        bytes.is_empty().then_some(Self { node, body })
    }
}

fn put(bytes: &mut BytesMut, occupant: &Occupant) {
    let identity = occupant.identity.as_deref().map(str::as_bytes);
    bytes.put_u32(occupant.id.number);
    bytes.put_u8(u8::from(identity.is_some()));
    put_part(bytes, identity.unwrap_or_default());
    put_part(bytes, &occupant.data);
}

fn get(node: u64, bytes: &mut Bytes) -> Option<Occupant> {
    let number = bytes.try_get_u32().ok()?;
    let has_identity = match bytes.try_get_u8().ok()? {
        0 => false,
        1 => true,
        _ => return None,
    };
    let identity = ByteString::try_from(get_part(bytes)?).ok()?;
    let data = get_part(bytes)?;
    let identity = has_identity.then_some(identity);
    Some(Occupant { id: MemberId { node, number }, identity, data })
}

/// The code, 0 for a reason without one, and the text.
fn put_reason(bytes: &mut BytesMut, reason: &CloseReason) {
    bytes.put_u16(reason.code().map_or(0, CloseCode::get));
    put_part(bytes, reason.text().as_bytes());
}

fn get_reason(bytes: &mut Bytes) -> Option<CloseReason> {
    let code = bytes.try_get_u16().ok()?;
    let text = ByteString::try_from(get_part(bytes)?).ok()?;
    match code {
        0 => Some(CloseReason::EMPTY),
        code => Some((CloseCode::new(code)?, text).into()),
    }
}

/// The length and the bytes. `Join` checks that they are not longer.
fn put_part(bytes: &mut BytesMut, part: &[u8]) {
    let len = u16::try_from(part.len()).unwrap_or(u16::MAX);
    bytes.put_u16(len);
    bytes.put_slice(&part[..usize::from(len)]);
}

fn get_part(bytes: &mut Bytes) -> Option<Bytes> {
    let len = usize::from(bytes.try_get_u16().ok()?);
    // A copy, since the rest of the signal is not kept.
    (len <= bytes.len()).then(|| Bytes::copy_from_slice(&bytes.split_to(len)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signals() -> Vec<Signal> {
        let ada = Occupant {
            id: MemberId { node: 7, number: 1 },
            identity: Some("ada".into()),
            data: Bytes::from_static(b"{}"),
        };
        let guest = Occupant { identity: None, data: Bytes::new(), ..ada.clone() };
        let bodies = [
            SignalBody::Ask,
            SignalBody::State { version: 3, occupants: vec![ada.clone(), guest] },
            SignalBody::State { version: 4, occupants: Vec::new() },
            SignalBody::Joined { version: 1, occupant: ada },
            SignalBody::Left { version: u64::MAX, number: u32::MAX },
            SignalBody::Beat { version: 9 },
            SignalBody::Disconnect {
                identity: "ada".into(),
                reason: (CloseCode::POLICY_VIOLATION, "bye").into(),
            },
            SignalBody::Close { reason: CloseReason::EMPTY },
        ];
        bodies.map(|body| Signal { node: 7, body }).to_vec()
    }

    #[test]
    fn a_signal_survives_its_bytes() {
        for signal in signals() {
            assert_eq!(Signal::from_bytes(signal.to_bytes()), Some(signal));
        }
    }

    #[test]
    fn other_bytes_are_no_signal() {
        assert_eq!(Signal::from_bytes(Bytes::new()), None);
        for signal in signals() {
            let bytes = signal.to_bytes();
            for len in 0..bytes.len() {
                let cut = Signal::from_bytes(bytes.slice(..len));
                // The list of a state ends with the signal.
                let is_state = matches!(signal.body, SignalBody::State { .. });
                assert!(cut.is_none() || is_state, "{signal:?} cut at {len}");
            }
            for at in 0..bytes.len() {
                let mut other = bytes.to_vec();
                other[at] ^= 0xFF;
                // It is something else, or nothing; it does not panic.
                let _ = Signal::from_bytes(other.into());
            }
        }
    }
}

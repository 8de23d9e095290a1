//! Publications as bytes, for buses that leave the process.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use bytestring::ByteString;
use sockless_core::Message;

use super::{Audience, MemberId, Publication};

/// The first byte: the version of the format.
const FORMAT: u8 = 1;

/// The bits of the second byte.
const TEXT: u8 = 1;
const SENDER: u8 = 1 << 1;
const OTHERS: u8 = 1 << 2;
const IDENTITY: u8 = 1 << 3;
const IDEMPOTENCY: u8 = 1 << 4;
const CONFLATION: u8 = 1 << 5;
const SENDER_IDENTITY: u8 = 1 << 6;

impl Publication {
    /// Returns the publication as bytes, with which a [`Bus`](crate::Bus) sends it to another
    /// process.
    ///
    /// The format, version 1, is open to programs in other languages. Numbers are big-endian:
    ///
    /// | bytes | meaning |
    /// |---|---|
    /// | 1 | the version, 1 |
    /// | 1 | flags: 1 the message is text, 2 it has a sender, 4 it is not for the sender, 8 it is for one identity, 16 it has an idempotency key, 32 it has a conflation key, 64 its sender has an identity |
    /// | 12 | with flag 2, the sender: its node in 8 bytes, its number in 4 |
    /// | 4 and that many | with flag 8, the identity: its length, and UTF-8 |
    /// | 4 and that many | with flag 16, the idempotency key, likewise |
    /// | 4 and that many | with flag 32, the conflation key, likewise |
    /// | 4 and that many | with flag 64, the identity of the sender, likewise |
    /// | the rest | the message |
    ///
    /// ```
    /// use sockless::rooms::Publication;
    ///
    /// let publication = Publication::new("hello").only_to("ada");
    /// assert_eq!(publication.to_bytes(), &b"\x01\x09\x00\x00\x00\x03adahello"[..]);
    /// assert_eq!(Publication::from_bytes(publication.to_bytes()), Some(publication));
    /// ```
    pub fn to_bytes(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(self.cost());
        bytes.put_u8(FORMAT);
        bytes.put_u8(self.flags());
        if let Some(sender) = self.sender {
            bytes.put_u64(sender.node);
            bytes.put_u32(sender.number);
        }
        if let Audience::Identity(identity) = &self.audience {
            put(&mut bytes, identity);
        }
        self.idempotency_key.iter().for_each(|key| put(&mut bytes, key));
        self.conflation_key.iter().for_each(|key| put(&mut bytes, key));
        self.sender_identity.iter().for_each(|identity| put(&mut bytes, identity));
        bytes.put_slice(match &self.message {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(payload) => payload,
        });
        bytes.freeze()
    }

    /// Returns the publication with these bytes, or `None` if they are not one of a version that is
    /// known. The message shares the memory of `bytes`.
    pub fn from_bytes(mut bytes: Bytes) -> Option<Self> {
        if bytes.try_get_u8().ok()? != FORMAT {
            return None;
        }
        let flags = bytes.try_get_u8().ok()?;
        let known = TEXT | SENDER | OTHERS | IDENTITY | IDEMPOTENCY | CONFLATION | SENDER_IDENTITY;
        let has = |flag| flags & flag != 0;
        if flags & !known != 0 || has(OTHERS) && has(IDENTITY) {
            return None;
        }
        let sender = if has(SENDER) {
            let (node, number) = (bytes.try_get_u64().ok()?, bytes.try_get_u32().ok()?);
            Some(MemberId { node, number })
        } else {
            None
        };
        let mut text = |flag| match has(flag) {
            true => get(&mut bytes).map(Some),
            false => Some(None),
        };
        let (identity, idempotency_key) = (text(IDENTITY)?, text(IDEMPOTENCY)?);
        let (conflation_key, sender_identity) = (text(CONFLATION)?, text(SENDER_IDENTITY)?);
        let audience = match identity {
            Some(identity) => Audience::Identity(identity),
            None if has(OTHERS) => Audience::Others,
            None => Audience::Everyone,
        };
        let message = match has(TEXT) {
            true => Message::Text(ByteString::try_from(bytes).ok()?),
            false => Message::Binary(bytes),
        };
        Some(Self { message, audience, sender, sender_identity, idempotency_key, conflation_key })
    }

    fn flags(&self) -> u8 {
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        flag(self.message.is_text(), TEXT)
            | flag(self.sender.is_some(), SENDER)
            | flag(self.audience == Audience::Others, OTHERS)
            | flag(matches!(self.audience, Audience::Identity(_)), IDENTITY)
            | flag(self.idempotency_key.is_some(), IDEMPOTENCY)
            | flag(self.conflation_key.is_some(), CONFLATION)
            | flag(self.sender_identity.is_some(), SENDER_IDENTITY)
    }
}

fn put(bytes: &mut BytesMut, text: &ByteString) {
    // No text that is held is longer than what 32 bits count: messages have limits far below.
    let len = u32::try_from(text.len()).unwrap_or(u32::MAX);
    bytes.put_u32(len);
    bytes.put_slice(&text.as_bytes()[..len as usize]);
}

fn get(bytes: &mut Bytes) -> Option<ByteString> {
    let len = bytes.try_get_u32().ok()? as usize;
    // A copy, which does not keep the message's memory alive.
    let text = (len <= bytes.len()).then(|| Bytes::copy_from_slice(&bytes.split_to(len)))?;
    ByteString::try_from(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publications() -> Vec<Publication> {
        let mut sent = Publication::new(vec![0, 255]).excluding_sender();
        sent.set_sender(MemberId { node: u64::MAX, number: 7 });
        sent.set_sender_identity(Some("ada".into()));
        let keys = Publication::new("häuschen").idempotency_key("i").conflation_key("c");
        vec![
            Publication::new(""),
            Publication::new(Vec::new()),
            sent,
            keys.clone(),
            keys.only_to("ada"),
        ]
    }

    #[test]
    fn a_publication_survives_its_bytes() {
        for publication in publications() {
            assert_eq!(Publication::from_bytes(publication.to_bytes()), Some(publication));
        }
    }

    #[test]
    fn other_bytes_are_no_publication() {
        for bytes in
            [&b""[..], b"\x01", b"\x02\x00", b"\x00\x00", b"\x01\x80", b"\x01\x0C", b"\x01\x01\xFF"]
        {
            assert_eq!(Publication::from_bytes(Bytes::copy_from_slice(bytes)), None, "{bytes:?}");
        }
        let endless = b"\x01\x08\xFF\xFF\xFF\xFFada";
        assert_eq!(Publication::from_bytes(Bytes::from_static(endless)), None);
        for publication in publications() {
            let bytes = publication.to_bytes();
            for at in 0..bytes.len() {
                // It is something else, or nothing; it does not panic.
                let mut other = bytes.to_vec();
                other[at] ^= 0xFF;
                let _ = Publication::from_bytes(other.into());
                let _ = Publication::from_bytes(bytes.slice(..at));
            }
        }
    }
}

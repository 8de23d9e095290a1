//! Conversions into a [`Message`], and comparisons with text and bytes.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

use super::Message;

/// Implements `From` for types of text or of bytes, each by an expression for its payload.
macro_rules! from {
    ($($kind:ident $(const $len:ident)?: $from:ty, |$value:ident| $payload:expr;)*) => {$(
        impl$(<const $len: usize>)? From<$from> for Message {
            fn from($value: $from) -> Self {
                Self::$kind($payload)
            }
        }
    )*};
}

from! {
    Text: &str, |text| text.into();
    Text: &String, |text| text.as_str().into();
    Text: String, |text| text.into();
    Text: Box<str>, |text| text.into();
    Text: Cow<'_, str>, |text| text.into_owned().into();
    Text: ByteString, |text| text;
    Text: &ByteString, |text| text.clone();
    Binary: &[u8], |bytes| Bytes::copy_from_slice(bytes);
    Binary: &Vec<u8>, |bytes| Bytes::copy_from_slice(bytes);
    Binary: Vec<u8>, |bytes| bytes.into();
    Binary: Box<[u8]>, |bytes| bytes.into();
    Binary: Cow<'_, [u8]>, |bytes| bytes.into_owned().into();
    Binary const N: [u8; N], |bytes| Bytes::copy_from_slice(&bytes);
    Binary const N: &[u8; N], |bytes| Bytes::copy_from_slice(bytes);
    Binary: Bytes, |bytes| bytes;
    Binary: &Bytes, |bytes| bytes.clone();
    Binary: BytesMut, |bytes| bytes.freeze();
}

impl From<&Self> for Message {
    fn from(message: &Self) -> Self {
        message.clone()
    }
}

/// Implements the comparison of a message with types of text or of bytes, in both directions.
macro_rules! eq {
    ($($payload:ident $(const $len:ident)?: $other:ty;)*) => {$(
        impl$(<const $len: usize>)? PartialEq<$other> for Message {
            fn eq(&self, other: &$other) -> bool {
                self.$payload() == Some(other.as_ref())
            }
        }

        impl$(<const $len: usize>)? PartialEq<Message> for $other {
            fn eq(&self, message: &Message) -> bool {
                message == self
            }
        }
    )*};
}

eq! {
    as_text: str;
    as_text: &str;
    as_text: String;
    as_text: ByteString;
    as_binary: [u8];
    as_binary: &[u8];
    as_binary: Vec<u8>;
    as_binary const N: [u8; N];
    as_binary const N: &[u8; N];
    as_binary: Bytes;
}

impl Message {
    /// Returns the payload of a binary message.
    fn as_binary(&self) -> Option<&[u8]> {
        match self {
            Self::Binary(bytes) => Some(bytes),
            Self::Text(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec;

    use super::*;

    #[test]
    fn every_type_of_text_becomes_a_text_message() {
        let owned = String::from("häl");
        let borrowed: &str = &owned;
        let messages = [
            Message::from(borrowed),
            Message::from(&owned),
            Message::from(owned.clone()),
            Message::from(Box::<str>::from(borrowed)),
            Message::from(Cow::Borrowed(borrowed)),
            Message::from(Cow::<str>::Owned(owned.clone())),
            Message::from(ByteString::from(borrowed)),
            Message::from(&ByteString::from(borrowed)),
            Message::from(&Message::text(borrowed)),
            Message::from_static("häl"),
        ];
        for message in &messages {
            assert_eq!(message.as_text(), Some("häl"));
        }
    }

    #[test]
    fn every_type_of_bytes_becomes_a_binary_message() {
        let owned = vec![1_u8, 2, 3];
        let borrowed: &[u8] = &owned;
        let messages = [
            Message::from(borrowed),
            Message::from(&owned),
            Message::from(owned.clone()),
            Message::from(Box::<[u8]>::from(borrowed)),
            Message::from(Cow::Borrowed(borrowed)),
            Message::from(Cow::<[u8]>::Owned(owned.clone())),
            Message::from([1, 2, 3]),
            Message::from(&[1, 2, 3]),
            Message::from(b"\x01\x02\x03"),
            Message::from(Bytes::copy_from_slice(borrowed)),
            Message::from(&Bytes::copy_from_slice(borrowed)),
            Message::from(BytesMut::from(borrowed)),
            Message::from(&Message::binary(owned.clone())),
        ];
        for message in &messages {
            assert_eq!(message.as_text(), None);
            assert_eq!(message.as_bytes(), borrowed);
        }
    }

    #[test]
    fn what_is_owned_is_not_copied() {
        let text = String::from("a text that is not copied");
        let at = text.as_ptr();
        assert_eq!(Message::from(Cow::<str>::Owned(text)).as_bytes().as_ptr(), at);
        let bytes = vec![7; 100];
        let at = bytes.as_ptr();
        let message = Message::from(Cow::<[u8]>::Owned(bytes));
        assert_eq!(message.as_bytes().as_ptr(), at);
        assert_eq!(Message::from(&message).into_bytes().as_ptr(), at);
    }

    #[test]
    fn a_message_equals_its_payload_of_the_same_kind_only() {
        let text = Message::from("abc");
        assert_eq!(text, "abc");
        assert_eq!(text, *"abc");
        assert_eq!(text, String::from("abc"));
        assert_eq!("abc", text);
        assert_ne!(text, "abd");
        assert_ne!(text, b"abc", "text does not equal bytes");

        let binary = Message::from(b"abc");
        assert_eq!(binary, b"abc");
        assert_eq!(binary, [b'a', b'b', b'c']);
        assert_eq!(binary, &b"abc"[..]);
        assert_eq!(binary, vec![b'a', b'b', b'c']);
        assert_eq!(Bytes::from_static(b"abc"), binary);
        assert_ne!(binary, "abc", "bytes do not equal text");
    }

    #[test]
    fn a_message_is_displayed_on_one_line() {
        assert_eq!(Message::from("gr\u{fc}n\n\u{1b}[2J").to_string(), "gr\u{fc}n\\n\\u{1b}[2J");
        assert_eq!(Message::from([0; 12]).to_string(), "binary message of 12 bytes");
    }

    #[test]
    fn text_is_taken_out_of_a_text_message_only() {
        assert_eq!(Message::from("abc").into_text().as_deref(), Ok("abc"));
        let binary = Message::from(b"abc");
        assert_eq!(binary.clone().into_text(), Err(binary));
    }
}

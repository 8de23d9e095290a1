//! The events of a room as JSON: [`Json`].

use std::borrow::Cow;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::value::{RawValue, to_raw_value};
use sockless_core::{Message, OutgoingMessage};

use super::wire::{Person, Reply, Resumption, id_text, raw};
use crate::event::{Envelope, Occupant, Resumed, RoomEvent};
use crate::position::Position;
use crate::publication::Item;

/// The [`Envelope`] `rooms.v1+json` of one namespace. [`JsonRooms`](super::JsonRooms) sets it; it is of
/// use alone where a program has a handler of its own for what clients send.
///
/// A text message that is JSON becomes the value `data`; any other text becomes a string. A binary
/// message becomes `base64`.
#[derive(Clone, Debug)]
pub struct Json {
    namespace: String,
}

impl Json {
    /// Creates the envelope for the rooms of the namespace with this name.
    pub fn new(namespace: impl Into<String>) -> Self {
        Self { namespace: namespace.into() }
    }
}

impl Envelope for Json {
    fn encode(&self, room: &str, event: &RoomEvent) -> Option<OutgoingMessage> {
        let room = format!("{}:{room}", self.namespace);
        let reply = |kind: &'static str| Reply {
            kind: kind.into(),
            room: Cow::Borrowed(&room),
            ..Reply::default()
        };
        let text = match event {
            RoomEvent::Message(item) => item_text(reply("item"), item),
            RoomEvent::Welcome(welcome) => {
                let resumed = match welcome.resumed {
                    Resumed::New => Resumption::New,
                    Resumed::Complete => Resumption::Complete,
                    Resumed::Gap => Resumption::Gap,
                };
                let position = text_of(welcome.position);
                Reply { position, resumed: Some(resumed), ..reply("joined") }.to_text()
            }
            RoomEvent::Gap { position } => {
                Reply { position: text_of(*position), ..reply("gap") }.to_text()
            }
            RoomEvent::Dropped { count } => {
                Reply { count: Some(*count), ..reply("dropped") }.to_text()
            }
            RoomEvent::Joined(occupant) => {
                Reply { member: Some(person(occupant)), ..reply("member_joined") }.to_text()
            }
            RoomEvent::Left(occupant) => {
                Reply { member: Some(person(occupant)), ..reply("member_left") }.to_text()
            }
            RoomEvent::Interrupted => reply("interrupted").to_text(),
            RoomEvent::Restored => reply("restored").to_text(),
        };
        Some(text.into())
    }
}

fn item_text(reply: Reply<'_>, item: &Item) -> String {
    let publication = &item.publication;
    let from = publication.sender().map(|sender| Person {
        id: id_text(sender),
        identity: publication.sender_identity().map(ToString::to_string),
        data: None,
    });
    let reply = Reply { position: text_of(item.position), from, ..reply };
    match publication.message() {
        Message::Binary(bytes) => {
            Reply { base64: Some(BASE64_STANDARD.encode(bytes)), ..reply }.to_text()
        }
        Message::Text(text) => match raw(text) {
            Some(data) => Reply { data: Some(data), ..reply }.to_text(),
            None => {
                let data: Box<RawValue> = to_raw_value(&**text).expect("a string is JSON");
                Reply { data: Some(&data), ..reply }.to_text()
            }
        },
    }
}

pub(super) fn text_of(position: Option<Position>) -> Option<String> {
    position.map(|position| position.to_string())
}

pub(super) fn person(occupant: &Occupant) -> Person<'_> {
    Person {
        id: id_text(occupant.id),
        identity: occupant.identity.as_ref().map(ToString::to_string),
        // What a handler of the program's own has set need not be JSON.
        data: std::str::from_utf8(&occupant.data).ok().and_then(raw),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::position::Epoch;
    use crate::publication::{MemberId, Publication};

    fn encoded(mut publication: Publication) -> String {
        publication.set_sender(MemberId { node: 0x5eed, number: 3 });
        let position = Some(Position { epoch: Epoch(0xc0ffee), offset: 42 });
        let item = Item { position, publication: Arc::new(publication) };
        let message = Json::new("chat").encode("lobby", &RoomEvent::Message(item)).unwrap();
        message.message().as_text().unwrap().to_owned()
    }

    #[test]
    fn json_is_a_value_and_other_messages_are_strings() {
        let head =
            r#"{"type":"item","room":"chat:lobby","position":"c0ffee.42","from":{"id":"5eed.3"}"#;
        for (publication, data) in [
            (Publication::new(r#"{"a": [1]}"#), r#""data":{"a": [1]}"#),
            (Publication::new("say \"hi\"\n"), r#""data":"say \"hi\"\n""#),
            (Publication::new("1} , {"), r#""data":"1} , {""#),
            (Publication::new(vec![0, 255]), r#""base64":"AP8=""#),
        ] {
            assert_eq!(encoded(publication), format!("{head},{data}}}"));
        }
    }
}

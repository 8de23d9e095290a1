//! The client without I/O: what it is in, what it has received, and what is to be sent.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytestring::ByteString;
use sockless_core::{Closed, Message};

use super::super::wire::{RefusalCode, Reply, Request, Resumption, raw};
use super::event::{ClientEvent, ClientItem, PublishId, RoomMember};
use super::join::{JoinRoom, QueueError};
use crate::event::Resumed;
use crate::position::Position;

/// What the client wants and knows.
pub(super) struct State {
    rooms: BTreeMap<String, Room>,
    /// The rooms that were left on this connection, with the number of answers that are awaited.
    /// Until then, what comes is of the earlier membership.
    leaving: BTreeMap<String, u32>,
    unanswered: VecDeque<Unanswered>,
    max_unanswered: usize,
    /// The beginning of the idempotency keys.
    keys: String,
    last_id: u64,
    is_open: bool,
    outgoing: VecDeque<ByteString>,
    events: VecDeque<ClientEvent>,
}

struct Room {
    join: JoinRoom,
    position: Option<Position>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It was never in the room.
    New,
    /// It is in the room.
    In,
    /// It was in the room on an earlier connection.
    Out,
}

/// A message that was published and not answered.
struct Unanswered {
    id: PublishId,
    room: String,
    /// The whole message, to be sent again.
    text: ByteString,
}

/// The server sent something that is not of the envelope.
#[derive(Debug)]
pub(super) struct Invalid;

/// What the program does.
impl State {
    pub(super) fn new(keys: String) -> Self {
        Self {
            rooms: BTreeMap::new(),
            leaving: BTreeMap::new(),
            unanswered: VecDeque::new(),
            max_unanswered: 1000,
            keys,
            last_id: 0,
            is_open: false,
            outgoing: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    pub(super) fn set_max_unanswered(&mut self, messages: usize) {
        self.max_unanswered = messages;
    }

    pub(super) fn join(&mut self, join: JoinRoom) {
        if self.rooms.contains_key(&join.room) {
            return;
        }
        let name = join.room.clone();
        let room = Room { position: join.since, join, phase: Phase::New };
        if self.is_open {
            self.outgoing.push_back(room.request());
        }
        self.rooms.insert(name, room);
    }

    pub(super) fn leave(&mut self, room: &str) {
        if self.rooms.remove(room).is_none() {
            return;
        }
        self.events.retain(|event| event.room() != Some(room));
        if self.is_open {
            let request = Request { kind: "leave".into(), room: room.into(), ..Request::default() };
            self.outgoing.push_back(text(&request));
            *self.leaving.entry(room.to_owned()).or_default() += 1;
        }
    }

    pub(super) fn publish(
        &mut self,
        room: &str,
        key: Option<&str>,
        json: &str,
    ) -> Result<PublishId, QueueError> {
        if !self.rooms.contains_key(room) {
            return Err(QueueError::NotJoined);
        }
        let limit = self.max_unanswered;
        if self.unanswered.len() >= limit {
            return Err(QueueError::Full { limit });
        }
        self.last_id += 1;
        let id = self.last_id;
        let key = key.map_or_else(|| format!("{}-{id}", self.keys), str::to_owned);
        let request = Request {
            kind: "publish".into(),
            room: room.into(),
            id: Some(id),
            key: Some(key),
            data: raw(json),
            ..Request::default()
        };
        let text = text(&request);
        if self.is_open {
            self.outgoing.push_back(text.clone());
        }
        self.unanswered.push_back(Unanswered { id: PublishId(id), room: room.to_owned(), text });
        Ok(PublishId(id))
    }

    pub(super) fn position(&self, room: &str) -> Option<Position> {
        self.rooms.get(room)?.position
    }

    pub(super) fn unanswered(&self) -> usize {
        self.unanswered.len()
    }
}

/// What the connection does.
impl State {
    pub(super) fn next_event(&mut self) -> Option<ClientEvent> {
        self.events.pop_front()
    }

    pub(super) fn outgoing(&mut self) -> &mut VecDeque<ByteString> {
        &mut self.outgoing
    }

    /// There is a new connection: joins all rooms, then publishes what was not answered.
    pub(super) fn opened(&mut self) {
        self.is_open = true;
        self.outgoing = self.rooms.values().map(Room::request).collect();
        self.outgoing.extend(self.unanswered.iter().map(|unanswered| unanswered.text.clone()));
        self.events.push_back(ClientEvent::Connected);
    }

    pub(super) fn closed(&mut self, closed: Closed) {
        self.is_open = false;
        self.outgoing.clear();
        self.leaving.clear();
        for room in self.rooms.values_mut().filter(|room| room.phase == Phase::In) {
            room.phase = Phase::Out;
        }
        self.events.push_back(ClientEvent::Disconnected(closed));
    }

    pub(super) fn received(&mut self, message: &Message) -> Result<(), Invalid> {
        let text = message.as_text().ok_or(Invalid)?;
        let reply: Reply<'_> = serde_json::from_str(text).map_err(|_| Invalid)?;
        match &*reply.kind {
            "published" => self.published(reply),
            "error" => {
                self.refused(reply);
                Ok(())
            }
            "left" => {
                self.has_left(&reply.room);
                Ok(())
            }
            _ if self.leaving.contains_key(&*reply.room) => Ok(()),
            _ => self.room_event(reply),
        }
    }

    fn published(&mut self, reply: Reply<'_>) -> Result<(), Invalid> {
        let position = position(reply.position.as_deref())?;
        if let Some(unanswered) = self.answered(reply.id) {
            let (room, id) = (unanswered.room.into(), unanswered.id);
            self.events.push_back(ClientEvent::Published { room, id, position });
        }
        Ok(())
    }

    fn refused(&mut self, reply: Reply<'_>) {
        let id = match reply.request.as_deref() {
            Some("publish") => match self.answered(reply.id) {
                Some(unanswered) => Some(unanswered.id),
                None => return,
            },
            Some("join") if self.leaving.contains_key(&*reply.room) => return,
            Some("join") => {
                if self.rooms.remove(&*reply.room).is_none() {
                    return;
                }
                None
            }
            Some("leave") => return self.has_left(&reply.room),
            _ => return,
        };
        self.events.push_back(ClientEvent::Refused {
            room: (&*reply.room).into(),
            id,
            code: reply.code.unwrap_or(RefusalCode::Other),
            message: reply.message.unwrap_or_default(),
            retry_after: reply.retry_after_ms.map(Duration::from_millis),
        });
    }

    fn answered(&mut self, id: Option<u64>) -> Option<Unanswered> {
        let id = PublishId(id?);
        let index = self.unanswered.iter().position(|unanswered| unanswered.id == id)?;
        self.unanswered.remove(index)
    }

    fn has_left(&mut self, room: &str) {
        if let Some(awaited) = self.leaving.get_mut(room) {
            *awaited -= 1;
            if *awaited == 0 {
                self.leaving.remove(room);
            }
        }
    }

    /// An event of a room that the client is in.
    fn room_event(&mut self, reply: Reply<'_>) -> Result<(), Invalid> {
        let name = ByteString::from(&*reply.room);
        let Some(room) = self.rooms.get_mut(&*name) else { return Ok(()) };
        if room.phase != Phase::In && reply.kind != "joined" {
            return Ok(());
        }
        let position = position(reply.position.as_deref())?;
        let count = reply.count.unwrap_or_default();
        let event = match &*reply.kind {
            "joined" => {
                let resumed = room.joined(position, reply.resumed.ok_or(Invalid)?);
                ClientEvent::Joined { room: name, resumed }
            }
            "gap" => {
                room.position = position;
                ClientEvent::Gap { room: name }
            }
            "item" => {
                match room.advance(position) {
                    Advance::Next => {}
                    Advance::Known => return Ok(()),
                    Advance::Gap => {
                        self.events.push_back(ClientEvent::Gap { room: name.clone() });
                    }
                }
                ClientEvent::Item(item(name, position, reply)?)
            }
            "dropped" => {
                let request =
                    Request { kind: "members".into(), room: (&*name).into(), ..Request::default() };
                self.outgoing.push_back(text(&request));
                ClientEvent::Dropped { room: name, count }
            }
            "members" => {
                let members = reply.members.ok_or(Invalid)?;
                let members = members.into_iter().map(RoomMember::new).collect();
                let you = reply.you.ok_or(Invalid)?;
                ClientEvent::Members { room: name, you, count, members }
            }
            "member_joined" => {
                let member = RoomMember::new(reply.member.ok_or(Invalid)?);
                ClientEvent::MemberJoined { room: name, member }
            }
            "member_left" => {
                let member = RoomMember::new(reply.member.ok_or(Invalid)?);
                ClientEvent::MemberLeft { room: name, member }
            }
            "interrupted" => ClientEvent::Interrupted { room: name },
            "restored" => ClientEvent::Restored { room: name },
            // Of a later server.
            _ => return Ok(()),
        };
        self.events.push_back(event);
        Ok(())
    }
}

/// What an item is to the position of its room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Advance {
    Next,
    /// It was received before.
    Known,
    /// It is in another stream, which no gap has announced.
    Gap,
}

impl Room {
    fn request(&self) -> ByteString {
        let JoinRoom { room, last, data, .. } = &self.join;
        text(&Request {
            kind: "join".into(),
            room: room.into(),
            since: self.position.map(|position| position.to_string()),
            // Only a client that was not in the room begins in the past.
            last: last.filter(|_| self.phase == Phase::New),
            data: data.as_deref().and_then(raw),
            ..Request::default()
        })
    }

    fn joined(&mut self, position: Option<Position>, resumed: Resumption) -> Resumed {
        let resumed = match resumed {
            // The client could not name the position that it had.
            Resumption::New if self.phase != Phase::New => Resumed::Gap,
            Resumption::New => Resumed::New,
            Resumption::Complete => Resumed::Complete,
            Resumption::Gap => Resumed::Gap,
        };
        self.phase = Phase::In;
        self.position = position;
        resumed
    }

    fn advance(&mut self, next: Option<Position>) -> Advance {
        let Some(next) = next else { return Advance::Next };
        let advance = match self.position {
            Some(position) if position.epoch != next.epoch => Advance::Gap,
            Some(position) if next.offset <= position.offset => Advance::Known,
            _ => Advance::Next,
        };
        if advance != Advance::Known {
            self.position = Some(next);
        }
        advance
    }
}

impl ClientEvent {
    /// The room that it is about, unless it is the answer to something that was published.
    fn room(&self) -> Option<&str> {
        match self {
            Self::Joined { room, .. }
            | Self::Gap { room }
            | Self::Dropped { room, .. }
            | Self::Members { room, .. }
            | Self::MemberJoined { room, .. }
            | Self::MemberLeft { room, .. }
            | Self::Interrupted { room }
            | Self::Restored { room } => Some(room),
            Self::Item(item) => Some(&item.room),
            _ => None,
        }
    }
}

fn item(
    room: ByteString,
    position: Option<Position>,
    reply: Reply<'_>,
) -> Result<ClientItem, Invalid> {
    let message = match (reply.data, reply.base64) {
        (Some(data), _) => Message::text(data.get()),
        (None, Some(base64)) => {
            Message::Binary(BASE64_STANDARD.decode(base64).map_err(|_| Invalid)?.into())
        }
        // `null` is a value, too.
        (None, None) => Message::text("null"),
    };
    Ok(ClientItem { room, position, sender: reply.from.map(RoomMember::new), message })
}

fn position(text: Option<&str>) -> Result<Option<Position>, Invalid> {
    text.map(str::parse).transpose().map_err(|_| Invalid)
}

fn text(request: &Request<'_>) -> ByteString {
    serde_json::to_string(request).expect("the fields are text, numbers and JSON").into()
}

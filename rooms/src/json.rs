//! Rooms for clients, in JSON: the envelope `rooms.v1+json`, its server, and a client.
//!
//! [`JsonRooms`] serves rooms to clients that join and publish by messages, many rooms over one
//! connection. `RoomsClient`, with the feature `client`, is such a client, which resumes
//! automatically after its connection broke; [`CLIENT_JS`] is the same for browsers.
//!
//! # The envelope
//!
//! Each message is one JSON object, as text. `type` names it. Receivers ignore fields and types that
//! they do not know. The [subprotocol](SUBPROTOCOL) names the version: fields and types are added
//! within it, and none changes its meaning.
//!
//! A room has the name `namespace:room`, such as `chat:lobby`. A position is text that a client only
//! sends back, except that of two positions with the same text before the dot, the number behind it
//! tells which is later.
//!
//! A client sends:
//!
//! | `type` | fields | answer |
//! |---|---|---|
//! | `join` | `room`; `since`, the position of the last message that the client has received; `last`, the number of messages of the history for a client that does not resume; `data`, a value that other members see, at most 4,096 bytes | `joined` and `members`, or `error` |
//! | `leave` | `room` | `left` or `error` |
//! | `publish` | `room`; `data`, a value; `id`, a number that the answer repeats; `key`, the [idempotency key](crate::Publication::idempotency_key), at most 255 bytes; `conflate`, the [conflation key](crate::Publication::conflation_key), likewise | `published` or `error` |
//! | `members` | `room` | `members` or `error` |
//!
//! A server sends:
//!
//! | `type` | fields |
//! |---|---|
//! | `joined` | `room`; `position`, behind which everything follows, absent if it is not known; `resumed`: `new`, `complete` or `gap` |
//! | `members` | `room`; `you`, the id of this membership; `count`, of all members; `members`: each with its `id`, `identity` and `data`, at most [`JsonRooms::MAX_LISTED`] of them, and none in rooms without [presence](crate::RoomConfig::presence) |
//! | `item` | `room`; `position`; `from`, the `id` and `identity` of the member that published it, absent if no member did; `data`, the value, or `base64`, a binary message |
//! | `published` | `room`, `id`, `position` |
//! | `left` | `room` |
//! | `gap` | `room`; `position`, where messages continue: those before it were lost |
//! | `dropped` | `room`; `count` of messages that were dropped since the client read too slowly |
//! | `member_joined`, `member_left` | `room`; `member`, as in `members` |
//! | `interrupted`, `restored` | `room`: other servers cannot be reached, or can be again |
//! | `error` | `request`, the type of what was refused, if known; `room`, `id`, as there; `code`, a [`RefusalCode`]; `message`, for people; `retry_after_ms`, after which the same may succeed |
//!
//! * A server handles what a client sends one after the other. The session stays open after an error.
//! * `joined` comes before any `item` of the room, and `members` is in order with `member_joined` and
//!   `member_left`. What comes for a room between `leave` and `left` or before `joined` is from an
//!   earlier membership: ignore it.
//! * A client that resumes joins with the position of the last `item`, `joined` or `gap`, whichever
//!   came last. After `joined` with `complete` it receives every message behind that, in order and
//!   once; after `gap` it needs the state of the room from elsewhere.
//! * A client that did not receive the answer to a `publish` sends it again with the same `key`, once
//!   it is in the room again.
//!
//! ```json
//! → {"type":"join","room":"chat:lobby","since":"c0ffee.41"}
//! ← {"type":"joined","room":"chat:lobby","position":"c0ffee.41","resumed":"complete"}
//! ← {"type":"item","room":"chat:lobby","position":"c0ffee.42","from":{"id":"5eed.3","identity":"bob"},"data":"hello"}
//! ← {"type":"members","room":"chat:lobby","you":"5eed.7","count":1,"members":[{"id":"5eed.7","identity":"ada"}]}
//! → {"type":"publish","room":"chat:lobby","id":1,"key":"8f1c-1","data":"hi"}
//! ← {"type":"item","room":"chat:lobby","position":"c0ffee.43","from":{"id":"5eed.7","identity":"ada"},"data":"hi"}
//! ← {"type":"published","room":"chat:lobby","id":1,"position":"c0ffee.43"}
//! ```

#[cfg(feature = "client")]
mod client;
mod envelope;
mod server;
mod wire;

#[cfg(feature = "client")]
pub use client::{
    ClientEvent, ClientItem, JoinRoom, PublishId, QueueError, RoomMember, RoomsClient,
};
pub use envelope::Json;
pub use server::JsonRooms;
pub use wire::RefusalCode;

/// The subprotocol of the envelope. Serve it with
/// [`protocol`](https://docs.rs/sockless/latest/sockless/struct.WebSocketRoute.html#method.protocol),
/// and offer it in clients.
pub const SUBPROTOCOL: &str = "rooms.v1+json";

/// The client for browsers: a module of JavaScript without dependencies, whose class `RoomsClient`
/// does what the client in Rust does. Serve it, or copy `rooms/js/rooms.js`.
pub const CLIENT_JS: &str = include_str!("../js/rooms.js");

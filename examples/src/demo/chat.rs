//! The chat: rooms by name, within the process or over a broker.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use serde_json::Value;
use sockless::rooms::json::{CLIENT_JS, JsonRooms, SUBPROTOCOL};
use sockless::rooms::{Action, Attempt, Denied, History, Publication, RoomConfig, Rooms};
use sockless::smol::SmolRuntime;
use sockless::{Request, WebSocketRoute, websocket};

use crate::options::Failure;

/// The longest name and the longest line, in characters.
const MAX_NAME: usize = 32;
const MAX_LINE: usize = 2000;

/// The connection of the rooms of several servers.
#[derive(Clone, Debug)]
pub(crate) enum Bus {
    Redis(String),
    Nats(String),
}

impl FromStr for Bus {
    type Err = UnknownBus;

    fn from_str(url: &str) -> Result<Self, UnknownBus> {
        match url.split_once("://").map(|(scheme, _)| scheme) {
            Some("redis") => Ok(Self::Redis(url.to_owned())),
            Some("nats") => Ok(Self::Nats(url.to_owned())),
            _ => Err(UnknownBus),
        }
    }
}

/// The error of a URL that is not that of a broker.
#[derive(Debug)]
pub(crate) struct UnknownBus;

impl fmt::Display for UnknownBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected redis://HOST:PORT or nats://HOST:PORT")
    }
}

impl std::error::Error for UnknownBus {}

/// The rooms of this process, or those of all servers on `bus`.
///
/// They run on smol, whose executor is the same for all threads: sessions of any runtime and of each
/// shard share them.
pub(crate) fn rooms(bus: Option<&Bus>) -> Result<Rooms, Failure> {
    let failed = |url: &str, error: &dyn fmt::Display| {
        Failure::new(format_args!("--bus: {}", url.escape_debug()), error)
    };
    match bus {
        None => Ok(Rooms::local(SmolRuntime)),
        Some(Bus::Redis(url)) => {
            Rooms::redis(url, SmolRuntime).map_err(|error| failed(url, &error))
        }
        Some(Bus::Nats(url)) => Rooms::nats(url, SmolRuntime).map_err(|error| failed(url, &error)),
    }
}

/// The chat for clients that speak `rooms.v1+json`.
pub(crate) fn route(rooms: Rooms) -> WebSocketRoute {
    let chat = RoomConfig::default()
        .history(History::last(100))
        .presence()
        .publish_rate(50, Duration::from_secs(10))
        .authorize(check_line);
    // Who is typing now is not worth a history.
    let typing =
        RoomConfig::default().publish_rate(50, Duration::from_secs(10)).max_message_len(100);
    let rooms = JsonRooms::new(rooms)
        .namespace("chat", chat)
        .namespace("typing", typing)
        .max_rooms(20)
        .identify(|request| Some(name_of(request).into()));
    websocket(move |session| rooms.clone().serve(session)).protocol(SUBPROTOCOL)
}

/// The client's half, which the page imports.
pub(crate) fn client() -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(CLIENT_JS.as_bytes()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/javascript; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// The name that a client asks for. Others may have the same.
fn name_of(request: &Request) -> String {
    let wanted = request.query_param("name").unwrap_or_default();
    let printable = wanted.chars().filter(|character| !character.is_control());
    let wanted: String = printable.take(MAX_NAME).collect();
    match wanted.trim() {
        "" => "Guest".to_owned(),
        name => name.to_owned(),
    }
}

/// Lines are strings. One that is too long is refused: a part of it is not what was written.
fn check_line(attempt: &Attempt<'_>) -> Result<(), Denied> {
    let Action::Publish(publication) = attempt.action else { return Ok(()) };
    let line = line_of(publication).ok_or_else(|| Denied::new("the chat takes text only"))?;
    match line.chars().count() {
        0..=MAX_LINE => Ok(()),
        len => Err(Denied::new(format!(
            "the message has {len} characters, and the chat takes {MAX_LINE} at most"
        ))),
    }
}

fn line_of(publication: &Publication) -> Option<String> {
    match serde_json::from_str(publication.message().as_text()?).ok()? {
        Value::String(line) => Some(line),
        _ => None,
    }
}

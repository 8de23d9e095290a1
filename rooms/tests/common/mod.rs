//! An envelope that shows everything that a member receives, and a server of rooms.
#![allow(dead_code, reason = "each test uses a part")]

pub(crate) mod suite;

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use sockless::rooms::{Envelope, Lag, Namespace, Position, Resumed, RoomEvent};
use sockless::sim::{App, Conversation};
use sockless::{BoxError, Message, OutgoingMessage, Router, Session, websocket};

/// One line for each event, such as `message 2 hello`, with the offset of its position.
pub(crate) struct Lines;

impl Envelope for Lines {
    fn encode(&self, _room: &str, event: &RoomEvent) -> Option<OutgoingMessage> {
        let at = |position: &Option<Position>| match position {
            Some(position) => position.to_string(),
            None => "?".to_owned(),
        };
        let line = match event {
            RoomEvent::Message(item) => {
                let text = item.publication.message().as_text().unwrap_or("binary");
                format!("message {} {text}", at(&item.position))
            }
            RoomEvent::Welcome(welcome) => {
                let how = match welcome.resumed {
                    Resumed::New => "new",
                    Resumed::Complete => "complete",
                    _ => "gap",
                };
                format!("welcome {} {how}", at(&welcome.position))
            }
            RoomEvent::Gap { position } => format!("gap {}", at(position)),
            RoomEvent::Dropped { count } => format!("dropped {count}"),
            other => format!("{other:?}").to_lowercase(),
        };
        Some(line.into())
    }
}

/// A handler for `/{room}?since=&last=&identity=&lag=`, which publishes what it receives. A message such
/// as `others: hello` goes to all others, `ada: hello` to a member.
pub(crate) fn router(rooms: &Namespace) -> Router {
    let rooms = rooms.clone();
    let handler = websocket(move |session| serve(session, rooms.clone()));
    Router::new().route("/{room}", handler)
}

async fn serve(mut session: Session, rooms: Namespace) -> Result<(), BoxError> {
    let request = session.request();
    let room = request.param_str("room").unwrap_or_default().to_owned();
    let since = request.query_param("since").map(|text| text.parse::<Position>()).transpose()?;
    let identity = request.query_param("identity").map(|identity| identity.into_owned());
    let last = request.query_param("last").map(|last| last.parse()).transpose()?;
    let lag = request.query_param("lag").map(|lag| lag_of(&lag));
    let mut join = rooms.join(&session, &room).resume(since);
    if let Some(last) = last {
        join = join.last(last);
    }
    if let Some(identity) = identity {
        join = join.identity(identity);
    }
    if let Some(lag) = lag {
        join = join.lag(lag);
    }
    let member = join.await?;
    loop {
        let message = session.recv().await?;
        let text = message.as_text().unwrap_or_default();
        let publication = match text.split_once(": ") {
            Some(("others", text)) => {
                sockless::rooms::Publication::new(text.to_owned()).excluding_sender()
            }
            Some((to, text)) => {
                sockless::rooms::Publication::new(text.to_owned()).only_to(to.to_owned())
            }
            None => message.into(),
        };
        member.publish(publication).await?;
    }
}

pub(crate) const LAG: usize = 20_000;
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(5);

fn lag_of(name: &str) -> Lag {
    match name {
        "drop" => Lag::DropOldest { max_bytes: LAG },
        "conflate" => Lag::Conflate { max_bytes: LAG },
        "wait" => Lag::Wait { max_bytes: LAG, max_wait: MAX_WAIT },
        _ => Lag::Close { max_bytes: LAG },
    }
}

/// A client in a room.
pub(crate) trait Client {
    async fn recv(&mut self) -> Message;
}

impl Client for Conversation {
    async fn recv(&mut self) -> Message {
        Self::recv(self).await
    }
}

impl suite::Host for App {
    type Client = Conversation;

    async fn open(&self, path: &str) -> Conversation {
        Self::open(self, path).await
    }
}

/// Receives an event as words.
pub(crate) async fn words(client: &mut impl Client) -> Vec<String> {
    let message = client.recv().await;
    let text = message.as_text().expect("a line");
    text.split(' ').map(str::to_owned).collect()
}

/// Receives the welcome. Returns the position and how the member joined.
pub(crate) async fn welcome(client: &mut impl Client) -> (String, String) {
    let words = words(client).await;
    assert_eq!(words[0], "welcome", "{words:?}");
    (words[1].clone(), words[2].clone())
}

/// Receives a message with this text. Returns its position.
pub(crate) async fn expect_message(client: &mut impl Client, text: &str) -> String {
    let words = words(client).await;
    assert_eq!((&*words[0], &*words[2]), ("message", text), "{words:?}");
    words[1].clone()
}

/// The output of `future`, unless `timer` ends first.
pub(crate) async fn within<T>(timer: impl Future, future: impl Future<Output = T>) -> Option<T> {
    let (mut timer, mut future) = (pin!(timer), pin!(future));
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => timer.as_mut().poll(cx).map(|_| None),
    })
    .await
}

//! A client of the envelope that resumes: [`RoomsClient`].

mod event;
mod join;
mod state;

use std::collections::VecDeque;
use std::fmt;
use std::future::{pending, poll_fn};
use std::pin::pin;
use std::task::Poll;

use bytestring::ByteString;
use serde::Serialize;
use sockless_core::{CloseCode, Closed, Message};
use sockless_driver::{Reconnect, ReconnectError, Runtime, Session};

use crate::position::Position;
use state::State;

pub use event::{ClientEvent, ClientItem, PublishId, RoomMember};
pub use join::{JoinRoom, QueueError};

/// A client of [`JsonRooms`](super::JsonRooms) that connects and joins again whenever its connection
/// breaks, to whichever server answers, and goes on where it was. Feature `client`.
///
/// In a room with a [history](crate::History), each message is delivered in order and once, or
/// [`Joined`](ClientEvent::Joined) or [`Gap`](ClientEvent::Gap) reports that some were lost. What it
/// publishes is sent again until the server has answered, under an idempotency key, so that it is in
/// the room once: for as long as the room remembers keys, see
/// [`Publication::idempotency_key`](crate::Publication::idempotency_key).
///
/// It runs while [`next`](Self::next) is awaited; everything else returns at once, and is sent then.
///
/// ```no_run
/// use sockless::rooms::json::{ClientEvent, JoinRoom, RoomsClient, SUBPROTOCOL};
/// use sockless::tokio::TokioRuntime;
/// use sockless::{BoxError, Reconnect};
///
/// # async fn example() -> Result<(), BoxError> {
/// let server = || sockless::connect("wss://example.com/rooms").subprotocol(SUBPROTOCOL);
/// let mut client = RoomsClient::new(Reconnect::new(server), TokioRuntime);
/// client.join(JoinRoom::new("chat:lobby").last(20));
/// client.publish("chat:lobby", "hello")?;
/// loop {
///     match client.next().await? {
///         ClientEvent::Item(item) => println!("{}", item.parse::<String>()?),
///         event if event.is_gap() => println!("messages were lost: load everything"),
///         _ => {}
///     }
/// }
/// # }
/// ```
pub struct RoomsClient {
    reconnect: Reconnect,
    session: Option<Session>,
    state: State,
}

impl RoomsClient {
    /// Returns a client that connects as `reconnect` does; its connections must offer the
    /// [subprotocol](super::SUBPROTOCOL) where the server's route has it. The idempotency keys are
    /// drawn from `runtime`, such as `TokioRuntime`.
    pub fn new(reconnect: Reconnect, runtime: impl Runtime) -> Self {
        let seed = runtime.seed();
        let keys = seed.as_bytes()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        Self { reconnect, session: None, state: State::new(keys) }
    }

    /// Sets how many messages that were published may be unanswered, also while there is no
    /// connection; at least 1. Default: 1,000.
    #[must_use]
    pub fn max_unanswered(mut self, messages: usize) -> Self {
        self.state.set_max_unanswered(messages.max(1));
        self
    }

    /// Joins a room, now and after each reconnect, until it is [left](Self::leave) or the server
    /// refuses it. Joining a room again that the client is in has no effect.
    pub fn join(&mut self, room: impl Into<JoinRoom>) {
        self.state.join(room.into());
    }

    /// Leaves a room. No event of it follows.
    pub fn leave(&mut self, room: &str) {
        self.state.leave(room);
    }

    /// Publishes a value in a room. [`ClientEvent::Published`] or [`ClientEvent::Refused`] with the
    /// returned id follows.
    ///
    /// # Errors
    ///
    /// [`QueueError`] if the client has not joined the room, too many messages are unanswered, or the
    /// value cannot be written as JSON.
    pub fn publish(&mut self, room: &str, value: impl Serialize) -> Result<PublishId, QueueError> {
        self.state.publish(room, None, &serde_json::to_string(&value)?)
    }

    /// Publishes a value under an [idempotency key](crate::Publication::idempotency_key) of one's own,
    /// at most 255 bytes long. It should be hard to guess: another member could use it first.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish).
    pub fn publish_once(
        &mut self,
        room: &str,
        key: &str,
        value: impl Serialize,
    ) -> Result<PublishId, QueueError> {
        self.state.publish(room, Some(key), &serde_json::to_string(&value)?)
    }

    /// Returns the position in a room up to which everything was delivered, for
    /// [`JoinRoom::since`] in another process. `None` if it is not known.
    pub fn position(&self, room: &str) -> Option<Position> {
        self.state.position(room)
    }

    /// Returns the number of messages that were published and are not answered yet.
    pub fn unanswered(&self) -> usize {
        self.state.unanswered()
    }

    /// Returns the next event. Connects if there is no connection.
    ///
    /// Cancel-safe: dropping the future loses no event and nothing that was published.
    ///
    /// # Errors
    ///
    /// The error of [`Reconnect::next`], which then makes no further attempt. So it is by default
    /// after a server has sent something that is not of the envelope, which closes the session with
    /// 1002, and after [`Namespace::disconnect`](crate::Namespace::disconnect) with 1008.
    pub async fn next(&mut self) -> Result<ClientEvent, ReconnectError> {
        loop {
            if let Some(event) = self.state.next_event() {
                return Ok(event);
            }
            let Some(session) = &mut self.session else {
                let session = self.reconnect.next().await?;
                self.session = Some(session);
                self.state.opened();
                continue;
            };
            match exchange(session, self.state.outgoing()).await {
                Ok(message) => {
                    if self.state.received(&message).is_err() {
                        session.close((CloseCode::PROTOCOL_ERROR, "not of the envelope"));
                    }
                }
                Err(closed) => {
                    self.session = None;
                    self.state.closed(closed);
                }
            }
        }
    }
}

impl fmt::Debug for RoomsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoomsClient")
            .field("reconnect", &self.reconnect)
            .field("is_open", &self.session.is_some())
            .field("unanswered", &self.unanswered())
            .finish_non_exhaustive()
    }
}

/// Sends what waits, until something is received.
async fn exchange(
    session: &mut Session,
    outgoing: &mut VecDeque<ByteString>,
) -> Result<Message, Closed> {
    let (sender, receiver) = session.halves();
    let mut sending = pin!(async {
        while let Some(text) = outgoing.front() {
            // The end is reported by what is received.
            if sender.send(text.clone()).await.is_err() {
                break;
            }
            outgoing.pop_front();
        }
        pending::<()>().await;
    });
    let mut receiving = pin!(receiver.recv());
    poll_fn(|cx| {
        let _: Poll<()> = sending.as_mut().poll(cx);
        receiving.as_mut().poll(cx)
    })
    .await
}

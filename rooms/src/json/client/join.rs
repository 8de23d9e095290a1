//! What a client asks for: [`JoinRoom`], and why it is not: [`QueueError`].

use serde::Serialize;
use thiserror::Error;

use crate::position::Position;

/// A room to join, for [`RoomsClient::join`](super::RoomsClient::join).
///
/// ```
/// use sockless::rooms::json::JoinRoom;
///
/// let with_history = JoinRoom::new("chat:lobby").last(20);
/// let resumed = JoinRoom::new("chat:lobby").since("c0ffee.42".parse().ok());
/// # drop((with_history, resumed));
/// ```
#[derive(Clone, Debug)]
pub struct JoinRoom {
    pub(super) room: String,
    pub(super) since: Option<Position>,
    pub(super) last: Option<u64>,
    pub(super) data: Option<String>,
}

impl JoinRoom {
    /// Joins the room with this name, such as `chat:lobby`.
    pub fn new(room: impl Into<String>) -> Self {
        Self { room: room.into(), since: None, last: None, data: None }
    }

    /// Begins behind this position, which [`RoomsClient::position`](super::RoomsClient::position) of an earlier client has returned.
    #[must_use]
    pub fn since(mut self, position: impl Into<Option<Position>>) -> Self {
        self.since = position.into();
        self
    }

    /// Begins with the last `count` messages of the history, unless there is a position to begin
    /// behind.
    #[must_use]
    pub fn last(mut self, count: u64) -> Self {
        self.last = Some(count);
        self
    }

    /// Sets data about the member, which others see in rooms with presence.
    ///
    /// # Errors
    ///
    /// [`QueueError::Json`] if the value cannot be written as JSON.
    pub fn data(mut self, value: impl Serialize) -> Result<Self, QueueError> {
        self.data = Some(serde_json::to_string(&value)?);
        Ok(self)
    }
}

impl From<&str> for JoinRoom {
    fn from(room: &str) -> Self {
        Self::new(room)
    }
}

/// The reason why a client does not publish something.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum QueueError {
    /// The client has not joined the room.
    #[error("the client has not joined the room: call RoomsClient::join first")]
    NotJoined,
    /// Too many messages are unanswered.
    #[error("{limit} messages are unanswered, as many as may be (RoomsClient::max_unanswered)")]
    Full {
        /// The limit.
        limit: usize,
    },
    /// The value cannot be written as JSON.
    #[error("the value cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

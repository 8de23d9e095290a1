//! Sends every message to all who are connected.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sockless::{Broadcast, CloseCode, CloseReason, Sender, Session};

/// The sessions that are open.
#[derive(Default)]
pub(crate) struct Room {
    members: Mutex<Members>,
}

#[derive(Default)]
struct Members {
    last: u64,
    senders: BTreeMap<u64, Sender>,
}

impl Room {
    pub(crate) async fn serve(self: Arc<Self>, mut session: Session) {
        let member = Member::join(&self, &session);
        while let Ok(message) = session.recv().await {
            member.room.broadcast(&Broadcast::new(message));
        }
    }

    fn broadcast(&self, message: &Broadcast) {
        self.members().senders.retain(|_, sender| {
            let sent = sender.try_send(message).is_ok();
            if !sent {
                // Its queue is full, or its session has ended.
                let reason = "does not keep up with the chat";
                sender.close(CloseReason::new(CloseCode::TRY_AGAIN_LATER, reason));
            }
            sent
        });
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A member, who leaves when it is dropped.
struct Member<'a> {
    room: &'a Room,
    id: u64,
}

impl<'a> Member<'a> {
    fn join(room: &'a Room, session: &Session) -> Self {
        let mut members = room.members();
        members.last += 1;
        let id = members.last;
        members.senders.insert(id, session.sender());
        Self { room, id }
    }
}

impl Drop for Member<'_> {
    fn drop(&mut self) {
        self.room.members().senders.remove(&self.id);
    }
}

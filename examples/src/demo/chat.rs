//! The chat room: its members, and the messages that they receive.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use sockless::{Broadcast, CloseCode, Closed, Sender, Session};

/// The longest name and the longest line, in characters.
const MAX_NAME: usize = 32;
const MAX_LINE: usize = 2000;

/// A room in which each message reaches every member.
#[derive(Default)]
pub(crate) struct Room {
    members: Mutex<BTreeMap<String, Sender>>,
}

impl Room {
    /// Lets a session into the room until it ends.
    pub(crate) async fn serve(self: Arc<Self>, mut session: Session) -> Result<(), Closed> {
        let wanted = session.request().query_param("name").unwrap_or_default().into_owned();
        let membership = self.join(&wanted, session.sender());
        loop {
            let message = session.recv().await?;
            let Some(line) = message.as_text() else {
                session.close((CloseCode::UNSUPPORTED_DATA, "the chat takes text only"));
                continue;
            };
            let len = line.chars().count();
            if len > MAX_LINE {
                // A part of it is not what the member wrote.
                let refused = json!({ "type": "refused", "len": len, "max": MAX_LINE });
                send_to(&membership.sender, &encode(&refused));
            } else if !line.trim().is_empty() {
                let name = &membership.name;
                self.tell(&json!({ "type": "message", "from": name, "text": line }));
            }
        }
    }

    /// Adds a member under a name that no other member has.
    fn join(self: &Arc<Self>, wanted: &str, sender: Sender) -> Membership {
        let name = {
            let mut members = self.lock();
            let name = free_name(wanted, &members);
            members.insert(name.clone(), sender.clone());
            let welcome = json!({ "type": "welcome", "you": name, "online": online(&members) });
            send_to(&sender, &encode(&welcome));
            name
        };
        self.tell_others(&name, "join");
        Membership { room: self.clone(), name, sender }
    }

    fn leave(&self, name: &str) {
        self.lock().remove(name);
        self.tell_others(name, "leave");
    }

    fn tell_others(&self, name: &str, what: &str) {
        let members = self.lock();
        let news = encode(&json!({ "type": what, "name": name, "online": online(&members) }));
        for (member, sender) in members.iter() {
            if member != name {
                send_to(sender, &news);
            }
        }
    }

    fn tell(&self, news: &Value) {
        let news = encode(news);
        for sender in self.lock().values() {
            send_to(sender, &news);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Sender>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A member's place in the room, freed when its session ends.
struct Membership {
    room: Arc<Room>,
    name: String,
    sender: Sender,
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.room.leave(&self.name);
    }
}

/// The room does not wait for a slow reader: a member that falls behind is removed, and may join again.
fn send_to(sender: &Sender, news: &Broadcast) {
    if sender.try_send(news).is_err() {
        sender.close((CloseCode::TRY_AGAIN_LATER, "you have fallen behind"));
    }
}

/// Encoded and compressed once; the members share the bytes.
fn encode(news: &Value) -> Broadcast {
    Broadcast::new(news.to_string())
}

fn online(members: &BTreeMap<String, Sender>) -> Vec<&String> {
    members.keys().collect()
}

/// The name that was asked for, with a number behind it when it is taken.
fn free_name(wanted: &str, members: &BTreeMap<String, Sender>) -> String {
    let printable = wanted.chars().filter(|character| !character.is_control());
    let wanted: String = printable.take(MAX_NAME).collect();
    let wanted = match wanted.trim() {
        "" => "Guest",
        name => name,
    };
    let numbered = (2..).map(|number| format!("{wanted} {number}"));
    std::iter::once(wanted.to_owned())
        .chain(numbered)
        .find(|name| !members.contains_key(name))
        .unwrap_or_default()
}

//! The memory that rooms take, counted: of a membership, of a room, and of nothing.
//!
//! The counts are of the whole process, so this program has no harness and one case.

use std::alloc::System;
use std::sync::atomic::{AtomicIsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use sockless::rooms::{Member, Namespace, RoomConfig, Rooms};
use sockless::sim::{Conversation, Sim};
use sockless::{Router, Session, websocket};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static COUNTS: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn held() -> isize {
    let stats = COUNTS.stats();
    stats.bytes_allocated as isize - stats.bytes_deallocated as isize
}

/// The memory that joining has taken.
static TAKEN: AtomicIsize = AtomicIsize::new(0);

/// The members of the sessions, in memory that is reserved beforehand.
type Members = Arc<Mutex<Vec<Member>>>;

const SESSIONS: usize = 100;
const ROOMS: usize = 1000;

fn main() {
    let sim = Sim::new(1);
    sim.run(async {
        let rooms = Rooms::local(sim.clone());
        let chat = rooms.namespace("chat", RoomConfig::default());
        let members = Members::default();
        members.lock().unwrap().reserve(SESSIONS * (1 + ROOMS));
        let handler = {
            let (chat, members) = (chat.clone(), members.clone());
            websocket(move |session| serve(session, chat.clone(), members.clone()))
        };
        let app = sim.app(Router::new().route("/", handler));
        let mut clients: Vec<Conversation> = Vec::new();
        for _ in 0..SESSIONS {
            clients.push(app.open("/").await);
        }
        ask(&mut clients, "warm-up").await;
        members.lock().unwrap().clear();

        TAKEN.store(0, Relaxed);
        ask(&mut clients, "one room").await;
        let taken = TAKEN.load(Relaxed);
        let seat = taken / SESSIONS as isize;
        let membership = seat + size_of::<Member>() as isize;
        println!("a membership in a room of {SESSIONS}, with its handle: {membership} bytes");
        assert!(membership <= 64, "{membership}");
        assert_freed(&members, taken);

        TAKEN.store(0, Relaxed);
        ask(&mut clients[..1], "many rooms").await;
        let taken = TAKEN.load(Relaxed);
        // With its name and the stream that the local bus keeps for it.
        let room = taken / ROOMS as isize - seat;
        println!("a room, beside its membership: {room} bytes");
        assert!(room <= 256, "{room}");
        assert_eq!(rooms.stats().rooms, ROOMS);
        assert_freed(&members, taken);
        assert_eq!(rooms.stats().rooms, 0);
    });
    println!("memory: ok");
}

/// Nothing is left of rooms without members.
fn assert_freed(members: &Members, taken: isize) {
    let before = held();
    members.lock().unwrap().clear();
    let left = taken - (before - held());
    assert!(left.abs() < 1024, "{left} bytes of {taken} are left");
}

async fn ask(clients: &mut [Conversation], what: &str) {
    for client in clients {
        client.send(what.to_owned()).await;
        client.expect("done").await;
    }
}

async fn serve(mut session: Session, chat: Namespace, members: Members) {
    while let Ok(message) = session.recv().await {
        let count = if message.as_text() == Some("many rooms") { ROOMS } else { 1 };
        let before = held();
        for number in 0..count {
            let member = chat.join(&session, &format!("{number:04}")).await.unwrap();
            members.lock().unwrap().push(member);
        }
        TAKEN.fetch_add(held() - before, Relaxed);
        if session.send("done").await.is_err() {
            return;
        }
    }
}

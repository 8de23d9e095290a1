//! Servers of rooms over a broker, and clients of theirs.

use std::net::SocketAddr;
use std::time::Duration;

use sockless::rooms::Rooms;
use sockless::{Connect, Message, Session};

use crate::common::Client;
use crate::common::suite::{self, check_released};

/// The longest wait for anything.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// The extent of a campaign.
#[derive(Clone, Copy)]
pub(crate) struct Scale {
    pub(crate) kills: u32,
    pub(crate) members: usize,
}

impl Scale {
    /// What `ROOMS_KILLS` and `ROOMS_MEMBERS` state. Without them, numbers that are enough to see faults, and soon
    /// over.
    pub(crate) fn from_env() -> Self {
        let number = |name: &str, usual| {
            let text = std::env::var(name).ok();
            text.map_or(usual, |text| {
                text.parse().unwrap_or_else(|_| panic!("{name} is no number"))
            })
        };
        Self { kills: number("ROOMS_KILLS", 6), members: number("ROOMS_MEMBERS", 40) as usize }
    }
}

/// Waits until the rooms are connected and have no members.
pub(crate) async fn connected<F: Future>(rooms: &[Rooms], pause: impl Fn() -> F) {
    let begun = std::time::Instant::now();
    while rooms.iter().any(|rooms| rooms.is_bus_down() || rooms.stats().members > 0) {
        assert!(begun.elapsed() < LIMIT, "not connected, or members are left");
        pause().await;
    }
    rooms.iter().for_each(check_released);
}

/// A server that is reached by TCP.
pub(crate) struct Served {
    pub(crate) addr: SocketAddr,
    pub(crate) connect: fn(&str) -> Connect,
}

impl suite::Host for Served {
    type Client = Reader;

    async fn open(&self, path: &str) -> Reader {
        let connect = (self.connect)(&format!("ws://{}{path}", self.addr));
        Reader(connect.await.expect("an open session"))
    }
}

pub(crate) struct Reader(pub(crate) Session);

impl Client for Reader {
    async fn recv(&mut self) -> Message {
        self.0.recv().await.expect("a message")
    }
}

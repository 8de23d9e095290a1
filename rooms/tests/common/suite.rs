//! The guarantees of rooms, over any bus and any transport.

use sockless::rooms::{History, Namespace, Publication, RoomConfig, Rooms};

use super::{Client, Lines, expect_message, welcome, words};

/// The way to the sessions of a server.
pub(crate) trait Host {
    type Client: Client;

    async fn open(&self, path: &str) -> Self::Client;
}

/// The settings that the suite expects.
pub(crate) fn config() -> RoomConfig {
    RoomConfig::default().envelope(Lines).history(History::last(5))
}

/// Publishes by one server to members of another, or of the same; both are connected to the bus.
pub(crate) async fn conforms(chat: &Namespace, host: &impl Host) {
    order_and_positions(chat, host).await;
    resuming(chat, host).await;
    idempotency(chat, host).await;
    names(chat, host).await;
}

pub(crate) fn check_released(rooms: &Rooms) {
    assert_eq!((rooms.stats().rooms, rooms.stats().members), (0, 0), "nothing is held");
}

/// Offsets count from 1, and each server reports them in order.
async fn order_and_positions(chat: &Namespace, host: &impl Host) {
    let mut client = host.open("/order").await;
    assert!(welcome(&mut client).await.0.ends_with(".0"));
    for number in 1..=20 {
        let position = chat.publish("order", format!("{number}")).await.unwrap().unwrap();
        assert_eq!(position.offset, number);
        let words = words(&mut client).await;
        assert_eq!(words, ["message".to_owned(), position.to_string(), number.to_string()]);
    }
}

/// The history has the last messages, on every server, also without members.
async fn resuming(chat: &Namespace, host: &impl Host) {
    let mut positions = Vec::new();
    for number in 0..9 {
        let position = chat.publish("resume", format!("{number}")).await.unwrap().unwrap();
        positions.push(position);
    }
    for (at, position) in positions.iter().enumerate() {
        let mut client = host.open(&format!("/resume?since={position}")).await;
        if at + 1 + 5 < positions.len() {
            assert_eq!(welcome(&mut client).await.1, "gap");
            continue;
        }
        let expected = (position.to_string(), "complete".to_owned());
        assert_eq!(welcome(&mut client).await, expected);
        for number in at + 1..9 {
            expect_message(&mut client, &format!("{number}")).await;
        }
    }
    let (epoch, top) = (positions[8].epoch.0, positions[8].offset);
    for (epoch, offset) in [(epoch, top + 1), (epoch, u64::MAX), (epoch ^ 1, top), (0, 0)] {
        let mut client = host.open(&format!("/resume?since={epoch:x}.{offset}")).await;
        assert_eq!(welcome(&mut client).await.1, "gap", "{epoch:x}.{offset}");
    }
}

async fn idempotency(chat: &Namespace, host: &impl Host) {
    let mut client = host.open("/once").await;
    welcome(&mut client).await;
    let once = || Publication::new("once").idempotency_key("key");
    let position = chat.publish("once", once()).await.unwrap();
    assert_eq!(chat.publish("once", once()).await.unwrap(), position);
    chat.publish("once", "next").await.unwrap();
    expect_message(&mut client, "once").await;
    expect_message(&mut client, "next").await;
}

/// Rooms with odd names are rooms of their own.
async fn names(chat: &Namespace, host: &impl Host) {
    let mut client = host.open("/a%20%F0%9F%8F%A0:*").await;
    welcome(&mut client).await;
    chat.publish("a", "not here").await.unwrap();
    chat.publish("a 🏠:", "nor here").await.unwrap();
    chat.publish("a 🏠:*", "here").await.unwrap();
    expect_message(&mut client, "here").await;
}

//! The suite that every bus passes: what is promised of rooms, over each of them.
//!
//! A bus of one's own is tested the same way: call [`conforms`] with its servers.

mod common;

use std::time::Duration;

use common::{Lines, expect_message, router, welcome, words};
use sockless::rooms::{History, Namespace, Publication, RoomConfig, Rooms, SimBroker};
use sockless::sim::{App, Sim};

#[test]
fn the_local_bus_conforms() {
    Sim::check(0..20, |sim| async move {
        conforms(&sim, vec![Rooms::local(sim.clone())]).await;
    });
}

#[test]
fn the_simulated_broker_conforms() {
    Sim::check(0..20, |sim| async move {
        let broker = SimBroker::new(sim.clone());
        let servers = (0..3).map(|_| Rooms::with_bus(broker.connect(), sim.clone())).collect();
        conforms(&sim, servers).await;
    });
}

#[test]
fn the_simulated_broker_conforms_when_it_is_slow_and_loses_items() {
    Sim::check(0..20, |sim| async move {
        let broker = SimBroker::new(sim.clone());
        broker.set_delay(Duration::ZERO..Duration::from_millis(300));
        broker.set_faults_per_thousand(200, 200);
        let servers = (0..2).map(|_| Rooms::with_bus(broker.connect(), sim.clone())).collect();
        conforms(&sim, servers).await;
    });
}

/// Servers that share one bus.
async fn conforms(sim: &Sim, servers: Vec<Rooms>) {
    let config = RoomConfig::default().envelope(Lines).history(History::last(5));
    let servers: Vec<_> = servers
        .into_iter()
        .map(|rooms| {
            let chat = rooms.namespace("chat", config.clone());
            let app = sim.app(router(&chat)).patience(Duration::from_secs(120));
            (rooms, chat, app)
        })
        .collect();
    // Until they are connected.
    sim.sleep(Duration::from_secs(3)).await;
    let last = servers.len() - 1;
    let (first, last) = (&servers[0], &servers[last]);
    order_and_positions(&first.1, &last.2).await;
    resuming(&first.1, &last.2).await;
    idempotency(&first.1, &last.2).await;
    names(&first.1, &last.2).await;
    sim.sleep(Duration::from_secs(1)).await;
    for (rooms, ..) in &servers {
        assert_eq!((rooms.stats().rooms, rooms.stats().members), (0, 0), "nothing is held");
    }
}

/// Offsets count from 1, and each server reports them in order.
async fn order_and_positions(chat: &Namespace, app: &App) {
    let mut client = app.open("/order").await;
    assert!(welcome(&mut client).await.0.ends_with(".0"));
    for number in 1..=20 {
        let position = chat.publish("order", format!("{number}")).await.unwrap().unwrap();
        assert_eq!(position.offset, number);
        let words = words(&mut client).await;
        assert_eq!(words, ["message".to_owned(), position.to_string(), number.to_string()]);
    }
}

/// The history has the last messages, on every server, also without members.
async fn resuming(chat: &Namespace, app: &App) {
    let mut positions = Vec::new();
    for number in 0..9 {
        let position = chat.publish("resume", format!("{number}")).await.unwrap().unwrap();
        positions.push(position);
    }
    for (at, position) in positions.iter().enumerate() {
        let mut client = app.open(&format!("/resume?since={position}")).await;
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
        let mut client = app.open(&format!("/resume?since={epoch:x}.{offset}")).await;
        assert_eq!(welcome(&mut client).await.1, "gap", "{epoch:x}.{offset}");
    }
}

async fn idempotency(chat: &Namespace, app: &App) {
    let mut client = app.open("/once").await;
    welcome(&mut client).await;
    let once = || Publication::new("once").idempotency_key("key");
    let position = chat.publish("once", once()).await.unwrap();
    assert_eq!(chat.publish("once", once()).await.unwrap(), position);
    chat.publish("once", "next").await.unwrap();
    expect_message(&mut client, "once").await;
    expect_message(&mut client, "next").await;
}

/// Rooms with odd names are rooms of their own.
async fn names(chat: &Namespace, app: &App) {
    let mut client = app.open("/a%20%F0%9F%8F%A0:*").await;
    welcome(&mut client).await;
    chat.publish("a", "not here").await.unwrap();
    chat.publish("a 🏠:", "nor here").await.unwrap();
    chat.publish("a 🏠:*", "here").await.unwrap();
    expect_message(&mut client, "here").await;
}

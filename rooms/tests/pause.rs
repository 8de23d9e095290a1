//! Publishers that slow members pause: `Lag::Wait`, and every way in which such a wait ends.

mod common;

use std::time::Duration;

use common::{Lines, MAX_WAIT, router, welcome, within, words};
use sockless::CloseCode;
use sockless::rooms::{History, Namespace, RoomConfig, Rooms};
use sockless::sim::{App, Conversation, Link, Sim, WireDirection};

/// More than a slow member's room, session and link hold, and less than a session reads ahead.
const MESSAGES: usize = 80;

/// A room with a publisher, and a member whose client does not read.
struct Stand {
    rooms: Rooms,
    chat: Namespace,
    app: App,
    publisher: Conversation,
    slow: Conversation,
}

async fn stand(sim: &Sim) -> Stand {
    let rooms = Rooms::local(sim.clone());
    let config = RoomConfig::default().envelope(Lines).history(History::last(1000));
    let chat = rooms.namespace("chat", config);
    let settings = sockless::Config::default().high_water(1000);
    let app = sim.app_over(router(&chat).websockets(settings), &Link::default().capacity(1000));
    let publisher = open(&app, "/rust?identity=ada").await;
    let slow = open(&app, "/rust?identity=slow&lag=wait").await;
    slow.wire().stall(WireDirection::Inbound);
    Stand { rooms, chat, app, publisher, slow }
}

async fn open(app: &App, path: &str) -> Conversation {
    let mut client = app.open(path).await;
    welcome(&mut client).await;
    client
}

fn long(name: &str, number: usize) -> String {
    format!("{name}-{number}-{}", "x".repeat(500))
}

async fn send(client: &mut Conversation, name: &str) {
    for number in 0..MESSAGES {
        client.send(long(name, number)).await;
    }
}

/// The messages that a client receives until nothing comes for a while.
async fn received(sim: &Sim, client: &mut Conversation) -> Vec<String> {
    let mut messages = Vec::new();
    while let Some(words) = sim.timeout(Duration::from_millis(300), words(client)).await {
        assert_eq!(words[0], "message", "{words:?}");
        messages.push(words[2].clone());
    }
    messages
}

fn all(name: &str) -> Vec<String> {
    (0..MESSAGES).map(|number| long(name, number)).collect()
}

/// Lets the publisher send everything, and checks that it is paused. Returns what has come.
async fn pause(sim: &Sim, stand: &mut Stand) -> Vec<String> {
    send(&mut stand.publisher, "ada").await;
    let messages = received(sim, &mut stand.publisher).await;
    assert!((30..MESSAGES - 20).contains(&messages.len()), "{}", messages.len());
    assert_eq!(messages, all("ada")[..messages.len()]);
    let stats = stand.rooms.stats();
    assert_eq!((stats.paused, stats.dropped, stats.closed_for_lag), (1, 0, 0));
    messages
}

/// Checks that the publisher goes on, and that each of its messages comes once and in order.
async fn goes_on(sim: &Sim, stand: &mut Stand, mut messages: Vec<String>) {
    messages.extend(received(sim, &mut stand.publisher).await);
    assert_eq!(messages, all("ada"));
}

#[test]
fn a_publisher_waits_until_the_slow_member_reads() {
    Sim::check(0..20, |sim| async move {
        let mut stand = stand(&sim).await;
        let messages = pause(&sim, &mut stand).await;
        stand.slow.wire().resume(WireDirection::Inbound);
        goes_on(&sim, &mut stand, messages).await;
        assert_eq!(received(&sim, &mut stand.slow).await, all("ada"));
        let stats = stand.rooms.stats();
        assert_eq!((stats.dropped, stats.closed_for_lag), (0, 0));
    });
}

#[test]
fn a_member_that_never_reads_is_closed_and_the_publisher_goes_on() {
    Sim::check(0..20, |sim| async move {
        let mut stand = stand(&sim).await;
        let begun = sim.now();
        let messages = pause(&sim, &mut stand).await;
        sim.sleep(MAX_WAIT).await;
        assert!(sim.now().saturating_since(begun) < MAX_WAIT + Duration::from_secs(1));
        goes_on(&sim, &mut stand, messages).await;
        assert_eq!(stand.rooms.stats().closed_for_lag, 1);
        stand.slow.wire().resume(WireDirection::Inbound);
        let closed = loop {
            // What its session held before.
            if let Some(closed) = sim.timeout(Duration::ZERO, stand.slow.closed()).await {
                break closed;
            }
            sim.timeout(Duration::from_millis(100), words(&mut stand.slow)).await;
        };
        assert_eq!(closed.received().unwrap().code(), Some(CloseCode::TRY_AGAIN_LATER));
    });
}

#[test]
fn a_slow_member_that_ends_releases_the_publisher() {
    Sim::check(0..40, |sim| async move {
        let mut stand = stand(&sim).await;
        let messages = pause(&sim, &mut stand).await;
        match sim.draw(0..4) {
            0 => stand.slow.terminate(),
            1 => stand.slow.wire().cut(),
            2 => stand.slow.close(CloseCode::NORMAL),
            _ => {
                let closed = stand.chat.disconnect("rust", "slow", CloseCode::POLICY_VIOLATION);
                assert_eq!(closed, Ok(1));
            }
        }
        goes_on(&sim, &mut stand, messages).await;
        assert_eq!(stand.rooms.stats().closed_for_lag, 0);
    });
}

#[test]
fn a_publisher_that_waits_can_end() {
    Sim::check(0..40, |sim| async move {
        let mut stand = stand(&sim).await;
        pause(&sim, &mut stand).await;
        let before = sim.now();
        match sim.draw(0..3) {
            0 => stand.publisher.terminate(),
            1 => stand.publisher.wire().cut(),
            _ => {
                let closed = stand.chat.disconnect("rust", "ada", CloseCode::POLICY_VIOLATION);
                assert_eq!(closed, Ok(1));
                stand.publisher.expect_closed(1008).await;
            }
        }
        sim.settle().await;
        assert!(sim.now().saturating_since(before) < Duration::from_secs(1));
        assert_eq!(stand.rooms.stats().members, 1, "its handler has ended, and the slow one stays");
        // Nothing of it is published later.
        stand.slow.wire().resume(WireDirection::Inbound);
        let messages = received(&sim, &mut stand.slow).await;
        assert!(messages.len() < MESSAGES - 20, "{}", messages.len());
        assert_eq!(messages, all("ada")[..messages.len()]);
    });
}

#[test]
fn a_room_that_is_closed_releases_all() {
    Sim::check(0..20, |sim| async move {
        let mut stand = stand(&sim).await;
        pause(&sim, &mut stand).await;
        assert_eq!(stand.chat.close("rust", CloseCode::GOING_AWAY), Ok(2));
        stand.publisher.expect_closed(1001).await;
        stand.slow.wire().resume(WireDirection::Inbound);
        sim.sleep(Duration::from_secs(10)).await;
        let stats = stand.rooms.stats();
        assert_eq!((stats.rooms, stats.members), (0, 0));
    });
}

#[test]
fn all_publishers_wait_and_all_go_on() {
    Sim::check(0..20, |sim| async move {
        let mut stand = stand(&sim).await;
        let mut bob = open(&stand.app, "/rust?identity=bob").await;
        let mut reader = open(&stand.app, "/rust").await;
        for number in 0..MESSAGES {
            stand.publisher.send(long("ada", number)).await;
            bob.send(long("bob", number)).await;
        }
        let mut messages = received(&sim, &mut reader).await;
        assert!((30..MESSAGES).contains(&messages.len()), "{}", messages.len());
        assert_eq!(stand.rooms.stats().paused, 2);
        stand.slow.wire().resume(WireDirection::Inbound);
        messages.extend(received(&sim, &mut reader).await);
        let seen = received(&sim, &mut stand.slow).await;
        assert_eq!(seen.len(), messages.len());
        assert!(seen == messages, "in the same order");
        for name in ["ada", "bob"] {
            let own = |text: &&String| text.starts_with(name);
            assert_eq!(messages.iter().filter(own).cloned().collect::<Vec<_>>(), all(name));
        }
        assert_eq!(stand.rooms.stats().closed_for_lag, 0);
    });
}

#[test]
fn a_publisher_that_does_not_read_waits_for_itself() {
    Sim::check(0..20, |sim| async move {
        let Stand { rooms, app, mut slow, .. } = stand(&sim).await;
        let mut reader = open(&app, "/rust").await;
        send(&mut slow, "slow").await;
        let mut messages = received(&sim, &mut reader).await;
        assert!((30..MESSAGES - 20).contains(&messages.len()), "{}", messages.len());
        if sim.draw(0..2) == 0 {
            slow.wire().resume(WireDirection::Inbound);
            messages.extend(received(&sim, &mut reader).await);
            assert_eq!(messages, all("slow"));
            assert_eq!(received(&sim, &mut slow).await, all("slow"));
        } else {
            // Its own wait is limited too.
            sim.sleep(MAX_WAIT).await;
            assert_eq!(rooms.stats().closed_for_lag, 1);
            assert_eq!(received(&sim, &mut reader).await, Vec::<String>::new());
        }
    });
}

#[test]
fn who_cannot_be_paused_does_not_fill_the_memory() {
    Sim::check(0..20, |sim| async move {
        let stand = stand(&sim).await;
        let mut published = 0;
        while stand.rooms.stats().closed_for_lag == 0 {
            stand.chat.publish("rust", long("outside", published)).await.unwrap();
            published += 1;
            sim.settle().await;
        }
        // Twice what pauses members, and what the session and the link hold.
        assert!((2 * 20_000 / 600..2 * 20_000 / 500 + 10).contains(&published), "{published}");
        assert_eq!(stand.rooms.stats().paused, 0);
    });
}

#[test]
fn a_wait_that_is_given_up_publishes_nothing() {
    Sim::check(0..20, |sim| async move {
        let mut stand = stand(&sim).await;
        let chat = stand.chat.clone();
        let handler = sockless::websocket(move |session| {
            let chat = chat.clone();
            async move {
                let member = chat.join(&session, "rust").await.unwrap();
                let paused = member.publish("given up");
                let given_up = session.sleep(Duration::from_secs(1));
                assert!(within(given_up, paused).await.is_none());
                let published = member.publish("second").await;
                assert!(matches!(published, Ok(Some(_))), "{published:?}");
            }
        });
        let other = sim.app(sockless::Router::new().route("/", handler));
        let before = pause(&sim, &mut stand).await;
        let mut client = other.open("/").await;
        sim.sleep(Duration::from_secs(2)).await;
        stand.slow.wire().resume(WireDirection::Inbound);
        client.closed().await;
        let messages = received(&sim, &mut stand.publisher).await;
        assert!(!messages.contains(&"given up".to_owned()));
        assert!(messages.contains(&"second".to_owned()));
        assert_eq!(before.len() + messages.len(), MESSAGES + 1);
    });
}

//! Members that read too slowly.

mod common;

use std::time::Duration;

use common::{LAG, Lines, expect_message, router, welcome, words};
use sockless::rooms::{History, Lag, Namespace, Publication, RoomConfig, Rooms};
use sockless::sim::{App, Conversation, Link, Sim, WireDirection};
use sockless::{Router, Session, websocket};

/// A room with a fast and a slow member.
struct Stand {
    rooms: Rooms,
    chat: Namespace,
    app: App,
    fast: Conversation,
    slow: Conversation,
}

/// The slow member's session has `high_water` bytes of its own and a link that holds as much, so
/// that what waits in the room is known.
async fn stand(sim: &Sim, policy: &str) -> Stand {
    stand_with(sim, policy, config()).await
}

fn config() -> RoomConfig {
    RoomConfig::default().envelope(Lines).history(History::last(1000))
}

async fn stand_with(sim: &Sim, policy: &str, config: RoomConfig) -> Stand {
    let rooms = Rooms::local(sim.clone());
    let chat = rooms.namespace("chat", config);
    let settings = sockless::Config::default().high_water(1000);
    let link = Link::default().capacity(1000);
    let app = sim.app_over(router(&chat).websockets(settings), &link);
    let mut fast = app.open("/rust").await;
    let mut slow = app.open(&format!("/rust?lag={policy}")).await;
    welcome(&mut fast).await;
    welcome(&mut slow).await;
    slow.wire().stall(WireDirection::Inbound);
    Stand { rooms, chat, app, fast, slow }
}

fn long(number: usize) -> String {
    format!("{number}-{}", "x".repeat(500))
}

/// Publishes messages of 500 bytes, which the fast member receives at once.
async fn publish(stand: &mut Stand, numbers: std::ops::Range<usize>) {
    for number in numbers {
        stand.chat.publish("rust", long(number)).await.unwrap();
        expect_message(&mut stand.fast, &long(number)).await;
    }
}

#[test]
fn a_member_that_lags_a_little_receives_everything() {
    Sim::check(0..20, |sim| async move {
        let mut stand = stand(&sim, "close").await;
        publish(&mut stand, 0..30).await;
        assert!(stand.rooms.stats().lagged > 20, "{:?}", stand.rooms.stats());
        stand.slow.wire().resume(WireDirection::Inbound);
        // New messages come while the others are still being sent.
        publish(&mut stand, 30..40).await;
        for number in 0..40 {
            expect_message(&mut stand.slow, &long(number)).await;
        }
        assert_eq!(stand.rooms.stats().closed_for_lag, 0);
    });
}

#[test]
fn a_member_that_lags_too_much_is_closed_and_can_resume() {
    Sim::check(0..20, |sim| async move {
        let mut stand = stand(&sim, "close").await;
        publish(&mut stand, 0..100).await;
        assert_eq!(stand.rooms.stats().closed_for_lag, 1);
        stand.slow.wire().resume(WireDirection::Inbound);
        let mut next = 0;
        let mut since = String::new();
        let closed = loop {
            match sim.timeout(Duration::from_secs(1), words(&mut stand.slow)).await {
                Some(words) => {
                    assert_eq!(words[2], long(next));
                    (next, since) = (next + 1, words[1].clone());
                }
                None => break stand.slow.closed().await,
            }
            if next > 0 && sim.timeout(Duration::ZERO, stand.slow.closed()).await.is_some() {
                break stand.slow.closed().await;
            }
        };
        assert_eq!(closed.received().unwrap().code().unwrap().get(), 1013);
        assert!(next < 10, "what waited was dropped: {next}");
        let mut slow = stand.app.open(&format!("/rust?since={since}")).await;
        assert_eq!(welcome(&mut slow).await.1, "complete");
        for number in next..100 {
            expect_message(&mut slow, &long(number)).await;
        }
    });
}

#[test]
fn the_oldest_messages_are_dropped_and_their_number_is_reported() {
    Sim::check(0..20, |sim| async move {
        let mut stand = stand(&sim, "drop").await;
        publish(&mut stand, 0..100).await;
        stand.slow.wire().resume(WireDirection::Inbound);
        let (mut next, mut dropped) = (0, 0);
        while next < 100 {
            let words = words(&mut stand.slow).await;
            if words[0] == "dropped" {
                let count: usize = words[1].parse().unwrap();
                (next, dropped) = (next + count, dropped + count);
            } else {
                assert_eq!(words[2], long(next));
                next += 1;
            }
        }
        let stats = stand.rooms.stats();
        assert_eq!(stats.dropped, dropped as u64);
        let kept = 100 - dropped;
        assert!((LAG / 600..LAG / 500 + 10).contains(&kept), "{kept}");
        assert_eq!(stats.closed_for_lag, 0);
    });
}

/// Receives all messages up to the one before `end`, each or the report that it was dropped, and other
/// events. Returns the number of those that were dropped, and the others with the next number.
async fn all_or_dropped(client: &mut Conversation, end: usize) -> (usize, Vec<(usize, String)>) {
    let (mut next, mut dropped, mut others) = (0, 0, Vec::new());
    while next < end {
        let words = words(client).await;
        match words[0].as_str() {
            "message" => {
                assert_eq!(words[2], long(next));
                next += 1;
            }
            "dropped" => {
                let count: usize = words[1].parse().unwrap();
                (next, dropped) = (next + count, dropped + count);
            }
            other => others.push((next, other.to_owned())),
        }
    }
    (dropped, others)
}

#[test]
fn what_is_resumed_is_not_dropped() {
    Sim::check(0..20, |sim| async move {
        let mut stand = stand(&sim, "drop").await;
        let start = stand.chat.publish("rust", "start").await.unwrap().unwrap();
        expect_message(&mut stand.fast, "start").await;
        publish(&mut stand, 0..100).await;
        let mut slow = stand.app.open(&format!("/rust?since={start}&lag=drop")).await;
        slow.wire().stall(WireDirection::Inbound);
        sim.settle().await;
        publish(&mut stand, 100..200).await;
        slow.wire().resume(WireDirection::Inbound);
        assert_eq!(welcome(&mut slow).await.1, "complete");
        for number in 0..100 {
            expect_message(&mut slow, &long(number)).await;
        }
        // In the place of those that are missing.
        let report = words(&mut slow).await;
        let (kind, count) = (&*report[0], report[1].parse::<usize>().unwrap());
        assert_eq!(kind, "dropped");
        for number in 100 + count..200 {
            expect_message(&mut slow, &long(number)).await;
        }
        assert!((LAG / 600..LAG / 500 + 10).contains(&(100 - count)), "{count}");
    });
}

#[test]
fn only_messages_are_dropped() {
    Sim::check(0..20, |sim| async move {
        let mut stand = stand_with(&sim, "drop", config().presence()).await;
        // The fast member learns of the slow one.
        assert!(words(&mut stand.fast).await[0].starts_with("joined"));
        publish(&mut stand, 0..50).await;
        let mut bob = stand.app.open("/rust").await;
        welcome(&mut bob).await;
        assert!(words(&mut stand.fast).await[0].starts_with("joined"));
        publish(&mut stand, 50..100).await;
        bob.terminate();
        assert!(words(&mut stand.fast).await[0].starts_with("left"));
        publish(&mut stand, 100..150).await;
        stand.slow.wire().resume(WireDirection::Inbound);
        let (dropped, others) = all_or_dropped(&mut stand.slow, 150).await;
        assert_eq!(stand.rooms.stats().dropped, dropped as u64);
        let at: Vec<_> = others.iter().map(|(next, _)| *next).collect();
        assert_eq!(at, [50, 100], "where they happened: {others:?}");
        assert!(others[0].1.starts_with("joined") && others[1].1.starts_with("left"));
    });
}

/// The session has no room for the welcome either.
#[test]
fn a_member_that_joins_while_its_session_is_full_is_welcomed_first() {
    async fn serve(mut session: Session, chat: Namespace) {
        let sender = session.sender();
        while sender.try_send("x".repeat(500)).is_ok() {}
        let join = chat.join(&session, "rust").lag(Lag::DropOldest { max_bytes: LAG });
        let member = join.await.unwrap();
        // More than may wait, in the same turn.
        for number in 0..100 {
            member.publish(long(number)).await.unwrap();
        }
        let _ = session.recv().await;
    }
    Sim::check(0..20, |sim| async move {
        let stand = stand(&sim, "drop").await;
        let chat = stand.chat.clone();
        let router =
            Router::new().route("/", websocket(move |session| serve(session, chat.clone())));
        let settings = sockless::Config::default().high_water(1000);
        let link = Link::default().capacity(1000);
        let app = sim.app_over(router.websockets(settings), &link);
        let mut full = app.open("/").await;
        let mut first = words(&mut full).await;
        while first[0].starts_with("xx") {
            first = words(&mut full).await;
        }
        assert_eq!((&*first[0], &*first[2]), ("welcome", "new"));
        let (dropped, others) = all_or_dropped(&mut full, 100).await;
        assert!(dropped > 0 && others.is_empty(), "{dropped} {others:?}");
    });
}

#[test]
fn events_that_cannot_be_dropped_take_no_more_than_the_budget() {
    Sim::check(0..5, |sim| async move {
        let stand = stand_with(&sim, "drop", config().presence()).await;
        for _ in 0..500 {
            let mut client = stand.app.open("/rust").await;
            welcome(&mut client).await;
            client.terminate();
        }
        assert_eq!(stand.rooms.stats().closed_for_lag, 1);
    });
}

#[test]
fn the_latest_of_each_key_survives_conflation() {
    Sim::check(0..20, |sim| async move {
        let mut stand = stand(&sim, "conflate").await;
        for number in 0..200 {
            let cursor = Publication::new(long(number)).conflation_key(format!("{}", number % 3));
            stand.chat.publish("rust", cursor).await.unwrap();
            expect_message(&mut stand.fast, &long(number)).await;
        }
        stand.slow.wire().resume(WireDirection::Inbound);
        let mut last = Vec::new();
        while last.len() < 3 || last[last.len() - 3..] != [long(197), long(198), long(199)] {
            last.push(words(&mut stand.slow).await[2].clone());
        }
        assert!(last.len() < 12, "{}", last.len());
        stand.slow.expect_silence(Duration::from_secs(1)).await;
        assert_eq!(stand.rooms.stats().conflated as usize, 200 - last.len());
        // Messages without a key are not replaced.
        stand.slow.wire().stall(WireDirection::Inbound);
        publish(&mut stand, 0..100).await;
        assert_eq!(stand.rooms.stats().closed_for_lag, 1);
    });
}

/// What it resumes and what is published meanwhile is one stream with the same keys.
#[test]
fn a_member_that_resumes_is_conflated_over_history_and_news() {
    Sim::check(0..20, |sim| async move {
        let stand = stand(&sim, "conflate").await;
        let cursor = |number| {
            let cursor = Publication::new(long(number)).conflation_key(format!("{}", number % 3));
            stand.chat.publish("rust", cursor)
        };
        let start = cursor(0).await.unwrap().unwrap();
        for number in 1..100 {
            cursor(number).await.unwrap();
        }
        let mut slow = stand.app.open(&format!("/rust?since={start}&lag=conflate")).await;
        slow.wire().stall(WireDirection::Inbound);
        sim.settle().await;
        let news = sim.draw(0..100) as usize;
        for number in 100..100 + news {
            cursor(number).await.unwrap();
        }
        slow.wire().resume(WireDirection::Inbound);
        assert_eq!(welcome(&mut slow).await.1, "complete");
        let (mut latest, mut last) = ([0; 3], 0);
        while last < 99 + news {
            let words = words(&mut slow).await;
            let number: usize = words[2].split_once('-').unwrap().0.parse().unwrap();
            assert!(number > last, "{number} after {last}");
            (latest[number % 3], last) = (number, number);
        }
        let mut expected = [97 + news, 98 + news, 99 + news];
        expected.sort_by_key(|number| number % 3);
        assert_eq!(latest, expected);
        slow.expect_silence(Duration::from_secs(1)).await;
        // It can go on from there.
        cursor(1000).await.unwrap();
        expect_message(&mut slow, &long(1000)).await;
    });
}

#[test]
fn a_history_longer_than_the_budget_reaches_a_slow_member() {
    Sim::check(0..10, |sim| async move {
        let mut stand = stand(&sim, "drop").await;
        let start = stand.chat.publish("rust", "start").await.unwrap().unwrap();
        expect_message(&mut stand.fast, "start").await;
        publish(&mut stand, 0..100).await;
        let mut slow = stand.app.open(&format!("/rust?since={start}&lag=close")).await;
        // It begins to read only now.
        sim.sleep(Duration::from_secs(1)).await;
        assert_eq!(welcome(&mut slow).await.1, "complete");
        for number in 0..100 {
            expect_message(&mut slow, &long(number)).await;
        }
    });
}

#[test]
fn a_slow_member_that_leaves_takes_what_waits_along() {
    Sim::check(0..10, |sim| async move {
        let mut stand = stand(&sim, "close").await;
        publish(&mut stand, 0..20).await;
        stand.slow.terminate();
        stand.fast.terminate();
        sim.settle().await;
        let stats = stand.rooms.stats();
        assert_eq!((stats.rooms, stats.members), (0, 0));
    });
}

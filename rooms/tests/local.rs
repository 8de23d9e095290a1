//! Rooms within one process: joining, publishing, leaving, resuming.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use common::{Lines, expect_message, router, welcome, words};
use sockless::rooms::{
    Envelope, History, JoinError, Namespace, Publication, PublishError, RoomConfig, RoomEvent,
    RoomNameError, Rooms,
};
use sockless::sim::{Conversation, Sim};
use sockless::{Error, OutgoingMessage, Router, Session, websocket};

fn config() -> RoomConfig {
    RoomConfig::default().envelope(Lines).history(History::last(10))
}

/// Joins, and checks that there was nothing to resume.
async fn join(app: &sockless::sim::App, path: &str) -> Conversation {
    let mut client = app.open(path).await;
    assert_eq!(welcome(&mut client).await.1, "new");
    client
}

#[test]
fn what_one_member_publishes_reaches_all_in_order() {
    Sim::check(0..50, |sim| async move {
        let rooms = Rooms::local(sim.clone());
        let chat = rooms.namespace("chat", config());
        let app = sim.app(router(&chat));
        let (mut ada, mut bob) = (join(&app, "/rust").await, join(&app, "/rust").await);
        let mut other = join(&app, "/other").await;
        for round in 0..20 {
            ada.send(format!("ada-{round}")).await;
            bob.send(format!("bob-{round}")).await;
        }
        let mut seen = Vec::new();
        for _ in 0..40 {
            let line = words(&mut ada).await;
            assert_eq!(line, words(&mut bob).await, "all receive the same order");
            seen.push(line[2].clone());
        }
        for name in ["ada", "bob"] {
            let own: Vec<_> = seen.iter().filter(|text| text.starts_with(name)).collect();
            let sent: Vec<_> = (0..20).map(|round| format!("{name}-{round}")).collect();
            assert_eq!(own, sent.iter().collect::<Vec<_>>());
        }
        other.expect_silence(Duration::from_secs(1)).await;
    });
}

#[test]
fn a_publication_reaches_those_that_it_is_for() {
    Sim::check(0..20, |sim| async move {
        let chat = Rooms::local(sim.clone()).namespace("chat", config());
        let app = sim.app(router(&chat));
        let mut ada = join(&app, "/rust?identity=ada").await;
        let mut bob = join(&app, "/rust?identity=bob").await;
        let mut guest = join(&app, "/rust").await;
        ada.send("others: hello").await;
        ada.send("bob: secret").await;
        ada.send("last").await;
        for text in ["hello", "secret", "last"] {
            expect_message(&mut bob, text).await;
        }
        for text in ["hello", "last"] {
            expect_message(&mut guest, text).await;
        }
        expect_message(&mut ada, "last").await;
        // A message for one member is not in the history of another.
        let start = chat.publish("rust", "end").await.unwrap().unwrap();
        let mut bob = app.open("/rust?identity=bob&since=0.0").await;
        assert_eq!(welcome(&mut bob).await.1, "gap", "a position of no stream");
        let since = format!("{:x}.0", start.epoch.0);
        for (identity, expected) in [("ada", "hello last end"), ("bob", "hello secret last end")] {
            let path = format!("/rust?identity={identity}&since={since}");
            let mut client = app.open(&path).await;
            assert_eq!(welcome(&mut client).await.1, "complete");
            for text in expected.split(' ') {
                expect_message(&mut client, text).await;
            }
        }
    });
}

#[test]
fn a_member_that_comes_back_receives_what_it_has_missed() {
    Sim::check(0..50, |sim| async move {
        let chat = Rooms::local(sim.clone()).namespace("chat", config());
        let app = sim.app(router(&chat));
        let _bob = join(&app, "/rust").await;
        let mut ada = join(&app, "/rust").await;
        chat.publish("rust", "one").await.unwrap();
        let since = expect_message(&mut ada, "one").await;
        ada.wire().cut();
        for text in ["two", "three"] {
            chat.publish("rust", text).await.unwrap();
        }
        let mut ada = app.open(&format!("/rust?since={since}")).await;
        assert_eq!(welcome(&mut ada).await, (since, "complete".to_owned()));
        for text in ["two", "three"] {
            expect_message(&mut ada, text).await;
        }
        let since = {
            chat.publish("rust", "four").await.unwrap();
            expect_message(&mut ada, "four").await
        };
        // Nothing was published meanwhile.
        ada.terminate();
        let mut ada = app.open(&format!("/rust?since={since}")).await;
        assert_eq!(welcome(&mut ada).await, (since, "complete".to_owned()));
        ada.expect_silence(Duration::from_secs(1)).await;
    });
}

#[test]
fn a_new_member_receives_the_last_messages() {
    Sim::check(0..20, |sim| async move {
        let rooms = Rooms::local(sim.clone());
        let chat = rooms.namespace("chat", config().history(History::last(5)));
        let app = sim.app(router(&chat));
        let mut ada = join(&app, "/rust?last=3").await;
        for number in 1..=8 {
            chat.publish("rust", format!("{number}")).await.unwrap();
            expect_message(&mut ada, &format!("{number}")).await;
        }
        // As many as were asked for, or as there are.
        for (last, first) in [("0", 9), ("1", 8), ("3", 6), ("5", 4), ("7", 4), ("99999999", 4)] {
            let mut client = join(&app, &format!("/rust?last={last}")).await;
            for number in first..=8 {
                expect_message(&mut client, &format!("{number}")).await;
            }
            client.expect_silence(Duration::from_secs(1)).await;
        }
        // The first member of a room whose history is left, too.
        ada.terminate();
        sim.settle().await;
        assert_eq!(rooms.stats().rooms, 0);
        let mut bob = join(&app, "/rust?last=2").await;
        chat.publish("rust", "9").await.unwrap();
        for text in ["7", "8", "9"] {
            expect_message(&mut bob, text).await;
        }
    });
}

#[test]
fn the_history_outlives_the_members_of_a_room_for_as_long_as_it_is_kept() {
    Sim::check(0..10, |sim| async move {
        let rooms = Rooms::local(sim.clone());
        let history = History::last(10).max_age(Duration::from_secs(60));
        let chat = rooms.namespace("chat", config().history(history));
        let app = sim.app(router(&chat));
        let mut ada = join(&app, "/rust").await;
        chat.publish("rust", "one").await.unwrap();
        let since = expect_message(&mut ada, "one").await;
        ada.terminate();
        sim.settle().await;
        assert_eq!((rooms.stats().rooms, rooms.stats().members), (0, 0));
        chat.publish("rust", "two").await.unwrap();
        sim.sleep(Duration::from_secs(59)).await;
        let path = format!("/rust?since={since}");
        let mut ada = app.open(&path).await;
        assert_eq!(welcome(&mut ada).await.1, "complete");
        expect_message(&mut ada, "two").await;
        ada.terminate();
        sim.settle().await;
        sim.sleep(Duration::from_secs(1)).await;
        let mut ada = app.open(&path).await;
        assert_eq!(welcome(&mut ada).await.1, "gap", "it has expired");
    });
}

#[test]
fn what_is_not_known_any_longer_is_a_gap() {
    Sim::check(0..20, |sim| async move {
        let rooms = Rooms::local(sim.clone());
        let chat = rooms.namespace("chat", config().history(History::last(3)));
        let app = sim.app(router(&chat));
        let mut ada = join(&app, "/rust").await;
        for text in ["1", "2", "3", "4", "5"] {
            chat.publish("rust", text).await.unwrap();
            expect_message(&mut ada, text).await;
        }
        let top = chat.publish("rust", "6").await.unwrap().unwrap();
        let of_epoch = |epoch: u64, offset: u64| format!("/rust?since={epoch:x}.{offset}");
        let epoch = top.epoch.0;
        for (path, expected) in [
            (of_epoch(epoch, 0), "gap"),
            (of_epoch(epoch, 2), "gap"),
            (of_epoch(epoch, 3), "complete"),
            (of_epoch(epoch, 6), "complete"),
            (of_epoch(epoch, 7), "gap"),
            (of_epoch(epoch, u64::MAX), "gap"),
            (of_epoch(epoch ^ 1, 5), "gap"),
            (of_epoch(0, 0), "gap"),
        ] {
            let mut client = app.open(&path).await;
            assert_eq!(welcome(&mut client).await.1, expected, "{path}");
            if path == of_epoch(epoch, 3) {
                for text in ["4", "5", "6"] {
                    expect_message(&mut client, text).await;
                }
            }
            client.expect_silence(Duration::from_secs(1)).await;
        }
        // The others have noticed nothing.
        expect_message(&mut ada, "6").await;
        ada.expect_silence(Duration::from_secs(1)).await;
    });
}

#[test]
fn without_a_history_a_member_resumes_only_if_nothing_was_published() {
    Sim::check(0..10, |sim| async move {
        let rooms = Rooms::local(sim.clone());
        let chat = rooms.namespace("chat", RoomConfig::default().envelope(Lines));
        let app = sim.app(router(&chat));
        let mut ada = join(&app, "/rust").await;
        let top = chat.publish("rust", "1").await.unwrap().unwrap();
        expect_message(&mut ada, "1").await;
        let mut bob = app.open(&format!("/rust?since={top}")).await;
        assert_eq!(welcome(&mut bob).await.1, "complete");
        chat.publish("rust", "2").await.unwrap();
        let mut bob = app.open(&format!("/rust?since={top}")).await;
        assert_eq!(welcome(&mut bob).await.1, "gap");
    });
}

#[test]
fn a_room_without_messages_has_no_gap_after_its_last_member_left() {
    Sim::check(0..2, |sim| async move {
        for config in [config(), config().history(History::NONE)] {
            let rooms = Rooms::local(sim.clone());
            let chat = rooms.namespace("chat", config);
            let app = sim.app(router(&chat));
            let start = top_of(&app, "/quiet").await;
            sim.settle().await;
            assert_eq!(rooms.stats().rooms, 0, "the room is forgotten");
            // What happens in other rooms meanwhile does not matter, but for the few that share its counter.
            for number in 0..2 {
                let mut other = join(&app, &format!("/other-{number}")).await;
                other.send("hello").await;
                expect_message(&mut other, "hello").await;
                assert_ne!(start.split('.').next(), top_of(&app, "/other").await.split('.').next());
            }
            let mut ada = app.open(&format!("/quiet?since={start}")).await;
            assert_eq!(welcome(&mut ada).await, (start.clone(), "complete".to_owned()));
            ada.send("one").await;
            let since = expect_message(&mut ada, "one").await;
            drop(ada);
            // A history of five minutes, and more than that.
            sim.sleep(Duration::from_secs(3600)).await;
            drop(join(&app, "/another").await);
            sim.settle().await;
            for lost in [start, since] {
                let mut ada = app.open(&format!("/quiet?since={lost}")).await;
                assert_eq!(welcome(&mut ada).await.1, "gap", "a message was forgotten");
            }
        }
    });
}

/// The position of a room at which a member joins, and leaves again.
async fn top_of(app: &sockless::sim::App, path: &str) -> String {
    let mut client = app.open(path).await;
    welcome(&mut client).await.0
}

#[test]
fn an_idempotency_key_publishes_once() {
    Sim::check(0..10, |sim| async move {
        let chat = Rooms::local(sim.clone()).namespace("chat", config());
        let app = sim.app(router(&chat));
        let mut ada = join(&app, "/rust").await;
        let paid = || Publication::new("paid").idempotency_key("invoice-7");
        let first = chat.publish("rust", paid()).await.unwrap();
        assert_eq!(chat.publish("rust", paid()).await.unwrap(), first);
        assert_ne!(chat.publish("other", paid()).await.unwrap(), first, "keys are a room's own");
        expect_message(&mut ada, "paid").await;
        sim.sleep(Duration::from_secs(300)).await;
        assert_ne!(chat.publish("rust", paid()).await.unwrap(), first, "it is forgotten");
        expect_message(&mut ada, "paid").await;
        ada.expect_silence(Duration::from_secs(1)).await;
    });
}

#[test]
fn what_cannot_be_joined_or_published_is_refused() {
    let sim = Sim::new(1);
    sim.run(async {
        let config = RoomConfig::default().max_members(2).max_message_len(3);
        let chat = Rooms::local(sim.clone()).namespace("chat", config);
        let handler = websocket(move |session| refused(session, chat.clone()));
        let app = sim.app(Router::new().route("/{room}", handler));
        let mut client = app.open("/rust").await;
        client.expect("one").await;
        client.expect("one").await;
        client.expect_closed(1000).await;
    });
}

/// A handler that has split its session joins by the half that sends, also a second room.
#[test]
fn a_sender_joins() {
    async fn handle(session: Session, chat: Namespace) -> Result<(), Error> {
        let (sender, mut receiver) = session.split();
        let lobby = chat.join(&sender, "lobby").await?;
        let rust = chat.join(&sender.clone(), "rust").identity("ada").await?;
        receiver.recv().await?;
        lobby.publish("in the lobby").await?;
        rust.publish("on rust").await?;
        receiver.recv().await?;
        Ok(())
    }
    Sim::check(0..10, |sim| async move {
        let chat = Rooms::local(sim.clone()).namespace("chat", RoomConfig::default());
        let handler = {
            let chat = chat.clone();
            websocket(move |session| handle(session, chat.clone()))
        };
        let app = sim.app(Router::new().route("/", handler));
        let mut client = app.open("/").await;
        client.send("go").await;
        client.expect("in the lobby").await;
        client.expect("on rust").await;
        client.send("that was all").await;
        client.expect_closed(1000).await;
        assert_eq!((chat.occupancy("lobby"), chat.occupancy("rust")), (0, 0));
    });
}

/// Asks for what a room of at most 2 members and 3 bytes refuses.
async fn refused(session: Session, chat: Namespace) {
    let member = chat.join(&session, "rust").await.unwrap();
    let _second = chat.join(&session, "rust").await.unwrap();
    let third = chat.join(&session, "rust").await.unwrap_err();
    assert_eq!(third, JoinError::Full { limit: 2 });

    let too_long = member.publish("four").await;
    assert_eq!(too_long, Err(PublishError::TooLong { len: 4, limit: 3 }));
    assert!(member.publish("one").await.is_ok());
    let key = || "x".repeat(256);
    let publication = || Publication::new("one");
    for publication in [
        publication().idempotency_key(key()),
        publication().conflation_key(key()),
        publication().only_to(key()),
    ] {
        assert_eq!(member.publish(publication).await, Err(PublishError::Key { len: 256 }));
    }

    let (name, error) = ("x".repeat(256), RoomNameError::Length { len: 256 });
    assert_eq!(chat.join(&session, &name).await.unwrap_err(), JoinError::Name(error.clone()));
    assert_eq!(chat.publish(&name, "one").await, Err(PublishError::Name(error)));
}

#[test]
#[should_panic(expected = "the namespace chat has been created before")]
fn a_namespace_is_created_once() {
    let rooms = Rooms::local(Sim::new(1));
    rooms.namespace("chat", RoomConfig::default());
    rooms.namespace("chat", RoomConfig::default());
}

/// Counts how often it is asked.
struct Counting(Arc<AtomicUsize>);

impl Envelope for Counting {
    fn encode(&self, room: &str, event: &RoomEvent) -> Option<OutgoingMessage> {
        self.0.fetch_add(usize::from(matches!(event, RoomEvent::Message(_))), Relaxed);
        Lines.encode(room, event)
    }
}

#[test]
fn a_message_is_encoded_once_for_all_members() {
    let sim = Sim::new(1);
    sim.run(async {
        let encoded = Arc::new(AtomicUsize::new(0));
        let config = RoomConfig::default().envelope(Counting(encoded.clone()));
        let chat = Rooms::local(sim.clone()).namespace("chat", config);
        let app = sim.app(router(&chat));
        let mut clients = Vec::new();
        for _ in 0..50 {
            clients.push(join(&app, "/rust").await);
        }
        for number in 0..3 {
            chat.publish("rust", format!("{number}")).await.unwrap();
        }
        for client in &mut clients {
            for number in 0..3 {
                expect_message(client, &format!("{number}")).await;
            }
        }
        assert_eq!(encoded.load(Relaxed), 3);
    });
}

/// All that a turn publishes leaves for each member in one write.
#[test]
fn what_one_turn_publishes_is_one_write_a_member() {
    const MEMBERS: usize = 20;
    // More than a vectored write takes.
    const MESSAGES: usize = 300;
    let sim = Sim::new(1);
    sim.record_trace();
    sim.run(async {
        let chat = Rooms::local(sim.clone()).namespace("chat", config());
        let app = sim.app(router(&chat));
        let mut clients = Vec::new();
        for _ in 0..MEMBERS {
            clients.push(join(&app, "/rust").await);
        }
        // By the program: none of these waits for anything.
        let before = writes_of_servers(&sim);
        for number in 0..MESSAGES {
            chat.publish("rust", format!("{number}")).await.unwrap();
        }
        for client in &mut clients {
            for number in 0..MESSAGES {
                expect_message(client, &format!("{number}")).await;
            }
        }
        assert_eq!(writes_of_servers(&sim) - before, MEMBERS);

        // By a member, whose messages arrive together.
        let before = writes_of_servers(&sim);
        for number in 10..20 {
            clients[0].try_send(format!("{number}")).unwrap();
        }
        for client in &mut clients {
            for number in 10..20 {
                expect_message(client, &format!("{number}")).await;
            }
        }
        assert_eq!(writes_of_servers(&sim) - before, MEMBERS);
    });
}

/// The number of writes so far.
fn writes_of_servers(sim: &Sim) -> usize {
    let trace = sim.trace().to_string();
    let is_write = |line: &&str| {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        event["name"] == "sim:bytes_written" && event["data"]["by"] == "server"
    };
    trace.lines().filter(is_write).count()
}

//! Several servers on a broker that fails: nothing is lost silently, nothing comes twice.

mod common;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Lines, expect_message, router, welcome, words};
use sockless::rooms::{
    History, Namespace, Position, Publication, RoomConfig, Rooms, SimBroker, SimBus,
};
use sockless::sim::{App, Conversation, Sim};

/// A server with its connection to the broker.
struct Server {
    rooms: Rooms,
    chat: Namespace,
    app: App,
    bus: SimBus,
}

fn servers(sim: &Sim, broker: &SimBroker, count: usize, config: &RoomConfig) -> Vec<Server> {
    let server = |_| {
        let bus = broker.connect();
        let rooms = Rooms::with_bus(bus.clone(), sim.clone());
        let chat = rooms.namespace("chat", config.clone());
        let app = sim.app(router(&chat));
        Server { rooms, chat, app, bus }
    };
    (0..count).map(server).collect()
}

fn config() -> RoomConfig {
    RoomConfig::default().envelope(Lines).history(History::last(1000))
}

async fn join(server: &Server, path: &str, how: &str) -> Conversation {
    let mut client = server.app.open(path).await;
    assert_eq!(welcome(&mut client).await.1, how);
    client
}

#[test]
fn servers_share_rooms() {
    Sim::check(0..30, |sim| async move {
        let broker = SimBroker::new(sim.clone());
        let servers = servers(&sim, &broker, 2, &config());
        sim.sleep(Duration::from_secs(2)).await;
        let mut ada = join(&servers[0], "/rust", "new").await;
        let mut bob = join(&servers[1], "/rust", "new").await;
        for round in 0..10 {
            ada.send(format!("ada-{round}")).await;
            bob.send(format!("bob-{round}")).await;
        }
        let mut since = String::new();
        for _ in 0..20 {
            let line = words(&mut ada).await;
            assert_eq!(line, words(&mut bob).await);
            since = line[1].clone();
        }
        // The client goes to the other server, which may not have got so far yet.
        ada.terminate();
        servers[1].chat.publish("rust", "meanwhile").await.unwrap();
        let path = format!("/rust?since={since}");
        let mut ada = join(&servers[1], &path, "complete").await;
        expect_message(&mut ada, "meanwhile").await;
    });
}

#[test]
fn an_outage_blocks_no_session_and_loses_nothing() {
    Sim::check(0..50, |sim| async move {
        let broker = SimBroker::new(sim.clone());
        let servers = servers(&sim, &broker, 2, &config());
        sim.sleep(Duration::from_secs(2)).await;
        let mut ada = join(&servers[0], "/rust", "new").await;
        let mut bob = join(&servers[1], "/rust", "new").await;
        servers[0].bus.partition();
        assert_eq!(words(&mut ada).await, ["interrupted"]);
        assert!(servers[0].rooms.is_bus_down());
        assert!(servers[0].chat.publish("rust", "lost").await.is_err());
        // Joining does not wait.
        let before = sim.now();
        let mut late = servers[0].app.open("/other?since=1.1").await;
        assert_eq!(welcome(&mut late).await, ("?".to_owned(), "gap".to_owned()));
        assert!(sim.now().saturating_since(before) < Duration::from_millis(1));
        for text in ["one", "two"] {
            servers[1].chat.publish("rust", text).await.unwrap();
            expect_message(&mut bob, text).await;
        }
        servers[0].bus.heal();
        assert_eq!(words(&mut ada).await, ["restored"]);
        for text in ["one", "two"] {
            expect_message(&mut ada, text).await;
        }
        servers[0].chat.publish("rust", "three").await.unwrap();
        expect_message(&mut ada, "three").await;
        expect_message(&mut bob, "three").await;
        // It joined without knowing where: what was published until now may be lost.
        assert_eq!(words(&mut late).await, ["restored"]);
        assert_eq!(words(&mut late).await[0], "gap");
    });
}

#[test]
fn a_broker_that_loses_its_memory_leaves_a_gap() {
    Sim::check(0..50, |sim| async move {
        let broker = SimBroker::new(sim.clone());
        let servers = servers(&sim, &broker, 1, &config());
        sim.sleep(Duration::from_secs(2)).await;
        let mut ada = join(&servers[0], "/rust", "new").await;
        servers[0].chat.publish("rust", "one").await.unwrap();
        let since = expect_message(&mut ada, "one").await;
        if sim.draw(0..2) == 0 {
            broker.crash();
            broker.lose_memory();
            broker.restart();
            assert_eq!(words(&mut ada).await, ["interrupted"]);
            assert_eq!(words(&mut ada).await, ["restored"]);
        } else {
            broker.lose_memory();
            // It is found even if nothing is published.
            let waiting = sim.now();
            let words = words(&mut ada).await;
            assert_eq!(words[0], "gap");
            assert!(sim.now().saturating_since(waiting) < Duration::from_secs(26));
            servers[0].chat.publish("rust", "two").await.unwrap();
            let position = expect_message(&mut ada, "two").await;
            assert!(position.ends_with(".1") && position != since);
            return;
        }
        assert_eq!(words(&mut ada).await[0], "gap");
        let mut ada = join(&servers[0], &format!("/rust?since={since}"), "gap").await;
        servers[0].chat.publish("rust", "two").await.unwrap();
        expect_message(&mut ada, "two").await;
    });
}

/// The answer was lost, and the message is published again by the other server.
#[test]
fn a_key_that_is_repeated_across_a_restart_publishes_once() {
    Sim::check(0..50, |sim| async move {
        let broker = SimBroker::new(sim.clone());
        let servers = servers(&sim, &broker, 2, &config());
        sim.sleep(Duration::from_secs(2)).await;
        let mut ada = join(&servers[0], "/rust", "new").await;
        let paid = || Publication::new("paid").idempotency_key("invoice-7");
        broker.crash_after_append();
        assert!(servers[0].chat.publish("rust", paid()).await.is_err());
        assert_eq!(words(&mut ada).await, ["interrupted"]);
        let has_lost = sim.draw(0..2) == 0;
        if has_lost {
            broker.lose_memory();
        }
        broker.restart();
        sim.sleep(Duration::from_secs(2)).await;
        assert_eq!(words(&mut ada).await, ["restored"]);
        let repeated = servers[1].chat.publish("rust", paid()).await.unwrap().unwrap();
        let again = servers[0].chat.publish("rust", paid()).await.unwrap().unwrap();
        assert_eq!((repeated, repeated.offset), (again, 1));
        if has_lost {
            assert_eq!(words(&mut ada).await[0], "gap");
        }
        assert_eq!(expect_message(&mut ada, "paid").await, repeated.to_string());
        servers[1].chat.publish("rust", "next").await.unwrap();
        expect_message(&mut ada, "next").await;
    });
}

#[test]
fn a_lost_item_is_found_by_the_next_one_or_by_a_check() {
    Sim::check(0..50, |sim| async move {
        let broker = SimBroker::new(sim.clone());
        let servers = servers(&sim, &broker, 1, &config());
        sim.sleep(Duration::from_secs(2)).await;
        let mut ada = join(&servers[0], "/rust", "new").await;
        broker.set_faults_per_thousand(1000, 0);
        servers[0].chat.publish("rust", "one").await.unwrap();
        sim.sleep(Duration::from_secs(1)).await;
        broker.set_faults_per_thousand(0, 1000);
        if sim.draw(0..2) == 0 {
            servers[0].chat.publish("rust", "two").await.unwrap();
            expect_message(&mut ada, "one").await;
            expect_message(&mut ada, "two").await;
        } else {
            let lost = sim.now();
            expect_message(&mut ada, "one").await;
            assert!(sim.now().saturating_since(lost) < Duration::from_secs(26));
        }
        ada.expect_silence(Duration::from_secs(60)).await;
    });
}

#[test]
fn a_storm_of_returning_members_reads_the_history_twice() {
    Sim::check(0..5, |sim| async move {
        let broker = SimBroker::new(sim.clone());
        let servers = servers(&sim, &broker, 1, &config());
        sim.sleep(Duration::from_secs(2)).await;
        let _ada = join(&servers[0], "/rust", "new").await;
        let mut positions = Vec::new();
        for number in 0..100 {
            let published = servers[0].chat.publish("rust", format!("{number}")).await;
            positions.push(published.unwrap().unwrap());
        }
        let before = servers[0].rooms.stats().history_reads;
        let returns = (0..300).map(|number| {
            let app = servers[0].app.clone();
            let since: Position = positions[number % 50];
            sim.spawn(async move {
                let mut client = app.open(&format!("/rust?since={since}")).await;
                assert_eq!(welcome(&mut client).await, (since.to_string(), "complete".to_owned()));
                for offset in since.offset..100 {
                    expect_message(&mut client, &format!("{offset}")).await;
                }
            })
        });
        for returned in returns.collect::<Vec<_>>() {
            returned.await;
        }
        let reads = servers[0].rooms.stats().history_reads - before;
        assert!(reads <= 3, "{reads}");
    });
}

#[test]
fn garbage_of_the_broker_is_counted_and_ignored() {
    Sim::check(0..5, |sim| async move {
        let broker = SimBroker::new(sim.clone());
        let servers = servers(&sim, &broker, 1, &config());
        sim.sleep(Duration::from_secs(2)).await;
        let mut ada = join(&servers[0], "/rust", "new").await;
        servers[0].bus.send_garbage();
        servers[0].chat.publish("rust", "one").await.unwrap();
        expect_message(&mut ada, "one").await;
        assert_eq!(servers[0].rooms.stats().bus_invalid, 1);
    });
}

/// The texts of all messages that any member has received, by their positions.
type Truth = Arc<Mutex<BTreeMap<String, String>>>;

/// A client that comes and goes, and checks what it receives.
struct Client {
    truth: Truth,
    last: Option<Position>,
    gaps: u32,
    resumed: u32,
    received: u32,
}

impl Client {
    /// Checks one event. Returns true at the end.
    fn check(&mut self, words: &[String], since: Option<Position>) -> bool {
        let position = words.get(1).and_then(|word| word.parse::<Position>().ok());
        match &*words[0] {
            "welcome" => match &*words[2] {
                "complete" => {
                    assert_eq!(position, since, "a member resumes where it was");
                    self.resumed += 1;
                }
                "gap" => {
                    self.gaps += 1;
                    self.last = position;
                }
                _ => self.last = position,
            },
            "gap" => {
                self.gaps += 1;
                self.last = position;
            }
            "message" => {
                let at = position.expect("a position");
                if let Some(last) = self.last {
                    let next = Position { offset: last.offset + 1, ..last };
                    assert_eq!(at, next, "a silent loss, or a message that came twice");
                }
                let mut truth = self.truth.lock().unwrap();
                let known = truth.entry(words[1].clone()).or_insert_with(|| words[2].clone());
                assert_eq!(*known, words[2], "one position has one message");
                self.last = Some(at);
                self.received += 1;
                return words[2] == "end";
            }
            "interrupted" | "restored" => {}
            other => panic!("{other}"),
        }
        false
    }

    async fn run(mut self, sim: Sim, apps: Vec<App>) -> Self {
        loop {
            let app = &apps[sim.draw(0..apps.len() as u64) as usize];
            let since = self.last;
            let path = match since {
                Some(since) => format!("/rust?since={since}"),
                None => "/rust".to_owned(),
            };
            let mut client = app.open(&path).await;
            let stay = Duration::from_millis(sim.draw(100..20_000));
            let until = sim.now() + stay;
            loop {
                let left = until.saturating_since(sim.now());
                match sim.timeout(left, words(&mut client)).await {
                    Some(words) => {
                        if self.check(&words, since) {
                            return self;
                        }
                    }
                    None => break,
                }
            }
            client.wire().cut();
            sim.sleep(Duration::from_millis(sim.draw(0..2000))).await;
        }
    }
}

/// Breaks things for half a minute, and mends them.
async fn break_things(sim: &Sim, broker: &SimBroker, servers: &[Server]) {
    broker.set_faults_per_thousand(sim.draw(0..200), sim.draw(0..200));
    for _ in 0..8 {
        sim.sleep(Duration::from_millis(sim.draw(100..6000))).await;
        let bus = &servers[sim.draw(0..servers.len() as u64) as usize].bus;
        match sim.draw(0..8) {
            0 => broker.crash(),
            1 => broker.restart(),
            2 => broker.crash_after_append(),
            3 => bus.partition(),
            4 => bus.heal(),
            5 => broker.evict(),
            6 => broker.lose_memory(),
            _ => broker.set_delay(Duration::ZERO..Duration::from_millis(sim.draw(1..3000))),
        }
    }
    broker.set_faults_per_thousand(0, 0);
    broker.set_delay(Duration::ZERO..Duration::from_millis(20));
    broker.restart();
    servers.iter().for_each(|server| server.bus.heal());
}

/// Publishes until the end, each message once or not at all, as often as it takes.
async fn publish(sim: Sim, chat: Namespace, name: usize, stop: Arc<Mutex<bool>>) {
    for number in 0.. {
        if *stop.lock().unwrap() {
            return;
        }
        let text = format!("{name}-{number}");
        let publication = Publication::new(text.clone()).idempotency_key(text);
        for _ in 0..3 {
            if chat.publish("rust", publication.clone()).await.is_ok() {
                break;
            }
            sim.sleep(Duration::from_millis(200)).await;
        }
        sim.sleep(Duration::from_millis(sim.draw(0..400))).await;
    }
}

#[test]
fn whatever_fails_each_message_comes_once_and_in_order_or_a_gap_is_reported() {
    let seeds = std::env::var("SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(60);
    let totals = Mutex::new([0; 3]);
    Sim::check(0..seeds, |sim| {
        let totals = &totals;
        async move {
            let broker = SimBroker::new(sim.clone());
            let history = [5, 1000][sim.draw(0..2) as usize];
            let config = config().history(History::last(history));
            let servers = servers(&sim, &broker, 3, &config);
            let truth = Truth::default();
            let apps: Vec<_> = servers.iter().map(|server| server.app.clone()).collect();
            let clients = (0..6).map(|_| {
                let truth = truth.clone();
                let client = Client { truth, last: None, gaps: 0, resumed: 0, received: 0 };
                sim.spawn(client.run(sim.clone(), apps.clone()))
            });
            let clients: Vec<_> = clients.collect();
            let stop = Arc::new(Mutex::new(false));
            let publishers = servers.iter().enumerate().map(|(name, server)| {
                sim.spawn(publish(sim.clone(), server.chat.clone(), name, stop.clone()))
            });
            let publishers: Vec<_> = publishers.collect();
            break_things(&sim, &broker, &servers).await;
            *stop.lock().unwrap() = true;
            for publisher in publishers {
                publisher.await;
            }
            sim.sleep(Duration::from_secs(5)).await;
            // More than once, for clients that join with a gap behind the first.
            let end = servers[0].chat.clone();
            let ending = sim.clone();
            sim.spawn(async move {
                loop {
                    end.publish("rust", "end").await.unwrap();
                    ending.sleep(Duration::from_secs(1)).await;
                }
            });
            for client in clients {
                let client = sim.timeout(Duration::from_secs(60), client).await;
                let client = client.expect("every member converges");
                let mut totals = totals.lock().unwrap();
                for (total, count) in
                    totals.iter_mut().zip([client.gaps, client.resumed, client.received])
                {
                    *total += count;
                }
            }
        }
    });
    let [gaps, resumed, received] = totals.into_inner().unwrap();
    println!("{seeds} seeds: {received} received, {resumed} resumed, {gaps} gaps");
    assert!(gaps > 0 && resumed > 0 && received > 0);
}

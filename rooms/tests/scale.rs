//! Many members at once, in virtual time. The full scale takes minutes:
//! `cargo test --profile quick -p sockless-rooms --test scale -- --ignored --nocapture`.

mod common;

use std::time::Duration;

use common::{Lines, router, welcome, words};
use sockless::rooms::{History, Namespace, Position, RoomConfig, Rooms, SimBroker};
use sockless::sim::{App, Sim};

struct Server {
    rooms: Rooms,
    chat: Namespace,
    app: App,
}

async fn servers(sim: &Sim, broker: &SimBroker, count: usize) -> Vec<Server> {
    let server = |_| {
        let rooms = Rooms::with_bus(broker.connect(), sim.clone());
        let config = RoomConfig::default().envelope(Lines).history(History::last(1000));
        let chat = rooms.namespace("chat", config);
        let app = sim.app(router(&chat));
        Server { rooms, chat, app }
    };
    let servers: Vec<_> = (0..count).map(server).collect();
    sim.sleep(Duration::from_secs(2)).await;
    servers
}

#[test]
fn members_that_return_at_once_share_the_reads() {
    members_return(400, 4, 2);
}

#[test]
#[ignore = "the full scale"]
fn ten_thousand_members_that_return_at_once_share_the_reads() {
    members_return(10_000, 20, 2);
}

/// All members were connected until the same message of their room, and have missed ten.
fn members_return(members: usize, rooms: usize, nodes: usize) {
    let sim = Sim::new(1);
    sim.run(async {
        let broker = SimBroker::new(sim.clone());
        let servers = servers(&sim, &broker, nodes).await;
        let mut since: Vec<Position> = Vec::new();
        for room in 0..rooms {
            let name = format!("{room}");
            for number in 0..30 {
                let published = servers[0].chat.publish(&name, format!("{number}")).await;
                let position = published.unwrap().unwrap();
                if number == 19 {
                    since.push(position);
                }
            }
        }
        let reads = || servers.iter().map(|server| server.rooms.stats().history_reads).sum::<u64>();
        let before = reads();
        let begun = sim.now();
        let returning: Vec<_> = (0..members)
            .map(|number| {
                let (room, server) = (number % rooms, &servers[number / rooms % nodes]);
                let (sim, app, since) = (sim.clone(), server.app.clone(), since[room]);
                let client = sim.clone();
                sim.spawn(async move {
                    let mut client_side = app.open(&format!("/{room}?since={since}")).await;
                    assert_eq!(welcome(&mut client_side).await.1, "complete");
                    for number in 20..30 {
                        assert_eq!(words(&mut client_side).await[2], format!("{number}"));
                    }
                    (client_side, client.now().saturating_since(begun))
                })
            })
            .collect();
        let (mut clients, mut times) = (Vec::new(), Vec::new());
        for returned in returning {
            let (client, time) = returned.await;
            clients.push(client);
            times.push(time);
        }
        times.sort();
        let (reads, p99) = (reads() - before, times[times.len() * 99 / 100]);
        println!("{members} members, {rooms} rooms, {nodes} nodes: {reads} reads, p99 {p99:?}");
        assert!(reads <= (rooms * nodes) as u64, "{reads}");
        assert!(p99 <= Duration::from_secs(1), "{p99:?}");
    });
}

#[test]
fn connections_that_are_cut_again_and_again_miss_nothing_silently() {
    cut(40, 20);
}

#[test]
#[ignore = "the full scale"]
fn a_thousand_connections_that_are_cut_again_and_again_miss_nothing_silently() {
    cut(1000, 60);
}

#[derive(Clone, Copy, Default)]
struct Counts {
    received: u64,
    gaps: u64,
    cuts: u64,
}

/// Each connection is cut every five seconds, and a message is published every 100 ms.
fn cut(connections: usize, seconds: u64) {
    let sim = Sim::new(1);
    sim.run(async {
        let broker = SimBroker::new(sim.clone());
        let servers = servers(&sim, &broker, 2).await;
        let first = servers[0].chat.publish("room", "0").await.unwrap().unwrap();
        let last = seconds * 10;
        let clients: Vec<_> = (0..connections)
            .map(|number| {
                let apps = servers.iter().map(|server| server.app.clone()).collect();
                sim.spawn(client(sim.clone(), apps, number, first, last))
            })
            .collect();
        for number in 1..=last {
            let chat = &servers[number as usize % 2].chat;
            chat.publish("room", format!("{number}")).await.unwrap();
            sim.sleep(Duration::from_millis(100)).await;
        }
        let mut sum = Counts::default();
        for client in clients {
            let counts = client.await;
            assert!(counts.gaps > 0 || counts.received == last, "{}", counts.received);
            sum.received += counts.received;
            sum.gaps += counts.gaps;
            sum.cuts += counts.cuts;
        }
        let Counts { received, gaps, cuts } = sum;
        let expected = connections as u64 * last;
        println!("{connections} connections, {cuts} cuts: {received} of {expected} delivered, {gaps} gaps");
        // The history is long enough for all.
        assert_eq!((received, gaps), (expected, 0));
        assert!(cuts >= connections as u64 * (seconds / 6), "{cuts}");
    });
}

/// Receives everything until the message `last`, in order and once.
async fn client(sim: Sim, apps: Vec<App>, number: usize, mut since: Position, last: u64) -> Counts {
    let mut counts = Counts::default();
    // Not all at the same time.
    let mut until = sim.now() + Duration::from_millis(sim.draw(0..5000));
    for turn in number.. {
        let mut client = apps[turn % apps.len()].open(&format!("/room?since={since}")).await;
        loop {
            let left = until.saturating_since(sim.now());
            let Some(words) = sim.timeout(left, words(&mut client)).await else { break };
            match &*words[0] {
                "message" => {
                    let position: Position = words[1].parse().unwrap();
                    assert_eq!(position, Position { offset: since.offset + 1, ..since });
                    assert_eq!(words[2], format!("{}", position.offset - 1), "each has its place");
                    since = position;
                    counts.received += 1;
                    if words[2] == last.to_string() {
                        return counts;
                    }
                }
                "gap" => counts.gaps += 1,
                "welcome" if words[2] == "gap" => counts.gaps += 1,
                "welcome" => {}
                other => panic!("{other}"),
            }
        }
        client.wire().cut();
        counts.cuts += 1;
        until = sim.now() + Duration::from_secs(5);
    }
    counts
}

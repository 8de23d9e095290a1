//! Presence: who is in a room, on all servers.

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use sockless::rooms::{Envelope, Namespace, RoomConfig, RoomEvent, Rooms, SimBroker, SimBus};
use sockless::sim::{App, Conversation, Sim};
use sockless::{BoxError, CloseCode, OutgoingMessage, Router, Session, websocket};

/// `+ada` and `-ada`.
struct Names;

impl Envelope for Names {
    fn encode(&self, _room: &str, event: &RoomEvent) -> Option<OutgoingMessage> {
        let (sign, occupant) = match event {
            RoomEvent::Joined(occupant) => ('+', occupant),
            RoomEvent::Left(occupant) => ('-', occupant),
            _ => return None,
        };
        Some(format!("{sign}{}", occupant.identity.as_ref()?).into())
    }
}

const TTL: Duration = Duration::from_secs(6);

fn config() -> RoomConfig {
    RoomConfig::default().presence_ttl(TTL).envelope(Names)
}

fn router(rooms: &Namespace) -> Router {
    let rooms = rooms.clone();
    Router::new().route("/{name}", websocket(move |session| serve(session, rooms.clone())))
}

/// Answers each message with the names of all members.
async fn serve(mut session: Session, rooms: Namespace) -> Result<(), BoxError> {
    let name = session.request().param_str("name").unwrap_or_default().to_owned();
    let member = rooms.join(&session, "room").identity(name.clone()).data(name).await?;
    loop {
        session.recv().await?;
        let names: BTreeSet<_> = member
            .occupants()
            .iter()
            .map(|occupant| {
                let name = occupant.identity.as_ref().unwrap().to_string();
                assert_eq!(occupant.data, name.as_bytes());
                name
            })
            .collect();
        assert_eq!(member.occupancy(), member.occupants().len());
        session.send(names.into_iter().collect::<Vec<_>>().join(" ")).await?;
    }
}

async fn names(client: &mut Conversation) -> String {
    client.send("?").await;
    client.recv().await.as_text().unwrap().to_owned()
}

fn server(sim: &Sim, broker: &SimBroker) -> (Rooms, Namespace, App, SimBus) {
    let bus = broker.connect();
    let rooms = Rooms::with_bus(bus.clone(), sim.clone());
    let chat = rooms.namespace("chat", config());
    let app = sim.app(router(&chat));
    (rooms, chat, app, bus)
}

#[test]
fn members_of_one_server_know_of_each_other() {
    Sim::check(0..20, |sim| async move {
        let chat = Rooms::local(sim.clone()).namespace("chat", config());
        let app = sim.app(router(&chat));
        let mut ada = app.open("/ada").await;
        sim.settle().await;
        let mut bob = app.open("/bob").await;
        ada.expect("+bob").await;
        assert_eq!(names(&mut bob).await, "ada bob");
        bob.terminate();
        ada.expect("-bob").await;
        assert_eq!(names(&mut ada).await, "ada");
        assert_eq!(chat.occupancy("room"), 1);
        assert_eq!(chat.occupancy("other"), 0);
    });
}

#[test]
fn members_of_all_servers_know_of_each_other() {
    Sim::check(0..30, |sim| async move {
        let broker = SimBroker::new(sim.clone());
        let (_, _, first, _) = server(&sim, &broker);
        let (_, _, second, _) = server(&sim, &broker);
        sim.sleep(Duration::from_secs(2)).await;
        let mut ada = first.open("/ada").await;
        sim.sleep(Duration::from_secs(1)).await;
        let mut bob = second.open("/bob").await;
        ada.expect("+bob").await;
        bob.expect("+ada").await;
        assert_eq!(names(&mut ada).await, "ada bob");
        assert_eq!(names(&mut bob).await, "ada bob");
        ada.terminate();
        bob.expect("-ada").await;
        bob.expect_silence(TTL * 3).await;
    });
}

#[test]
fn the_members_of_a_dead_server_are_gone_within_twice_the_time_to_live() {
    Sim::check(0..30, |sim| async move {
        let broker = SimBroker::new(sim.clone());
        let (_, _, first, bus) = server(&sim, &broker);
        let (_, _, second, _) = server(&sim, &broker);
        sim.sleep(Duration::from_secs(2)).await;
        let _ada = first.open("/ada").await;
        sim.sleep(Duration::from_secs(1)).await;
        let mut bob = second.open("/bob").await;
        bob.expect("+ada").await;
        sim.sleep(Duration::from_millis(sim.draw(0..20_000))).await;
        bus.kill();
        let killed = sim.now();
        bob.expect("-ada").await;
        assert!(sim.now().saturating_since(killed) <= TTL * 2);
        assert_eq!(names(&mut bob).await, "bob");
    });
}

#[test]
fn presence_converges_after_faults() {
    Sim::check(0..60, |sim| async move {
        let broker = SimBroker::new(sim.clone());
        let servers: Vec<_> = (0..3).map(|_| server(&sim, &broker)).collect();
        sim.sleep(Duration::from_secs(2)).await;
        let mut clients: Vec<(String, Conversation)> = Vec::new();
        broker.set_faults_per_thousand(0, 100);
        for number in 0..20 {
            let (_, _, app, bus) = &servers[sim.draw(0..3) as usize];
            match sim.draw(0..6) {
                0 => bus.partition(),
                1 => bus.heal(),
                2 if !clients.is_empty() => {
                    let at = sim.draw(0..clients.len() as u64) as usize;
                    clients.swap_remove(at).1.terminate();
                }
                3 => {
                    broker.crash();
                    broker.restart();
                }
                _ => {
                    let name = format!("{number}");
                    clients.push((name.clone(), app.open(&format!("/{name}")).await));
                }
            }
            sim.sleep(Duration::from_millis(sim.draw(0..3000))).await;
        }
        for (_, _, _, bus) in &servers {
            bus.heal();
        }
        sim.sleep(TTL * 2 + Duration::from_secs(2)).await;
        let expected: BTreeSet<_> = clients.iter().map(|(name, _)| name.clone()).collect();
        for (_, client) in &mut clients {
            // The reports precede the answer.
            client.send("?").await;
            let listed = loop {
                let message = client.recv().await;
                let text = message.as_text().unwrap().to_owned();
                if !text.starts_with(['+', '-']) {
                    break text;
                }
            };
            let listed: BTreeSet<_> = listed.split(' ').map(str::to_owned).collect();
            assert_eq!(listed, expected);
        }
    });
}

#[test]
fn a_member_can_be_disconnected_and_a_room_closed_on_all_servers() {
    Sim::check(0..20, |sim| async move {
        let broker = SimBroker::new(sim.clone());
        let (_, chat, first, _) = server(&sim, &broker);
        let (rooms, _, second, _) = server(&sim, &broker);
        sim.sleep(Duration::from_secs(2)).await;
        let mut ada = first.open("/ada").await;
        sim.sleep(Duration::from_secs(1)).await;
        let mut bob = second.open("/bob").await;
        ada.expect("+bob").await;
        bob.expect("+ada").await;
        let banned = CloseCode::new(4003).unwrap();
        assert_eq!(chat.disconnect("room", "bob", (banned, "banned")), Ok(0));
        assert_eq!(bob.expect_closed(4003).await.received().unwrap().text(), "banned");
        ada.expect("-bob").await;
        assert_eq!(chat.close("room", CloseCode::GOING_AWAY), Ok(1));
        ada.expect_closed(1001).await;
        sim.settle().await;
        assert_eq!((rooms.stats().rooms, rooms.stats().members), (0, 0));
        assert!(chat.close("", CloseCode::GOING_AWAY).is_err());
    });
}

//! The client of the envelope, in the simulator: no message is lost silently, and none comes twice.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sockless::rooms::json::{
    ClientEvent, JoinRoom, JsonRooms, QueueError, RefusalCode, RoomsClient, SUBPROTOCOL,
};
use sockless::rooms::{Denied, History, Position, Resumed, RoomConfig, Rooms, SimBroker, SimBus};
use sockless::sim::{App, Link, Sim, Wire};
use sockless::{Connect, Reconnect, Router, Session, websocket};

const ROOM: &str = "chat:rust";

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn config() -> RoomConfig {
    RoomConfig::default().history(History::last(1000)).presence()
}

fn app(sim: &Sim, rooms: &JsonRooms) -> App {
    let rooms = rooms.clone();
    let handler = websocket(move |session| rooms.clone().serve(session));
    let router = Router::new().route("/rooms", handler.protocol(SUBPROTOCOL));
    sim.app_over(router, &Link::default().latency(ms(1)))
}

/// Servers that share rooms, and a client that connects to any of them.
struct World {
    sim: Sim,
    broker: SimBroker,
    buses: Vec<SimBus>,
    rooms: Vec<JsonRooms>,
    apps: Vec<App>,
    /// The connection of the client that was opened last.
    wire: Arc<Mutex<Option<Wire>>>,
}

impl World {
    async fn new(sim: &Sim, config: RoomConfig) -> Self {
        let broker = SimBroker::new(sim.clone());
        let buses: Vec<_> = (0..2).map(|_| broker.connect()).collect();
        let rooms: Vec<_> = buses
            .iter()
            .map(|bus| {
                JsonRooms::new(Rooms::with_bus(bus.clone(), sim.clone()))
                    .namespace("chat", config.clone())
            })
            .collect();
        let apps = rooms.iter().map(|rooms| app(sim, rooms)).collect();
        sim.sleep(ms(2000)).await;
        Self { sim: sim.clone(), broker, buses, rooms, apps, wire: Arc::default() }
    }

    fn client(&self) -> RoomsClient {
        let (sim, apps, wire) = (self.sim.clone(), self.apps.clone(), self.wire.clone());
        let factory = move || -> Connect {
            let app = &apps[sim.draw(0..apps.len() as u64) as usize];
            let io = app.dial();
            *wire.lock().unwrap() = Some(io.wire());
            sim.connect("ws://sim/rooms").subprotocol(SUBPROTOCOL).transport(Box::new(io))
        };
        let reconnect = Reconnect::new(factory).initial_delay(ms(5)).max_delay(ms(50));
        RoomsClient::new(reconnect, self.sim.clone())
    }

    fn cut(&self) {
        if let Some(wire) = &*self.wire.lock().unwrap() {
            wire.cut();
        }
    }

    /// Publishes from outside of a session.
    async fn publish(&self, value: u64) -> Option<Position> {
        let chat = self.rooms[0].get("chat").unwrap();
        chat.publish("rust", format!("[{value}]")).await.ok()?
    }
}

/// Checks that messages come in order and once, or after a gap.
#[derive(Default)]
struct Checker {
    last: Option<Position>,
    values: BTreeMap<u64, u32>,
    published: usize,
    gaps: usize,
}

impl Checker {
    fn see(&mut self, event: &ClientEvent) {
        if event.is_gap() {
            self.gaps += 1;
            self.last = None;
        }
        match event {
            ClientEvent::Item(item) => {
                let position = item.position().expect("messages are counted");
                if let Some(last) = self.last {
                    let next = Position { offset: last.offset + 1, ..last };
                    assert_eq!(position, next, "a message is lost or comes twice");
                }
                self.last = Some(position);
                let [value] = item.parse::<[u64; 1]>().unwrap();
                *self.values.entry(value).or_default() += 1;
            }
            ClientEvent::Published { .. } => self.published += 1,
            ClientEvent::Refused { code, message, .. } => panic!("{code:?}: {message}"),
            _ => {}
        }
    }
}

async fn wait_until_joined(client: &mut RoomsClient) -> Resumed {
    loop {
        if let ClientEvent::Joined { resumed, .. } = client.next().await.unwrap() {
            return resumed;
        }
    }
}

/// A client publishes, while another program does, until `end`. Then it waits until all is answered.
async fn talk(world: &World, client: &mut RoomsClient, checker: &mut Checker, until: Duration) {
    let end = world.sim.now() + until;
    let mut value = 1000;
    while world.sim.now() < end {
        client.publish(ROOM, [value]).unwrap();
        value += 1;
        let pause = ms(world.sim.draw(0..8));
        let resting = world.sim.now() + pause;
        loop {
            let left = resting.saturating_since(world.sim.now());
            match world.sim.timeout(left, client.next()).await {
                Some(event) => checker.see(&event.unwrap()),
                None => break,
            }
        }
    }
    let sent = (value - 1000) as usize;
    while checker.published < sent {
        checker.see(&next(world, client).await);
    }
}

/// The next event, of one that is certain to come.
async fn next(world: &World, client: &mut RoomsClient) -> ClientEvent {
    let event = world.sim.timeout(ms(60_000), client.next()).await;
    event.expect("an event within a minute").unwrap()
}

/// The connection is cut at each moment of a conversation, in steps of 0.2 ms where a message takes
/// 1 ms.
#[test]
fn nothing_is_lost_wherever_the_connection_is_cut() {
    for cut in 0..120 {
        let sim = Sim::new(cut);
        sim.run(async {
            let world = World::new(&sim, config()).await;
            let mut client = world.client();
            client.join(JoinRoom::new(ROOM).last(10));
            world.publish(1).await.unwrap();
            for value in 1000..1003 {
                client.publish(ROOM, [value]).unwrap();
            }
            let mut checker = Checker::default();
            let conversation = async {
                while checker.published < 3 {
                    checker.see(&next(&world, &mut client).await);
                }
                world.publish(2).await.unwrap();
                while !checker.values.contains_key(&2) {
                    checker.see(&next(&world, &mut client).await);
                }
            };
            let cutting = async {
                sim.sleep(Duration::from_micros(200 * cut)).await;
                world.cut();
            };
            both(conversation, cutting).await;
            assert_eq!((checker.gaps, client.unanswered()), (0, 0));
            let seen: Vec<_> = checker.values.into_iter().collect();
            assert_eq!(seen, [(1, 1), (2, 1), (1000, 1), (1001, 1), (1002, 1)]);
        });
    }
}

async fn both(first: impl Future<Output = ()>, second: impl Future<Output = ()>) {
    let (mut first, mut second) = (std::pin::pin!(first), std::pin::pin!(second));
    let mut ended = [false; 2];
    std::future::poll_fn(|cx| {
        ended[0] = ended[0] || first.as_mut().poll(cx).is_ready();
        ended[1] = ended[1] || second.as_mut().poll(cx).is_ready();
        if ended == [true; 2] { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

/// Connections are cut again and again, and each time any server answers.
#[test]
fn every_message_arrives_once_over_many_connections_to_several_servers() {
    Sim::check(0..20, |sim| async move {
        let world = World::new(&sim, config()).await;
        let mut client = world.client();
        client.join(ROOM);
        assert_eq!(wait_until_joined(&mut client).await, Resumed::New);
        let mut checker = Checker::default();
        let others = async {
            for value in 0..100 {
                world.publish(value).await.unwrap();
                sim.sleep(ms(sim.draw(0..8))).await;
                if sim.draw(0..8) == 0 {
                    world.cut();
                }
            }
        };
        both(talk(&world, &mut client, &mut checker, ms(500)), others).await;
        let top = world.publish(999).await.unwrap();
        while checker.last != Some(top) {
            checker.see(&next(&world, &mut client).await);
        }
        assert_eq!((checker.gaps, client.position(ROOM)), (0, Some(top)));
        let expected = (0..100).chain([999]).chain(1000..1000 + checker.published as u64);
        let expected: BTreeMap<_, _> = expected.map(|value| (value, 1)).collect();
        assert_eq!(checker.values, expected);
    });
}

/// The broker fails in all of its ways, and connections are cut as well.
#[test]
fn a_message_arrives_once_or_a_gap_is_reported() {
    Sim::check(0..30, |sim| async move {
        let world = World::new(&sim, config().history(History::last(20))).await;
        let mut client = world.client();
        client.join(ROOM);
        wait_until_joined(&mut client).await;
        let mut checker = Checker::default();
        let receiving = async {
            let end = sim.now() + ms(60_000);
            while sim.now() < end {
                if let Some(event) = sim.timeout(ms(1000), client.next()).await {
                    checker.see(&event.unwrap());
                }
            }
        };
        let faults = async {
            for value in 0..200 {
                let _ = world.publish(value).await;
                sim.sleep(ms(sim.draw(0..50))).await;
                match sim.draw(0..40) {
                    0 => world.broker.lose_memory(),
                    1 => world.broker.evict(),
                    2 => {
                        world.broker.crash();
                        sim.sleep(ms(200)).await;
                        world.broker.restart();
                    }
                    3 => {
                        world.buses[1].partition();
                        sim.sleep(ms(200)).await;
                        world.buses[1].heal();
                    }
                    4..8 => world.cut(),
                    _ => {}
                }
            }
            sim.sleep(ms(5000)).await;
            loop {
                match world.publish(999).await {
                    Some(top) => break top,
                    None => sim.sleep(ms(100)).await,
                }
            }
        };
        let top = Mutex::new(None);
        both(receiving, async { *top.lock().unwrap() = Some(faults.await) }).await;
        assert_eq!(checker.last, *top.lock().unwrap(), "it has caught up");
    });
}

#[test]
fn a_room_may_be_left_and_joined_again() {
    Sim::check(0..30, |sim| async move {
        let world = World::new(&sim, config()).await;
        let mut client = world.client();
        client.join(ROOM);
        wait_until_joined(&mut client).await;
        for round in 0..10 {
            let first = world.publish(round).await.unwrap();
            client.leave(ROOM);
            assert!(matches!(client.publish(ROOM, 1), Err(QueueError::NotJoined)));
            client.join(JoinRoom::new(ROOM).since(first));
            if sim.draw(0..3) == 0 {
                world.cut();
            }
            assert_eq!(wait_until_joined(&mut client).await, Resumed::Complete);
            let next = world.publish(round).await.unwrap();
            loop {
                if let ClientEvent::Item(item) = client.next().await.unwrap() {
                    assert_eq!(item.position(), Some(next));
                    break;
                }
            }
        }
    });
}

#[test]
fn members_are_listed_and_changes_reported() {
    Sim::check(0..20, |sim| async move {
        let world = World::new(&sim, config()).await;
        let (mut ada, mut bob) = (world.client(), world.client());
        ada.join(ROOM);
        wait_until_joined(&mut ada).await;
        let ClientEvent::Members { you, count, .. } = ada.next().await.unwrap() else { panic!() };
        assert_eq!(count, 1);
        bob.join(JoinRoom::new(ROOM).data("Bob").unwrap());
        wait_until_joined(&mut bob).await;
        let ClientEvent::MemberJoined { member, .. } = ada.next().await.unwrap() else { panic!() };
        assert_eq!((member.data(), member.id() == you), (Some("\"Bob\""), false));
        drop(bob);
        let ClientEvent::MemberLeft { member: left, .. } = ada.next().await.unwrap() else {
            panic!()
        };
        assert_eq!(left, member);
    });
}

#[test]
fn refusals_are_events() {
    Sim::check(0..20, |sim| async move {
        let config = config().max_message_len(100).authorize(|attempt| match attempt.room {
            "secret" => Err(Denied::new("members only")),
            _ => Ok(()),
        });
        let world = World::new(&sim, config).await;
        let mut client = world.client().max_unanswered(2);
        for room in ["chat:secret", "news:rust", ROOM] {
            client.join(room);
        }
        let id = client.publish(ROOM, "x".repeat(200)).unwrap();
        let other = client.publish("chat:secret", 1).unwrap();
        assert!(matches!(client.publish(ROOM, 1), Err(QueueError::Full { limit: 2 })));
        let mut refused = Vec::new();
        while refused.len() < 4 {
            if let ClientEvent::Refused { room, id, code, .. } = client.next().await.unwrap() {
                refused.push((room.to_string(), id, code));
            }
        }
        let expected = [
            ("chat:secret", None, RefusalCode::Denied),
            ("news:rust", None, RefusalCode::UnknownNamespace),
            (ROOM, Some(id), RefusalCode::TooLong),
            ("chat:secret", Some(other), RefusalCode::NotJoined),
        ];
        assert_eq!(refused, expected.map(|(room, id, code)| (room.to_owned(), id, code)));
        assert!(matches!(client.publish("news:rust", 1), Err(QueueError::NotJoined)));
        assert_eq!(client.unanswered(), 0);
    });
}

/// A server that sends what is not of the envelope would do so again: the client gives up.
#[test]
fn a_broken_server_is_left() {
    async fn babble(session: Session) {
        let text = ["", "[]", "{\"type\":\"item\",\"room\":\"chat:rust\",\"position\":\"x\"}"];
        for text in text {
            let _ = session.send(text).await;
        }
        session.closed().await;
    }
    Sim::check(0..20, |sim| async move {
        let app = sim.app(Router::new().route("/rooms", websocket(babble)));
        let dialing = (sim.clone(), app.clone());
        let factory = move || {
            let (sim, app) = &dialing;
            sim.connect("ws://sim/rooms").transport(Box::new(app.dial()))
        };
        let mut client = RoomsClient::new(Reconnect::new(factory), sim.clone());
        client.join(ROOM);
        assert!(matches!(client.next().await, Ok(ClientEvent::Connected)));
        let ended = client.next().await.unwrap();
        let ClientEvent::Disconnected(closed) = ended else { panic!("{ended:?}") };
        assert_eq!(closed.sent().and_then(|reason| reason.code()).unwrap().get(), 1002);
        assert!(client.next().await.is_err());
    });
}

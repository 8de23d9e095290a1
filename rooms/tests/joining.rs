//! What can happen while a session waits for the bus to join a room.

mod common;

use std::time::Duration;

use common::{Lines, expect_message, router, welcome, within, words};
use sockless::rooms::{History, Namespace, RoomConfig, Rooms, SimBroker};
use sockless::sim::{App, Conversation, Sim};
use sockless::{CloseCode, Router, Session, websocket};

/// The time that a read takes, and a signal to the other server.
const LATE: Duration = Duration::from_secs(2);
const SOON: Duration = Duration::from_millis(100);

/// Two servers of a room with ten messages, and a member on the first.
struct Stand {
    broker: SimBroker,
    rooms: [Rooms; 2],
    chats: [Namespace; 2],
    app: App,
    bob: Conversation,
    /// The position of the first message.
    first: String,
}

async fn stand(sim: &Sim, config: RoomConfig) -> Stand {
    let broker = SimBroker::new(sim.clone());
    let rooms = [(); 2].map(|()| Rooms::with_bus(broker.connect(), sim.clone()));
    let config = config.envelope(Lines).history(History::last(100));
    let chats = rooms.each_ref().map(|rooms| rooms.namespace("chat", config.clone()));
    sim.sleep(Duration::from_secs(2)).await;
    let app = sim.app(router(&chats[0]));
    let mut bob = app.open("/rust").await;
    welcome(&mut bob).await;
    let mut first = String::new();
    for number in 0..10 {
        chats[0].publish("rust", number.to_string()).await.unwrap();
        let position = expect_message(&mut bob, &number.to_string()).await;
        if number == 0 {
            first = position;
        }
    }
    Stand { broker, rooms, chats, app, bob, first }
}

impl Stand {
    /// Checks that the room is as it was, with one member, and that all can be resumed.
    async fn goes_on(&mut self, sim: &Sim) {
        // Until the answers have come that no one waits for.
        sim.sleep(3 * LATE).await;
        self.broker.set_delay(Duration::ZERO..SOON);
        let stats = self.rooms[0].stats();
        assert_eq!((stats.rooms, stats.members), (1, 1), "{stats:?}");
        self.chats[1].publish("rust", "10").await.unwrap();
        expect_message(&mut self.bob, "10").await;
        let mut ada = self.app.open(&format!("/rust?since={}", self.first)).await;
        assert_eq!(welcome(&mut ada).await, (self.first.clone(), "complete".to_owned()));
        for number in 1..=10 {
            expect_message(&mut ada, &number.to_string()).await;
        }
    }
}

#[test]
fn a_member_that_resumes_can_be_disconnected() {
    Sim::check(0..40, |sim| async move {
        let mut stand = stand(&sim, RoomConfig::default()).await;
        stand.broker.set_delay(LATE..LATE);
        let mut ada = stand.app.open(&format!("/rust?since={}&identity=ada", stand.first)).await;
        sim.sleep(SOON).await;
        let (here, there) = (&stand.chats[0], &stand.chats[1]);
        if sim.draw(0..2) == 0 {
            assert_eq!(here.disconnect("rust", "ada", CloseCode::POLICY_VIOLATION), Ok(1));
        } else {
            // Its read ends at about the same time.
            assert_eq!(there.disconnect("rust", "ada", CloseCode::POLICY_VIOLATION), Ok(0));
            sim.sleep(LATE).await;
        }
        let closed = ada.closed().await;
        assert_eq!(closed.received().unwrap().code(), Some(CloseCode::POLICY_VIOLATION));
        stand.goes_on(&sim).await;
    });
}

#[test]
fn a_room_that_is_closed_while_a_member_resumes_can_be_resumed_later() {
    Sim::check(0..40, |sim| async move {
        let mut stand = stand(&sim, RoomConfig::default()).await;
        stand.broker.set_delay(LATE..LATE);
        let mut ada = stand.app.open(&format!("/rust?since={}", stand.first)).await;
        sim.sleep(SOON).await;
        assert_eq!(stand.chats[0].close("rust", CloseCode::GOING_AWAY), Ok(2));
        ada.expect_closed(1001).await;
        stand.bob.expect_closed(1001).await;
        // Others come before the read has ended.
        stand.bob = stand.app.open("/rust").await;
        sim.sleep(LATE).await;
        assert_eq!(welcome(&mut stand.bob).await.1, "new");
        stand.goes_on(&sim).await;
    });
}

#[test]
fn a_session_that_ends_while_it_resumes_leaves() {
    Sim::check(0..40, |sim| async move {
        let mut stand = stand(&sim, RoomConfig::default()).await;
        stand.broker.set_delay(LATE..LATE);
        let ada = stand.app.open(&format!("/rust?since={}", stand.first)).await;
        sim.sleep(SOON).await;
        match sim.draw(0..3) {
            0 => ada.terminate(),
            1 => ada.wire().cut(),
            _ => ada.close(CloseCode::NORMAL),
        }
        stand.goes_on(&sim).await;
    });
}

/// The handler gives up: it is not in the room, and has its places back.
#[test]
fn a_join_that_is_dropped_leaves_nothing() {
    async fn serve(session: Session, chat: Namespace) {
        let since = session.request().query_param("since").unwrap().parse().unwrap();
        let join = chat.join(&session, "rust").resume(Some(since)).into_future();
        assert!(within(session.sleep(SOON), join).await.is_none());
        // The only place of the session.
        let _member = chat.join(&session, "other").await.unwrap();
        session.send("in the other").await.unwrap();
        session.sleep(SOON).await;
    }
    Sim::check(0..40, |sim| async move {
        let config = RoomConfig::default().presence().max_rooms_per_session(1).max_members(2);
        let mut stand = stand(&sim, config).await;
        let chat = stand.chats[0].clone();
        let handler = websocket(move |session| serve(session, chat.clone()));
        let app = sim.app(Router::new().route("/", handler));
        stand.broker.set_delay(LATE..LATE);
        for _ in 0..2 {
            let mut ada = app.open(&format!("/?since={}", stand.first)).await;
            assert!(words(&mut stand.bob).await[0].starts_with("joined"));
            assert!(words(&mut stand.bob).await[0].starts_with("left"));
            assert_eq!(stand.chats[0].occupancy("rust"), 1);
            assert_eq!(welcome(&mut ada).await.1, "new");
            ada.expect("in the other").await;
            ada.expect_closed(1000).await;
        }
        stand.goes_on(&sim).await;
    });
}

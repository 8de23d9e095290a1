//! Permissions and limits of members.

mod common;

use std::time::Duration;

use common::{Lines, expect_message, router, welcome};
use sockless::rooms::{Action, Denied, JoinError, Namespace, PublishError, RoomConfig, Rooms};
use sockless::sim::Sim;
use sockless::{Router, Session, websocket};

/// A handler for one test, of one session.
fn serve<Fut>(sim: &Sim, config: RoomConfig, handler: fn(Session, Namespace) -> Fut) -> Router
where
    Fut: Future<Output = ()> + Send + 'static,
{
    let rooms = Rooms::local(sim.clone()).namespace("chat", config);
    Router::new().route("/{room}", websocket(move |session| handler(session, rooms.clone())))
}

#[test]
fn each_join_and_publication_is_authorized_with_the_request() {
    let sim = Sim::new(1);
    sim.run(async {
        let config = RoomConfig::default().authorize(|attempt| {
            let is_guest = attempt.request.query_param("guest").is_some();
            match attempt.action {
                Action::Join if attempt.room == "staff" && attempt.identity != Some("ada") => {
                    Err(Denied::new("for staff\u{1b}"))
                }
                Action::Publish(publication) if is_guest => {
                    assert_eq!(publication.message().as_text(), Some("hi"));
                    Err(Denied::new("guests may only read"))
                }
                _ => Ok(()),
            }
        });
        async fn handler(session: Session, rooms: Namespace) {
            let error = rooms.join(&session, "staff").await.unwrap_err();
            assert_eq!(error, JoinError::Denied(Denied::new("for staff\u{1b}")));
            assert_eq!(error.to_string(), r"joining was denied: for staff\u{1b}");
            assert!(rooms.join(&session, "staff").identity("ada").await.is_ok());
            let member = rooms.join(&session, "lobby").await.unwrap();
            let published = member.publish("hi").await;
            if session.request().query_param("guest").is_some() {
                let denied = Denied::new("guests may only read");
                assert_eq!(published, Err(PublishError::Denied(denied)));
            } else {
                assert!(published.is_ok());
            }
        }
        let app = sim.app(serve(&sim, config, handler));
        app.open("/x?guest").await.expect_closed(1000).await;
        let mut user = app.open("/x").await;
        user.expect("hi").await;
        user.expect_closed(1000).await;
    });
}

#[test]
fn a_member_publishes_no_more_than_its_rate() {
    let sim = Sim::new(1);
    sim.run(async {
        let config = RoomConfig::default().envelope(Lines).publish_rate(5, Duration::from_secs(10));
        async fn handler(session: Session, rooms: Namespace) {
            let member = rooms.join(&session, "lobby").await.unwrap();
            for round in 0..3 {
                // A burst, and then one every two seconds.
                let burst = if round == 0 { 5 } else { 1 };
                for _ in 0..burst {
                    assert!(member.publish("x").await.is_ok());
                }
                let retry_after = Duration::from_secs(2);
                let too_fast = Err(PublishError::TooFast { retry_after });
                assert_eq!(member.publish("x").await, too_fast);
                session.sleep(retry_after).await;
            }
            // Others are not affected, and the member is still there.
            let second = rooms.join(&session, "lobby").await.unwrap();
            assert!(second.publish("x").await.is_ok());
        }
        let app = sim.app(serve(&sim, config, handler));
        let mut client = app.open("/x").await;
        welcome(&mut client).await;
        for _ in 0..7 {
            expect_message(&mut client, "x").await;
        }
    });
}

#[test]
fn a_flood_of_joins_is_refused() {
    let sim = Sim::new(1);
    sim.run(async {
        let config = RoomConfig::default().max_rooms_per_session(3);
        async fn handler(session: Session, rooms: Namespace) {
            let mut members = Vec::new();
            for number in 0..1000 {
                match rooms.join(&session, &format!("{number}")).await {
                    Ok(member) => members.push(member),
                    Err(error) => assert_eq!(error, JoinError::TooManyRooms { limit: 3 }),
                }
            }
            assert_eq!(members.len(), 3);
            members.pop();
            members.push(rooms.join(&session, "again").await.unwrap());
            // A name that is refused takes no place.
            members.pop();
            assert!(rooms.join(&session, "").await.is_err());
            members.push(rooms.join(&session, "again").await.unwrap());
        }
        let app = sim.app(serve(&sim, config, handler));
        // Each session has its own places, and gives them back.
        for _ in 0..3 {
            app.open("/x").await.expect_closed(1000).await;
        }
    });
}

#[test]
fn a_member_that_was_disconnected_cannot_publish() {
    let sim = Sim::new(1);
    sim.run(async {
        let rooms = Rooms::local(sim.clone());
        let chat = rooms.namespace("chat", RoomConfig::default().envelope(Lines));
        let app = sim.app(router(&chat));
        let mut ada = app.open("/lobby?identity=ada").await;
        welcome(&mut ada).await;
        assert_eq!(chat.disconnect("lobby", "bob", sockless::CloseCode::NORMAL), Ok(0));
        assert_eq!(chat.disconnect("lobby", "ada", sockless::CloseCode::NORMAL), Ok(1));
        ada.expect_closed(1000).await;
        sim.settle().await;
        assert_eq!(rooms.stats().members, 0);
    });
}

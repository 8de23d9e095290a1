//! A chat with rooms (feature `rooms`): history, resume, who is there, and slow readers under control.
//!
//! `cargo run -p sockless-examples --example rooms`, then open `ws://127.0.0.1:8080/chat/rust?name=ada` in
//! several clients and send lines. Each message has a position; to resume, connect with `&since=POSITION`.

use std::time::Duration;

use serde_json::json;
use sockless::rooms::{
    Envelope, History, Lag, Namespace, Occupant, Position, Resumed, RoomConfig, RoomEvent, Rooms,
};
use sockless::tokio::TokioRuntime;
use sockless::{BoxError, CloseCode, OutgoingMessage, Router, Session, websocket};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let chat = Rooms::local(TokioRuntime).namespace("chat", config());
    sockless::serve("127.0.0.1:8080", router(chat)).await
}

fn config() -> RoomConfig {
    RoomConfig::default()
        .history(History::last(100).max_age(Duration::from_secs(600)))
        .presence()
        .lag(Lag::Close { max_bytes: 256 << 10 })
        .max_message_len(4 << 10)
        .publish_rate(20, Duration::from_secs(10))
        .envelope(Json)
}

fn router(chat: Namespace) -> Router {
    Router::new().route("/chat/{room}", websocket(move |session| serve(session, chat.clone())))
}

async fn serve(mut session: Session, chat: Namespace) -> Result<(), BoxError> {
    let request = session.request();
    let room = request.param_str("room").unwrap_or_default().to_owned();
    let name = request.query_param("name").unwrap_or("guest".into()).into_owned();
    // A position that cannot be parsed is one that is not known.
    let since = request.query_param("since").and_then(|text| text.parse::<Position>().ok());

    let join = chat.join(&session, &room).identity(name.clone()).resume(since).last(20);
    let member = match join.await {
        Ok(member) => member,
        Err(error) => {
            session.close((CloseCode::POLICY_VIOLATION, error.to_string()));
            return Ok(());
        }
    };
    let members: Vec<_> = member.occupants().iter().map(name_of).collect();
    session.send(json!({ "type": "members", "names": members }).to_string()).await?;
    loop {
        let message = session.recv().await?;
        let Some(text) = message.as_text() else { continue };
        let line = json!({ "from": name, "text": text }).to_string();
        if let Err(error) = member.publish(line).await {
            session.send(json!({ "type": "error", "text": error.to_string() }).to_string()).await?;
        }
    }
}

/// The events of a room as JSON.
struct Json;

impl Envelope for Json {
    fn encode(&self, _room: &str, event: &RoomEvent) -> Option<OutgoingMessage> {
        let at = |position: &Option<Position>| position.map(|position| position.to_string());
        let value = match event {
            RoomEvent::Message(item) => {
                // What was published is JSON already.
                let line = item.publication.message().as_text()?;
                let line: serde_json::Value = serde_json::from_str(line).ok()?;
                json!({ "type": "message", "at": at(&item.position), "line": line })
            }
            RoomEvent::Welcome(welcome) => {
                let is_gap = welcome.resumed == Resumed::Gap;
                json!({ "type": "welcome", "at": at(&welcome.position), "gap": is_gap })
            }
            RoomEvent::Gap { position } => json!({ "type": "gap", "at": at(position) }),
            RoomEvent::Joined(occupant) => json!({ "type": "joined", "name": name_of(occupant) }),
            RoomEvent::Left(occupant) => json!({ "type": "left", "name": name_of(occupant) }),
            _ => return None,
        };
        Some(value.to_string().into())
    }
}

fn name_of(occupant: &Occupant) -> String {
    occupant.identity.as_ref().map(ToString::to_string).unwrap_or_default()
}

/// A client whose connection breaks resumes where it was.
#[cfg(test)]
#[test]
fn a_client_resumes() {
    use serde_json::Value;
    use sockless::sim::{Conversation, Sim};

    async fn next(client: &mut Conversation, kind: &str) -> Value {
        let message = client.recv().await;
        let value: Value = serde_json::from_str(message.as_text().unwrap()).unwrap();
        assert_eq!(value["type"], kind);
        value
    }

    Sim::check(0..20, |sim| async move {
        let chat = Rooms::local(sim.clone()).namespace("chat", config());
        let app = sim.app(router(chat.clone()));
        let mut ada = app.open("/chat/rust?name=ada").await;
        next(&mut ada, "welcome").await;
        next(&mut ada, "members").await;
        ada.send("hello").await;
        let hello = next(&mut ada, "message").await;
        assert_eq!(hello["line"], json!({ "from": "ada", "text": "hello" }));

        let mut bob = app.open("/chat/rust?name=bob").await;
        next(&mut ada, "joined").await;
        assert_eq!(next(&mut bob, "welcome").await["gap"], false);
        assert_eq!(next(&mut bob, "message").await, hello);
        assert_eq!(next(&mut bob, "members").await["names"], json!(["ada", "bob"]));

        ada.wire().cut();
        next(&mut bob, "left").await;
        bob.send("where is ada?").await;
        let missed = next(&mut bob, "message").await;
        let since = hello["at"].as_str().unwrap();
        let mut ada = app.open(&format!("/chat/rust?name=ada&since={since}")).await;
        assert_eq!(next(&mut ada, "welcome").await["gap"], false);
        assert_eq!(next(&mut ada, "message").await, missed);

        // What is not the name of a room is refused.
        app.open(&format!("/chat/{}", "x".repeat(300))).await.expect_closed(1008).await;
    });
}

//! The envelope in JSON: what a server answers, and what it refuses.

use std::time::Duration;

use serde_json::{Value, json};
use sockless::rooms::json::{JsonRooms, SUBPROTOCOL};
use sockless::rooms::{Action, Denied, History, RoomConfig, Rooms};
use sockless::sim::{App, Conversation, Sim};
use sockless::{Router, websocket};

fn config() -> RoomConfig {
    RoomConfig::default().history(History::last(100)).presence().max_message_len(200).authorize(
        |attempt| match attempt.action {
            Action::Join if attempt.room == "secret" => Err(Denied::new("members only")),
            Action::Publish(_) if attempt.identity == Some("mute") => Err(Denied::new("muted")),
            _ => Ok(()),
        },
    )
}

fn rooms(sim: &Sim, config: RoomConfig) -> JsonRooms {
    JsonRooms::new(Rooms::local(sim.clone()))
        .namespace("chat", config)
        .namespace("typing", RoomConfig::default())
        .identify(|request| request.query_param("name").map(|name| name.into_owned().into()))
}

fn serve(sim: &Sim, rooms: &JsonRooms) -> App {
    let rooms = rooms.clone();
    let handler = websocket(move |session| rooms.clone().serve(session));
    sim.app(Router::new().route("/rooms", handler.protocol(SUBPROTOCOL)))
}

async fn open(app: &App, name: &str) -> Conversation {
    app.open(&format!("/rooms?name={name}")).subprotocol(SUBPROTOCOL).await
}

async fn send(client: &mut Conversation, value: Value) {
    client.send(value.to_string()).await;
}

async fn recv(client: &mut Conversation) -> Value {
    serde_json::from_str(client.recv().await.as_text().expect("JSON")).expect("JSON")
}

/// Receives something of this type.
async fn expect(client: &mut Conversation, kind: &str) -> Value {
    let value = recv(client).await;
    assert_eq!(value["type"], kind, "{value}");
    value
}

async fn expect_error(client: &mut Conversation, code: &str) -> Value {
    let value = expect(client, "error").await;
    assert_eq!(value["code"], code, "{value}");
    value
}

async fn join(client: &mut Conversation, room: &str) -> (Value, Value) {
    send(client, json!({ "type": "join", "room": room })).await;
    (expect(client, "joined").await, expect(client, "members").await)
}

#[test]
fn members_join_publish_see_each_other_and_leave() {
    Sim::check(0..30, |sim| async move {
        let app = serve(&sim, &rooms(&sim, config()));
        let (mut ada, mut bob) = (open(&app, "ada").await, open(&app, "bob").await);
        let (joined, members) = join(&mut ada, "chat:rust").await;
        assert_eq!((&joined["room"], &joined["resumed"]), (&json!("chat:rust"), &json!("new")));
        assert_eq!((&members["count"], &members["members"][0]["id"]), (&json!(1), &members["you"]));

        let hello =
            json!({ "type": "join", "room": "chat:rust", "data": { "color": "red" }, "new": 1 });
        send(&mut bob, hello).await;
        expect(&mut bob, "joined").await;
        let members = expect(&mut bob, "members").await;
        assert_eq!(members["count"], 2);
        let news = expect(&mut ada, "member_joined").await;
        let wanted = json!({ "id": members["you"], "identity": "bob", "data": { "color": "red" } });
        assert_eq!(news["member"], wanted);

        let data = json!({ "text": "hällo", "list": [1, null] });
        send(&mut bob, json!({ "type": "publish", "room": "chat:rust", "id": 7, "data": data }))
            .await;
        let item = expect(&mut ada, "item").await;
        assert_eq!(item["data"], data);
        assert_eq!(item["from"], json!({ "id": members["you"], "identity": "bob" }));
        assert_eq!(expect(&mut bob, "item").await, item);
        let published = expect(&mut bob, "published").await;
        assert_eq!((&published["id"], &published["position"]), (&json!(7), &item["position"]));

        send(&mut bob, json!({ "type": "leave", "room": "chat:rust" })).await;
        expect(&mut bob, "left").await;
        assert_eq!(expect(&mut ada, "member_left").await["member"], wanted);
        send(&mut ada, json!({ "type": "members", "room": "chat:rust" })).await;
        assert_eq!(expect(&mut ada, "members").await["count"], 1);
    });
}

#[test]
fn a_client_resumes_and_begins_in_the_past() {
    Sim::check(0..30, |sim| async move {
        let rooms = rooms(&sim, config());
        let app = serve(&sim, &rooms);
        let mut ada = open(&app, "ada").await;
        join(&mut ada, "chat:rust").await;
        let chat = rooms.get("chat").unwrap();
        chat.publish("rust", "1").await.unwrap();
        let since = expect(&mut ada, "item").await["position"].clone();
        ada.wire().cut();
        for text in ["2", "not JSON", "3"] {
            chat.publish("rust", text).await.unwrap();
        }
        let mut ada = open(&app, "ada").await;
        send(&mut ada, json!({ "type": "join", "room": "chat:rust", "since": since })).await;
        let joined = expect(&mut ada, "joined").await;
        assert_eq!((&joined["resumed"], &joined["position"]), (&json!("complete"), &since));
        for data in [json!(2), json!("not JSON"), json!(3)] {
            assert_eq!(expect(&mut ada, "item").await["data"], data);
        }
        let mut bob = open(&app, "bob").await;
        send(&mut bob, json!({ "type": "join", "room": "chat:rust", "last": 1 })).await;
        expect(&mut bob, "joined").await;
        assert_eq!(expect(&mut bob, "item").await["data"], 3);
    });
}

/// Positions of other streams, of the future and of other rooms.
#[test]
fn a_position_that_does_not_exist_is_a_gap() {
    Sim::check(0..10, |sim| async move {
        let rooms = rooms(&sim, config());
        let app = serve(&sim, &rooms);
        let top = rooms.get("chat").unwrap().publish("rust", "1").await.unwrap().unwrap();
        let future = format!("{:x}.999", top.epoch.0);
        for since in ["0.0", "ffffffffffffffff.18446744073709551615", &future] {
            let mut client = open(&app, "ada").await;
            send(&mut client, json!({ "type": "join", "room": "chat:rust", "since": since })).await;
            assert_eq!(expect(&mut client, "joined").await["resumed"], "gap", "{since}");
        }
        let mut client = open(&app, "ada").await;
        for since in [json!("now"), json!(1), json!("1.1.1"), json!("9".repeat(1000))] {
            send(&mut client, json!({ "type": "join", "room": "chat:rust", "since": since })).await;
            expect_error(&mut client, "invalid").await;
        }
        join(&mut client, "chat:rust").await;
    });
}

#[test]
fn a_key_is_published_once() {
    Sim::check(0..10, |sim| async move {
        let app = serve(&sim, &rooms(&sim, config()));
        let mut ada = open(&app, "ada").await;
        join(&mut ada, "chat:rust").await;
        let paid = json!({ "type": "publish", "room": "chat:rust", "key": "invoice-7" });
        send(&mut ada, paid.clone()).await;
        expect(&mut ada, "item").await;
        let first = expect(&mut ada, "published").await;
        send(&mut ada, paid).await;
        assert_eq!(expect(&mut ada, "published").await, first);
    });
}

#[test]
fn what_is_not_of_the_envelope_is_refused_and_harms_no_one_else() {
    Sim::check(0..10, |sim| async move {
        let app = serve(&sim, &rooms(&sim, config()));
        let (mut ada, mut eve) = (open(&app, "ada").await, open(&app, "eve").await);
        join(&mut ada, "chat:rust").await;
        let deep = format!(
            r#"{{"type":"publish","room":"chat:rust","data":{}{}}}"#,
            "[".repeat(5000),
            "]".repeat(5000)
        );
        for text in [
            "",
            "null",
            "[]",
            "{",
            "join",
            "{}",
            r#"{"type":1,"room":"chat:rust"}"#,
            r#"{"type":"join"}"#,
            r#"{"type":"join","room":["chat:rust"]}"#,
            r#"{"type":"join","room":"chat:rust","last":-1}"#,
            r#"{"type":"join","room":"chat:rust","room":"chat:rust"}"#,
            r#"{"type":"join","room":"\ud800"}"#,
            r#"{"type":"drop table","room":"chat:rust"}"#,
            r#"{"type":"publish","room":"chat:rust","id":"x"}"#,
            &deep,
        ] {
            eve.send(text.to_owned()).await;
            expect_error(&mut eve, "invalid").await;
        }
        eve.send(vec![123, 125]).await;
        expect_error(&mut eve, "invalid").await;

        for (room, code) in [
            ("rust", "name"),
            ("", "name"),
            ("chat:", "name"),
            ("chat:a\nb", "name"),
            ("news:rust", "unknown_namespace"),
            ("chat:secret", "denied"),
        ] {
            send(&mut eve, json!({ "type": "join", "room": room })).await;
            assert_eq!(expect_error(&mut eve, code).await["request"], "join");
        }
        for len in [256, 100_000] {
            let room = format!("chat:{}", "x".repeat(len));
            send(&mut eve, json!({ "type": "join", "room": room })).await;
            let refusal = expect_error(&mut eve, "name").await;
            assert!(refusal.to_string().len() < 1000, "the name is repeated only if it is short");
        }
        let data = "x".repeat(5000);
        send(&mut eve, json!({ "type": "join", "room": "chat:rust", "data": data })).await;
        expect_error(&mut eve, "too_long").await;
        for kind in ["leave", "publish", "members"] {
            send(&mut eve, json!({ "type": kind, "room": "chat:rust", "id": 3 })).await;
            assert_eq!(expect_error(&mut eve, "not_joined").await["id"], 3);
        }

        join(&mut eve, "chat:rust").await;
        expect(&mut ada, "member_joined").await;
        send(&mut eve, json!({ "type": "join", "room": "chat:rust" })).await;
        expect_error(&mut eve, "already_joined").await;
        let publish =
            json!({ "type": "publish", "room": "chat:rust", "id": 4, "data": "x".repeat(200) });
        send(&mut eve, publish).await;
        expect_error(&mut eve, "too_long").await;
        let publish = json!({ "type": "publish", "room": "chat:rust", "key": "x".repeat(256) });
        send(&mut eve, publish).await;
        expect_error(&mut eve, "too_long").await;
        // Ada has noticed nothing, and all goes on.
        send(&mut eve, json!({ "type": "publish", "room": "chat:rust", "data": "hello" })).await;
        assert_eq!(expect(&mut ada, "item").await["data"], "hello");
    });
}

#[test]
fn limits_and_denials_are_typed() {
    Sim::check(0..10, |sim| async move {
        let config = config().publish_rate(2, Duration::from_secs(10)).max_members(2);
        let rooms = rooms(&sim, config).max_rooms(3).request_rate(10, Duration::from_secs(10));
        let app = serve(&sim, &rooms);
        let mut mute = open(&app, "mute").await;
        join(&mut mute, "chat:rust").await;
        send(&mut mute, json!({ "type": "publish", "room": "chat:rust", "id": 1 })).await;
        assert_eq!(expect_error(&mut mute, "denied").await["message"], "muted");

        let mut ada = open(&app, "ada").await;
        join(&mut ada, "chat:rust").await;
        let publish = json!({ "type": "publish", "room": "chat:rust", "data": 1 });
        for _ in 0..2 {
            send(&mut ada, publish.clone()).await;
            expect(&mut ada, "item").await;
            expect(&mut ada, "published").await;
        }
        send(&mut ada, publish.clone()).await;
        let wait = expect_error(&mut ada, "too_fast").await["retry_after_ms"].as_u64().unwrap();
        sim.sleep(Duration::from_millis(wait)).await;
        send(&mut ada, publish).await;
        expect(&mut ada, "item").await;

        let mut late = open(&app, "late").await;
        send(&mut late, json!({ "type": "join", "room": "chat:rust" })).await;
        expect_error(&mut late, "full").await;
        for room in ["typing:a", "typing:b", "typing:c"] {
            join(&mut late, room).await;
        }
        send(&mut late, json!({ "type": "join", "room": "typing:d" })).await;
        expect_error(&mut late, "too_many_rooms").await;
        // A flood of joins: five have been made.
        for _ in 0..5 {
            send(&mut late, json!({ "type": "join", "room": "typing:d" })).await;
            expect_error(&mut late, "too_many_rooms").await;
        }
        for _ in 0..100 {
            send(&mut late, json!({ "type": "join", "room": "typing:d" })).await;
            expect_error(&mut late, "too_fast").await;
        }
        assert_eq!(rooms.get("typing").unwrap().occupancy("d"), 0);
    });
}

/// Whatever bytes a client sends, the session is served and others are not disturbed.
#[test]
fn mutilated_messages_do_no_harm() {
    Sim::check(0..200, |sim| async move {
        let app = serve(&sim, &rooms(&sim, config()));
        let mut ada = open(&app, "ada").await;
        join(&mut ada, "chat:quiet").await;
        let mut eve = open(&app, "eve").await;
        let texts = [
            json!({ "type": "join", "room": "chat:loud", "since": "1.1", "data": [1] }),
            json!({ "type": "publish", "room": "chat:loud", "id": 1, "key": "k", "data": {} }),
            json!({ "type": "members", "room": "chat:loud" }),
            json!({ "type": "leave", "room": "chat:loud" }),
        ];
        for _ in 0..20 {
            let mut bytes = texts[sim.draw(0..4) as usize].to_string().into_bytes();
            for _ in 0..sim.draw(0..4) {
                let at = sim.draw(0..bytes.len() as u64) as usize;
                bytes[at] = sim.draw(32..127) as u8;
            }
            eve.send(String::from_utf8(bytes).unwrap()).await;
        }
        send(&mut eve, json!({ "type": "publish", "room": "none", "id": 77 })).await;
        while recv(&mut eve).await["id"] != 77 {}
        ada.expect_silence(Duration::from_secs(1)).await;
    });
}

//! The demo in the simulator, and its threads without.

use std::time::Duration;

use clap::Parser;
use serde_json::{Value, json};
use sockless::rooms::Rooms;
use sockless::rooms::json::SUBPROTOCOL;
use sockless::sim::{App, Conversation, Sim};
use sockless::{Config, Deflate, Router};

use crate::options::Options;
use crate::routes;

#[test]
fn a_chat_has_named_users_who_hear_each_other() {
    Sim::check(0..20, |sim| async move {
        let app = sim.app(app(&sim));
        let mut ada = join(&app, "Ada", "chat:lobby").await;
        let mut bob = join(&app, "Bob%20B.", "chat:lobby").await;
        let mut other = join(&app, "Carla", "chat:elsewhere").await;
        assert_eq!(hear(&mut ada, "member_joined").await["member"]["identity"], "Bob B.");
        say(&mut ada, "chat:lobby", json!("hello")).await;
        for member in [&mut ada, &mut bob] {
            let item = hear(member, "item").await;
            assert_eq!(
                (&item["from"]["identity"], &item["data"]),
                (&json!("Ada"), &json!("hello"))
            );
        }
        hear(&mut ada, "published").await;
        bob.terminate();
        assert_eq!(hear(&mut ada, "member_left").await["member"]["identity"], "Bob B.");
        other.expect_silence(Duration::from_secs(1)).await;
        drop((ada, other));
        sim.settle().await;
        assert_eq!(app.connections(), 0);
    });
}

#[test]
fn names_are_short_and_printable() {
    Sim::check(0..5, |sim| async move {
        let app = sim.app(app(&sim));
        for (wanted, name) in [
            ("", "Guest"),
            ("%20%0A", "Guest"),
            (&*"x".repeat(40), &*"x".repeat(32)),
            ("a%00b", "ab"),
        ] {
            let mut member = open(&app, wanted).await;
            enter(&mut member, "chat:lobby").await;
            let members = hear(&mut member, "members").await;
            assert_eq!(members["members"][0]["identity"], name);
            drop(member);
            sim.settle().await;
        }
    });
}

#[test]
fn a_line_is_passed_on_whole_or_refused() {
    Sim::check(0..5, |sim| async move {
        let app = sim.app(app(&sim));
        let mut ada = join(&app, "Ada", "chat:lobby").await;
        let longest = "é".repeat(2000);
        say(&mut ada, "chat:lobby", json!(longest)).await;
        assert_eq!(hear(&mut ada, "item").await["data"], longest);
        hear(&mut ada, "published").await;
        for (line, why) in [
            (
                json!(longest + "é"),
                "the message has 2001 characters, and the chat takes 2000 at most",
            ),
            (json!({ "text": "hello" }), "the chat takes text only"),
            (json!(null), "the chat takes text only"),
        ] {
            say(&mut ada, "chat:lobby", line).await;
            let refusal = hear(&mut ada, "error").await;
            assert_eq!((&refusal["code"], &refusal["message"]), (&json!("denied"), &json!(why)));
        }
    });
}

#[test]
fn a_member_that_returns_has_missed_nothing() {
    Sim::check(0..20, |sim| async move {
        let app = sim.app(app(&sim));
        let mut ada = join(&app, "Ada", "chat:lobby").await;
        let mut bob = join(&app, "Bob", "chat:lobby").await;
        hear(&mut ada, "member_joined").await;
        say(&mut bob, "chat:lobby", json!("one")).await;
        let since = hear(&mut ada, "item").await["position"].clone();
        ada.wire().cut();
        say(&mut bob, "chat:lobby", json!("two")).await;
        sim.settle().await;
        let mut ada = open(&app, "Ada").await;
        let joining = json!({ "type": "join", "room": "chat:lobby", "since": since });
        ada.send(joining.to_string()).await;
        assert_eq!(hear(&mut ada, "joined").await["resumed"], "complete");
        let item = hear(&mut ada, "item").await;
        assert_eq!(item["data"], "two");
    });
}

#[test]
fn the_client_of_the_page_is_a_module_of_javascript() {
    Sim::check(0..5, |sim| async move {
        let client = sim.app(app(&sim)).get("/rooms.js").await;
        assert_eq!(client.headers()["content-type"], "text/javascript; charset=utf-8");
        assert!(std::str::from_utf8(client.body()).unwrap().contains("export class RoomsClient"));
    });
}

#[test]
fn brokers_are_known_by_their_urls() {
    let parse = |url| Options::try_parse_from(["demo", "--bus", url]);
    for url in ["redis://127.0.0.1:6379", "nats://127.0.0.1:4222"] {
        assert!(parse(url).is_ok(), "{url}");
    }
    for url in ["", "redis", "http://127.0.0.1", "127.0.0.1:6379"] {
        assert!(parse(url).is_err(), "{url}");
    }
}

#[test]
fn the_page_and_the_health_check_are_plain_http() {
    Sim::check(0..5, |sim| async move {
        let app = sim.app(app(&sim));
        let page = app.get("/").await;
        assert_eq!(page.status(), 200);
        assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
        let text = std::str::from_utf8(page.body()).unwrap();
        let version = concat!("the demo of version ", env!("CARGO_PKG_VERSION"));
        assert!(text.contains(version) && !text.contains("{{"), "the page states its version");
        for link in ["/rooms.js", "https://docs.rs/sockless", "/CHANGELOG.md", "a chat and an echo"]
        {
            assert!(text.contains(link), "{link}");
        }
        assert_eq!(app.get("/health").await.body(), "ok\n");
    });
}

#[test]
fn the_echo_speaks_its_protocols() {
    Sim::check(0..5, |sim| async move {
        let app = sim.app(app(&sim));
        let mut echo = app.open("/echo").subprotocol("echo.v2").subprotocol("echo.v1").await;
        assert_eq!(echo.subprotocol().as_deref(), Some("echo.v2"));
        echo.send("hello").await;
        echo.expect("hello").await;
    });
}

/// The page shows what was agreed on.
#[test]
fn messages_are_compressed_for_clients_that_offer_it() {
    Sim::check(0..5, |sim| async move {
        let offer = "permessage-deflate; server_no_context_takeover";
        let config = Config::default().extension(offer.parse::<Deflate>().unwrap());
        let app = sim.app(app(&sim));
        let mut echo = app.open("/echo").config(config).await;
        assert_eq!(
            echo.response().headers()["sec-websocket-extensions"],
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
        );
        let long = "hello ".repeat(1000);
        echo.send(long.clone()).await;
        echo.expect(long).await;
    });
}

#[test]
fn a_close_is_sent_on_demand() {
    Sim::check(0..5, |sim| async move {
        let app = sim.app(app(&sim));
        let closed = app.open("/close/4001?reason=on+demand").await.expect_closed(4001).await;
        assert_eq!(closed.received().unwrap().text(), "on demand");
        assert_eq!(app.open("/close/1006").refused().await.status(), 400);
    });
}

/// With sockets and threads of the system, where it spreads connections over listeners.
#[cfg(target_os = "linux")]
#[test]
fn shards_share_the_room_and_go_down_together() {
    let shards = crate::shards::bind("127.0.0.1:0", 3.try_into().unwrap()).unwrap();
    let url = format!("ws://{}/rooms", shards.local_addr().unwrap());
    let (stop, stopped) = smol::channel::bounded::<()>(1);
    let stopped = async move { while stopped.recv().await.is_ok() {} };
    let router = routes::router(config(), Rooms::local(sockless::smol::SmolRuntime));
    let serving = std::thread::spawn(move || shards.serve_until(&router, stopped));
    smol::block_on(async {
        let mut members = Vec::new();
        for _ in 0..16 {
            let member = sockless::smol::connect(&url).subprotocol(SUBPROTOCOL);
            let mut member = member.await.unwrap();
            member.send(r#"{"type":"join","room":"chat:lobby"}"#).await.unwrap();
            while !member.recv().await.unwrap().as_text().unwrap().contains("joined") {}
            members.push(member);
        }
        let hello = r#"{"type":"publish","room":"chat:lobby","data":"hello"}"#;
        members[0].send(hello).await.unwrap();
        for member in &mut members {
            while !member.recv().await.unwrap().as_text().unwrap().contains("hello") {}
        }
        drop(stop);
        for mut member in members {
            while member.recv().await.is_ok() {}
        }
    });
    let report = serving.join().unwrap();
    assert_eq!((report.drained, report.terminated), (16, 0));
}

fn app(sim: &Sim) -> Router {
    routes::router(config(), Rooms::local(sim.clone()))
}

fn config() -> Config {
    Options::parse_from(["demo"]).config()
}

async fn open(app: &App, name: &str) -> Conversation {
    app.open(&format!("/rooms?name={name}")).subprotocol(SUBPROTOCOL).await
}

async fn enter(member: &mut Conversation, room: &str) {
    member.send(json!({ "type": "join", "room": room }).to_string()).await;
    hear(member, "joined").await;
}

async fn join(app: &App, name: &str, room: &str) -> Conversation {
    let mut member = open(app, name).await;
    enter(&mut member, room).await;
    hear(&mut member, "members").await;
    member
}

async fn say(member: &mut Conversation, room: &str, line: Value) {
    member.send(json!({ "type": "publish", "room": room, "data": line }).to_string()).await;
}

/// Receives something of this type.
async fn hear(member: &mut Conversation, kind: &str) -> Value {
    let received = member.recv().await;
    let value: Value = serde_json::from_str(received.as_text().unwrap()).unwrap();
    assert_eq!(value["type"], kind, "{value}");
    value
}

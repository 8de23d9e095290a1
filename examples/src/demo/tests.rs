//! The demo in the simulator, and its threads without.

use clap::Parser;
use serde_json::{Value, json};
use sockless::sim::{App, Conversation, Sim};
use sockless::{Config, Deflate, Router};

use crate::options::Options;
use crate::routes;

#[test]
fn a_chat_has_named_users_who_hear_each_other() {
    Sim::check(0..20, |sim| async move {
        let app = sim.app(app());
        let mut ada = join(&app, "Ada", "Ada", &["Ada"]).await;
        let mut bob = join(&app, "Bob%20B.", "Bob B.", &["Ada", "Bob B."]).await;
        hear(&mut ada, json!({ "type": "join", "name": "Bob B.", "online": ["Ada", "Bob B."] }))
            .await;
        ada.send("hello").await;
        for member in [&mut ada, &mut bob] {
            hear(member, json!({ "type": "message", "from": "Ada", "text": "hello" })).await;
        }
        bob.close(sockless::CloseCode::NORMAL);
        hear(&mut ada, json!({ "type": "leave", "name": "Bob B.", "online": ["Ada"] })).await;
    });
}

#[test]
fn a_name_that_is_taken_gets_a_number() {
    Sim::check(0..20, |sim| async move {
        let app = sim.app(app());
        let _first = join(&app, "Ada", "Ada", &["Ada"]).await;
        let _second = join(&app, "Ada", "Ada 2", &["Ada", "Ada 2"]).await;
        let _nameless = join(&app, "", "Guest", &["Ada", "Ada 2", "Guest"]).await;
    });
}

#[test]
fn a_member_who_crashes_has_left() {
    Sim::check(0..20, |sim| async move {
        let app = sim.app(app());
        let mut ada = join(&app, "Ada", "Ada", &["Ada"]).await;
        let bob = join(&app, "Bob", "Bob", &["Ada", "Bob"]).await;
        ada.recv().await;
        bob.terminate();
        hear(&mut ada, json!({ "type": "leave", "name": "Bob", "online": ["Ada"] })).await;
        drop(ada);
        sim.settle().await;
        assert_eq!(app.connections(), 0);
    });
}

#[test]
fn a_line_is_passed_on_whole_or_refused() {
    Sim::check(0..5, |sim| async move {
        let app = sim.app(app());
        let mut ada = join(&app, "Ada", "Ada", &["Ada"]).await;
        let longest = "é".repeat(2000);
        ada.send(longest.clone()).await;
        hear(&mut ada, json!({ "type": "message", "from": "Ada", "text": longest })).await;
        ada.send(longest + "é").await;
        hear(&mut ada, json!({ "type": "refused", "len": 2001, "max": 2000 })).await;
    });
}

#[test]
fn the_chat_takes_text_only() {
    Sim::check(0..20, |sim| async move {
        let app = sim.app(app());
        let mut ada = join(&app, "Ada", "Ada", &["Ada"]).await;
        ada.send(vec![1]).await;
        ada.expect_closed(1003).await;
    });
}

#[test]
fn the_page_and_the_health_check_are_plain_http() {
    Sim::check(0..5, |sim| async move {
        let app = sim.app(app());
        let page = app.get("/").await;
        assert_eq!(page.status(), 200);
        assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
        let text = std::str::from_utf8(page.body()).unwrap();
        let version = concat!("the demo of version ", env!("CARGO_PKG_VERSION"));
        assert!(text.contains(version) && !text.contains("{{"), "the page states its version");
        for link in ["https://docs.rs/sockless", "/CHANGELOG.md", "a chat and an echo"] {
            assert!(text.contains(link), "{link}");
        }
        assert_eq!(app.get("/health").await.body(), "ok\n");
    });
}

#[test]
fn the_echo_speaks_its_protocols() {
    Sim::check(0..5, |sim| async move {
        let app = sim.app(app());
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
        let app = sim.app(app());
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
        let app = sim.app(app());
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
    let url = format!("ws://{}/chat", shards.local_addr().unwrap());
    let (stop, stopped) = smol::channel::bounded::<()>(1);
    let stopped = async move { while stopped.recv().await.is_ok() {} };
    let serving = std::thread::spawn(move || shards.serve_until(&app(), stopped));
    smol::block_on(async {
        let mut members = Vec::new();
        for _ in 0..16 {
            let mut member = sockless::smol::connect(&url).await.unwrap();
            // It is in the room when it is welcomed.
            member.recv().await.unwrap();
            members.push(member);
        }
        members[0].send("hello").await.unwrap();
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

fn app() -> Router {
    routes::router(Options::parse_from(["demo"]).config())
}

/// Joins as `wanted`, and is welcomed as `name`.
async fn join(app: &App, wanted: &str, name: &str, online: &[&str]) -> Conversation {
    let mut member = app.open(&format!("/chat?name={wanted}")).await;
    hear(&mut member, json!({ "type": "welcome", "you": name, "online": online })).await;
    member
}

async fn hear(member: &mut Conversation, news: Value) {
    member.expect(news.to_string()).await;
}

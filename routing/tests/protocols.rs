//! The choice among several WebSockets on one path.

mod common;

use common::{granted, line, offering, protocol, responded, status, upgrade, ws};
use http::StatusCode;
use sockless_routing::{Router, websocket_raw};

fn versions() -> Router {
    Router::new().route("/chat", ws().protocol("chat.v1")).route("/chat", ws().protocol("chat.v2"))
}

#[test]
fn the_offered_subprotocol_is_selected() {
    for name in ["chat.v1", "chat.v2"] {
        let upgrade = granted(&versions(), offering("/chat", name));
        assert_eq!(protocol(upgrade).as_deref(), Some(name));
    }
}

#[test]
fn the_clients_order_decides() {
    for (offer, chosen) in [
        ("chat.v2, chat.v1", "chat.v2"),
        ("chat.v1, chat.v2", "chat.v1"),
        ("chat.v9, chat.v2, chat.v1", "chat.v2"),
    ] {
        let upgrade = granted(&versions(), offering("/chat", offer));
        assert_eq!(protocol(upgrade).as_deref(), Some(chosen), "{offer}");
    }
}

#[test]
fn the_clients_order_spans_several_header_lines() {
    let request = offering("/chat", "chat.v9").header("sec-websocket-protocol", "chat.v2,chat.v1");
    let upgrade = granted(&versions(), request);
    assert_eq!(protocol(upgrade).as_deref(), Some("chat.v2"));
}

#[test]
fn the_servers_order_decides_if_it_is_set() {
    let router = versions().prefer_server_protocols(true);
    for offer in ["chat.v2, chat.v1", "chat.v1, chat.v2"] {
        let upgrade = granted(&router, offering("/chat", offer));
        assert_eq!(protocol(upgrade).as_deref(), Some("chat.v1"), "{offer}");
    }
    let upgrade = granted(&router, offering("/chat", "chat.v2"));
    assert_eq!(protocol(upgrade).as_deref(), Some("chat.v2"));
}

#[test]
fn a_nested_router_inherits_the_order_unless_it_has_its_own() {
    let router = Router::new()
        .nest("/own", versions().prefer_server_protocols(false))
        .nest("/outer", versions())
        .prefer_server_protocols(true);
    for (path, chosen) in [("/own/chat", "chat.v2"), ("/outer/chat", "chat.v1")] {
        let upgrade = granted(&router, offering(path, "chat.v2, chat.v1"));
        assert_eq!(protocol(upgrade).as_deref(), Some(chosen), "{path}");
    }
}

#[test]
fn one_handler_may_serve_several_subprotocols() {
    let both = ws().protocol("chat.v1").protocol("chat.v2").protocol("chat.v1");
    let router = Router::new().route("/chat", both);
    let upgrade = granted(&router, offering("/chat", "chat.v2, chat.v1"));
    assert_eq!(protocol(upgrade).as_deref(), Some("chat.v2"));
    let server = router.prefer_server_protocols(true);
    let upgrade = granted(&server, offering("/chat", "chat.v2, chat.v1"));
    assert_eq!(protocol(upgrade).as_deref(), Some("chat.v1"));
}

#[test]
fn subprotocols_are_compared_case_sensitively() {
    let request = offering("/chat", "Chat.v1, chat.v, chat.v11");
    assert_eq!(status(&versions(), request), StatusCode::BAD_REQUEST);
}

#[test]
fn without_overlap_the_answer_names_what_is_served() {
    let response = responded(&versions(), offering("/chat", "chat.v3"));
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let line = line(&response);
    assert!(line.contains("none of the subprotocols"), "{line}");
    assert!(line.ends_with("served: chat.v1, chat.v2"), "{line}");
}

#[test]
fn without_an_offer_the_answer_names_what_is_served() {
    let response = responded(&versions(), upgrade("/chat"));
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let line = line(&response);
    assert!(line.contains("requires a subprotocol"), "{line}");
    assert!(line.ends_with("served: chat.v1, chat.v2"), "{line}");
}

#[test]
fn a_handler_without_a_subprotocol_accepts_the_clients_that_no_other_serves() {
    let router = versions().route("/chat", ws());
    for request in [upgrade("/chat"), offering("/chat", "chat.v3")] {
        assert_eq!(protocol(granted(&router, request)), None);
    }
    let upgrade = granted(&router, offering("/chat", "chat.v3, chat.v1"));
    assert_eq!(protocol(upgrade).as_deref(), Some("chat.v1"));
}

#[test]
fn a_lone_handler_without_a_subprotocol_ignores_the_offers() {
    let router = Router::new().route("/echo", ws());
    assert_eq!(protocol(granted(&router, offering("/echo", "a, b"))), None);
}

#[test]
fn raw_handlers_and_handlers_of_messages_share_a_path() {
    let tap = websocket_raw(|_session| async {});
    let router = Router::new().route("/x", ws()).route("/x", tap.protocol("tap"));
    let upgrade_ = granted(&router, offering("/x", "tap"));
    assert_eq!(protocol(upgrade_).as_deref(), Some("tap"));
    assert_eq!(protocol(granted(&router, upgrade("/x"))), None);
}

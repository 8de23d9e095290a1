//! Settings of a program, of a group of routes, and of one route.

mod common;

use std::time::Duration;

use common::{granted, upgrade, ws};
use sockless_core::Config;
use sockless_driver::Service;
use sockless_routing::{Router, websocket_raw};

fn longest(len: u64) -> Config {
    Config::default().max_message_len(len)
}

/// The maximum message length and the ping interval of a new session at `path`.
fn settings(router: &Router, path: &str) -> (u64, Option<Duration>) {
    let upgrade = granted(router, upgrade(path));
    (upgrade.config().get_max_message_len(), upgrade.config().get_ping_interval())
}

#[test]
fn a_session_has_the_nearest_settings_of_its_route() {
    let raw = websocket_raw(|_session| async {});
    let inner = Router::new()
        .route("/own", ws().config(longest(3)))
        .route("/raw", raw.config(longest(4)))
        .route("/inner", ws())
        .websockets(longest(2));
    let router = Router::new()
        .nest("/x", inner)
        .nest("/y", Router::new().route("/outer", ws()))
        .websockets(longest(1));
    for (path, len) in [("/x/own", 3), ("/x/raw", 4), ("/x/inner", 2), ("/y/outer", 1)] {
        assert_eq!(settings(&router, path).0, len, "{path}");
    }
}

#[test]
fn without_settings_a_session_has_the_defaults() {
    let router = Router::new().route("/x", ws());
    assert_eq!(*granted(&router, upgrade("/x")).config(), Config::default());
    assert_eq!(*router.config(), Config::default());
}

#[test]
fn changes_for_a_route_or_a_group_keep_the_other_settings() {
    let half_minute = Duration::from_secs(30);
    let twice = |config: Config| {
        let len = config.get_max_message_len() * 2;
        config.max_message_len(len)
    };
    let group = Router::new()
        .route("/group", ws())
        .route("/route", ws().configure(twice).configure(move |c| c.ping_interval(half_minute * 2)))
        .route("/own", ws().config(longest(7)).configure(twice))
        .configure(twice);
    let router = Router::new()
        .nest("/g", group)
        .route("/app", ws())
        .websockets(longest(100).ping_interval(half_minute));
    assert_eq!(settings(&router, "/app"), (100, Some(half_minute)));
    assert_eq!(settings(&router, "/g/group"), (200, Some(half_minute)));
    assert_eq!(settings(&router, "/g/route"), (400, Some(half_minute * 2)));
    assert_eq!(settings(&router, "/g/own"), (14, None));
}

#[test]
fn changes_of_the_outermost_router_limit_the_heads_of_requests() {
    let router = Router::new().configure(|config| config.max_head_len(1024)).route("/x", ws());
    assert_eq!(router.config().get_max_head_len(), 1024);
    assert_eq!(granted(&router, upgrade("/x")).config().get_max_head_len(), 1024);
}

//! Rejected requests leave no memory behind.

mod common;

use std::alloc::System;

use common::{answer, offering, page, request, upgrade, ws};
use http::Method;
use http::request::Builder;
use sockless_driver::Answer;
use sockless_routing::guards::{ConnectionLimit, bearer, limit_connections};
use sockless_routing::{Router, Selector};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn router() -> Router {
    let guarded = Router::new()
        .guard(limit_connections(ConnectionLimit::new().per_peer(100)))
        .nest("/", Router::new().guard(bearer(["token"])).route("/{id:u64}", ws()));
    Router::new()
        .state("state".to_owned())
        .route("/echo", ws().protocol("echo"))
        .route("/a/{b}/{*rest}", ws())
        .route("/query", ws().when(Selector::query("q")))
        .route("/page", page("page"))
        .nest("/guarded", guarded)
}

/// A request that opens no session, and the status of its response.
type Case = (u16, fn(u64) -> Builder);

const CASES: [Case; 10] = [
    (404, |n| upgrade(&format!("/nowhere/{n}"))),
    (404, |n| upgrade(&format!("/guarded/x{n}"))),
    (404, |n| upgrade(&format!("/{}", "b/".repeat(n as usize % 500)))),
    (400, |n| offering("/echo", &format!("protocol-{n}"))),
    (400, |n| upgrade(&format!("/query?{n}=%zz"))),
    (400, |n| upgrade(&format!("/%zz{n}"))),
    (401, |n| upgrade(&format!("/guarded/{n}"))),
    (403, |n| upgrade(&format!("/a/{n}/c")).header("origin", "https://evil.example")),
    (405, |n| request(Method::POST, &format!("/a/{n}/c"))),
    (426, |n| request(Method::GET, &format!("/a/{n}"))),
];

/// Runs without the test harness, whose threads would be counted too.
fn main() {
    let router = router();
    for (status, make) in CASES {
        // The first request allocates what is kept for all.
        (0..10).for_each(|n| refused(&router, status, make(n)));
        let before = live();
        (0..10_000).for_each(|n| refused(&router, status, make(n)));
        assert_eq!(live(), before, "10,000 times {status} left memory behind");
    }
    println!("10,000 requests in each of {} ways left nothing behind", CASES.len());
}

fn refused(router: &Router, expected: u16, request: Builder) {
    match answer(router, request) {
        Answer::Respond(response) => assert_eq!(response.status(), expected),
        Answer::Upgrade(upgrade) => panic!("granted: {upgrade:?}"),
    }
}

/// The number of live allocations and their bytes.
fn live() -> (usize, usize) {
    let stats = ALLOCATOR.stats();
    let bytes = stats.bytes_allocated - stats.bytes_deallocated;
    (stats.allocations - stats.deallocations, bytes)
}

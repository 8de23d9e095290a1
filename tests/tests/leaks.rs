//! What is over leaves nothing behind: no task, no memory. One test, since it counts for the whole
//! process.

use std::alloc::System;

use sockless::Closed;
use sockless_driver::Session;
use sockless_routing::{Router, websocket};
use sockless_sim::{App, Sim};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// `CIOWebSocketTestJvm.testNonWebsocketRouteDoNotLeakOnWsRequest`, and the same with sessions.
#[test]
fn ten_thousand_upgrades_leave_no_task_and_no_memory() {
    let sim = Sim::new(1);
    sim.run(async {
        let app = sim.host(Router::new().route("/echo", websocket(echo)));
        // What is allocated once, such as the buffers that the thread lends, is there by then.
        refused(&app, 100).await;
        served(&app, 100).await;
        sim.settle().await;
        let before = held();
        refused(&app, 10_000).await;
        served(&app, 1000).await;
        sim.settle().await;
        let grown = held().saturating_sub(before);
        assert_eq!(app.connections(), 0);
        // Two bytes for each would be 20,000; a task is hundreds.
        assert!(grown < 10_000, "{grown} bytes more are held than before");
    });
}

async fn refused(app: &App, count: usize) {
    for _ in 0..count {
        assert_eq!(app.open("/nowhere").refused().await.status(), 404);
    }
}

async fn served(app: &App, count: usize) {
    for _ in 0..count {
        let mut client = app.open("/echo").await;
        client.send("hello").await;
        client.expect("hello").await;
    }
}

async fn echo(mut session: Session) -> Result<(), Closed> {
    loop {
        let message = session.recv().await?;
        session.send(message).await?;
    }
}

/// How many bytes are allocated.
fn held() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

//! A server that keeps jobs: it stores each one, and acknowledges it.
//!
//! Its tests, in `tests/jobs.rs`, run in the simulator of sockless. `cargo test` is all that they need.

use std::sync::Arc;
use std::time::Duration;

use sockless::{Closed, Router, Session, sometimes, websocket};

/// Where jobs are kept: a file in production, a simulated disk in tests.
pub trait Store: Send + Sync + 'static {
    /// Writes a job, which a loss of power may undo until the next [`sync`](Self::sync).
    fn write(&self, job: &str);

    /// Makes what was written durable.
    fn sync(&self);
}

/// When a job is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledge {
    /// Once it is durable.
    Synced,
    /// Once it is written, which is faster and loses jobs: the tests show how that is found.
    Written,
}

/// The routes of the server.
pub fn router(store: Arc<dyn Store>, acknowledge: Acknowledge) -> Router {
    let submit = move |session| submit(session, store.clone(), acknowledge);
    Router::new().route("/submit", websocket(submit))
}

async fn submit(
    mut session: Session,
    store: Arc<dyn Store>,
    acknowledge: Acknowledge,
) -> Result<(), Closed> {
    loop {
        let job = session.recv().await?;
        store.write(job.as_text().unwrap_or_default());
        if acknowledge == Acknowledge::Synced {
            store.sync();
        }
        session.send(job).await?;
        session.flush().await?;
        // A campaign can let the power fail here.
        sometimes!(true, "a job is acknowledged");
        session.sleep(Duration::from_millis(1)).await;
        store.sync();
    }
}

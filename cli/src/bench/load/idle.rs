//! A connection that does nothing, and is alive at the end.

use std::sync::Arc;

use sockless::{CloseCode, Session};
use tokio::time::{Instant, timeout};

use super::{GRACE, Progress, Tally};

pub(super) async fn run(session: Session, end: Instant, progress: Arc<Progress>) -> Tally {
    let mut tally = Tally::new();
    if let Ok(closed) = tokio::time::timeout_at(end, session.closed()).await {
        tally.failure(closed);
        return tally;
    }
    let round_trip = match session.ping("") {
        Ok(pong) => timeout(GRACE, pong).await,
        Err(error) => {
            tally.failure(error);
            return tally;
        }
    };
    match round_trip {
        Ok(Ok(round_trip)) => {
            tally.time(round_trip);
            progress.count();
        }
        Ok(Err(closed)) => tally.failure(closed),
        Err(_) => tally.failure(format_args!("no pong within {GRACE:?}")),
    }
    session.close(CloseCode::NORMAL);
    tally
}

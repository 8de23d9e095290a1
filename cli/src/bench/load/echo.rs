//! A connection that sends a message when a reply has come.

use std::collections::VecDeque;
use std::sync::Arc;

use sockless::{CloseCode, Closed, Message, Session};
use tokio::time::{Instant, timeout_at};

use super::{GRACE, Progress, Tally};

pub(super) async fn run(
    session: Session,
    message: Message,
    depth: usize,
    end: Instant,
    progress: Arc<Progress>,
) -> Tally {
    let mut tally = Tally::new();
    let mut sent = VecDeque::with_capacity(depth);
    let exchange = exchange(session, message, depth, end, &mut tally, &mut sent, &progress);
    match timeout_at(end + GRACE, exchange).await {
        Ok(Ok(())) => {}
        Ok(Err(closed)) => tally.failure(closed),
        Err(_) => tally.failure(format_args!("no reply within {GRACE:?} after the end")),
    }
    tally
}

/// Sends and receives until the end, and then until there is no reply to come.
async fn exchange(
    session: Session,
    message: Message,
    depth: usize,
    end: Instant,
    tally: &mut Tally,
    sent: &mut VecDeque<Instant>,
    progress: &Progress,
) -> Result<(), Closed> {
    let (sender, mut receiver) = session.split();
    for _ in 0..depth {
        sent.push_back(Instant::now());
        sender.send(message.clone()).await?;
    }
    while let Some(at) = sent.pop_front() {
        receiver.recv().await?;
        tally.time(at.elapsed());
        progress.count();
        let now = Instant::now();
        if now < end {
            sent.push_back(now);
            sender.send(message.clone()).await?;
        }
    }
    sender.close(CloseCode::NORMAL);
    Ok(())
}

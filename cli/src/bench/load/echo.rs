//! A connection that sends a message when a reply has come.

use std::collections::VecDeque;
use std::sync::Arc;

use sockless::{CloseCode, Closed, Message, Session};
use tokio::time::Instant;

use super::{Progress, Tally, within_grace};

pub(super) async fn run(
    session: Session,
    message: Message,
    depth: usize,
    end: Instant,
    progress: Arc<Progress>,
) -> Tally {
    let mut tally = Tally::new();
    let exchange = exchange(session, message, depth, end, &mut tally, &progress);
    if let Err(failure) = within_grace(end, exchange).await {
        tally.failure(failure);
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
    progress: &Progress,
) -> Result<(), Closed> {
    let (sender, mut receiver) = session.split();
    let mut sent = VecDeque::with_capacity(depth);
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

//! One connection that sends, and all that receive.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sockless::{CloseCode, Message, Receiver, Sender, Session};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::{GRACE, Progress, Tally};

/// The message that is on its way.
struct Current {
    sent: Mutex<Instant>,
    /// The connections that have not received it.
    missing: AtomicUsize,
    delivered: Notify,
}

pub(super) async fn run(
    sessions: Vec<Session>,
    message: &Message,
    end: Instant,
    tally: &mut Tally,
    progress: &Arc<Progress>,
) {
    let (senders, receivers): (Vec<_>, Vec<_>) = sessions.into_iter().map(Session::split).unzip();
    let Some(first) = senders.first() else { return };
    let current = Arc::new(Current {
        sent: Mutex::new(Instant::now()),
        missing: AtomicUsize::new(0),
        delivered: Notify::new(),
    });
    let mut members: JoinSet<Tally> = receivers
        .into_iter()
        .map(|receiver| receive(receiver, Arc::clone(&current), Arc::clone(progress)))
        .collect();
    while Instant::now() < end {
        if let Err(failure) = publish(first, message, senders.len(), &current).await {
            tally.failure(failure);
            break;
        }
    }
    for sender in &senders {
        sender.close(CloseCode::NORMAL);
    }
    while let Some(Ok(member)) = members.join_next().await {
        tally.add(&member);
    }
}

/// Sends a message, and waits until all have received it.
async fn publish(
    sender: &Sender,
    message: &Message,
    members: usize,
    current: &Current,
) -> Result<(), String> {
    current.missing.store(members, Ordering::Release);
    *current.sent.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    sender.send(message.clone()).await.map_err(|closed| closed.to_string())?;
    timeout(GRACE, current.delivered.notified()).await.map_err(|_| {
        let missing = current.missing.load(Ordering::Acquire);
        format!("{missing} of {members} connections did not receive a message within {GRACE:?}")
    })
}

/// Receives until the connection ends.
async fn receive(mut receiver: Receiver, current: Arc<Current>, progress: Arc<Progress>) -> Tally {
    let mut tally = Tally::new();
    loop {
        match receiver.recv().await {
            Ok(_) => {}
            Err(closed) if closed.is_clean() => return tally,
            Err(closed) => {
                tally.failure(closed);
                return tally;
            }
        }
        let sent = *current.sent.lock().unwrap_or_else(PoisonError::into_inner);
        tally.time(sent.elapsed());
        progress.count();
        let missing =
            current.missing.fetch_update(Ordering::AcqRel, Ordering::Acquire, |missing| {
                missing.checked_sub(1)
            });
        if missing == Ok(1) {
            current.delivered.notify_one();
        }
    }
}

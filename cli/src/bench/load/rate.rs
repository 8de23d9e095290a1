//! A connection that sends messages at their times.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use sockless::{CloseCode, Closed, Message, Session};
use tokio::time::{Instant, sleep_until};

use super::{Progress, Tally, within_grace};

/// The times at which messages are due.
pub(super) struct Schedule {
    pub(super) next: Instant,
    pub(super) every: Duration,
    pub(super) end: Instant,
}

impl Schedule {
    /// Returns the next time that has come.
    fn due(&mut self) -> Option<Instant> {
        if self.is_over() || Instant::now() < self.next {
            return None;
        }
        let due = self.next;
        self.next += self.every;
        Some(due)
    }

    fn is_over(&self) -> bool {
        self.next >= self.end
    }
}

pub(super) async fn run(
    session: Session,
    message: Message,
    schedule: Schedule,
    progress: Arc<Progress>,
) -> Tally {
    let mut tally = Tally::new();
    let end = schedule.end;
    let exchange = exchange(session, message, schedule, &mut tally, &progress);
    if let Err(failure) = within_grace(end, exchange).await {
        tally.failure(failure);
    }
    tally
}

async fn exchange(
    session: Session,
    message: Message,
    mut schedule: Schedule,
    tally: &mut Tally,
    progress: &Progress,
) -> Result<(), Closed> {
    let (sender, mut receiver) = session.split();
    let mut unanswered = VecDeque::new();
    while !schedule.is_over() || !unanswered.is_empty() {
        tokio::select! {
            received = receiver.recv() => {
                received?;
                if let Some(due) = unanswered.pop_front() {
                    tally.time(Instant::now() - due);
                    progress.count();
                }
            }
            () = sleep_until(schedule.next), if !schedule.is_over() => {
                while let Some(due) = schedule.due() {
                    // To wait here would delay the messages behind this one, which hides how long they wait.
                    match sender.try_send(message.clone()) {
                        Ok(()) => unanswered.push_back(due),
                        Err(error) => tally.failure(error),
                    }
                }
            }
        }
    }
    sender.close(CloseCode::NORMAL);
    Ok(())
}

//! A publisher that waits for slow members: [`Pause`]. See [`Lag::Wait`](crate::Lag::Wait).

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use crate::cell::RoomCell;
use crate::error::PublishError;
use crate::machine::SeatKey;

/// The wait of a publisher, which ends when this is dropped.
struct Pause<'a> {
    cell: &'a Arc<RoomCell>,
    ticket: Option<u64>,
}

/// Waits until the member `key` may publish.
pub(crate) async fn pause(cell: &Arc<RoomCell>, key: SeatKey) -> Result<(), PublishError> {
    let node = &cell.kind.node;
    node.counters.paused();
    let sender = cell.sender(key).ok_or(PublishError::Removed)?;
    let mut closed = pin!(sender.closed());
    let mut timer = node.runtime.timer(node.runtime.now());
    let mut pause = Pause { cell, ticket: None };
    poll_fn(|cx| {
        // Nothing else would end the wait of a handler whose peer has gone.
        if closed.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(PublishError::Removed));
        }
        loop {
            let deadline = match cell.poll_publish(key, &mut pause.ticket, cx)? {
                Some(deadline) => deadline,
                None => return Poll::Ready(Ok(())),
            };
            timer.reset(deadline);
            if timer.poll_expired(cx).is_pending() {
                return Poll::Pending;
            }
            cell.close_overdue(node.runtime.now());
        }
    })
    .await
}

impl Drop for Pause<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.cell.cancel_pause(ticket);
        }
    }
}

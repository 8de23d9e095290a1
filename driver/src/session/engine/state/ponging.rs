//! Waiting for pongs.

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use sockless_core::Closed;

use super::State;
use crate::session::engine::pongs::Pongs;
use crate::session::engine::waiters::{Slot, Wait};

impl State {
    /// The pongs that tasks wait for. Allocated for the first of them.
    pub(crate) fn pongs(&mut self) -> &mut Pongs {
        self.pongs.get_or_insert_default()
    }

    /// The round-trip time of the last ping that was answered, of the application or of the
    /// interval.
    pub(crate) fn round_trip(&mut self) -> Option<Duration> {
        let awaited = self.pongs.as_ref().and_then(|pongs| pongs.round_trip());
        awaited.or_else(|| self.machine.messages()?.round_trip())
    }

    /// Waits for the answer to a ping.
    pub(crate) fn poll_pong(
        &mut self,
        id: u64,
        slot: &mut Slot,
        cx: &Context<'_>,
    ) -> Poll<Result<Duration, Closed>> {
        let answer = self.pongs().answer(id);
        self.poll_for_pong(answer, slot, cx)
    }

    /// Waits for a pong after the first `seen`, and returns it with the number of pongs so far.
    pub(crate) fn poll_newer_pong(
        &mut self,
        seen: u64,
        slot: &mut Slot,
        cx: &Context<'_>,
    ) -> Poll<Result<(Bytes, u64), Closed>> {
        let newer = self.pongs().newer_than(seen);
        self.poll_for_pong(newer, slot, cx)
    }

    fn poll_for_pong<T>(
        &mut self,
        found: Option<T>,
        slot: &mut Slot,
        cx: &Context<'_>,
    ) -> Poll<Result<T, Closed>> {
        if let Some(found) = found {
            return Poll::Ready(Ok(found));
        }
        if let Some(closed) = &self.closed {
            return Poll::Ready(Err(closed.clone()));
        }
        self.wait(Wait::Pong, slot, cx);
        Poll::Pending
    }

    /// Records a pong, and wakes the tasks that wait for one.
    pub(super) fn note_pong(&mut self, payload: &Bytes) {
        let now = self.driver.now;
        if self.pongs.as_mut().is_some_and(|pongs| pongs.note_pong(payload, now)) {
            self.waiters.wake(&[Wait::Pong], Waker::noop(), &mut self.wakes);
        }
    }
}

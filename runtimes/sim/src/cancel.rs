//! Cancelling a future at a given await: [`poll_at_most`].

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

/// Polls `future` at most `polls` times and then drops it. Returns `None` if it has not completed
/// by then.
///
/// A loop that increases `polls` from zero until the future completes cancels it at each of its
/// awaits.
///
/// ```
/// use std::time::Duration;
///
/// use sockless::sim::{Sim, poll_at_most};
///
/// let sim = Sim::new(1);
/// sim.run(async {
///     let nap = || sim.sleep(Duration::from_secs(1));
///     assert_eq!(poll_at_most(1, nap()).await, None);
///     assert_eq!(poll_at_most(2, nap()).await, Some(()));
/// });
/// ```
pub async fn poll_at_most<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

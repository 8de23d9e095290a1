//! Waiting for a future with a deadline: [`timeout`].

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use super::Timer;

/// Waits for `future` until `timer` expires. Returns `None` if the timer expires first.
///
/// The future is polled before the timer, so an output that is ready in the same poll as the
/// deadline is returned.
///
/// Cancel-safe if `future` is: dropping this future drops it, and leaves the timer as it is set. A
/// future that is passed by reference (`&mut future`) survives and can be polled again.
///
/// ```
/// use std::time::Duration;
///
/// use sockless::driver::{Runtime, timeout};
///
/// async fn wait_a_second<F: Future>(runtime: &dyn Runtime, future: F) -> Option<F::Output> {
///     let mut timer = runtime.timer(runtime.now() + Duration::from_secs(1));
///     timeout(&mut *timer, future).await
/// }
/// ```
pub async fn timeout<F: Future>(timer: &mut dyn Timer, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => timer.poll_expired(cx).map(|()| None),
    })
    .await
}

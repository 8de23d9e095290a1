//! The clock, the tasks and the random numbers of tokio: [`TokioRuntime`].

use std::pin::{Pin, pin};
use std::sync::LazyLock;
use std::task::{Context, Poll};
use std::time::Duration;

use sockless_core::{Instant, Seed};
#[cfg(feature = "server")]
use sockless_driver::ConnectionTask;
use sockless_driver::{BoxFuture, Clock, Runtime, Spawn, Timer, round_up};
use tokio::time::{Sleep, sleep_until};

use crate::alarm::Alarm;
use crate::background::BackgroundTimer;

/// The tokio runtime in whose context it is used. Its clock is tokio's, which tests can pause.
///
/// A `ConnectionServer`, or a `Mount` in hyper or axum, takes it as `Arc::new(TokioRuntime)`.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioRuntime;

/// An arbitrary time, fixed before it is first compared with another.
static EPOCH: LazyLock<tokio::time::Instant> = LazyLock::new(tokio::time::Instant::now);

impl Clock for TokioRuntime {
    fn now(&self) -> Instant {
        let epoch = *EPOCH;
        Instant::from_epoch(tokio::time::Instant::now().saturating_duration_since(epoch))
    }

    fn timer(&self, deadline: Instant) -> Box<dyn Timer> {
        Box::new(TokioTimer(Box::pin(sleep_until(to_tokio(deadline)))))
    }

    fn alarm(&self, deadline: Instant) -> Box<dyn Timer> {
        Box::new(Alarm::new(deadline))
    }

    fn background_timer(&self, deadline: Instant) -> Box<dyn Timer> {
        Box::new(BackgroundTimer::new(deadline))
    }

    /// Rounds up by at most a 16th of the time, and 1,024 milliseconds: more sessions share a timer,
    /// which wakes them a few at a time.
    fn wake_time(&self, now: Instant, deadline: Instant) -> Instant {
        let share = deadline.saturating_since(now) / 16;
        round_up(deadline, share.min(Duration::from_millis(1024)))
    }
}

impl Spawn for TokioRuntime {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }

    #[cfg(feature = "server")]
    fn spawn_connection(&self, connection: ConnectionTask) {
        tokio::spawn(connection);
    }

    /// Also lets the tasks run that a transport wakes: tokio polls its I/O driver before it polls
    /// tasks that have yielded.
    fn yield_now(&self, cx: &mut Context<'_>) {
        let _ = pin!(tokio::task::yield_now()).poll(cx);
    }
}

impl Runtime for TokioRuntime {
    /// # Panics
    ///
    /// If the operating system has no random numbers: masking keys would be predictable.
    fn seed(&self) -> Seed {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).expect("the operating system provides random numbers");
        Seed::new(bytes)
    }
}

struct TokioTimer(Pin<Box<Sleep>>);

impl Timer for TokioTimer {
    fn reset(&mut self, deadline: Instant) {
        self.0.as_mut().reset(to_tokio(deadline));
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

/// Converts a deadline to tokio's clock; one that is out of its range becomes a year from now.
pub(crate) fn to_tokio(deadline: Instant) -> tokio::time::Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    let epoch = *EPOCH;
    epoch.checked_add(deadline.since_epoch()).unwrap_or_else(|| tokio::time::Instant::now() + YEAR)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::Write;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn a_session_is_woken_by_a_16th_late_at_most() {
        let now = Instant::from_epoch(Duration::from_nanos(77_777_777_777));
        for exponent in 0..60 {
            let left = Duration::from_nanos((1 << exponent) + 12_345);
            let wake = TokioRuntime.wake_time(now, now + left);
            assert!(wake >= now + left, "{left:?} is early");
            let late = wake.saturating_since(now + left);
            assert!(late <= left / 16 && late <= Duration::from_millis(1024), "{late:?}");
        }
        let pings = (0..25_000).map(|millis| {
            let now = Instant::from_epoch(Duration::from_millis(millis));
            TokioRuntime.wake_time(now, now + Duration::from_secs(25))
        });
        // 25 multiples of 1,024 ms.
        assert_eq!(pings.collect::<std::collections::BTreeSet<_>>().len(), 25);
    }

    #[tokio::test]
    async fn a_task_that_yields_runs_after_one_that_a_transport_wakes() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut writer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (reader, _) = listener.accept().await.unwrap();
        let (waits, is_woken) =
            (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let flags = (waits.clone(), is_woken.clone());
        tokio::spawn(async move {
            // `readable` may return before there is data.
            while reader.try_read(&mut [0]).is_err() {
                flags.0.store(true, Ordering::Relaxed);
                reader.readable().await.unwrap();
            }
            flags.1.store(true, Ordering::Relaxed);
        });
        let busy = tokio::spawn(async move {
            for _ in 0..100 {
                yield_once().await;
            }
            assert!(waits.load(Ordering::Relaxed));
            writer.write_all(b"?").unwrap();
            let mut turns = 0;
            while !is_woken.load(Ordering::Relaxed) {
                yield_once().await;
                turns += 1;
            }
            turns
        });
        let turns = busy.await.unwrap();
        // A task that wakes itself is polled 61 times before tokio polls its I/O driver.
        assert!(turns < 10, "{turns}");
    }

    async fn yield_once() {
        let mut has_yielded = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut has_yielded, true) {
                return Poll::Ready(());
            }
            TokioRuntime.yield_now(cx);
            Poll::Pending
        })
        .await;
    }
}

//! The hooks of a reconnecting client, each with its deadline.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use sockless_driver::BoxError;

use super::error::AttemptError;
use super::{Hook, LocalBoxFuture};
use crate::connect::Connect;
use crate::platform::Sleep;
use crate::session::Session;

/// Returns a future of what a hook prepares.
pub(super) fn prepare(
    preparing: LocalBoxFuture<'static, Result<Connect, BoxError>>,
    within: Duration,
) -> LocalBoxFuture<'static, Result<Connect, AttemptError>> {
    Box::pin(async move {
        match by(within, preparing).await {
            Some(prepared) => prepared.map_err(AttemptError::Prepare),
            None => Err(AttemptError::HookTimeout { hook: "Reconnect::prepare" }),
        }
    })
}

/// Returns a future that runs `hook` on `session`, and returns both.
pub(super) fn run(
    mut hook: Hook,
    mut session: Session,
    within: Duration,
) -> LocalBoxFuture<'static, (Hook, Session, Result<(), AttemptError>)> {
    Box::pin(async move {
        let result = match by(within, hook(&mut session)).await {
            Some(result) => result.map_err(AttemptError::Hook),
            None => Err(AttemptError::HookTimeout { hook: "Reconnect::on_open" }),
        };
        (hook, session, result)
    })
}

/// Returns `None` if `future` is not ready within that time. Then it has been dropped.
async fn by<F: Future>(within: Duration, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut timer = Sleep::new(within);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Pin::new(&mut timer).poll(cx).map(|()| None),
    })
    .await
}

//! The hooks of a reconnecting client, each with its deadline.

use std::sync::Arc;
use std::time::Duration;

use super::error::AttemptError;
use crate::client::connect::Connect;
use crate::future::{BoxError, BoxFuture};
use crate::runtime::{Runtime, timeout};
use crate::session::Session;

/// The hook before an attempt.
pub(super) type Prepare =
    Box<dyn FnMut(Connect) -> BoxFuture<'static, Result<Connect, BoxError>> + Send>;

/// The hook on a new session.
pub(super) type Hook =
    Box<dyn for<'a> FnMut(&'a mut Session) -> BoxFuture<'a, Result<(), BoxError>> + Send>;

/// Returns a future of what `hook` makes of `connect`.
pub(super) fn prepare(
    hook: &mut Prepare,
    connect: Connect,
    within: Duration,
) -> BoxFuture<'static, Result<Connect, AttemptError>> {
    let runtime = Arc::clone(connect.runtime());
    let preparing = hook(connect);
    Box::pin(async move {
        match by(&runtime, within, preparing).await {
            Some(prepared) => prepared.map_err(AttemptError::Prepare),
            None => Err(AttemptError::HookTimeout { hook: "Reconnect::prepare" }),
        }
    })
}

/// Returns a future that runs `hook` on `session`, and returns both.
pub(super) fn run(
    mut hook: Hook,
    mut session: Session,
    runtime: Arc<dyn Runtime>,
    within: Duration,
) -> BoxFuture<'static, (Hook, Session, Result<(), AttemptError>)> {
    Box::pin(async move {
        let result = match by(&runtime, within, hook(&mut session)).await {
            Some(result) => result.map_err(AttemptError::Hook),
            None => Err(AttemptError::HookTimeout { hook: "Reconnect::on_open" }),
        };
        (hook, session, result)
    })
}

/// Returns `None` if `future` is not ready within that time. Then it has been dropped.
async fn by<F: Future>(
    runtime: &Arc<dyn Runtime>,
    within: Duration,
    future: F,
) -> Option<F::Output> {
    let mut timer = runtime.timer(runtime.now() + within);
    timeout(&mut *timer, future).await
}

//! The future of a handler: [`Running`], and the [`Outcome`] that it may have.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::future::BoxError;

/// A handler at work.
pub(crate) struct Running(Pin<Box<dyn Run>>);

impl Running {
    /// Calls a handler. One that panics at once does so again when it is polled, where that is caught.
    pub(crate) fn start<Fut>(handler: impl FnOnce() -> Fut) -> Self
    where
        Fut: Future<Output: Outcome> + Send + 'static,
    {
        match catch_unwind(AssertUnwindSafe(handler)) {
            Ok(running) => Self(Box::pin(running)),
            Err(panic) => Self(Box::pin(async { resume_unwind(panic) as () })),
        }
    }
}

impl Future for Running {
    type Output = Result<(), BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll_result(cx)
    }
}

/// A handler's future as it is: an `async` block around it would hold the session once more.
trait Run: Send {
    fn poll_result(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>>;
}

impl<Fut: Future<Output: Outcome> + Send> Run for Fut {
    fn poll_result(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.poll(cx).map(Outcome::into_result)
    }
}

/// What a handler may return: nothing, or a `Result`.
///
/// An error while the session is open is logged at error level and closes the connection with 1011. An
/// error of any type after the session has ended or has begun to close, and one that has a
/// [`Closed`](sockless_core::Closed) among its [sources](std::error::Error::source), is an ordinary end: it is
/// logged at debug level, and the connection closed with 1000 if it is still open.
pub trait Outcome: Send {
    /// The result that the driver acts on.
    ///
    /// # Errors
    ///
    /// The handler's own.
    fn into_result(self) -> Result<(), BoxError>;
}

impl Outcome for () {
    fn into_result(self) -> Result<(), BoxError> {
        Ok(())
    }
}

impl<E: Into<BoxError> + Send> Outcome for Result<(), E> {
    fn into_result(self) -> Result<(), BoxError> {
        self.map_err(Into::into)
    }
}

//! The future of a handler: [`Running`], and its [`Outcome`].

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::future::BoxError;

/// A handler that has been called.
pub(crate) struct Running(Pin<Box<dyn Run>>);

impl Running {
    /// Calls a handler. If the call panics, the future does so again when it is polled, where
    /// panics are caught.
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

/// The future of a handler, without an `async` block around it, which would hold the session a
/// second time.
trait Run: Send {
    fn poll_result(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>>;
}

impl<Fut: Future<Output: Outcome> + Send> Run for Fut {
    fn poll_result(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.poll(cx).map(Outcome::into_result)
    }
}

/// The types that a handler may return: `()`, and a `Result` with any error.
///
/// An error that is returned while the session is open is logged at error level, and the connection
/// is closed with 1011. Two kinds of error are the ordinary end of a session instead, are logged at
/// debug level, and close a connection that is still open with 1000: an error of any type that is
/// returned after the session has ended or has begun to close, and one that has a
/// [`Closed`](sockless_core::Closed) among its [sources](std::error::Error::source).
///
/// A handler closes its session with a code and a reason of its own by an error that is, or has
/// among its sources, a [`CloseReason`](sockless_core::CloseReason); [`Error`](crate::Error)
/// converts from one:
///
/// ```
/// use sockless::{CloseCode, CloseReason, Session};
///
/// async fn chat(session: Session) -> Result<(), CloseReason> {
///     match session.request().param_str("room") {
///         Some("lobby") => Ok(()),
///         _ => Err((CloseCode::POLICY_VIOLATION, "there is no such room").into()),
///     }
/// }
/// # let _ = sockless::websocket(chat);
/// ```
pub trait Outcome: Send {
    /// Converts the value into the result that the driver acts on.
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

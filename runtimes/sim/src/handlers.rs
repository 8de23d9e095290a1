//! The handlers of a simulation that failed: [`Handlers`].

use std::any::Any;

use sockless_core::Instant;

/// A handler that returned an error while its session was open, from
/// [`Sim::failed_handlers`](crate::Sim::failed_handlers).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailedHandler {
    /// The path of its request.
    pub path: String,
    /// The error, with its sources.
    pub error: String,
    /// When it ended.
    pub at: Instant,
}

#[derive(Default)]
pub(crate) struct Handlers {
    pub(crate) failed: Vec<FailedHandler>,
    /// The path of the handler that panicked in this poll, with the text of the panic.
    pub(crate) panicked: Option<(String, String)>,
}

/// Formats an error with its sources.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let errors = std::iter::successors(Some(error), |error| error.source());
    errors.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Returns the text of a panic's payload.
pub(crate) fn text_of(payload: &(dyn Any + Send)) -> Option<&str> {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied())
}

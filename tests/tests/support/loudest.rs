//! How loudly something is logged.

use tracing::Level;

mod recorder;

/// The loudest level at which something was logged.
pub(crate) struct Loudest;

impl Loudest {
    /// The loudest level at which `scenario` logs on this thread.
    pub(crate) fn of(scenario: impl FnOnce()) -> Option<Level> {
        let add = |loudest: &mut Option<Level>, event: &tracing::Event<'_>| {
            let level = *event.metadata().level();
            // A louder level is a lesser one.
            *loudest = Some(loudest.map_or(level, |loudest| loudest.min(level)));
        };
        recorder::record(add, scenario)
    }
}

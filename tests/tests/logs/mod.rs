//! How loudly something is logged.

use std::sync::{Arc, LazyLock, Mutex};

use tracing::{Dispatch, Level, Metadata, Subscriber, span};

/// One more subscriber, for as long as the process: with only one, `tracing` asks that of the thread which
/// meets a line of the code first, and if another thread's test did, nothing is logged there ever after.
static SECOND: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(Loudest::default()));

/// The loudest level at which something was logged.
#[derive(Clone, Default)]
pub(crate) struct Loudest(Arc<Mutex<Option<Level>>>);

impl Loudest {
    /// The loudest level at which `scenario` logs on this thread.
    pub(crate) fn of(scenario: impl FnOnce()) -> Option<Level> {
        LazyLock::force(&SECOND);
        let loudest = Self::default();
        tracing::subscriber::with_default(loudest.clone(), scenario);
        *loudest.0.lock().unwrap()
    }
}

impl Subscriber for Loudest {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn event(&self, event: &tracing::Event<'_>) {
        let level = *event.metadata().level();
        let mut loudest = self.0.lock().unwrap();
        // A louder level is a lesser one.
        *loudest = Some(loudest.map_or(level, |loudest| loudest.min(level)));
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

//! What is logged while a scenario runs on one thread: [`record`].

use std::sync::{Arc, LazyLock, Mutex};

use tracing::{Dispatch, Event, Metadata, Subscriber, span};

/// One more subscriber, for as long as the process: with only one, `tracing` asks that of the thread which
/// meets a line of the code first, and if another thread's test did, nothing is logged there ever after.
static SECOND: LazyLock<Dispatch> =
    LazyLock::new(|| Dispatch::new(Recorder { recorded: Arc::default(), add: |(), _| {} }));

/// What `add` makes of the events that `scenario` logs on this thread.
pub(crate) fn record<T: Default + Send + 'static>(
    add: fn(&mut T, &Event<'_>),
    scenario: impl FnOnce(),
) -> T {
    LazyLock::force(&SECOND);
    let recorded = Arc::default();
    let recorder = Recorder { recorded: Arc::clone(&recorded), add };
    tracing::subscriber::with_default(recorder, scenario);
    std::mem::take(&mut *recorded.lock().unwrap())
}

struct Recorder<T> {
    recorded: Arc<Mutex<T>>,
    add: fn(&mut T, &Event<'_>),
}

impl<T: Send + 'static> Subscriber for Recorder<T> {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn event(&self, event: &Event<'_>) {
        (self.add)(&mut self.recorded.lock().unwrap(), event);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

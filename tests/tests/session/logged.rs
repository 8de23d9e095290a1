//! What is logged, line by line.

use std::fmt::{self, Write};
use std::sync::{Arc, LazyLock, Mutex};

use tracing::field::{Field, Visit};
use tracing::{Dispatch, Level, Metadata, Subscriber, span};

/// One more subscriber, for as long as the process: with only one, `tracing` asks that of the thread which
/// meets a line of the code first, and if another thread's test did, nothing is logged there ever after.
static SECOND: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(Logged::default()));

/// The lines that were logged: `LEVEL message field=value …`.
#[derive(Clone, Default)]
pub(crate) struct Logged(Arc<Mutex<Vec<String>>>);

impl Logged {
    /// What `scenario` logs on this thread at `level` or louder.
    pub(crate) fn of(level: Level, scenario: impl FnOnce()) -> Vec<String> {
        LazyLock::force(&SECOND);
        let logged = Self::default();
        tracing::subscriber::with_default(logged.clone(), scenario);
        let mut lines = std::mem::take(&mut *logged.0.lock().unwrap());
        lines.retain(|line| {
            let own: Level = line.split(' ').next().unwrap().parse().expect("a level");
            own <= level
        });
        lines
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let written = match field.name() {
            "message" => write!(self.0, " {value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
        written.expect("a string takes all");
    }
}

impl Subscriber for Logged {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

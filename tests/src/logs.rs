//! The events that are logged while a scenario runs on one thread.

use std::fmt::{self, Write};
use std::sync::{Arc, LazyLock, Mutex};

use tracing::field::{Field, Visit};
use tracing::{Dispatch, Event, Level, Metadata, Subscriber, span};

/// One more subscriber, for as long as the process lives. With only one, `tracing` asks the subscriber of the
/// thread that first reaches a log statement, and caches the answer: if that thread belongs to another test,
/// the statement stays disabled.
static SECOND: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(Recorder::default()));

/// Returns the events that `scenario` logs on this thread: their levels, and `message field=value …` as a plain
/// subscriber writes it, with nothing escaped.
pub fn events(scenario: impl FnOnce()) -> Vec<(Level, String)> {
    LazyLock::force(&SECOND);
    let recorder = Recorder::default();
    let recorded = Arc::clone(&recorder.recorded);
    tracing::subscriber::with_default(recorder, scenario);
    std::mem::take(&mut *recorded.lock().unwrap())
}

/// Returns the lines that `scenario` logs on this thread at `level` or above: `LEVEL message field=value …`.
pub fn lines(level: Level, scenario: impl FnOnce()) -> Vec<String> {
    let events = events(scenario).into_iter().filter(|(own, _)| *own <= level);
    events.map(|(own, line)| format!("{own} {line}")).collect()
}

/// Returns the most severe level at which `scenario` logs on this thread.
pub fn max_level(scenario: impl FnOnce()) -> Option<Level> {
    // `tracing` orders levels from the most severe up.
    events(scenario).into_iter().map(|(level, _)| level).min()
}

#[derive(Default)]
struct Recorder {
    recorded: Arc<Mutex<Vec<(Level, String)>>>,
}

impl Subscriber for Recorder {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.recorded.lock().unwrap().push((*event.metadata().level(), line.0));
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let separator = if self.0.is_empty() { "" } else { " " };
        let written = match field.name() {
            "message" => write!(self.0, "{separator}{value:?}"),
            name => write!(self.0, "{separator}{name}={value:?}"),
        };
        written.expect("writing to a string succeeds");
    }
}

//! A subscriber that keeps the spans and the events of a scenario.

use std::fmt::{self, Debug};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};

use sockless_sim::Sim;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};
use tracing_core::span::Current;

/// What has been recorded, up to a level.
#[derive(Clone)]
pub(crate) struct Recorder {
    max: Level,
    log: Arc<Mutex<Log>>,
}

#[derive(Default)]
struct Log {
    spans: Vec<Recorded>,
    /// The indices of those that the thread is in.
    entered: Vec<usize>,
    events: Vec<Written>,
}

/// A span.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    metadata: &'static Metadata<'static>,
    pub(crate) level: Level,
    /// The name of the span that it is within.
    pub(crate) parent: Option<String>,
    pub(crate) is_closed: bool,
    fields: Fields,
    handles: usize,
}

/// An event.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) level: Level,
    /// The names of the spans that it is in, the outermost first.
    pub(crate) spans: Vec<String>,
    fields: Fields,
}

#[derive(Clone, Debug, Default)]
struct Fields(Vec<(&'static str, String)>);

/// Keeps `tracing` from caching what one of the other subscribers takes.
static SECOND: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(Recorder::new(Level::TRACE)));

impl Recorder {
    fn new(max: Level) -> Self {
        Self { max, log: Arc::default() }
    }

    /// Runs a scenario for some seeds, each with a recorder of its own.
    #[track_caller]
    pub(crate) fn check<Fut: Future<Output = ()>>(max: Level, scenario: impl Fn(Sim, Self) -> Fut) {
        LazyLock::force(&SECOND);
        for seed in 0..5 {
            let recorder = Self::new(max);
            tracing::subscriber::with_default(recorder.clone(), || {
                let sim = Sim::new(seed);
                sim.run(scenario(sim.clone(), recorder));
            });
        }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap()
    }

    /// The spans with this name so far.
    pub(crate) fn spans(&self, name: &str) -> Vec<Recorded> {
        let log = self.log();
        log.spans.iter().filter(|span| span.metadata.name() == name).cloned().collect()
    }

    /// The one span with this name and these fields.
    #[track_caller]
    pub(crate) fn span(&self, name: &str, fields: &[(&str, &str)]) -> Recorded {
        let mut found = self.spans(name);
        found.retain(|span| fields.iter().all(|(name, value)| span.field(name) == Some(value)));
        assert_eq!(found.len(), 1, "{name} {fields:?}: {:?}", self.log().spans);
        found.remove(0)
    }

    /// The events with this message so far.
    pub(crate) fn events(&self, message: &str) -> Vec<Written> {
        let log = self.log();
        let with_message =
            log.events.iter().filter(|event| event.fields.get("message") == Some(message));
        with_message.cloned().collect()
    }

    /// The one event with this message.
    #[track_caller]
    pub(crate) fn event(&self, message: &str) -> Written {
        let mut found = self.events(message);
        assert_eq!(found.len(), 1, "{message}: {:?}", self.log().events);
        found.remove(0)
    }

    /// The values of all fields, as a subscriber prints them.
    pub(crate) fn text(&self) -> String {
        let log = self.log();
        let fields = log.spans.iter().map(|span| &span.fields);
        let fields = fields.chain(log.events.iter().map(|event| &event.fields));
        fields.flat_map(|fields| fields.0.iter().map(|(_, value)| &**value)).collect()
    }
}

impl Recorded {
    /// The value of a field, as it is displayed.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name)
    }
}

impl Fields {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| *own == name).map(|(_, value)| &**value)
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push((field.name(), value.to_owned()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.push((field.name(), format!("{value:?}")));
    }
}

fn index_of(id: &Id) -> usize {
    usize::try_from(id.into_u64() - 1).expect("an index")
}

fn id_of(index: usize) -> Id {
    Id::from_u64(index as u64 + 1)
}

impl Subscriber for Recorder {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.max
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let mut log = self.log();
        let parent = match attributes.parent() {
            Some(id) => Some(index_of(id)),
            None if attributes.is_contextual() => log.entered.last().copied(),
            None => None,
        };
        let parent = parent.map(|index| log.spans[index].metadata.name().to_owned());
        let metadata = attributes.metadata();
        let level = *metadata.level();
        log.spans.push(Recorded { metadata, level, parent, is_closed: false, fields, handles: 1 });
        id_of(log.spans.len() - 1)
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        values.record(&mut self.log().spans[index_of(id)].fields);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut log = self.log();
        let spans = log.entered.iter().map(|&index| log.spans[index].metadata.name().to_owned());
        let spans = spans.collect();
        log.events.push(Written { level: *event.metadata().level(), spans, fields });
    }

    fn enter(&self, id: &Id) {
        self.log().entered.push(index_of(id));
    }

    fn exit(&self, id: &Id) {
        let mut log = self.log();
        let at = log.entered.iter().rposition(|index| *index == index_of(id));
        log.entered.remove(at.expect("it was entered"));
    }

    fn clone_span(&self, id: &Id) -> Id {
        self.log().spans[index_of(id)].handles += 1;
        id.clone()
    }

    fn try_close(&self, id: Id) -> bool {
        let mut log = self.log();
        let span = &mut log.spans[index_of(&id)];
        span.handles -= 1;
        span.is_closed = span.handles == 0;
        span.is_closed
    }

    fn current_span(&self) -> Current {
        let log = self.log();
        match log.entered.last() {
            Some(&index) => Current::new(id_of(index), log.spans[index].metadata),
            None => Current::none(),
        }
    }
}

impl Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("max", &self.max).finish_non_exhaustive()
    }
}

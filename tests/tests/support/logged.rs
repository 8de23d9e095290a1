//! What is logged, line by line.

use std::fmt::{self, Write};

use tracing::Level;
use tracing::field::{Field, Visit};

use crate::recorder::record;

/// The lines that were logged: `LEVEL message field=value …`.
pub(crate) struct Logged;

impl Logged {
    /// What `scenario` logs on this thread at `level` or louder.
    pub(crate) fn of(level: Level, scenario: impl FnOnce()) -> Vec<String> {
        let add = |lines: &mut Vec<(Level, String)>, event: &tracing::Event<'_>| {
            let own = *event.metadata().level();
            let mut line = Line(own.to_string());
            event.record(&mut line);
            lines.push((own, line.0));
        };
        let lines = record(add, scenario);
        lines.into_iter().filter(|(own, _)| *own <= level).map(|(_, line)| line).collect()
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

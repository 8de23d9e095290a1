//! What is logged, as lines of text.

use std::fmt::{self, Write};

use tracing::Level;
use tracing::field::{Field, Visit};

use crate::recorder::record;

/// All that was logged, each event with its level and its fields.
pub(crate) struct Lines;

impl Lines {
    /// What `scenario` logs on this thread.
    pub(crate) fn of(scenario: impl FnOnce()) -> Vec<(Level, String)> {
        let add = |lines: &mut Vec<(Level, String)>, event: &tracing::Event<'_>| {
            let mut line = Line(String::new());
            event.record(&mut line);
            lines.push((*event.metadata().level(), line.0));
        };
        record(add, scenario)
    }
}

/// Writes a message and its fields as a plain subscriber does: as they come, with nothing escaped.
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, "{field}={value:?} ").unwrap();
    }
}

//! Panics of the code under test, kept for the message of the failure: [`Watch`].

use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::RefCell;
use std::fmt;
use std::panic::PanicHookInfo;
use std::sync::{Arc, Once};

use crate::waits::RUNNERS;

/// A panic of the code under test.
#[derive(Clone, Debug)]
pub(crate) struct Panicked {
    pub(crate) text: String,
    /// The line that panicked; `None` if it is a line of the simulator, whose messages name the
    /// line of the test.
    place: Option<String>,
    /// As `RUST_BACKTRACE` decides.
    backtrace: Option<Arc<Backtrace>>,
}

impl Panicked {
    /// A panic of which only the payload is known.
    pub(crate) fn from_text(text: &str) -> Self {
        Self { text: text.to_owned(), place: None, backtrace: None }
    }

    fn from_hook(info: &PanicHookInfo<'_>) -> Self {
        let text = info.payload_as_str().unwrap_or("(a payload without a text)").to_owned();
        let place = info.location().filter(|place| !place.file().starts_with(own_sources()));
        let backtrace = Backtrace::capture();
        let is_captured = backtrace.status() == BacktraceStatus::Captured;
        Self {
            text,
            place: place.map(ToString::to_string),
            backtrace: is_captured.then(|| Arc::new(backtrace)),
        }
    }

    /// Returns the place that panicked: a line, or for the simulator's own messages their beginning,
    /// which is the line of the test.
    pub(crate) fn kind(&self) -> String {
        let text = || self.text.split(": ").next().unwrap_or_default().to_owned();
        self.place.clone().unwrap_or_else(text)
    }

    /// Returns the backtrace as a part of a message.
    pub(crate) fn backtrace(&self) -> String {
        let backtrace = self.backtrace.as_ref();
        let Some(backtrace) = backtrace.map(ToString::to_string) else { return String::new() };
        let is_full = std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value == "full");
        let shown = if is_full { backtrace } else { shorten(&backtrace) };
        format!("\nbacktrace:\n{}", shown.trim_end())
    }
}

/// Returns the frames of the code under test: without those of the panic itself, of the simulator and of
/// the test's harness.
fn shorten(backtrace: &str) -> String {
    let mut frames: Vec<String> = Vec::new();
    for line in backtrace.lines() {
        match frames.last_mut() {
            Some(frame) if line.trim_start().starts_with("at ") => {
                frame.extend(["\n", line]);
            }
            _ => frames.push(line.to_owned()),
        }
    }
    let has_any = |frame: &String, names: &[&str]| names.iter().any(|name| frame.contains(name));
    if let Some(outer) = frames.iter().position(|frame| has_any(frame, &RUNNERS)) {
        frames.truncate(outer);
    }
    let inner = frames.iter().rposition(|frame| has_any(frame, &PANICS));
    frames.split_off(inner.map_or(0, |inner| inner + 1)).join("\n")
}

/// The functions that panic, and call the hook.
const PANICS: [&str; 2] = ["rust_begin_unwind", "core::panicking::"];

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        match &self.place {
            Some(place) => write!(f, "\n  at {place}"),
            None => Ok(()),
        }
    }
}

/// Keeps the panics of this thread, which are then not printed, until it is dropped.
///
/// Panics that are caught, such as those of handlers, are kept too.
pub(crate) struct Watch {
    /// The panics that an outer watch of the same thread has kept.
    outer: Option<Vec<Panicked>>,
}

impl Watch {
    pub(crate) fn begin() -> Self {
        install_hook();
        Self { outer: KEPT.replace(Some(Vec::new())) }
    }

    pub(crate) fn has_seen_any(&self) -> bool {
        KEPT.with_borrow(|kept| kept.as_ref().is_some_and(|kept| !kept.is_empty()))
    }

    /// Returns the panics since the last call, oldest first.
    pub(crate) fn take(&self) -> Vec<Panicked> {
        KEPT.with_borrow_mut(|kept| kept.as_mut().map(std::mem::take).unwrap_or_default())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        KEPT.set(self.outer.take());
    }
}

thread_local! {
    /// `None` if this thread runs no simulation.
    static KEPT: RefCell<Option<Vec<Panicked>>> = const { RefCell::new(None) };
}

/// Installs a panic hook in front of the program's own, once.
fn install_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let next = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !keep(info) {
                next(info);
            }
        }));
    });
}

/// Returns false if the panic is to be printed.
fn keep(info: &PanicHookInfo<'_>) -> bool {
    let panicked = Panicked::from_hook(info);
    let kept = KEPT.try_with(|kept| match kept.try_borrow_mut().as_deref_mut() {
        Ok(Some(kept)) => {
            // A second panic may be one while the first unwinds, which aborts the process.
            let is_first = kept.is_empty();
            if !is_first {
                eprintln!("panicked: {}", kept[kept.len() - 1]);
            }
            kept.push(panicked);
            is_first
        }
        _ => false,
    });
    kept.unwrap_or(false)
}

/// Returns the folder of this crate's sources, as locations have it.
pub(crate) fn own_sources() -> &'static str {
    file!().trim_end_matches("panics.rs")
}

#[cfg(test)]
mod tests {
    use super::shorten;

    const BACKTRACE: &str = "\
   0: sockless_sim::panics::Panicked::from_hook
             at ./src/panics.rs:29:25
   1: __rustc::rust_begin_unwind
             at /rustc/abc/library/std/src/panicking.rs:689:5
   2: core::panicking::panic_fmt
             at /rustc/abc/library/core/src/panicking.rs:80:14
   3: core::option::unwrap_failed
             at /rustc/abc/library/core/src/option.rs:1:1
   4: chat::room::join::{{closure}}
             at /home/a/chat/src/room.rs:12:30
   5: sockless_sim::tasks::Tasks::poll::{{closure}}
             at ./src/tasks.rs:130:71
   6: core::panicking::not_reached
";

    #[test]
    fn a_backtrace_is_shortened_to_the_code_under_test() {
        let expected = "   3: core::option::unwrap_failed
             at /rustc/abc/library/core/src/option.rs:1:1
   4: chat::room::join::{{closure}}
             at /home/a/chat/src/room.rs:12:30";
        assert_eq!(shorten(BACKTRACE), expected);
        assert_eq!(shorten("   0: unknown\n"), "   0: unknown");
    }
}

//! Panics of the code under test, kept for the message of the failure: [`Watch`].

use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::RefCell;
use std::fmt;
use std::panic::PanicHookInfo;
use std::sync::{Arc, Once};

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
        backtrace.map(|backtrace| format!("\nbacktrace:\n{backtrace}")).unwrap_or_default()
    }
}

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

//! Where a task waits: it is polled with two wakers, and the futures that replace the first by the
//! second show themselves.
//!
//! A future that waits keeps a waker. When it is polled with another one, it drops the first, in the
//! midst of its own `poll`: a backtrace that the drop captures shows the `await`.

use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Finds out where the task waits that `poll` polls. It does not run on normally after this.
#[inline(never)]
pub(crate) fn find(mut poll: impl FnMut(&mut Context<'_>) -> Poll<()>) -> Vec<String> {
    let mut poll_with = |task: &Waker| {
        catch_unwind(AssertUnwindSafe(|| poll(&mut Context::from_waker(task))))
            .unwrap_or(Poll::Pending)
    };
    let first = Search::begin();
    let is_ready = poll_with(&first.task).is_ready();
    let first = Search::end(first);
    let second = Search::begin();
    let is_ready = is_ready || {
        // What it waits for keeps the only handles of these wakers.
        for waker in first {
            waker.armed.store(true, Ordering::Relaxed);
        }
        poll_with(&second.task).is_ready()
    };
    let (mut places, functions) = (FOUND.take(), OF_LIBRARIES.take());
    drop(Search::end(second));
    FOUND.take();
    OF_LIBRARIES.take();
    if places.is_empty() {
        places = functions;
    }
    if is_ready {
        return vec!["nothing: it could continue, but was not woken".to_owned()];
    }
    let mut seen = std::collections::BTreeSet::new();
    places.retain(|place| seen.insert(place.clone()));
    places
}

/// Returns true while the places are searched at which a task waits.
pub(crate) fn is_searching() -> bool {
    // Asked at each wait, so it is a flag of its own.
    SEARCHES.try_with(Cell::get).unwrap_or(false)
}

/// Records that the polled task waits here. For the simulator's own futures, which keep no waker
/// during a search.
pub(crate) fn found() {
    let text = Backtrace::force_capture().to_string();
    match (place_in(&text), function_in(&text)) {
        (Some(place), _) => FOUND.with_borrow_mut(|found| found.push(place)),
        (None, Some(function)) => OF_LIBRARIES.with_borrow_mut(|found| found.push(function)),
        (None, None) => {}
    }
}

/// Records that the polled task waits for a connection.
pub(crate) fn found_connection(name: String) {
    FOUND.with_borrow_mut(|found| found.push(name));
}

/// Returns the waker for the handler of the polled task, during a search.
pub(crate) fn handler_waker() -> Option<Waker> {
    if !is_searching() {
        return None;
    }
    SEARCH.try_with(|search| search.borrow().clone()).ok().flatten()
}

/// The wakers of one poll during a search.
struct Search {
    task: Waker,
    probes: Vec<Arc<Probe>>,
}

impl Search {
    fn begin() -> Self {
        let probes: Vec<Arc<Probe>> = vec![Arc::default(), Arc::default()];
        SEARCH.set(Some(Waker::from(probes[1].clone())));
        SEARCHES.set(true);
        Self { task: Waker::from(probes[0].clone()), probes }
    }

    /// Ends the poll, and returns those wakers that something keeps.
    fn end(self) -> Vec<Kept> {
        let Self { task, probes } = self;
        drop(task);
        SEARCHES.set(false);
        SEARCH.set(None);
        probes.into_iter().map(|probe| Kept { armed: probe.armed.clone() }).collect()
    }
}

/// A waker that something may keep. It does not keep the waker itself.
struct Kept {
    armed: Arc<AtomicBool>,
}

/// A waker that records where its last handle is dropped.
#[derive(Default)]
struct Probe {
    armed: Arc<AtomicBool>,
}

impl Wake for Probe {
    fn wake(self: Arc<Self>) {}
}

impl Drop for Probe {
    fn drop(&mut self) {
        if self.armed.load(Ordering::Relaxed) && is_searching() {
            found();
        }
    }
}

thread_local! {
    static SEARCHES: Cell<bool> = const { Cell::new(false) };
    /// The waker for handlers, during a search.
    static SEARCH: RefCell<Option<Waker>> = const { RefCell::new(None) };
    static FOUND: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    /// The functions that wait in tasks without a line of the code under test.
    static OF_LIBRARIES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Returns the line of the code under test that is running, with the function that it calls.
pub(crate) fn this_place() -> Option<String> {
    let text = Backtrace::force_capture().to_string();
    place_in(&text)
}

/// One frame of a backtrace.
struct Frame<'a> {
    function: &'a str,
    file: Option<&'a str>,
}

fn place_in(backtrace: &str) -> Option<String> {
    let mut frames = frames(backtrace);
    // The rest is the simulator's caller.
    frames.truncate(runner(&frames).unwrap_or(frames.len()));
    let own = frames.iter().position(|frame| frame.file.is_some_and(is_under_test))?;
    let place = frames[own].file?;
    let place = place.strip_prefix("./").unwrap_or(place);
    // The function that this line calls. Inlined functions have no path.
    let called = frames[..own].iter().rev().map(|frame| frame.function);
    match called.clone().find(|function| has_path(function) && !is_of_std(function)) {
        Some(called) => Some(format!("{} at {place}", short(called))),
        None => Some(place.to_owned()),
    }
}

/// Returns the outermost function of the task that is polled.
fn function_in(backtrace: &str) -> Option<String> {
    let frames = frames(backtrace);
    let own = frames[..runner(&frames)?].iter().rev().map(|frame| frame.function);
    let is_named = |function: &&str| has_path(function) && !is_of_std(function);
    let mut functions = own.filter(is_named).filter(|function| owner(function) != "sockless_sim");
    functions.next().map(|function| short(function).to_owned())
}

/// Returns the index of the frame that polls the task.
fn runner(frames: &[Frame<'_>]) -> Option<usize> {
    frames.iter().position(|frame| RUNNERS.iter().any(|name| frame.function.contains(name)))
}

/// The functions that poll the tasks.
pub(crate) const RUNNERS: [&str; 3] = [
    "sockless_sim::tasks::Tasks::poll",
    "sockless_sim::waits::find",
    "sockless_sim::world::poll_main",
];

/// Parses the text of a backtrace, innermost frame first.
fn frames(backtrace: &str) -> Vec<Frame<'_>> {
    let mut frames: Vec<Frame<'_>> = Vec::new();
    for line in backtrace.lines() {
        let line = line.trim_start();
        if let Some(file) = line.strip_prefix("at ") {
            if let Some(frame) = frames.last_mut() {
                frame.file = Some(file);
            }
        } else if let Some((number, function)) = line.split_once(": ")
            && number.parse::<u32>().is_ok()
        {
            frames.push(Frame { function, file: None });
        }
    }
    frames
}

fn has_path(function: &str) -> bool {
    let (path, _) = function.split_once('<').unwrap_or((function, ""));
    path.is_empty() || path.contains("::")
}

fn is_of_std(function: &str) -> bool {
    ["alloc", "core", "std"].contains(&owner(function))
}

/// Returns true for a file of the program or its tests, which is no library's.
fn is_under_test(file: &str) -> bool {
    const LIBRARIES: [&str; 4] = ["/rustc/", "/registry/src/", "/git/checkouts/", "/library/"];
    const OWN: [&str; 6] =
        ["core", "driver", "routing", "sockless", "runtimes/hyper", "runtimes/sim"];
    if LIBRARIES.iter().any(|folder| file.contains(folder)) {
        return false;
    }
    // Backtraces leave out the current directory. In a checkout, this library's crates are beside
    // this one.
    let relative =
        file.strip_prefix("./").map(|file| std::env::current_dir().map(|at| at.join(file)));
    let file = relative.and_then(Result::ok).unwrap_or_else(|| PathBuf::from(file));
    let Some(root) = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2) else { return true };
    !OWN.iter().any(|folder| file.starts_with(root.join(folder).join("src")))
}

/// Returns the crate of a function's path.
fn owner(function: &str) -> &str {
    let of = |path: &'_ str| -> usize { path.find("::").unwrap_or(path.len()) };
    let path = function.trim_start_matches(['<', '&', '(']);
    let path = path.strip_prefix("dyn ").unwrap_or(path);
    match path.split_once(" as ") {
        // A generic type: the trait's crate.
        Some((this, implemented)) if !this.contains("::") => &implemented[..of(implemented)],
        _ => &path[..of(path)],
    }
}

/// Returns a function's path without its closures.
fn short(function: &str) -> &str {
    function.trim_end_matches("::{{closure}}")
}

#[cfg(test)]
mod tests {
    use super::{function_in, owner, place_in, short};

    const BACKTRACE: &str = "\
   0: <sockless_sim::waits::Probe as core::ops::drop::Drop>::drop
             at ./src/waits.rs:100:9
   1: core::ptr::drop_in_place<sockless_sim::waits::Probe>
             at /rustc/abc/library/core/src/ptr/mod.rs:1:1
   2: <tokio::sync::batch_semaphore::Acquire as core::future::future::Future>::poll
             at /home/a/.cargo/registry/src/index/tokio-1.0.0/src/sync/batch_semaphore.rs:1:1
   3: tokio::sync::mpsc::bounded::Sender<T>::send::{{closure}}
             at /home/a/.cargo/registry/src/index/tokio-1.0.0/src/sync/mpsc/bounded.rs:5:1
   4: chat::room::join::{{closure}}
             at /home/a/chat/src/room.rs:12:30
   5: <Fut as sockless_driver::session::handler::Run>::poll_result
             at /home/a/.cargo/registry/src/index/sockless-driver-1.0.0/src/session/handler.rs:1:1
";

    #[test]
    fn a_place_is_the_first_line_that_is_no_librarys() {
        let expected =
            "tokio::sync::mpsc::bounded::Sender<T>::send at /home/a/chat/src/room.rs:12:30";
        assert_eq!(place_in(BACKTRACE).as_deref(), Some(expected));
        assert_eq!(place_in("disabled backtrace"), None);
    }

    #[test]
    fn a_task_without_such_a_line_is_named_by_its_outermost_function() {
        let driver = "\
   1: sockless_driver::session::engine::shared::Shared::closed::{{closure}}
   2: sockless_driver::client::reconnect::Reconnect::watch::{{closure}}
   3: <core::pin::Pin<P> as core::future::future::Future>::poll
   4: sockless_sim::tasks::Tasks::poll
   5: chat::tests::a_test
";
        let expected = "sockless_driver::client::reconnect::Reconnect::watch";
        assert_eq!(function_in(driver).as_deref(), Some(expected));
        assert_eq!(function_in("disabled backtrace"), None);
    }

    #[test]
    fn the_owner_of_a_function_is_its_crate() {
        assert_eq!(
            owner("<Fut as sockless_driver::session::handler::Run>::poll"),
            "sockless_driver"
        );
        assert_eq!(owner("<chat::Room as sockless_driver::Service>::call"), "chat");
        assert_eq!(owner("main"), "main");
        assert_eq!(short("a::b::{{closure}}::{{closure}}"), "a::b");
    }
}

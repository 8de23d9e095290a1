//! The details of a failure: what each task waits for, the connections, the handlers that failed.

use std::fmt::Write;
use std::pin::Pin;

use crate::tasks::MAIN;
use crate::world::Run;
use crate::{lock, waits};

/// The number of tasks that are shown.
const TASKS: usize = 50;

/// Returns the details of a failure. The tasks do not run on normally after this.
pub(crate) fn details<F: Future>(run: &Run<'_>, main: Pin<&mut F>) -> String {
    let mut report = String::new();
    // Writing to a string does not fail.
    let _ = run.world.taps.report(&mut report);
    report_tasks(run, main, &mut report);
    let handlers = lock(&run.world.handlers);
    if !handlers.failed.is_empty() {
        report.push_str("\nhandlers that ended with an error:");
        for failed in &handlers.failed {
            let _ = write!(report, "\n  {} at {:?}: {}", failed.path, failed.at, failed.error);
        }
    }
    report
}

fn report_tasks<F: Future>(run: &Run<'_>, mut main: Pin<&mut F>, report: &mut String) {
    let tasks = &run.world.tasks;
    let ids = tasks.ids();
    // Before the search, which may wake some.
    let ready: Vec<u64> = ids.iter().copied().filter(|id| tasks.is_ready(*id)).collect();
    let is_main_ready = tasks.is_ready(MAIN);
    let mut lines = Vec::new();
    if is_main_ready {
        lines.push("main can run".to_owned());
    } else if !run.is_over {
        run.watched.poll(MAIN);
        let places = waits::find(|cx| main.as_mut().poll(cx).map(drop));
        lines.push(format!("main {}", places_text(&places)));
    }
    for id in ids.iter().copied().take(TASKS) {
        let name = tasks.name(id);
        if ready.contains(&id) {
            lines.push(format!("{name} can run"));
        } else if let Some(mut future) = tasks.take(id) {
            run.watched.poll(id);
            let places = waits::find(|cx| future.as_mut().poll(cx));
            tasks.put_back(id, future);
            lines.push(format!("{name} {}", places_text(&places)));
        }
    }
    if ids.len() > TASKS {
        lines.push(format!("and {} more", ids.len() - TASKS));
    }
    if !lines.is_empty() {
        report.push_str("\ntasks:");
        lines.iter().for_each(|line| {
            let _ = write!(report, "\n  {line}");
        });
    }
}

fn places_text(places: &[String]) -> String {
    if places.is_empty() {
        return "waits for something that keeps no waker".to_owned();
    }
    format!("waits for {}", places.join(", and for "))
}

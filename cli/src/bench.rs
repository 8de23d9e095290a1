//! `sockless bench`: the load of many clients, and the times that a server takes.

mod load;
mod options;
mod plot;
mod report;

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use crate::exit::Failure;

use load::Progress;
pub(crate) use options::Options;
use report::Outcome;

/// Runs all rounds, those of several servers in turn, and prints a table.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    crate::log(false);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::io("the runtime", error))?;
    let results = runtime.block_on(rounds(options))?;
    // Connections that do not close in order are of no interest any more.
    runtime.shutdown_background();
    let mut stdout = io::stdout();
    let printed = report::print(options, &results, &mut stdout).and_then(|()| stdout.flush());
    if let Err(error) = printed.or_else(ignore_broken_pipe) {
        return Err(Failure::io("stdout", error));
    }
    if let Some(file) = options.plot() {
        let failure = |error| Failure::usage(format_args!("--plot: {}: {error}", file.display()));
        plot::draw(file, options.unit(), &results).map_err(failure)?;
    }
    report::verdict(&results)
}

/// A reader of the table may not want all of it.
fn ignore_broken_pipe(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) }
}

async fn rounds(options: &Options) -> Result<Vec<Outcome>, Failure> {
    let loads = options.loads()?;
    let mut results: Vec<_> = options.urls().map(Outcome::new).collect();
    let rounds = options.rounds();
    for round in 1..=rounds {
        for (load, result) in loads.iter().zip(&mut results) {
            let title = if rounds == 1 && loads.len() == 1 {
                String::new()
            } else {
                format!("round {round} of {rounds}, {}: ", result.url())
            };
            let progress = Arc::new(Progress::default());
            let shown = io::stderr().is_terminal();
            let shown = shown.then(|| tokio::spawn(show(title, Arc::clone(&progress))));
            result.add(load.run(&progress).await);
            if let Some(shown) = shown {
                shown.abort();
                eprint!("\r\x1b[K");
            }
        }
    }
    Ok(results)
}

/// Shows the progress in one line of the terminal.
async fn show(title: String, progress: Arc<Progress>) {
    let mut ticks = tokio::time::interval(Duration::from_millis(500));
    let mut before = 0;
    loop {
        ticks.tick().await;
        let done = progress.done();
        eprint!(
            "\r\x1b[K{title}{} open, {} done, {} a second",
            progress.open(),
            done,
            2 * (done - before)
        );
        before = done;
    }
}

//! `sockless replay`: repeats what was recorded at a server and compares the replies, or draws it.

mod options;
mod run;
mod script;

use std::{fmt, fs};

use sockless::sim::Trace;

use crate::exit::Failure;

pub(crate) use options::Options;
use script::Script;

/// Replays all connections of a recording, or writes a page about them.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    crate::log(options.is_verbose());
    let failure = |error: &dyn fmt::Display| {
        Failure::usage(format_args!("{}: {error}", options.file().display()))
    };
    let text = fs::read_to_string(options.file()).map_err(|error| failure(&error))?;
    let trace: Trace = text.parse().map_err(|error| failure(&error))?;
    if let Some(page) = options.html() {
        return fs::write(page, trace.html())
            .map_err(|error| Failure::usage(format_args!("--html {}: {error}", page.display())));
    }
    let script = Script::new(&trace).map_err(|error| failure(&error))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::io("the runtime", error))?;
    runtime.block_on(run::replay(options, script))
}

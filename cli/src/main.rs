//! The program `sockless`: `connect`, a WebSocket client for the terminal and for pipes; `serve`, a
//! server for echo, chat, files and commands; `bench`, which measures servers; `record`, a proxy that
//! writes what passes to a file; and `replay`, which sends it again or draws it.

mod bench;
mod connect;
mod exit;
mod framing;
mod output;
mod record;
mod replay;
mod serve;
mod signals;
mod target;

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use crate::exit::Failure;

/// WebSockets in a terminal: a client, a server, a load, and a recorder.
#[derive(Debug, Parser)]
#[command(name = "sockless", version, after_help = exit::HELP)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Connect(Box<connect::Options>),
    Bench(Box<bench::Options>),
    Serve(serve::Options),
    Record(Box<record::Options>),
    Replay(Box<replay::Options>),
    /// Prints a script that completes the options of this program in a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

fn main() -> ExitCode {
    let ended = match Options::parse().command {
        Command::Connect(options) => connect::run(*options),
        Command::Bench(options) => bench::run(&options),
        Command::Serve(options) => serve::run(options),
        Command::Record(options) => record::run(&options),
        Command::Replay(options) => replay::run(&options),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Options::command(), "sockless", &mut io::stdout());
            Ok(())
        }
    };
    ended.map_or_else(Failure::report, |()| ExitCode::SUCCESS)
}

/// Logs to stderr what the library notices; with `verbose` also what it does with each peer.
fn log(verbose: bool) {
    let level = if verbose { LevelFilter::DEBUG } else { LevelFilter::WARN };
    tracing_subscriber::registry().with(printed().with_filter(level)).init();
}

/// Prints events to stderr.
fn printed() -> impl Layer<Registry> {
    tracing_subscriber::fmt::layer().with_ansi(io::stderr().is_terminal()).with_writer(io::stderr)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }
}

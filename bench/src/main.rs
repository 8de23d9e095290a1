//! Servers, ours and the peers', under one load: messages, CPU, latency, memory, system calls and instructions.
//!
//! `bench/README.md` says how to run it and how to read what it prints.

mod callgrind;
mod check;
mod child;
mod codec;
mod count;
mod cpu;
mod histogram;
mod idle;
mod load;
mod plot;
mod run;
mod servers;
mod table;

use clap::{Parser, Subcommand};

/// What goes wrong is told and ends the program.
type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// Measures WebSocket servers: ours and the peers' side by side, or one of your own.
#[derive(Parser)]
#[command(name = "bench")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs one server until it is killed. It prints its name, address and pid once it listens.
    Serve(servers::Options),
    /// Loads the echo server at a URL, and prints what it did.
    Load(load::Options),
    /// Starts the servers one after another, in interleaved rounds, and compares them.
    Run(run::Options),
    /// Opens many connections, sends one message on each, and tells what each then costs in memory.
    Idle(idle::Options),
    /// Parses, unmasks and encodes without I/O: nanoseconds, or instructions under callgrind.
    Codec(codec::Options),
    /// Counts system calls (strace), user-space instructions and allocations (callgrind) for each message.
    Count(count::Options),
    /// Counts instructions, allocations and system calls of ours, and compares them with those of a file.
    Check(check::Options),
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Serve(options) => servers::serve(&options),
        Command::Load(options) => load::main(&options),
        Command::Run(options) => run::main(&options),
        Command::Idle(options) => idle::main(&options),
        Command::Codec(options) => codec::main(&options),
        Command::Check(options) => check::main(&options),
        Command::Count(options) => count::main(&options),
    }
}

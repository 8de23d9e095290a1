//! Compares our servers with those of other libraries (the peers) under the same load: throughput, CPU time, latency,
//! memory, system calls and instructions.
//!
//! `bench/README.md` explains how to run it and how to read its output.

mod callgrind;
mod check;
mod child;
mod churn;
mod codec;
mod count;
mod cpu;
mod idle;
mod load;
mod neighbour;
mod pings;
mod plot;
mod run;
mod servers;
mod table;

use clap::{Parser, Subcommand};

/// Any error is printed and ends the program.
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
    /// Puts load on the echo server at a URL, and prints its throughput and latencies.
    Load(load::Options),
    /// Starts the servers one after another, in interleaved rounds, and compares them.
    Run(run::Options),
    /// Compares the CPU time for connections that are opened, have some echoes and end.
    Churn(churn::Options),
    /// Opens many connections, sends one message on each, and prints the memory that an idle one uses.
    Idle(idle::Options),
    /// Measures how long a message of a quiet connection waits beside busy ones.
    Neighbour(neighbour::Options),
    /// Opens many connections, answers the pings of the server, and prints what an idle one costs.
    Pings(pings::Options),
    /// Parses, unmasks and encodes without I/O, and prints nanoseconds or, under callgrind, instructions.
    Codec(codec::Options),
    /// Counts system calls (strace), user-space instructions or allocations (callgrind) for each message or connection.
    Count(count::Options),
    /// Counts our instructions, allocations and system calls, and compares them with the counts in a file.
    Check(check::Options),
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Serve(options) => servers::serve(&options),
        Command::Load(options) => load::main(&options),
        Command::Run(options) => run::main(&options),
        Command::Churn(options) => churn::main(&options),
        Command::Idle(options) => idle::main(&options),
        Command::Neighbour(options) => neighbour::main(&options),
        Command::Pings(options) => pings::main(&options),
        Command::Codec(options) => codec::main(&options),
        Command::Check(options) => check::main(&options),
        Command::Count(options) => count::main(&options),
    }
}

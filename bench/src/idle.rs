//! The memory of an open connection that is idle.

use std::thread;
use std::time::Duration;

use clap::Args;

use crate::child::Running;
use crate::load::{Driver, Shape, Until};
use crate::servers::{Job, Server};
use crate::{Result, cpu};

/// `idle`
#[derive(Args)]
pub struct Options {
    /// The servers [default: all].
    #[arg(long = "server", value_delimiter = ',')]
    servers: Vec<Server>,
    /// Connections; fewer if the limit of open files is too low.
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
    /// Length in bytes of the one message that is echoed on each connection before it becomes idle.
    #[arg(long, value_delimiter = ',', default_values_t = [1024, 65_536])]
    size: Vec<usize>,
    /// Sends JSON compressed by permessage-deflate, without context takeover.
    #[arg(long)]
    deflate: bool,
    /// Encrypts the connections, with one config of rustls for all servers.
    #[arg(long)]
    tls: bool,
    /// Seconds of idleness before the memory of the server is read.
    #[arg(long, default_value_t = 1.0)]
    settle: f64,
}

/// Measures one server after another.
pub fn main(options: &Options) -> Result<()> {
    let files = cpu::raise_open_files()?;
    let connections = cpu::within(files, options.connections)?;
    let job = Job { deflate: options.deflate, tls: options.tls, ..Job::default() };
    let servers = Server::chosen(&options.servers, job);
    println!("{connections} connections (the limit of open files is {files})");
    let deflate = if options.deflate { " compressed" } else { "" };
    let tls = if options.tls { " over TLS" } else { "" };
    println!("bytes of RSS per connection{tls}, after one{deflate} message of\n");
    print!("{:<24}", "");
    for size in &options.size {
        print!(" {size:>10} B");
    }
    println!();
    for server in servers {
        print!("{:<24}", server.name());
        for &size in &options.size {
            let shape =
                Shape { connections, depth: 1, size, text: false, zeros: false, fragments: 1, job };
            print!(
                " {:>12}",
                measure(server, shape, Duration::try_from_secs_f64(options.settle)?)?
            );
        }
        println!();
    }
    Ok(())
}

/// The bytes of memory that each connection adds, after one message, to a server that has served others before: its code is
/// paged in, and the buffers of its threads are allocated. They are read when the connections have been idle for `settle`.
pub fn measure(server: Server, shape: Shape, settle: Duration) -> Result<u64> {
    let running = Running::start(server, shape.job, None)?;
    let target = running.target()?;
    let first = Driver::open(&target, Shape { connections: 10, ..shape })?;
    thread::sleep(settle);
    let before = cpu::memory(running.pid, "VmRSS")?;
    let mut driver = Driver::open(&target, shape)?;
    driver.run(Until::Messages(shape.connections as u64))?;
    thread::sleep(settle);
    let after = cpu::memory(running.pid, "VmRSS")?;
    drop(first);
    running.stop()?;
    Ok(after.saturating_sub(before) / shape.connections as u64)
}

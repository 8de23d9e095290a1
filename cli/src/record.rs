//! `sockless record`: a proxy that writes what passes through it to a file.

mod options;
mod proxy;
mod recording;

use std::io::{self, Write};
use std::sync::Arc;

use crate::exit::Failure;
use crate::signals::stop;

pub(crate) use options::Options;
use proxy::Proxy;
use recording::Recording;

/// Records until Ctrl-C or SIGTERM.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    crate::log(options.is_verbose());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::io("the runtime", error))?;
    runtime.block_on(record(options))
}

async fn record(options: &Options) -> Result<(), Failure> {
    let stop = stop().map_err(|error| Failure::io("signals", error))?;
    let failure = |error| Failure::io(format_args!("--listen {}", options.listen()), error);
    let server = sockless::bind(options.listen()).await.map_err(failure)?;
    let recording = Arc::new(Recording::create(options)?);
    let proxy = Proxy::new(options, recording.clone())?;
    let addr = server.local_addr().expect("a TCP socket has an address");
    // A program that started this one may wait for the line in a pipe.
    let mut stdout = io::stdout();
    writeln!(stdout, "listening on http://{addr}")
        .and_then(|()| stdout.flush())
        .map_err(|error| Failure::io("stdout", error))?;
    server.serve_until(proxy, stop).await;
    recording.result()
}

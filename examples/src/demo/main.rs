//! The demo server: a page that chats and echoes, at http://127.0.0.1:8080 or, with a certificate,
//! at https.

mod certificate;
mod chat;
mod metrics;
mod options;
mod routes;
mod shards;
mod signals;
#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::process::ExitCode;

use sockless::{Router, Server, ShutdownReport};

use crate::certificate::Certificate;
use crate::options::{Failure, Options, RuntimeName};
use crate::signals::Stop;

fn main() -> ExitCode {
    let options = Options::of_process();
    let level = if options.verbose { tracing::Level::DEBUG } else { tracing::Level::WARN };
    tracing_subscriber::fmt().with_max_level(level).with_writer(io::stderr).init();
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

/// Serves until it is asked to stop.
fn run(options: &Options) -> Result<(), Failure> {
    let setup = Setup::new(options)?;
    match (options.runtime, options.shards) {
        (RuntimeName::Tokio, Some(count)) => serve_in_shards(options, setup, count),
        (RuntimeName::Tokio, None) => serve_on_tokio(options, setup),
        (RuntimeName::AsyncStd, _) => async_std::task::block_on(async {
            serve(options, setup, sockless::async_std::bind(&options.listen).await).await
        }),
        (RuntimeName::Smol, _) => smol::block_on(async {
            serve(options, setup, sockless::smol::bind(&options.listen).await).await
        }),
    }
}

/// All that can fail before the address is listened on.
struct Setup {
    router: Router,
    certificate: Option<Certificate>,
    stop: Stop,
}

impl Setup {
    fn new(options: &Options) -> Result<Self, Failure> {
        let mut router = routes::router(options.config(), chat::rooms(options.bus.as_ref())?);
        if options.metrics {
            router = router.route("/metrics", metrics::route()?);
        }
        Ok(Self { router, certificate: Certificate::read(options)?, stop: Stop::catch()? })
    }
}

#[tokio::main]
async fn serve_on_tokio(options: &Options, setup: Setup) -> Result<(), Failure> {
    serve(options, setup, sockless::bind(&options.listen).await).await
}

async fn serve(options: &Options, setup: Setup, bound: io::Result<Server>) -> Result<(), Failure> {
    let mut server = bound.map_err(|error| Failure::to_listen(options, error))?;
    let Setup { router, certificate, stop } = setup;
    if let Some(certificate) = &certificate {
        server = server.tls(certificate.acceptor.clone());
    }
    announce_listening(server.local_addr(), certificate.as_ref())?;
    announce_shutdown(server.serve_until(router, until(stop, certificate)).await)
}

fn serve_in_shards(options: &Options, setup: Setup, count: NonZeroUsize) -> Result<(), Failure> {
    let shards = shards::bind(&options.listen, count);
    let mut shards = shards.map_err(|error| Failure::to_listen(options, error))?;
    let Setup { router, certificate, stop } = setup;
    if let Some(certificate) = &certificate {
        shards = shards.tls(&certificate.acceptor);
    }
    announce_listening(shards.local_addr(), certificate.as_ref())?;
    announce_shutdown(shards.serve_until(&router, until(stop, certificate)))
}

/// Waits until the demo is asked to stop, and meanwhile reads the certificate again when it is asked to.
async fn until(stop: Stop, certificate: Option<Certificate>) {
    let reloading = async {
        match certificate {
            Some(certificate) => certificate.reload_on_hangup().await,
            None => std::future::pending().await,
        }
    };
    smol::future::or(stop.wait(), reloading).await;
}

fn announce_listening(
    addr: Option<SocketAddr>,
    certificate: Option<&Certificate>,
) -> Result<(), Failure> {
    let scheme = if certificate.is_some() { "https" } else { "http" };
    addr.map_or(Ok(()), |addr| announce(&format!("listening on {scheme}://{addr}")))
}

fn announce_shutdown(report: ShutdownReport) -> Result<(), Failure> {
    announce(&format!(
        "shut down: {} connections ended, {} were terminated",
        report.drained, report.terminated
    ))
}

/// Prints a line at once: the program that started the server may be waiting for it in a pipe.
fn announce(line: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let printed = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
    printed.map_err(|error| Failure::new("stdout", error))
}

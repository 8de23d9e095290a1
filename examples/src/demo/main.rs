//! The demo server: a page that chats and echoes, at http://127.0.0.1:8080.

mod chat;
mod routes;

use std::io::{self, Write};

use clap::{Parser, ValueEnum};

/// A server that chats and echoes over WebSockets.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// The address to listen on; with port 0 the system picks one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: String,

    /// The runtime to serve on.
    #[arg(long, value_enum, default_value_t = RuntimeName::Tokio)]
    runtime: RuntimeName,

    /// Logs what peers do wrong, and how sessions end.
    #[arg(long, short)]
    verbose: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RuntimeName {
    Tokio,
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    let level = if options.verbose { tracing::Level::DEBUG } else { tracing::Level::WARN };
    tracing_subscriber::fmt().with_max_level(level).with_writer(io::stderr).init();
    match options.runtime {
        RuntimeName::Tokio => serve_on_tokio(&options.listen),
    }
}

#[tokio::main]
async fn serve_on_tokio(listen: &str) -> io::Result<()> {
    let server = sockless_tokio::bind(listen).await?;
    if let Some(addr) = server.local_addr() {
        announce(&format!("listening on http://{addr}"))?;
    }
    let shutdown = async {
        if let Err(error) = tokio::signal::ctrl_c().await {
            tracing::error!(%error, "Ctrl-C cannot be waited for");
            std::future::pending::<()>().await;
        }
    };
    let report = server.serve_until(routes::router(), shutdown).await;
    announce(&format!(
        "shut down: {} connections ended, {} were terminated",
        report.drained, report.terminated
    ))
}

/// Prints a line at once: whoever started the server may be waiting for it in a pipe.
fn announce(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}

//! A client that echoes every message until its connection ends, for test suites that are servers.

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use sockless::Closed;
use sockless_driver::{ConnectError, Session};

/// Connects to URL, echoes every message until the connection ends, and exits with 0.
#[derive(Debug, Parser)]
struct Options {
    /// The runtime to run on.
    #[arg(long, value_enum, default_value_t = RuntimeName::Tokio)]
    runtime: RuntimeName,

    /// Where to connect to, such as ws://127.0.0.1:9001/runCase?case=1&agent=sockless.
    url: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RuntimeName {
    AsyncStd,
    Smol,
    Tokio,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let ended = match options.runtime {
        RuntimeName::AsyncStd => async_std::task::block_on(echo_on_async_std(&options.url)),
        RuntimeName::Smol => smol::block_on(echo_on_smol(&options.url)),
        RuntimeName::Tokio => echo_on_tokio(&options.url),
    };
    match ended {
        Ok(closed) => {
            println!("{closed}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn echo_on_async_std(url: &str) -> Result<Closed, ConnectError> {
    sockless_async_std::connect(url).run(echo).await
}

async fn echo_on_smol(url: &str) -> Result<Closed, ConnectError> {
    sockless_smol::connect(url).run(echo).await
}

#[tokio::main(flavor = "current_thread")]
async fn echo_on_tokio(url: &str) -> Result<Closed, ConnectError> {
    sockless_tokio::connect(url).run(echo).await
}

async fn echo(mut session: Session) -> Closed {
    loop {
        let echoed = async {
            let message = session.recv().await?;
            session.send(message).await
        };
        if let Err(closed) = echoed.await {
            return closed;
        }
    }
}

//! A client that echoes every message until its connection ends, for test suites that are servers.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use sockless::Closed;
use sockless_driver::tls::TlsConnector;
use sockless_driver::{Connect, Session};

/// Connects to URL, echoes every message until the connection ends, and exits with 0.
#[derive(Debug, Parser)]
struct Options {
    /// The runtime to run on.
    #[arg(long, value_enum, default_value_t = RuntimeName::Tokio)]
    runtime: RuntimeName,

    /// Trusts the authorities in FILE (PEM), and nobody else, when URL is wss.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,

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
        RuntimeName::AsyncStd => async_std::task::block_on(echo_on_async_std(&options)),
        RuntimeName::Smol => smol::block_on(echo_on_smol(&options)),
        RuntimeName::Tokio => echo_on_tokio(&options),
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

type Ended = Result<Closed, Box<dyn Error>>;

async fn echo_on_async_std(options: &Options) -> Ended {
    echo_over(sockless_async_std::connect(&options.url), options).await
}

async fn echo_on_smol(options: &Options) -> Ended {
    echo_over(sockless_smol::connect(&options.url), options).await
}

#[tokio::main(flavor = "current_thread")]
async fn echo_on_tokio(options: &Options) -> Ended {
    echo_over(sockless_tokio::connect(&options.url), options).await
}

async fn echo_over(mut connecting: Connect, options: &Options) -> Ended {
    if let Some(file) = &options.ca {
        connecting = connecting.tls(TlsConnector::trusting_pem(&std::fs::read(file)?)?);
    }
    Ok(connecting.run(echo).await?)
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

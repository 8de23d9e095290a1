//! A client that echoes every message until its connection ends, for test suites that are servers.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use sockless::tls::TlsConnector;
use sockless::{CloseCode, CloseReason, Closed, Config, Connect, Deflate, Session};

/// Connects to URL, echoes every message until the connection ends, says how it did, and exits with 0.
#[derive(Debug, Parser)]
struct Options {
    /// The runtime to run on.
    #[arg(long, value_enum, default_value_t = RuntimeName::Tokio)]
    runtime: RuntimeName,

    /// Trusts only the certificate authorities in FILE (PEM) when URL is wss.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,

    /// Offers a subprotocol, after those that were offered before.
    #[arg(long, value_name = "NAME")]
    subprotocol: Vec<String>,

    /// Sends longer messages in frames of this length.
    #[arg(long, value_name = "BYTES")]
    fragment_len: Option<usize>,

    /// Pings so often, and says in the end how long the last ping took to come back.
    #[arg(long, value_name = "MILLISECONDS")]
    ping_interval: Option<u64>,

    /// Offers to compress messages, by an agreement like EXTENSION.
    #[arg(long, value_name = "EXTENSION")]
    deflate: Option<Deflate>,

    /// Echoes nothing, but closes at once with this code.
    #[arg(long, value_name = "CODE", value_parser = close_code)]
    close: Option<CloseCode>,

    /// The reason text that is sent with the code of --close.
    #[arg(long, value_name = "TEXT", default_value = "", requires = "close")]
    reason: String,

    /// Echoes one message, and then drops the transport without a closing handshake.
    #[arg(long)]
    terminate: bool,

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
    options.echo_over(sockless::async_std::connect(&options.url)).await
}

async fn echo_on_smol(options: &Options) -> Ended {
    options.echo_over(sockless::smol::connect(&options.url)).await
}

#[tokio::main(flavor = "current_thread")]
async fn echo_on_tokio(options: &Options) -> Ended {
    options.echo_over(sockless::connect(&options.url)).await
}

impl Options {
    async fn echo_over(&self, connect: Connect) -> Ended {
        let offered = self.subprotocol.iter();
        let connect = offered.fold(connect, |connect, name| connect.subprotocol(name));
        let mut connect = connect.config(self.config());
        if let Some(file) = &self.ca {
            connect = connect.tls(TlsConnector::trusting_pem(&std::fs::read(file)?)?);
        }
        Ok(connect.run(async |session| self.echo(session).await).await?)
    }

    fn config(&self) -> Config {
        let interval = self.ping_interval.map(Duration::from_millis);
        let config = Config::default()
            .ping_interval(interval)
            .max_message_len(16 << 20)
            .max_send_frame_len(self.fragment_len.unwrap_or(usize::MAX));
        self.deflate.iter().cloned().fold(config, Config::extension)
    }

    /// Echoes until the session ends, or closes it as the options request.
    async fn echo(&self, mut session: Session) -> Closed {
        if let Some(subprotocol) = session.request().subprotocol() {
            println!("subprotocol: {subprotocol}");
        }
        for extension in session.request().extensions() {
            println!("extension: {extension}");
        }
        if let Some(code) = self.close {
            session.close(CloseReason::new(code, self.reason.as_str()));
        }
        loop {
            if let Err(closed) = echo_one(&mut session).await {
                if let Some(time) = session.round_trip() {
                    println!("round trip: {time:?}");
                }
                return closed;
            }
            if self.terminate {
                session.terminate();
            }
        }
    }
}

async fn echo_one(session: &mut Session) -> Result<(), Closed> {
    let message = session.recv().await?;
    session.send(message).await?;
    session.flush().await
}

fn close_code(text: &str) -> Result<CloseCode, String> {
    let code = text.parse().ok().and_then(CloseCode::new);
    code.ok_or_else(|| "a code that may be sent: 1000-1003, 1007-1014, 3000-4999".to_owned())
}

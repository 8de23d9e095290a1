//! A client that echoes every message until its connection ends, for test suites that are servers.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, ValueEnum};
use sockless::Closed;
use sockless_driver::tls::TlsConnector;
use sockless_driver::{Connected, Io, Runtime, Session};

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
    let Some(wss) = Wss::of(options)? else {
        return Ok(sockless_async_std::connect(&options.url).run(echo).await?);
    };
    let stream = async_std::net::TcpStream::connect(wss.addr()).await?;
    stream.set_nodelay(true)?;
    let transport = sockless_async_std::Stream::new(stream);
    wss.echo_over(transport, sockless_async_std::AsyncStdRuntime).await
}

async fn echo_on_smol(options: &Options) -> Ended {
    let Some(wss) = Wss::of(options)? else {
        return Ok(sockless_smol::connect(&options.url).run(echo).await?);
    };
    let stream = smol::net::TcpStream::connect(wss.addr()).await?;
    stream.set_nodelay(true)?;
    let transport = sockless_smol::Stream::new(stream);
    wss.echo_over(transport, sockless_smol::SmolRuntime).await
}

#[tokio::main(flavor = "current_thread")]
async fn echo_on_tokio(options: &Options) -> Ended {
    let Some(wss) = Wss::of(options)? else {
        return Ok(sockless_tokio::connect(&options.url).run(echo).await?);
    };
    let stream = tokio::net::TcpStream::connect(wss.addr()).await?;
    stream.set_nodelay(true)?;
    let transport = sockless_tokio::Stream::new(stream);
    wss.echo_over(transport, sockless_tokio::TokioRuntime).await
}

/// A server that is reached by TLS.
struct Wss {
    connector: TlsConnector,
    url: http::Uri,
    host: String,
}

impl Wss {
    fn of(options: &Options) -> Result<Option<Self>, Box<dyn Error>> {
        let url: http::Uri = options.url.parse()?;
        if url.scheme_str() != Some("wss") {
            return Ok(None);
        }
        let connector = match &options.ca {
            Some(file) => TlsConnector::trusting_pem(&std::fs::read(file)?)?,
            None => TlsConnector::platform()?,
        };
        let host = url.host().ok_or("the URL has no host")?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Some(Self { connector, url, host }))
    }

    fn addr(&self) -> (&str, u16) {
        (&self.host, self.url.port_u16().unwrap_or(443))
    }

    async fn echo_over(self, transport: impl Io, runtime: impl Runtime) -> Ended {
        let transport = self.connector.connect(&self.host, Box::new(transport)).await?;
        let request = http::Request::get(self.url).body(())?;
        let (config, runtime) = (Arc::default(), Arc::new(runtime));
        let connected = Connected::over(transport, request, config, runtime).await?;
        Ok(connected.run(echo).await)
    }
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

//! The command line of the demo, and what follows from it before it listens.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, ValueEnum};
use sockless::{Config, Deflate, ParseDeflateError};

use crate::chat::Bus;

/// A server that chats and echoes over WebSockets.
///
/// It closes its sessions with 1001 and ends with status 0 on Ctrl-C and SIGTERM. What keeps it from
/// serving is status 1, and wrong usage is 2.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Options {
    /// The address to listen on; with port 0 the system picks one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub(crate) listen: String,

    /// The runtime to serve on.
    #[arg(long, value_enum, default_value_t = RuntimeName::Tokio)]
    pub(crate) runtime: RuntimeName,

    /// Serves on N threads that share the address and no connection, each with a runtime of its
    /// own: on Linux and FreeBSD, with the runtime tokio.
    #[arg(long, value_name = "N")]
    pub(crate) shards: Option<NonZeroUsize>,

    /// Serves https and wss, with the certificate chain in FILE (PEM); `kill -HUP` reads it again.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,

    /// The private key of the certificate, in FILE (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,

    /// Compresses messages for clients that offer it, by an agreement like EXTENSION; `off` does not.
    #[arg(long, value_name = "EXTENSION", default_value = DEFLATE)]
    deflate: Compression,

    /// Shares the rooms of the chat with the other servers on the broker at URL: redis://HOST:PORT, or
    /// nats://HOST:PORT with JetStream. Without it, they are within this process.
    #[arg(long, value_name = "URL")]
    pub(crate) bus: Option<Bus>,

    /// Answers GET /metrics with metrics, as Prometheus reads them: to everyone who can reach the
    /// demo.
    #[arg(long)]
    pub(crate) metrics: bool,

    /// Logs what peers do wrong, and how sessions end.
    #[arg(long, short)]
    pub(crate) verbose: bool,
}

/// Without context takeover, so that idle connections hold no compressor.
const DEFLATE: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RuntimeName {
    AsyncStd,
    Smol,
    Tokio,
}

#[derive(Clone, Debug)]
enum Compression {
    Off,
    By(Deflate),
}

impl FromStr for Compression {
    type Err = ParseDeflateError;

    fn from_str(text: &str) -> Result<Self, ParseDeflateError> {
        match text {
            "off" => Ok(Self::Off),
            _ => text.parse().map(Self::By),
        }
    }
}

impl Options {
    /// The options of this process; when they are wrong it ends with status 2.
    pub(crate) fn of_process() -> Self {
        let options = Self::parse();
        if options.shards.is_some() && options.runtime != RuntimeName::Tokio {
            // The others have one executor for the whole program.
            let message = "--shards needs --runtime tokio";
            Self::command().error(ErrorKind::ArgumentConflict, message).exit();
        }
        options
    }

    /// The settings of every route.
    pub(crate) fn config(&self) -> Config {
        let config =
            Config::default().ping_interval(Duration::from_secs(30)).max_message_len(16 << 20);
        match &self.deflate {
            Compression::Off => config,
            Compression::By(deflate) => config.extension(deflate.clone()),
        }
    }
}

/// The reason why the demo cannot serve, printed as its last line.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    /// `what` is an option with its value, or what else failed.
    pub(crate) fn new(what: impl fmt::Display, error: impl fmt::Display) -> Self {
        Self(format!("{what}: {error}"))
    }

    /// The address cannot be listened on.
    pub(crate) fn to_listen(options: &Options, error: impl fmt::Display) -> Self {
        Self::new(format_args!("--listen: {}", options.listen), error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

//! The command line of `sockless record`.

use std::path::{Path, PathBuf};

use clap::Args;
use sockless::http::HeaderName;
use sockless::{Config, Connect};

use crate::exit::Failure;
use crate::target::Target;

const EXAMPLES: &str = "\
Examples:
  sockless record --out chat.jsonl wss://example.com       then connect to ws://127.0.0.1:8080/chat
  sockless replay chat.jsonl ws://localhost:9000           sends what the clients sent, and compares the replies
  sockless replay chat.jsonl --html chat.html              draws what passed";

/// Passes connections on to a server, and writes what passes to a file.
///
/// The path that a client requests is appended to URL, and its subprotocols and headers are passed on, but not its
/// Host. Extensions are declined, so that messages are recorded uncompressed. A frame is passed on when its
/// last byte has come; it may have 64 MiB.
///
/// The file has a line of JSON for each head and each frame, with paths and payloads whatever secrets they contain. Of
/// the headers Authorization, Cookie, Proxy-Authorization and Set-Cookie it has the names, unless all of them are asked for.
/// `sockless replay` reads it, and so does the test kit of the library.
///
/// The first line on stdout is printed once connections are accepted: `listening on http://ADDR`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The server, such as wss://example.com.
    url: String,
    #[command(flatten)]
    target: Target,
    /// The file to write, which must not exist.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The address to listen on; with port 0 the system picks one.
    #[arg(short, long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: String,
    /// Writes at most this much; what passes later is not recorded.
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 30)]
    limit: u64,
    /// Records the values of all headers.
    #[arg(long)]
    keep_credentials: bool,
    /// Logs what peers do wrong, and how sessions end.
    #[arg(short, long)]
    verbose: bool,
}

impl Options {
    /// Returns the URL up to the path of a client.
    pub(crate) fn url(&self) -> &str {
        self.url.trim_end_matches('/')
    }

    /// Returns what begins a connection attempt to a URL.
    pub(crate) fn connect(
        &self,
        config: &Config,
    ) -> Result<impl Fn(&str) -> Connect + Send + Sync + 'static, Failure> {
        self.target.connect_with(config.clone(), vec![])
    }

    /// Returns the names of the headers that have the values of this command line.
    pub(crate) fn header_names(&self) -> Vec<HeaderName> {
        self.target.headers().into_iter().map(|(name, _)| name).collect()
    }

    pub(crate) fn out(&self) -> &Path {
        &self.out
    }

    pub(crate) fn listen(&self) -> &str {
        &self.listen
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    pub(crate) fn keeps_credentials(&self) -> bool {
        self.keep_credentials
    }

    pub(crate) fn is_verbose(&self) -> bool {
        self.verbose
    }
}

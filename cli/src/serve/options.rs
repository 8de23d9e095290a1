//! The command line of `sockless serve`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use sockless::tls::TlsAcceptor;
use sockless::{Config, Deflate, ListenOptions, Origins};

use crate::exit::Failure;

const EXAMPLES: &str = "\
Examples:
  sockless serve echo
  sockless serve --listen 0.0.0.0:80 --dir public chat       a chat, and the page that opens it
  sockless serve exec -- python3 -u count.py                 a process for each session, a line for each message
  sockless serve --activated --probes echo                   behind a socket of systemd, which outlives the process";

/// Serves WebSockets, and the files of a directory beside them.
///
/// WebSockets are served at every path, until Ctrl-C or SIGTERM; sessions are then closed with 1001.
///
/// The first line on stdout is printed once connections are accepted: `listening on http://ADDR`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(subcommand)]
    service: Service,

    /// The address to listen on; with port 0 the system picks one.
    #[arg(
        short,
        long,
        value_name = "ADDR",
        default_value = "127.0.0.1:8080",
        conflicts_with = "unix"
    )]
    listen: String,
    /// Listens on a Unix socket.
    #[arg(long, value_name = "PATH")]
    unix: Option<PathBuf>,
    /// Serves the socket that systemd passes, or another program that sets LISTEN_FDS.
    #[arg(long, conflicts_with_all = ["listen", "unix"])]
    activated: bool,
    /// Shares the address with other processes that set this too: on Linux and FreeBSD.
    #[arg(long, conflicts_with_all = ["unix", "activated"])]
    reuse_port: bool,
    /// Answers GET /livez, and GET /readyz with 503 from the signal to stop on.
    #[arg(long)]
    probes: bool,
    /// Goes on for so long after the signal to stop, until no load balancer sends clients here.
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
    shutdown_delay: Duration,
    /// Serves https and wss, with the certificate chain in FILE (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The private key of the certificate, in FILE (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Serves the files in DIR, of at most 16 MiB each, beside the WebSocket.
    #[arg(short, long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Admits browsers' pages from ORIGIN, besides those that this server serves; `any` admits all.
    #[arg(long, value_name = "ORIGIN")]
    origin: Vec<String>,
    /// Compresses messages for clients that offer it, by an agreement like EXTENSION.
    #[arg(long, value_name = "EXTENSION", num_args = 0..=1, require_equals = true,
        default_missing_value = "permessage-deflate; server_no_context_takeover; client_no_context_takeover")]
    deflate: Option<Deflate>,
    /// The number of connections that are served at once.
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    max_connections: usize,
    /// Accepts messages of at most this length.
    #[arg(long, value_name = "BYTES", default_value_t = 16 << 20)]
    max_message_len: u64,
    /// Logs what peers do wrong, and how sessions end.
    #[arg(short, long)]
    verbose: bool,
}

/// The service for each session.
#[derive(Debug, Subcommand)]
pub(crate) enum Service {
    /// Sends every message back.
    Echo,
    /// Sends every message to all who are connected.
    Chat,
    /// Runs a command for each session: each line that it prints is a message, each message a line of its
    /// input.
    ///
    /// The command's environment describes the request, as CGI does: REQUEST_URI, QUERY_STRING,
    /// REMOTE_ADDR, HTTP_USER_AGENT and so on. Lines that are not UTF-8 are sent as binary messages.
    Exec {
        /// The command and its arguments.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
        /// Ends the command so many seconds after its session, unless it has ended.
        #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
        grace: Duration,
    },
}

impl Options {
    pub(crate) fn service(&self) -> &Service {
        &self.service
    }

    pub(crate) fn listen(&self) -> &str {
        &self.listen
    }

    pub(crate) fn unix(&self) -> Option<&Path> {
        self.unix.as_deref()
    }

    pub(crate) fn is_activated(&self) -> bool {
        self.activated
    }

    pub(crate) fn socket(&self) -> ListenOptions {
        ListenOptions::default().reuse_port(self.reuse_port)
    }

    /// True if another process may listen on the same address.
    pub(crate) fn hands_over(&self) -> bool {
        self.activated || self.reuse_port
    }

    pub(crate) fn has_probes(&self) -> bool {
        self.probes
    }

    pub(crate) fn shutdown_delay(&self) -> Duration {
        self.shutdown_delay
    }

    /// Returns the option with its value, for messages.
    pub(crate) fn address(&self) -> String {
        match &self.unix {
            _ if self.activated => "--activated".to_owned(),
            Some(path) => format!("--unix {}", path.display()),
            None => format!("--listen {}", self.listen),
        }
    }

    pub(crate) fn directory(&self) -> Option<&Path> {
        self.dir.as_deref()
    }

    pub(crate) fn max_connections(&self) -> usize {
        self.max_connections
    }

    pub(crate) fn is_verbose(&self) -> bool {
        self.verbose
    }

    pub(crate) fn tls(&self) -> Result<Option<TlsAcceptor>, Failure> {
        let (Some(chain), Some(key)) = (&self.tls_cert, &self.tls_key) else { return Ok(None) };
        let acceptor = TlsAcceptor::from_pem_files(chain, key);
        acceptor
            .map(Some)
            .map_err(|error| Failure::usage(format_args!("--tls-cert, --tls-key: {error}")))
    }

    pub(crate) fn origins(&self) -> Result<Origins, Failure> {
        if self.origin.iter().any(|origin| origin == "any") {
            return Ok(Origins::any());
        }
        if self.origin.is_empty() {
            return Ok(Origins::same_origin());
        }
        Origins::try_list(&self.origin)
            .map_err(|error| Failure::usage(format_args!("--origin: {error}")))
    }

    pub(crate) fn config(&self) -> Config {
        let config = Config::default()
            .ping_interval(Duration::from_secs(30))
            .max_message_len(self.max_message_len);
        self.deflate.iter().cloned().fold(config, Config::extension)
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

//! The command line of `sockless connect`.

use std::time::Duration;

use clap::Args;
use sockless::{Connect, Message};

use crate::exit::Failure;
use crate::framing::Framing;
use crate::output::Output;
use crate::target::{SessionOptions, Target, seconds};

const EXAMPLES: &str = "\
Examples:
  sockless connect wss://example.com/chat                  a prompt: type messages, /help lists the commands
  echo hello | sockless connect ws://localhost:8080/echo   a message a line, replies on stdout
  sockless connect -x '{\"op\":\"list\"}' -n 1 --json URL      one request, one reply, indented
  sockless connect --reconnect --no-input URL | jq .       follows a feed, connecting again when it ends";

/// Connects to a server, and sends and prints messages.
///
/// At a terminal a prompt appears, which Ctrl-D closes at once. In a pipe, messages are read from stdin and
/// printed to stdout; at the end of stdin the session is closed after `--wait`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The server, such as wss://example.com/chat?room=1.
    url: String,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    session: SessionOptions,
    /// Opens a new session whenever one ends; delays grow up to half a minute.
    #[arg(short, long, help_heading = "Connection")]
    reconnect: bool,
    /// Sends a message, and reads no input; may be repeated.
    #[arg(short = 'x', long, value_name = "MESSAGE", help_heading = "Messages")]
    execute: Vec<String>,
    /// Reads no input, and prints what is received until the session ends.
    #[arg(long, help_heading = "Messages")]
    no_input: bool,
    /// Sends binary messages.
    #[arg(short, long, help_heading = "Messages")]
    binary: bool,
    /// The boundaries of messages in stdin and stdout.
    #[arg(long, value_enum, default_value_t = Framing::Lines, help_heading = "Messages")]
    framing: Framing,
    /// Indents messages that are JSON.
    #[arg(short, long, help_heading = "Messages")]
    json: bool,
    /// Closes the session after so many messages.
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Messages")]
    count: Option<u64>,
    /// At the end of the input, closes once no message has come for so long.
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = seconds, help_heading = "Messages")]
    wait: Duration,

    /// Prints the handshake, each message's length and time, and what the library does.
    #[arg(short, long)]
    verbose: bool,
}

impl Options {
    /// Returns what begins a connection attempt, as often as needed.
    pub(crate) fn connect(&self) -> Result<impl Fn() -> Connect + Send + Sync + 'static, Failure> {
        let (connect, url) = (self.target.connect(&self.session)?, self.url.clone());
        Ok(move || connect(&url))
    }

    /// Returns where messages and notes are printed.
    pub(crate) fn output(&self) -> Output {
        Output::new(self.framing, self.json, self.verbose)
    }

    pub(crate) fn execute(&self) -> impl Iterator<Item = Message> {
        self.execute.iter().map(|text| text.clone().into())
    }

    pub(crate) fn reads_nothing(&self) -> bool {
        self.no_input
    }

    pub(crate) fn is_binary(&self) -> bool {
        self.binary
    }

    pub(crate) fn is_verbose(&self) -> bool {
        self.verbose
    }

    pub(crate) fn framing(&self) -> Framing {
        self.framing
    }

    pub(crate) fn reconnects(&self) -> bool {
        self.reconnect
    }

    pub(crate) fn count(&self) -> Option<u64> {
        self.count
    }

    /// Returns how long messages are waited for at the end of the input; without input, as long as the
    /// session lasts.
    pub(crate) fn wait(&self) -> Duration {
        if self.no_input && self.execute.is_empty() { Duration::MAX } else { self.wait }
    }
}

//! The command line of `sockless replay`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use sockless::Connect;

use crate::exit::Failure;
use crate::target::{SessionOptions, Target, seconds};

const EXAMPLES: &str = "\
Examples:
  sockless replay chat.jsonl ws://localhost:9000           sends what the clients sent, and compares the replies
  sockless replay chat.jsonl --any-replies --pace 1 URL    at the speed of the recording, whatever comes back
  sockless replay chat.jsonl --html chat.html              draws what passed: one page, without a server";

/// Repeats what recorded clients did and compares the replies, or draws it.
///
/// FILE is what `sockless record` writes, or another trace of the library: of a connection, or of a run of its simulator.
///
/// Each connection is opened with its path appended to URL, and with its subprotocols; set other headers with
/// --header. Connections open, send and close in the order that was recorded: what comes next waits until the replies
/// before it have come. A reply is a message; fragments are joined, and pings are not compared. A server's rejection or close
/// has to have the same status or code. What a server sends beyond the recording is ignored.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The recording.
    file: PathBuf,
    /// The server, such as ws://localhost:9000.
    #[arg(required_unless_present = "html")]
    url: Option<String>,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    session: SessionOptions,
    /// Writes a page of HTML with the connections and their frames, and connects to no server.
    #[arg(long, value_name = "FILE", conflicts_with = "url", help_heading = "Replay")]
    html: Option<PathBuf>,
    /// Accepts other replies than those that were recorded.
    #[arg(long, help_heading = "Replay")]
    any_replies: bool,
    /// Waits between what clients do as long as they did, times FACTOR; 0 does not wait. Up to 1000.
    #[arg(long, value_name = "FACTOR", default_value_t = 0.0, value_parser = factor, help_heading = "Replay")]
    pace: f64,
    /// Waits so long for a reply. After the first one that does not come, the connection waits for no other.
    #[arg(short, long, value_name = "SECONDS", default_value = "5", value_parser = seconds, help_heading = "Replay")]
    wait: Duration,
    /// Logs what the server does wrong, and how sessions end.
    #[arg(short, long)]
    verbose: bool,
}

impl Options {
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// Returns what begins a connection attempt to a path, as often as needed.
    pub(crate) fn connect(&self) -> Result<impl Fn(&str) -> Connect + Send + Sync, Failure> {
        let url = self.url.as_deref().unwrap_or_default().trim_end_matches('/').to_owned();
        let connect = self.target.connect(&self.session)?;
        Ok(move |path: &str| connect(&format!("{url}{path}")))
    }

    pub(crate) fn html(&self) -> Option<&Path> {
        self.html.as_deref()
    }

    pub(crate) fn accepts_any_replies(&self) -> bool {
        self.any_replies
    }

    pub(crate) fn pace(&self) -> f64 {
        self.pace
    }

    pub(crate) fn wait(&self) -> Duration {
        self.wait
    }

    pub(crate) fn is_verbose(&self) -> bool {
        self.verbose
    }
}

fn factor(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(factor) if (0.0..=1000.0).contains(&factor) => Ok(factor),
        _ => Err("expected a number from 0 to 1000".to_owned()),
    }
}

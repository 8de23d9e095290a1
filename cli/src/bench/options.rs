//! The command line of `sockless bench`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use sockless::Message;

use super::load::{Kind, Load};
use crate::exit::Failure;
use crate::target::{SessionOptions, Target, seconds};

const EXAMPLES: &str = "\
Examples:
  sockless bench ws://localhost:8080/echo                      100 connections, one message in flight on each
  sockless bench --depth 16 --size 1024 URL                    16 in flight on each
  sockless bench --rate 20000 URL                              20,000 messages a second, however long replies take
  sockless bench --churn 10 URL                                connections that open, send 10 messages and close
  sockless bench --fan-out ws://localhost:8080/chat            one member sends, all receive
  sockless bench --idle --connections 10000 URL                connections that do nothing
  sockless bench --against ws://localhost:9001/ --rounds 5 URL two servers in turn, with their ratio

The server has to send each message back, with --fan-out to all connections.";

/// Measures a server: how many messages, openings or members it serves, and how fast.
///
/// Times are measured by this program: that from sending a message to receiving its reply, with --churn that
/// from connecting to the end of the session. It takes processor time too; on the server's machine they compete.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The server, such as ws://localhost:8080/echo.
    url: String,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    session: SessionOptions,

    /// Keeps so many connections open.
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000), help_heading = "Load")]
    connections: u32,
    /// Sends messages of this length.
    #[arg(long, value_name = "BYTES", default_value_t = 16, value_parser = clap::value_parser!(u32).range(..=64 << 20), help_heading = "Load")]
    size: u32,
    /// Sends text messages rather than binary ones.
    #[arg(long, help_heading = "Load")]
    text: bool,
    /// Keeps so many messages in flight on each connection.
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000), help_heading = "Load")]
    depth: u32,
    /// Sends so many messages a second on all connections together, whether or not replies have come. The time
    /// of a reply counts from when its message was due.
    #[arg(long, value_name = "COUNT", conflicts_with = "depth", value_parser = clap::value_parser!(u32).range(1..=100_000_000), help_heading = "Load")]
    rate: Option<u32>,
    /// Opens a new connection whenever one has sent so many messages, and received the replies.
    #[arg(long, value_name = "MESSAGES", conflicts_with_all = ["rate", "depth"], help_heading = "Load")]
    churn: Option<u32>,
    /// Sends on one connection, and awaits each message on all of them.
    #[arg(long, conflicts_with_all = ["rate", "depth", "churn"], help_heading = "Load")]
    fan_out: bool,
    /// Sends nothing but a ping on each connection at the end.
    #[arg(long, conflicts_with_all = ["rate", "depth", "churn", "fan_out", "size", "text"], help_heading = "Load")]
    idle: bool,
    /// Measures for so long in each round, once all connections are open.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds, help_heading = "Load")]
    duration: Duration,
    /// Measures so many times, and adds the results up.
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000), help_heading = "Load")]
    rounds: u32,
    /// Measures this server too, in turn with the other, and compares them.
    #[arg(long, value_name = "URL", help_heading = "Load")]
    against: Option<String>,
    /// Draws the times by percentile to FILE, as SVG.
    #[arg(long, value_name = "FILE", help_heading = "Load")]
    plot: Option<PathBuf>,
}

impl Options {
    /// Returns the load of each server, in the order of [`urls`](Self::urls).
    pub(crate) fn loads(&self) -> Result<Vec<Load>, Failure> {
        self.urls()
            .map(|url| {
                let (connect, url) = (self.target.connect(&self.session)?, url.to_owned());
                let connect = Box::new(move || connect(&url));
                let (connections, duration) = (self.connections as usize, self.duration);
                Ok(Load {
                    connect,
                    kind: self.kind(),
                    connections,
                    message: self.message(),
                    duration,
                })
            })
            .collect()
    }

    /// Returns the servers.
    pub(crate) fn urls(&self) -> impl Iterator<Item = &str> {
        [&*self.url].into_iter().chain(self.against.as_deref())
    }

    pub(crate) fn plot(&self) -> Option<&Path> {
        self.plot.as_deref()
    }

    pub(crate) fn rounds(&self) -> u32 {
        self.rounds
    }

    /// Returns what is counted, in the plural.
    pub(crate) fn unit(&self) -> &'static str {
        match self.kind() {
            Kind::Echo { .. } | Kind::Rate(_) => "replies",
            Kind::Churn { .. } => "connections",
            Kind::FanOut => "deliveries",
            Kind::Idle => "pongs",
        }
    }

    fn kind(&self) -> Kind {
        match (self.rate, self.churn) {
            (Some(per_second), _) => Kind::Rate(per_second),
            (None, Some(messages)) => Kind::Churn { messages },
            (None, None) if self.fan_out => Kind::FanOut,
            (None, None) if self.idle => Kind::Idle,
            (None, None) => Kind::Echo { depth: self.depth as usize },
        }
    }

    fn message(&self) -> Message {
        let letters = b"the quick brown fox jumps over the lazy dog ".iter().copied().cycle();
        let bytes: Vec<u8> = letters.take(self.size as usize).collect();
        if self.text {
            String::from_utf8(bytes).expect("letters are text").into()
        } else {
            bytes.into()
        }
    }
}

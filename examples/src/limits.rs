//! The command line of the loops: where to listen, and limits to try out.

use std::time::Duration;

use sockless_core::Config;

/// An echo server.
#[derive(clap::Parser)]
pub(crate) struct Options {
    /// The address to listen on; with port 0 the system picks one.
    addr: Option<String>,

    /// Pings every MS milliseconds.
    #[arg(long, value_name = "MS")]
    ping_ms: Option<u64>,

    /// Closes a connection whose peer does not answer a ping within MS milliseconds.
    #[arg(long, value_name = "MS")]
    ping_timeout_ms: Option<u64>,

    /// Ends a connection whose message takes longer than MS milliseconds.
    #[arg(long, value_name = "MS")]
    message_ms: Option<u64>,

    /// Ends a connection that accepts no byte for MS milliseconds.
    #[arg(long, value_name = "MS")]
    write_ms: Option<u64>,

    /// Ends a connection that is MS milliseconds old.
    #[arg(long, value_name = "MS")]
    max_age_ms: Option<u64>,

    /// Waits MS milliseconds for the peer's part of the closing handshake.
    #[arg(long, value_name = "MS")]
    closing_ms: Option<u64>,

    /// Stops reading while LEN bytes wait to be sent.
    #[arg(long, value_name = "LEN")]
    high_water: Option<usize>,
}

impl Options {
    pub(crate) fn addr(&self, usual: &str) -> String {
        self.addr.clone().unwrap_or_else(|| usual.to_owned())
    }

    /// The usual settings, except where the command line has others.
    pub(crate) fn config(&self, mut config: Config) -> Config {
        type Setter = fn(Config, Duration) -> Config;
        let settings: [(Option<u64>, Setter); 6] = [
            (self.ping_ms, |config, value| config.ping_interval(value)),
            (self.ping_timeout_ms, Config::ping_timeout),
            (self.message_ms, |config, value| config.message_timeout(value)),
            (self.write_ms, |config, value| config.write_timeout(value)),
            (self.max_age_ms, |config, value| config.max_age(value)),
            (self.closing_ms, Config::closing_timeout),
        ];
        for (millis, set) in settings {
            if let Some(millis) = millis {
                config = set(config, Duration::from_millis(millis));
            }
        }
        match self.high_water {
            Some(len) => config.high_water(len),
            None => config,
        }
    }
}

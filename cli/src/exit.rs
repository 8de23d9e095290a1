//! The status with which the program exits.

use std::fmt;
use std::process::ExitCode;

use sockless::{Closed, ConnectError};

/// The list for `--help`.
pub(crate) const HELP: &str = "\
Exit status:
  0  the session was closed in order (1000, 1001 or without a code), or the server was stopped
  1  the session failed, or was closed with another code; a part of a load failed, a replay differs, a recording is not complete
  2  the command line is wrong, or a file that it names cannot be used
  3  no connection: the name, the address, the proxy, TLS or the handshake failed
  4  the server rejected the request with an HTTP response";

/// The reason why the program does not exit with 0.
#[derive(Debug)]
pub(crate) struct Failure {
    status: u8,
    text: String,
}

impl Failure {
    /// The command line, or a file that it names, cannot be used.
    pub(crate) fn usage(text: impl fmt::Display) -> Self {
        Self { status: 2, text: text.to_string() }
    }

    /// The transport or the terminal cannot be used.
    pub(crate) fn io(what: impl fmt::Display, error: impl fmt::Display) -> Self {
        Self { status: 3, text: format!("{what}: {error}") }
    }

    /// A connection attempt has failed.
    pub(crate) fn of_connecting(error: &ConnectError) -> Self {
        let status = match error {
            ConnectError::Rejected { .. } => 4,
            ConnectError::UrlInvalid(_)
            | ConnectError::HeaderInvalid(_)
            | ConnectError::RequestInvalid(_)
            | ConnectError::ProxyUrlInvalid(_) => 2,
            _ => 3,
        };
        Self { status, text: error.to_string() }
    }

    /// A session has ended, in order or not.
    pub(crate) fn of_session(closed: &Closed) -> Result<(), Self> {
        let code = closed.received().or(closed.sent()).and_then(|reason| reason.code());
        if closed.is_clean() && code.is_none_or(|code| matches!(code.get(), 1000 | 1001)) {
            return Ok(());
        }
        Err(Self { status: 1, text: closed.to_string() })
    }

    /// A part of what was asked for has failed.
    pub(crate) fn of_part(text: impl fmt::Display) -> Self {
        Self { status: 1, text: text.to_string() }
    }

    /// Prints the reason to stderr.
    pub(crate) fn report(self) -> ExitCode {
        eprintln!("sockless: {}", self.text);
        ExitCode::from(self.status)
    }
}

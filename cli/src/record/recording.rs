//! The file that is written: [`Recording`].

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sockless::Role;
use sockless::http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, SET_COOKIE};
use sockless::http::{HeaderMap, HeaderName};
use sockless::trace::{JsonTrace, Payloads};

use super::options::Options;
use crate::exit::Failure;

/// The headers whose values are not recorded unless that is asked for.
const CREDENTIALS: [HeaderName; 4] = [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, SET_COOKIE];

/// Recorded in place of such a value.
const REPLACEMENT: &str = "(not recorded)";

/// The bytes of all connections, in a file.
pub(crate) struct Recording {
    connections: AtomicU64,
    keeps_credentials: bool,
    out: Mutex<Out>,
}

/// Where lines are written, until something fails.
enum Out {
    /// With the number of bytes that may still be written.
    File(File, u64),
    Failed(String),
}

impl Recording {
    /// Creates the file.
    ///
    /// # Errors
    ///
    /// If it exists, or cannot be created.
    pub(crate) fn create(options: &Options) -> Result<Self, Failure> {
        let path = options.out();
        let file = File::create_new(path)
            .map_err(|error| Failure::usage(format_args!("--out {}: {error}", path.display())))?;
        Ok(Self {
            connections: AtomicU64::new(0),
            keeps_credentials: options.keeps_credentials(),
            out: Mutex::new(Out::File(file, options.limit())),
        })
    }

    /// Begins the trace of a connection, at the end that the client is connected to.
    pub(crate) fn open(self: Arc<Self>) -> JsonTrace<impl FnMut(&str) + Send + 'static> {
        let number = self.connections.fetch_add(1, Ordering::Relaxed) + 1;
        let trace = JsonTrace::new(Role::Server, move |line: &str| self.write(line));
        let payloads = Payloads::UpTo(usize::MAX);
        trace.group(number.to_string()).payloads(payloads).max_len(u64::MAX)
    }

    /// Returns a head as it is recorded.
    pub(crate) fn lines(&self, first: impl fmt::Display, headers: &HeaderMap) -> Vec<String> {
        let header = |(name, value): (&HeaderName, &sockless::http::HeaderValue)| {
            if !self.keeps_credentials && CREDENTIALS.contains(name) {
                return format!("{name}: {REPLACEMENT}");
            }
            format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()))
        };
        [first.to_string()].into_iter().chain(headers.iter().map(header)).collect()
    }

    /// Returns an error if something was not recorded.
    pub(crate) fn result(&self) -> Result<(), Failure> {
        match &*self.out.lock().unwrap_or_else(PoisonError::into_inner) {
            Out::File(..) => Ok(()),
            Out::Failed(why) => Err(Failure::of_part(format_args!("{why}; the end is missing"))),
        }
    }

    /// Writes a line, which is in the file when this returns. Connections go on where that fails.
    fn write(&self, line: &str) {
        let out = &mut *self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let Out::File(file, room) = out else { return };
        let why = match room.checked_sub(line.len() as u64) {
            None => "the recording has reached its --limit".to_owned(),
            Some(rest) => match file.write_all(line.as_bytes()) {
                Ok(()) => return *room = rest,
                Err(error) => format!("--out: {error}"),
            },
        };
        eprintln!("sockless: {why}; nothing is recorded from here on");
        *out = Out::Failed(why);
    }
}

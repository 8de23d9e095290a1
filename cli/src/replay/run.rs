//! Replaying connections against a server: [`replay`].

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use sockless::proto::Instant;
use sockless::{
    CloseCode, CloseReason, Closed, Connect, ConnectError, Escaped, Message, Receiver, Sender,
};

use super::options::Options;
use super::script::{Handshake, Script, Step, What};
use crate::exit::Failure;
use crate::output::Summary;

/// The most differences that are printed.
const REPORTED: usize = 20;

/// Replays the steps, and reports what differs.
///
/// # Errors
///
/// If a server cannot be reached, and if replies differ, unless any are accepted.
pub(crate) async fn replay(options: &Options, script: Script) -> Result<(), Failure> {
    let mut replay = Replay::new(options)?;
    for step in script.steps {
        replay.step(step).await?;
    }
    replay.finish().await;
    let outcome = replay.outcome;
    let mut stdout = io::stdout();
    match write!(stdout, "{outcome}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            return Err(Failure::io("stdout", error));
        }
        _ => {}
    }
    match outcome.differences.len() {
        0 => Ok(()),
        _ if options.accepts_any_replies() => Ok(()),
        count => Err(Failure::of_part(format_args!("{count} differences"))),
    }
}

#[derive(Default)]
struct Outcome {
    connections: usize,
    sent: usize,
    expected: usize,
    equal: usize,
    differences: Vec<String>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, sent, expected, equal, differences } = self;
        for difference in differences.iter().take(REPORTED) {
            writeln!(f, "{difference}")?;
        }
        let hidden = differences.len().saturating_sub(REPORTED);
        if hidden > 0 {
            writeln!(f, "and {hidden} more differences")?;
        }
        let replies = format_args!("{equal} of {expected} replies as recorded");
        writeln!(f, "{connections} connections, {sent} messages sent, {replies}")
    }
}

struct Replay<'a> {
    options: &'a Options,
    connect: Box<dyn Fn(&str) -> Connect + Send + Sync + 'a>,
    /// The sessions that are open, by the number of the connection.
    clients: BTreeMap<u64, Client>,
    /// When a recorded client did something last.
    last: Option<Instant>,
    outcome: Outcome,
}

impl<'a> Replay<'a> {
    fn new(options: &'a Options) -> Result<Self, Failure> {
        Ok(Self {
            options,
            connect: Box::new(options.connect()?),
            clients: BTreeMap::new(),
            last: None,
            outcome: Outcome::default(),
        })
    }

    async fn step(&mut self, Step { at, connection, what }: Step) -> Result<(), Failure> {
        if !matches!(what, What::Receive(_) | What::Closed(_)) {
            self.pause(at).await;
        }
        if let What::Open(handshake) = &what {
            return self.open(connection, handshake).await;
        }
        // It could not be opened, which has been reported.
        let Some(client) = self.clients.get_mut(&connection) else { return Ok(()) };
        let outcome = &mut self.outcome;
        let difference = match what {
            What::Open(_) => None,
            What::Send(message) => match client.sender.send(message).await {
                Ok(()) => {
                    outcome.sent += 1;
                    None
                }
                Err(closed) => Some(format!("expected to send, but it is {closed}")),
            },
            What::Receive(expected) => {
                outcome.expected += 1;
                let difference = client.receive(&expected).await.err();
                outcome.equal += usize::from(difference.is_none());
                difference.map(|got| format!("reply {}: {got}", client.received))
            }
            What::Close(reason) => {
                client.close(reason).await;
                self.clients.remove(&connection);
                None
            }
            What::Closed(reason) => client.be_closed(&reason).await.err(),
        };
        let difference = difference.map(|what| format!("connection {connection}: {what}"));
        outcome.differences.extend(difference);
        Ok(())
    }

    async fn open(&mut self, connection: u64, handshake: &Handshake) -> Result<(), Failure> {
        // The URL of a server without a path is that of its root.
        let path = if handshake.path == "/" { "" } else { &handshake.path };
        let mut connect = (self.connect)(path);
        for name in &handshake.subprotocols {
            connect = connect.subprotocol(name);
        }
        self.outcome.connections += 1;
        let got = match connect.await {
            Ok(session) => {
                let (sender, receiver) = session.split();
                let wait = self.options.wait();
                self.clients.insert(connection, Client { sender, receiver, wait, received: 0 });
                None
            }
            Err(ConnectError::Rejected { response, .. }) => Some(response.status().as_u16()),
            Err(error) => return Err(Failure::of_connecting(&error)),
        };
        if got != handshake.rejection {
            let (expected, got) = (handshake.rejection.unwrap_or(101), got.unwrap_or(101));
            let what = format!("connection {connection}: expected status {expected}, got {got}");
            self.outcome.differences.push(what);
        }
        Ok(())
    }

    /// Waits as the recording did, times a factor.
    async fn pause(&mut self, at: Instant) {
        let last = self.last.replace(at).unwrap_or(at);
        let pause = at.saturating_since(last).mul_f64(self.options.pace());
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }

    /// Closes what the recording left open.
    async fn finish(&mut self) {
        for client in self.clients.values_mut() {
            client.close(CloseCode::NORMAL.into()).await;
        }
    }
}

/// An open session.
struct Client {
    sender: Sender,
    receiver: Receiver,
    /// Zero once the server was silent for so long.
    wait: Duration,
    received: usize,
}

impl Client {
    /// Awaits a message, and compares it.
    ///
    /// # Errors
    ///
    /// The difference.
    async fn receive(&mut self, expected: &Message) -> Result<(), String> {
        self.received += 1;
        let got = match tokio::time::timeout(self.wait, self.receiver.recv()).await {
            Ok(Ok(got)) if got == *expected => return Ok(()),
            Ok(Ok(got)) => Shown(&got).to_string(),
            Ok(Err(closed)) => format!("the end: {closed}"),
            Err(_) => {
                let wait = std::mem::take(&mut self.wait);
                format!("nothing within {wait:?}")
            }
        };
        Err(format!("expected {}, got {got}", Shown(expected)))
    }

    /// Awaits that the server closes, and compares its code.
    ///
    /// # Errors
    ///
    /// The difference.
    async fn be_closed(&mut self, expected: &CloseReason) -> Result<(), String> {
        let code = |reason: Option<&CloseReason>| match reason.map(CloseReason::code) {
            Some(Some(code)) => format!("code {code}"),
            Some(None) => "no code".to_owned(),
            None => "no Close frame".to_owned(),
        };
        let closed: Option<Closed> =
            tokio::time::timeout(self.wait, self.sender.closed()).await.ok();
        let got = match &closed {
            Some(closed) if closed.received().map(CloseReason::code) == Some(expected.code()) => {
                return Ok(());
            }
            Some(closed) => code(closed.received()),
            None => format!("nothing within {:?}", std::mem::take(&mut self.wait)),
        };
        Err(format!("expected to be closed with {}, got {got}", code(Some(expected))))
    }

    /// Closes, and awaits the end, for which the library has a deadline.
    async fn close(&mut self, reason: CloseReason) {
        self.sender.close(reason);
        self.sender.closed().await;
    }
}

/// A message in a report: the beginning of a text, or the length.
struct Shown<'a>(&'a Message);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(text) = self.0.as_text() else { return Summary(self.0).fmt(f) };
        match text.char_indices().nth(60) {
            None => write!(f, "\"{}\"", Escaped(text)),
            Some((end, _)) => write!(f, "\"{}…\" ({})", Escaped(&text[..end]), Summary(self.0)),
        }
    }
}

//! A session from its opening to its end: [`Conversation`].

use std::collections::VecDeque;
use std::fmt::Display;
use std::io;
use std::pin::pin;
use std::time::Duration;

use sockless::{BoxFuture, CloseCode, Closed, Escaped, Message, Pong, Sender, Session};

use super::command::Command;
use super::input::Inputs;
use super::options::Options;
use crate::exit::Failure;
use crate::output::{Output, Summary};

/// Carries out commands and prints messages, both at once: neither waits for the other.
pub(crate) struct Conversation<'a> {
    inputs: &'a mut Inputs,
    output: &'a mut Output,
    /// The time for which further messages are awaited at the end of the input.
    wait: Duration,
    /// The number of messages after which the session is closed.
    remaining: Option<u64>,
    stage: Stage,
    /// The pings that were not answered yet, the first one first.
    pings: VecDeque<Pong>,
    failure: Option<Failure>,
}

/// The next thing that the user waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// A command.
    Command,
    /// Messages, since there are no further commands.
    Messages,
    /// The end of the session.
    End,
}

/// A message that is being sent.
type Sending = BoxFuture<'static, Result<(), Closed>>;

impl<'a> Conversation<'a> {
    pub(crate) fn new(options: &Options, inputs: &'a mut Inputs, output: &'a mut Output) -> Self {
        Self {
            inputs,
            output,
            wait: options.wait(),
            remaining: options.count(),
            stage: Stage::Command,
            pings: VecDeque::new(),
            failure: None,
        }
    }

    /// Runs until the session has ended.
    pub(crate) async fn run(&mut self, session: Session) -> Closed {
        self.greet(&session);
        let (sender, mut receiver) = session.split();
        let mut interrupt = pin!(tokio::signal::ctrl_c());
        let mut sending: Option<Sending> = None;
        let closed = loop {
            let (stage, is_sending) = (self.stage, sending.is_some());
            tokio::select! {
                received = receiver.recv() => match received {
                    Ok(message) => self.receive(&message, &sender),
                    Err(closed) => break closed,
                },
                command = self.inputs.next(), if stage == Stage::Command && !is_sending => {
                    sending = self.carry_out(command, &sender);
                }
                sent = wait_for(&mut sending) => {
                    sending = None;
                    if sent.is_ok() {
                        self.inputs.done();
                    }
                }
                round_trip = wait_for_pong(&mut self.pings) => {
                    self.pings.pop_front();
                    if let Ok(round_trip) = round_trip {
                        self.output.notice(format_args!("pong after {round_trip:.1?}"));
                    }
                }
                () = tokio::time::sleep(self.wait), if stage == Stage::Messages && !is_sending => {
                    self.close(&sender);
                }
                _ = &mut interrupt, if stage != Stage::End => self.close(&sender),
            }
        };
        self.pings.clear();
        self.output.note(&closed);
        closed
    }

    /// Reports to a user at a prompt how a session ended that others follow.
    pub(crate) fn report(&mut self, closed: &Closed) {
        self.output.notice(closed);
    }

    /// Returns true if the user wants no further session.
    pub(crate) fn is_finished(&self) -> bool {
        match self.stage {
            Stage::Command => false,
            // Without any input the user wants to see messages until further notice.
            Stage::Messages => self.wait != Duration::MAX,
            Stage::End => true,
        }
    }

    /// Ends the prompt, because no further session opens.
    pub(crate) async fn leave(&mut self) {
        self.output.leave_prompt(None).await;
    }

    /// Ends the prompt. Returns the result of the program, if this was its last session.
    pub(crate) async fn result(&mut self, closed: &Closed) -> Result<(), Failure> {
        let failure = self.failure.take().or_else(|| self.inputs.take_failure());
        let result = failure.map_or_else(|| Failure::of_session(closed), Err);
        // A failure is printed by the program, wherever its output goes.
        let last = result.is_ok().then_some(closed as &dyn Display);
        self.output.leave_prompt(last).await;
        result
    }

    fn greet(&mut self, session: &Session) {
        let request = session.request();
        if let Some(subprotocol) = request.subprotocol() {
            self.output.note(format_args!("subprotocol {}", Escaped(subprotocol)));
        }
        for extension in request.extensions() {
            self.output.note(format_args!("extension {extension}"));
        }
        if let Some(tls) = request.tls() {
            let alpn = tls.alpn.as_deref().unwrap_or(b"no ALPN").escape_ascii();
            self.output.note(format_args!("TLS, {alpn}"));
        }
        self.output.notice("connected; /help lists the commands, Ctrl-D closes");
    }

    fn receive(&mut self, message: &Message, sender: &Sender) {
        if self.remaining == Some(0) {
            return;
        }
        match self.output.message(message) {
            Ok(()) => {}
            // The program that reads stdout has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.remaining = Some(1),
            Err(error) => {
                self.failure = Some(Failure::io("stdout", error));
                self.remaining = Some(1);
            }
        }
        if let Some(remaining) = &mut self.remaining {
            *remaining -= 1;
            if *remaining == 0 {
                self.close(sender);
            }
        }
    }

    fn carry_out(&mut self, command: Option<Command>, sender: &Sender) -> Option<Sending> {
        match command {
            None if self.inputs.is_prompt() => self.close(sender),
            None => self.stage = Stage::Messages,
            Some(Command::Send(message)) => {
                self.output.note(format_args!("> {}", Summary(&message)));
                let sender = sender.clone();
                return Some(Box::pin(async move { sender.send(message).await }));
            }
            Some(Command::Ping(payload)) => match sender.ping(payload) {
                Ok(pong) => self.pings.push_back(pong),
                Err(error) => self.output.notice(error),
            },
            Some(Command::Close(reason)) => {
                sender.close(reason);
                self.stage = Stage::End;
            }
            Some(Command::Explain(text)) => self.output.notice(text),
        }
        self.inputs.done();
        None
    }

    fn close(&mut self, sender: &Sender) {
        sender.close(CloseCode::NORMAL);
        self.stage = Stage::End;
    }
}

/// Waits for the message that is being sent; never ready without one.
async fn wait_for(sending: &mut Option<Sending>) -> Result<(), Closed> {
    match sending {
        Some(sending) => sending.await,
        None => std::future::pending().await,
    }
}

/// Waits for the answer to the first ping; never ready without one.
async fn wait_for_pong(pings: &mut VecDeque<Pong>) -> Result<Duration, Closed> {
    match pings.front_mut() {
        Some(pong) => pong.await,
        None => std::future::pending().await,
    }
}

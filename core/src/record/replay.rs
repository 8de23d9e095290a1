//! Repeating what was recorded: [`Recording::replay`].

use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::BytesMut;

use super::Recording;
use super::error::{Difference, ReplayError};
use super::lines::{self, Arguments, Call, Opening, RecordedEnd, hex};
use super::recorder::settings;
use super::text::{Outcome, Outputs};
use crate::config::Config;
use crate::connection::{Connection, Negotiated};
use crate::event::Event;
use crate::message::Chunk;
use crate::time::Instant;
use crate::turn::Output;

/// The acts of a connection in a replay, which are those of the recording.
#[derive(Clone, Debug)]
pub struct Replayed {
    calls: usize,
    events: Vec<Event>,
    sent: Vec<u8>,
}

impl Replayed {
    /// Returns the number of calls that were repeated.
    pub fn calls(&self) -> usize {
        self.calls
    }

    /// Returns the events, in order.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Returns the bytes that were sent, and behind them those that were still queued at the end.
    pub fn sent(&self) -> &[u8] {
        &self.sent
    }
}

impl Recording {
    /// Repeats the recorded calls on a new connection.
    ///
    /// `configs` has the settings of the connection, and then those of each
    /// [`set_config`](crate::Connection::set_config), in order. `negotiated` is what the opening
    /// handshake had agreed on; it is not recorded.
    ///
    /// # Errors
    ///
    /// [`ReplayError::Differs`] with the first call whose outputs are not the recorded ones;
    /// [`ReplayError::OtherSettings`] if `configs` are not the recorded settings;
    /// [`ReplayError::Malformed`] if the text is not a recording.
    pub fn replay(
        &self,
        negotiated: Negotiated,
        configs: &[Arc<Config>],
    ) -> Result<Replayed, ReplayError> {
        let (opening, calls) = lines::parse(&self.text)?;
        let mut replay = Replay::open(opening, negotiated, configs)?;
        for call in calls {
            let call = call?;
            let (line, input, recorded) = (call.line, call.input, call.outputs);
            let outcome = replay.call(call)?.ok_or(ReplayError::Malformed { line })?;
            let replayed = alloc::format!("{outcome} {}", Outputs(&replay.connection));
            if replayed != recorded {
                let (input, recorded) = (input.to_string(), recorded.to_string());
                return Err(ReplayError::Differs(Difference { line, input, recorded, replayed }));
            }
            replay.done.calls += 1;
        }
        replay.take(usize::MAX);
        Ok(replay.done)
    }
}

struct Replay<'a> {
    connection: Connection,
    inbound: BytesMut,
    configs: core::slice::Iter<'a, Arc<Config>>,
    done: Replayed,
}

impl<'a> Replay<'a> {
    /// Opens the connection, if the settings are the recorded ones.
    fn open(
        opening: Opening<'_>,
        negotiated: Negotiated,
        configs: &'a [Arc<Config>],
    ) -> Result<Self, ReplayError> {
        let Opening { opened, config: recorded, end } = opening;
        let mut configs = configs.iter();
        let config =
            next_config(&mut configs, recorded).ok_or(ReplayError::OtherSettings { line: 3 })?;
        let connection = match end {
            RecordedEnd::Client(seed) => Connection::client(negotiated, seed, config, opened),
            RecordedEnd::Server => Connection::server(negotiated, config, opened),
        };
        let done = Replayed { calls: 0, events: Vec::new(), sent: Vec::new() };
        Ok(Self { connection, inbound: BytesMut::new(), configs, done })
    }

    /// Repeats a call; `None` if it is malformed.
    fn call(&mut self, call: Call<'_>) -> Result<Option<Outcome>, ReplayError> {
        let Call { line, now, name, mut arguments, .. } = call;
        let outcome = match name {
            "config" => {
                let recorded = arguments.word().ok_or(ReplayError::Malformed { line })?;
                let config = next_config(&mut self.configs, recorded);
                let config = config.ok_or(ReplayError::OtherSettings { line })?;
                self.connection.set_config(config, now);
                Some(Outcome::None)
            }
            "output" => self.output(&mut arguments, now),
            "poll" | "partial" => self.poll(name, &mut arguments, now),
            "send" | "chunk" | "ping" => self.send(name, &mut arguments, now),
            _ => self.report(name, &mut arguments, now),
        };
        Ok(outcome.filter(|_| arguments.are_taken()))
    }

    fn output(&mut self, arguments: &mut Arguments<'_>, now: Instant) -> Option<Outcome> {
        self.inbound.extend_from_slice(&arguments.bytes()?);
        let output = self.connection.poll_output(&mut self.inbound, now);
        let outcome = Outcome::of_output(Some(&output));
        if let Output::Event(event) = output {
            self.done.events.push(event);
        }
        Some(outcome)
    }

    fn poll(&mut self, name: &str, arguments: &mut Arguments<'_>, now: Instant) -> Option<Outcome> {
        self.inbound.extend_from_slice(&arguments.bytes()?);
        let event = match name {
            "poll" => self.connection.poll_event(&mut self.inbound, now),
            _ => self.connection.poll_partial(&mut self.inbound, now),
        };
        let outcome = Outcome::of(event.as_ref());
        self.done.events.extend(event);
        Some(outcome)
    }

    fn send(&mut self, name: &str, arguments: &mut Arguments<'_>, now: Instant) -> Option<Outcome> {
        let connection = &mut self.connection;
        let result = match name {
            "ping" => connection.ping(arguments.bytes()?, now),
            "send" => {
                let compress = arguments.number()? == 1;
                let message = arguments.message()?;
                let message = if compress { message.into() } else { message.uncompressed() };
                connection.send(arguments.placed(message)?, now)
            }
            _ => {
                let last = arguments.number()? == 1;
                connection.send_chunk(Chunk { data: arguments.message()?, last }, now)
            }
        };
        Some(Outcome::Sent(result.is_ok()))
    }

    fn report(
        &mut self,
        name: &str,
        arguments: &mut Arguments<'_>,
        now: Instant,
    ) -> Option<Outcome> {
        let connection = &mut self.connection;
        match name {
            "abort" => connection.abort(now),
            "blocked" => connection.handle_blocked(now),
            "chunk_len" => {
                let len = u32::try_from(arguments.number()?).ok()?;
                connection.set_chunk_len((len > 0).then_some(len));
            }
            "cancel" => {
                let cancelled = connection.cancel(arguments.number()?);
                return Some(Outcome::Sent(cancelled.is_some()));
            }
            "close" => connection.close(arguments.reason()?, now),
            "delivery" => connection.handle_delivery(now),
            "encode" => connection.encode_waiting(),
            "eof" => connection.handle_eof(now),
            "error" => {
                let error = arguments.text()?;
                connection.handle_transport_error(error, now);
            }
            "fail" => connection.fail(arguments.reason()?, now),
            "flushed" => connection.handle_flushed(arguments.number()? == 1, now),
            "outbound" => {
                connection.outbound();
            }
            "overload" => connection.handle_overload(now),
            "paused" => connection.set_paused(arguments.number()? == 1),
            "popped" => {
                let (popped, sent) = (arguments.number()?, arguments.number()?);
                self.pop(usize::try_from(popped).ok()?);
                self.connection.raw.outbound.sent(usize::try_from(sent).ok()?);
            }
            "reading" => connection.set_reading(arguments.number()? == 1, now),
            "reject" => connection.reject_message(arguments.number()?, now),
            "stall" => connection.handle_stall(now),
            "taken" => self.take(usize::try_from(arguments.number()?).ok()?),
            "timeout" => connection.handle_timeout(now),
            _ => return None,
        }
        Some(Outcome::None)
    }

    /// Pops `len` bytes that are to be sent, in whole chunks.
    fn pop(&mut self, len: usize) {
        let mut popped = 0;
        while popped < len
            && let Some(chunk) = self.connection.raw.outbound.pop()
        {
            popped += chunk.len();
            self.done.sent.extend_from_slice(&chunk);
        }
    }

    /// Takes bytes that are to be sent, at most `len`.
    fn take(&mut self, len: usize) {
        let outbound = &mut self.connection.raw.outbound;
        let len = len.min(outbound.remaining());
        self.done.sent.extend_from_slice(&outbound.take(len));
    }
}

/// The next of the settings, if they are the recorded ones.
fn next_config(
    configs: &mut core::slice::Iter<'_, Arc<Config>>,
    recorded: &str,
) -> Option<Arc<Config>> {
    let config = configs.next()?;
    (hex(recorded)? == settings(config).into_bytes()).then(|| config.clone())
}

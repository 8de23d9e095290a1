//! The wrapper that records: [`Recorder`].

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::ops::Deref;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

use super::redact::{self, Redactor};
use super::text::{Hex, Outcome, Outputs, Place, Recorded};
use super::{HEADER, Recording, STOPPED};
use crate::close::CloseReason;
use crate::config::Config;
use crate::connection::{Connection, Negotiated};
use crate::error::SendError;
use crate::event::Event;
use crate::message::{Chunk, Message};
use crate::outbound::Outbound;
use crate::outgoing::OutgoingMessage;
use crate::role::Role;
use crate::seed::Seed;
use crate::time::Instant;
use crate::turn::Output;

/// A [`Connection`] that records its inputs, in place of a bare one.
///
/// It has the methods of a connection that change it, except those that read from a slice and those that
/// observe. It dereferences to the connection for the others. Each method takes the time, which is recorded
/// with the call. A [`Broadcast`](crate::Broadcast) is recorded as a message.
///
/// The recording is bounded by [`max_len`](Self::max_len): it keeps the beginning and drops what
/// comes later, because a replay needs the beginning. It has the seed of the masking keys, which
/// predict the keys of this connection only.
#[derive(Debug)]
pub struct Recorder {
    connection: Connection,
    text: String,
    max_len: usize,
    stopped: bool,
    redactor: Option<Redactor>,
    /// The number of bytes that the last poll left in the read buffer.
    seen: usize,
    /// The number of sent bytes that have been recorded.
    taken: u64,
    /// The number of bytes that were popped and not reported sent, after the last call.
    in_flight: usize,
}

/// Creation.
impl Recorder {
    /// Creates the client's end; see [`Connection::client`].
    pub fn client(negotiated: Negotiated, seed: Seed, config: Arc<Config>, now: Instant) -> Self {
        let mut text = header(Role::Client, &config, now);
        let _ = writeln!(text, "seed {}", Hex(seed.as_bytes()));
        Self::new(text, Connection::client(negotiated, seed, config, now))
    }

    /// Creates the server's end; see [`Connection::server`].
    pub fn server(negotiated: Negotiated, config: Arc<Config>, now: Instant) -> Self {
        let text = header(Role::Server, &config, now);
        Self::new(text, Connection::server(negotiated, config, now))
    }

    fn new(text: String, connection: Connection) -> Self {
        Self {
            connection,
            text,
            max_len: 1 << 20,
            stopped: false,
            redactor: None,
            seen: 0,
            taken: 0,
            in_flight: 0,
        }
    }

    /// Sets the length of the recording in bytes, as text, after which nothing more is recorded.
    /// Default: 1 MiB. One call more may be recorded.
    #[must_use]
    pub fn max_len(mut self, len: usize) -> Self {
        self.max_len = len;
        self
    }

    /// Records no payloads: what is left is their lengths, and of text the number of characters
    /// of each length in bytes. Close codes, pongs of eight bytes, and the keys of
    /// [messages that replace others](OutgoingMessage::latest) stay.
    ///
    /// A replay of such a recording takes the same course, with other payloads. Compressed messages
    /// cannot be redacted: the first one that is received ends the recording.
    #[must_use]
    pub fn redact(mut self) -> Self {
        self.redactor = Some(Redactor::default());
        self
    }

    /// Returns the recording so far.
    pub fn recording(&self) -> Recording {
        Recording { text: self.text.clone() }
    }

    /// Returns the recording, and drops the connection.
    pub fn into_recording(self) -> Recording {
        Recording { text: self.text }
    }
}

/// The methods of [`Connection`] that change it.
impl Recorder {
    /// Returns the next thing to do; see [`Connection::poll_output`].
    ///
    /// ```
    /// use bytes::BytesMut;
    /// use sockless_core::record::Recorder;
    /// use sockless_core::{Event, Instant, Negotiated, Output};
    ///
    /// let now = Instant::EPOCH;
    /// let mut server = Recorder::server(Negotiated::default(), Default::default(), now);
    /// let mut inbound = BytesMut::from(&b"\x81\x82\0\0\0\0hi"[..]);
    /// let mut written = Vec::new();
    /// loop {
    ///     match server.poll_output(&mut inbound, now) {
    ///         Output::Event(Event::Message(message)) => server.send(message, now)?,
    ///         Output::Write(mut outbound) => {
    ///             written.extend_from_slice(outbound.chunk());
    ///             outbound.advance(outbound.chunk().len());
    ///         }
    ///         Output::Wait(_) | Output::Close => break,
    ///         Output::Event(_) | Output::ShutdownWrite => {}
    ///     }
    /// }
    /// assert_eq!(written, b"\x81\x02hi");
    ///
    /// let recording = server.into_recording();
    /// let replayed = recording.replay(Negotiated::default(), &[Default::default()])?;
    /// assert_eq!(replayed.sent(), written);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn poll_output(&mut self, inbound: &mut BytesMut, now: Instant) -> Output<'_> {
        self.note_taken(now);
        let bytes = self.received(inbound);
        let output = match self.connection.poll_output(inbound, now) {
            Output::Write(_) => None,
            Output::Event(event) => Some(Output::Event(event)),
            Output::ShutdownWrite => Some(Output::ShutdownWrite),
            Output::Wait(wait) => Some(Output::Wait(wait)),
            Output::Close => Some(Output::Close),
        };
        self.seen = inbound.len();
        let outcome = Outcome::of_output(output.as_ref());
        self.record(now, format_args!("output {}", Hex(&bytes)), &outcome);
        output.unwrap_or(Output::Write(Outbound(&mut self.connection.raw.outbound)))
    }

    /// See [`Connection::set_paused`].
    pub fn set_paused(&mut self, paused: bool, now: Instant) {
        self.note_taken(now);
        self.connection.set_paused(paused);
        self.record(now, format_args!("paused {}", u8::from(paused)), &Outcome::None);
    }

    /// Takes the next event; see [`Connection::poll_event`].
    pub fn poll_event(&mut self, inbound: &mut BytesMut, now: Instant) -> Option<Event> {
        self.note_taken(now);
        let bytes = self.received(inbound);
        let event = self.connection.poll_event(inbound, now);
        self.seen = inbound.len();
        self.record(now, format_args!("poll {}", Hex(&bytes)), &Outcome::of(event.as_ref()));
        event
    }

    /// Takes a part of an unfinished message; see [`Connection::poll_partial`].
    pub fn poll_partial(&mut self, inbound: &mut BytesMut, now: Instant) -> Option<Event> {
        self.note_taken(now);
        let bytes = self.received(inbound);
        let event = self.connection.poll_partial(inbound, now);
        self.seen = inbound.len();
        self.record(now, format_args!("partial {}", Hex(&bytes)), &Outcome::of(event.as_ref()));
        event
    }

    /// See [`Connection::handle_eof`].
    pub fn handle_eof(&mut self, now: Instant) {
        self.note_taken(now);
        self.connection.handle_eof(now);
        self.record(now, format_args!("eof"), &Outcome::None);
    }

    /// See [`Connection::handle_transport_error`]. The text is recorded.
    pub fn handle_transport_error(&mut self, error: impl Into<ByteString>, now: Instant) {
        let error = error.into();
        self.note_taken(now);
        self.connection.handle_transport_error(error.clone(), now);
        self.record(now, format_args!("error {}", Hex(error.as_bytes())), &Outcome::None);
    }

    /// See [`Connection::handle_timeout`].
    pub fn handle_timeout(&mut self, now: Instant) {
        self.note_taken(now);
        self.connection.handle_timeout(now);
        self.record(now, format_args!("timeout"), &Outcome::None);
    }

    /// See [`Connection::handle_blocked`].
    pub fn handle_blocked(&mut self, now: Instant) {
        self.note_taken(now);
        self.connection.handle_blocked(now);
        self.record(now, format_args!("blocked"), &Outcome::None);
    }

    /// See [`Connection::handle_flushed`].
    pub fn handle_flushed(&mut self, is_flushed: bool, now: Instant) {
        self.note_taken(now);
        self.connection.handle_flushed(is_flushed, now);
        self.record(now, format_args!("flushed {}", u8::from(is_flushed)), &Outcome::None);
    }

    /// See [`Connection::set_reading`].
    pub fn set_reading(&mut self, reading: bool, now: Instant) {
        self.note_taken(now);
        self.connection.set_reading(reading, now);
        self.record(now, format_args!("reading {}", u8::from(reading)), &Outcome::None);
    }

    /// Queues a whole message; see [`Connection::send`].
    ///
    /// # Errors
    ///
    /// As [`Connection::send`].
    pub fn send(
        &mut self,
        message: impl Into<OutgoingMessage>,
        now: Instant,
    ) -> Result<(), SendError> {
        let message = message.into();
        self.note_taken(now);
        let (recorded, compress) = (self.redacted(message.message()), message.compress());
        let place = Place(message.own_place());
        let result = self.connection.send(message, now);
        let input = format_args!("send {} {recorded}{place}", u8::from(compress));
        self.record(now, input, &Outcome::Sent(result.is_ok()));
        result
    }

    /// Cancels a message that waits; see [`Connection::cancel`].
    pub fn cancel(&mut self, key: u64, now: Instant) -> Option<OutgoingMessage> {
        self.note_taken(now);
        let cancelled = self.connection.cancel(key);
        self.record(now, format_args!("cancel {key}"), &Outcome::Sent(cancelled.is_some()));
        cancelled
    }

    /// See [`Connection::encode_waiting`].
    pub fn encode_waiting(&mut self, now: Instant) {
        self.note_taken(now);
        self.connection.encode_waiting();
        self.record(now, format_args!("encode"), &Outcome::None);
    }

    /// Queues the next chunk of a message; see [`Connection::send_chunk`].
    ///
    /// # Errors
    ///
    /// As [`Connection::send_chunk`].
    pub fn send_chunk(&mut self, chunk: Chunk, now: Instant) -> Result<(), SendError> {
        self.note_taken(now);
        let (recorded, last) = (self.redacted(&chunk.data), chunk.last);
        let result = self.connection.send_chunk(chunk, now);
        let input = format_args!("chunk {} {recorded}", u8::from(last));
        self.record(now, input, &Outcome::Sent(result.is_ok()));
        result
    }

    /// Queues a ping; see [`Connection::ping`].
    ///
    /// # Errors
    ///
    /// As [`Connection::ping`].
    pub fn ping(&mut self, payload: impl Into<Bytes>, now: Instant) -> Result<(), SendError> {
        let payload = payload.into();
        self.note_taken(now);
        let mut recorded = payload.to_vec();
        if self.redactor.is_some() {
            recorded.fill(0);
        }
        let result = self.connection.ping(payload, now);
        self.record(now, format_args!("ping {}", Hex(&recorded)), &Outcome::Sent(result.is_ok()));
        result
    }

    /// Starts the closing handshake; see [`Connection::close`].
    pub fn close(&mut self, reason: impl Into<CloseReason>, now: Instant) {
        let reason = reason.into();
        self.note_taken(now);
        let (code, text) = self.redacted_reason(&reason);
        self.connection.close(reason, now);
        self.record(now, format_args!("close {code} {}", Hex(&text)), &Outcome::None);
    }

    /// Fails the connection; see [`Connection::fail`].
    pub fn fail(&mut self, reason: impl Into<CloseReason>, now: Instant) {
        let reason = reason.into();
        self.note_taken(now);
        let (code, text) = self.redacted_reason(&reason);
        self.connection.fail(reason, now);
        self.record(now, format_args!("fail {code} {}", Hex(&text)), &Outcome::None);
    }

    /// See [`Connection::abort`].
    pub fn abort(&mut self, now: Instant) {
        self.note_taken(now);
        self.connection.abort(now);
        self.record(now, format_args!("abort"), &Outcome::None);
    }

    /// Replaces the settings; see [`Connection::set_config`].
    pub fn set_config(&mut self, config: Arc<Config>, now: Instant) {
        self.note_taken(now);
        let settings = settings(&config);
        self.connection.set_config(config, now);
        self.record(now, format_args!("config {}", Hex(settings.as_bytes())), &Outcome::None);
    }

    /// Returns the bytes to send; see [`Connection::outbound`].
    pub fn outbound(&mut self, now: Instant) -> Outbound<'_> {
        self.note_taken(now);
        let before = self.connection.raw.outbound.queued();
        self.connection.outbound();
        if self.connection.raw.outbound.queued() != before {
            self.record(now, format_args!("outbound"), &Outcome::None);
        }
        Outbound(&mut self.connection.raw.outbound)
    }

    /// See [`Connection::set_chunk_len`].
    pub fn set_chunk_len(&mut self, len: Option<u32>, now: Instant) {
        self.note_taken(now);
        self.connection.set_chunk_len(len);
        self.record(now, format_args!("chunk_len {}", len.unwrap_or(0)), &Outcome::None);
    }

    /// See [`Connection::handle_delivery`].
    pub fn handle_delivery(&mut self, now: Instant) {
        self.note_taken(now);
        self.connection.handle_delivery(now);
        self.record(now, format_args!("delivery"), &Outcome::None);
    }

    /// See [`Connection::reject_message`].
    pub fn reject_message(&mut self, len: u64, now: Instant) {
        self.note_taken(now);
        self.connection.reject_message(len, now);
        self.record(now, format_args!("reject {len}"), &Outcome::None);
    }

    /// See [`Connection::handle_stall`].
    pub fn handle_stall(&mut self, now: Instant) {
        self.note_taken(now);
        self.connection.handle_stall(now);
        self.record(now, format_args!("stall"), &Outcome::None);
    }

    /// See [`Connection::handle_overload`].
    pub fn handle_overload(&mut self, now: Instant) {
        self.note_taken(now);
        self.connection.handle_overload(now);
        self.record(now, format_args!("overload"), &Outcome::None);
    }
}

impl Recorder {
    /// The bytes that were appended to the read buffer since the last poll, as they are recorded.
    fn received(&mut self, inbound: &[u8]) -> Vec<u8> {
        if self.stopped {
            return Vec::new();
        }
        let mut bytes = inbound.get(self.seen..).unwrap_or_default().to_vec();
        if let Some(redactor) = &mut self.redactor
            && redactor.redact(&mut bytes).is_err()
        {
            self.stop();
        }
        bytes
    }

    fn redacted(&self, message: &Message) -> Recorded {
        let mut bytes = Vec::new();
        if !self.stopped {
            bytes.extend_from_slice(message.as_bytes());
        }
        match (&self.redactor, message.is_text()) {
            (None, _) => {}
            (Some(_), true) => redact::text(&mut bytes),
            (Some(_), false) => bytes.fill(0),
        }
        Recorded { is_text: message.is_text(), bytes }
    }

    /// The code of a reason, 0 for one without a code, and its text as it is recorded.
    fn redacted_reason(&self, reason: &CloseReason) -> (u16, Vec<u8>) {
        let mut text = reason.text().as_bytes().to_vec();
        if self.redactor.is_some() {
            redact::text(&mut text);
        }
        (reason.code().map_or(0, |code| code.get()), text)
    }

    /// Records what the caller has done with the bytes to send, before anything else happens.
    fn note_taken(&mut self, now: Instant) {
        let outbound = &self.connection.raw.outbound;
        let (taken, in_flight) = (outbound.taken(), outbound.in_flight());
        let (sent, was_in_flight) = (taken - self.taken, self.in_flight as u64);
        self.taken = taken;
        // The caller pops: all that has been sent since, or is in flight now, but was not before.
        let popped = (sent + in_flight as u64).saturating_sub(was_in_flight);
        if (in_flight > 0 || was_in_flight > 0) && popped + sent > 0 {
            self.record(now, format_args!("popped {popped} {sent}"), &Outcome::None);
        } else if sent > 0 {
            self.record(now, format_args!("taken {sent}"), &Outcome::None);
        }
    }

    fn record(&mut self, now: Instant, input: fmt::Arguments<'_>, outcome: &Outcome) {
        self.in_flight = self.connection.raw.outbound.in_flight();
        if self.stopped {
            return;
        }
        let (now, outputs) = (now.since_epoch().as_nanos(), Outputs(&self.connection));
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "{now} {input} = {outcome} {outputs}");
        if self.text.len() >= self.max_len {
            self.stop();
        }
    }

    fn stop(&mut self) {
        self.stopped = true;
        self.text.push_str(STOPPED);
        self.text.push('\n');
    }
}

/// The getters.
impl Deref for Recorder {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

/// The lines before the first call, but for the seed.
fn header(role: Role, config: &Config, now: Instant) -> String {
    let mut text = String::new();
    let role = if role == Role::Client { "client" } else { "server" };
    let opened = now.since_epoch().as_nanos();
    let config = settings(config);
    let _ = writeln!(text, "{HEADER}\n{role} {opened}\nconfig {}", Hex(config.as_bytes()));
    text
}

/// The settings as text, to be compared with those of the replay.
pub(super) fn settings(config: &Config) -> String {
    alloc::format!("{config:?}")
}

//! Traces of connections as lines of JSON: [`JsonTrace`].
//!
//! # The format, version 1
//!
//! Each line is a JSON object and ends with a line feed. It is modelled after qlog's events, for a protocol that qlog
//! does not cover. The first line describes the trace:
//!
//! ```json
//! {"format":"sockless-trace","version":1,"role":"server","time_unit":"ms"}
//! ```
//!
//! `role` is the end that observes: `client` or `server`; or `network`, where both ends are observed, as the simulator
//! `sockless-sim` does: its documentation describes what it adds. A file may have several traces, each behind a first line of its own.
//!
//! Every other line is an event, with `time` in milliseconds since the epoch of the caller's
//! [`Instant`], exact to the nanosecond; `group`, the name of the connection, if one
//! was [set](JsonTrace::group); `name`; and `data`:
//!
//! | `name` | `data` |
//! |---|---|
//! | `http:request`, `http:response` | of a [head](JsonTrace::head): `lines`, an array of the first line and one for each header |
//! | `websocket:frame_created`, `websocket:frame_parsed` | of a frame that was queued or received: `opcode` (`text`, `binary`, `continuation`, `ping`, `pong`, `close`), `fin`, `rsv` (0 to 7, RSV1 counts 4), `length` of the payload in bytes; with [payloads](Payloads): `text` or, unless it is UTF-8, `hex`, and `"truncated":true` if more of the payload was not recorded |
//! | `websocket:state_updated` | `new`: `closing`, with `by` (`local`, `peer`); or `closed`, with `by`, `cause` (`aborted`, `eof`, `closing_handshake`, `failed`, `overloaded`, `protocol`, `timeout`, `transport`), `detail`, and `sent_code` and `received_code` of Close frames that have one; with payloads also `sent_reason` and `received_reason` |
//! | `websocket:trace_truncated` | empty; nothing follows, since the trace has reached its [greatest length](JsonTrace::max_len) |
//!
//! A received frame is written once its payload, or as much of it as is recorded, has arrived, or will not arrive; without
//! payloads, with its header. Frames that a [`RawConnection`](crate::RawConnection::put_back) puts back are written again.
//! Readers must ignore names and members that they do not know: a later version 1 may add some.
//!
//! ```json
//! {"time":1250.000001,"group":"7","name":"websocket:frame_parsed","data":{"opcode":"text","fin":true,"rsv":0,"length":5}}
//! ```

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write;

use crate::close::CloseReason;
use crate::escape::is_escaped;
use crate::event::{Cause, Closed, Party};
use crate::extension::Direction;
use crate::frame::{FrameHead, Opcode};
use crate::observer::{Observer, StateChange};
use crate::role::Role;
use crate::time::Instant;

/// The version of the format.
const VERSION: u32 = 1;

/// An [`Observer`] that writes a connection's frames and states as lines of JSON. The [module](self) describes the
/// format.
///
/// By default it records no payload and no reason of a Close frame, which may be private, and at most 16 MiB.
///
/// ```
/// use std::sync::mpsc::channel;
///
/// use sockless_core::trace::{JsonTrace, Payloads};
/// use sockless_core::{Connection, Instant, Negotiated, Role};
///
/// let (sender, lines) = channel();
/// let trace = JsonTrace::new(Role::Server, move |line: &str| drop(sender.send(line.to_owned())))
///     .payloads(Payloads::UpTo(100));
///
/// let now = Instant::EPOCH;
/// let mut server = Connection::server(Negotiated::default(), Default::default(), now);
/// server.set_observer(Some(Box::new(trace)));
/// server.send("hello", now)?;
///
/// let lines: Vec<String> = lines.try_iter().collect();
/// assert_eq!(
///     lines.concat(),
///     concat!(
///         r#"{"format":"sockless-trace","version":1,"role":"server","time_unit":"ms"}"#,
///         "\n",
///         r#"{"time":0.000000,"name":"websocket:frame_created","data":{"opcode":"text","fin":true,"rsv":0,"length":5,"text":"hello"}}"#,
///         "\n",
///     )
/// );
/// # Ok::<(), sockless_core::SendError>(())
/// ```
pub struct JsonTrace<W> {
    write: W,
    role: Role,
    group: String,
    payloads: Payloads,
    /// The number of bytes that may still be written.
    room: u64,
    has_begun: bool,
    /// The frames whose payloads are arriving, by direction.
    pending: [Option<Pending>; 2],
}

/// The part of payloads that a [`JsonTrace`] records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Payloads {
    /// None, and no reason of a Close frame.
    #[default]
    Redacted,
    /// This number of bytes at the start of each payload, and the reasons of Close frames.
    UpTo(usize),
}

/// A frame whose payload is arriving.
struct Pending {
    since: Instant,
    head: FrameHead,
    payload: Vec<u8>,
}

impl<W: FnMut(&str) + Send> JsonTrace<W> {
    /// Creates the trace of the end `role`. `write` is called with each line, which ends with a line feed.
    pub const fn new(role: Role, write: W) -> Self {
        Self {
            write,
            role,
            group: String::new(),
            payloads: Payloads::Redacted,
            room: 16 << 20,
            has_begun: false,
            pending: [None, None],
        }
    }

    /// Sets the name of the connection, which each event has, so that traces of several connections can share a file.
    /// Default: none.
    #[must_use]
    pub fn group(mut self, name: impl Into<String>) -> Self {
        self.group = name.into();
        self
    }

    /// Sets the part of payloads that is recorded. Default: [`Payloads::Redacted`].
    #[must_use]
    pub fn payloads(mut self, payloads: Payloads) -> Self {
        self.payloads = payloads;
        self
    }

    /// Sets the greatest length of the trace in bytes, before the line that states that it ends there. Default: 16 MiB.
    #[must_use]
    pub fn max_len(mut self, bytes: u64) -> Self {
        self.room = bytes;
        self
    }

    /// Writes the head of a request, if it is `from` the client, or of a response: the first line, and one for each
    /// header, all of them without line ends. Observers are not shown the opening handshake; call this before
    /// the trace becomes the observer of a connection.
    ///
    /// Heads can contain credentials and cookies. They are written as they are passed.
    ///
    /// ```
    /// use sockless_core::trace::JsonTrace;
    /// use sockless_core::{Instant, Role};
    ///
    /// let mut lines = String::new();
    /// let mut trace = JsonTrace::new(Role::Server, |line: &str| lines.push_str(line)).group("7");
    /// trace.head(Instant::EPOCH, Role::Client, ["GET /chat HTTP/1.1", "host: example.com"]);
    /// assert!(lines.ends_with(concat!(
    ///     r#"{"time":0.000000,"group":"7","name":"http:request","#,
    ///     r#""data":{"lines":["GET /chat HTTP/1.1","host: example.com"]}}"#,
    ///     "\n",
    /// )));
    /// ```
    pub fn head<L: AsRef<str>>(
        &mut self,
        now: Instant,
        from: Role,
        lines: impl IntoIterator<Item = L>,
    ) {
        let name = if from == Role::Client { "http:request" } else { "http:response" };
        self.event(now, name, |out| {
            out.push_str(r#""lines":["#);
            for (index, line) in lines.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                quote(out, line.as_ref());
            }
            out.push(']');
        });
    }

    /// The number of bytes of a payload to record.
    fn wanted(&self, head: &FrameHead) -> usize {
        match self.payloads {
            Payloads::Redacted => 0,
            Payloads::UpTo(most) => usize::try_from(head.len).unwrap_or(usize::MAX).min(most),
        }
    }

    fn write_frame(&mut self, direction: Direction, frame: &Pending) {
        let Pending { since, head, payload } = frame;
        let name = match direction {
            Direction::Incoming => "websocket:frame_parsed",
            Direction::Outgoing => "websocket:frame_created",
        };
        let is_recorded = self.payloads != Payloads::Redacted;
        self.event(*since, name, |out| {
            member(out, "opcode", opcode(head.opcode));
            let (fin, rsv, len) = (head.fin, head.rsv.bits() >> 4, head.len);
            let _ = write!(out, r#","fin":{fin},"rsv":{rsv},"length":{len}"#);
            if is_recorded {
                let is_truncated = (payload.len() as u64) < len;
                write_payload(out, payload, is_truncated);
                if is_truncated {
                    out.push_str(r#","truncated":true"#);
                }
            }
        });
    }

    /// Writes the frame that is arriving, since the rest of it will not come.
    fn flush(&mut self, direction: Direction) {
        if let Some(frame) = self.pending[slot(direction)].take() {
            self.write_frame(direction, &frame);
        }
    }

    /// Writes an event whose data `fill` appends.
    fn event(&mut self, now: Instant, name: &str, fill: impl FnOnce(&mut String)) {
        if !core::mem::replace(&mut self.has_begun, true) {
            let role = if self.role == Role::Client { "client" } else { "server" };
            let first = alloc::format!(
                r#"{{"format":"sockless-trace","version":{VERSION},"role":"{role}","time_unit":"ms"}}"#
            );
            self.line(now, first);
        }
        let mut line = String::with_capacity(160);
        begin(&mut line, now, &self.group, name);
        fill(&mut line);
        line.push_str("}}");
        self.line(now, line);
    }

    /// Writes a line if there is room for it, or else the last one.
    fn line(&mut self, now: Instant, mut line: String) {
        line.push('\n');
        if self.room == 0 {
            return;
        }
        match self.room.checked_sub(line.len() as u64) {
            Some(room) => self.room = room,
            None => {
                self.room = 0;
                line.clear();
                begin(&mut line, now, &self.group, "websocket:trace_truncated");
                line.push_str("}}\n");
            }
        }
        (self.write)(&line);
    }
}

impl<W: FnMut(&str) + Send> Observer for JsonTrace<W> {
    fn frame(&mut self, now: Instant, direction: Direction, head: &FrameHead) {
        self.flush(direction);
        let frame = Pending { since: now, head: *head, payload: Vec::new() };
        if self.wanted(head) == 0 {
            self.write_frame(direction, &frame);
        } else {
            self.pending[slot(direction)] = Some(frame);
        }
    }

    fn payload(&mut self, _: Instant, direction: Direction, bytes: &[u8]) {
        let Some(mut frame) = self.pending[slot(direction)].take() else { return };
        let wanted = self.wanted(&frame.head) - frame.payload.len();
        frame.payload.extend_from_slice(&bytes[..wanted.min(bytes.len())]);
        if bytes.len() < wanted {
            self.pending[slot(direction)] = Some(frame);
        } else {
            self.write_frame(direction, &frame);
        }
    }

    fn state(&mut self, now: Instant, state: &StateChange) {
        if matches!(state, StateChange::Closed(_)) {
            self.flush(Direction::Incoming);
        }
        let with_reasons = self.payloads != Payloads::Redacted;
        self.event(now, "websocket:state_updated", |out| match state {
            StateChange::Closing(by) => {
                member(out, "new", "closing");
                more(out, "by", party(*by));
            }
            StateChange::Closed(closed) => write_closed(out, closed, with_reasons),
        });
    }
}

impl<W> core::fmt::Debug for JsonTrace<W> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut shown = f.debug_struct("JsonTrace");
        shown.field("role", &self.role).field("group", &self.group);
        shown.field("payloads", &self.payloads).field("room", &self.room).finish_non_exhaustive()
    }
}

fn slot(direction: Direction) -> usize {
    usize::from(direction == Direction::Outgoing)
}

/// Appends an event up to the members of its data.
fn begin(out: &mut String, now: Instant, group: &str, name: &str) {
    let time = now.saturating_since(Instant::EPOCH);
    let (millis, nanos) = (time.as_millis(), time.subsec_nanos() % 1_000_000);
    let _ = write!(out, r#"{{"time":{millis}.{nanos:06}"#);
    if !group.is_empty() {
        more(out, "group", group);
    }
    let _ = write!(out, r#","name":"{name}","data":{{"#);
}

fn write_payload(out: &mut String, payload: &[u8], is_truncated: bool) {
    match core::str::from_utf8(payload) {
        Ok(text) => more(out, "text", text),
        // Only its last character is cut.
        Err(error) if is_truncated && error.error_len().is_none() => {
            let text = core::str::from_utf8(&payload[..error.valid_up_to()]);
            more(out, "text", text.unwrap_or_default());
        }
        Err(_) => {
            out.push_str(r#","hex":""#);
            for byte in payload {
                let _ = write!(out, "{byte:02x}");
            }
            out.push('"');
        }
    }
}

fn write_closed(out: &mut String, closed: &Closed, with_reasons: bool) {
    member(out, "new", "closed");
    more(out, "by", party(closed.by()));
    more(out, "cause", cause(closed.cause()));
    if matches!(closed.cause(), Cause::Protocol(_) | Cause::Timeout(_) | Cause::Transport(_)) {
        more(out, "detail", &closed.cause().to_string());
    }
    for (name, reason) in [("sent", closed.sent()), ("received", closed.received())] {
        let Some((code, reason)) = reason.and_then(|reason| Some((reason.code()?, reason))) else {
            continue;
        };
        let _ = write!(out, r#","{name}_code":{code}"#);
        if with_reasons {
            write_reason(out, name, reason);
        }
    }
}

fn write_reason(out: &mut String, name: &str, reason: &CloseReason) {
    let _ = write!(out, r#","{name}_reason":"#);
    quote(out, reason.text());
}

/// Appends the first member of an object.
fn member(out: &mut String, name: &str, value: &str) {
    let _ = write!(out, r#""{name}":"#);
    quote(out, value);
}

/// Appends a further member of an object.
fn more(out: &mut String, name: &str, value: &str) {
    out.push(',');
    member(out, name, value);
}

/// Appends a string of JSON (RFC 8259 §7), without characters that a terminal interprets.
fn quote(out: &mut String, text: &str) {
    out.push('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            // All of them have four hexadecimal digits.
            _ if is_escaped(char) => drop(write!(out, "\\u{:04x}", u32::from(char))),
            _ => out.push(char),
        }
    }
    out.push('"');
}

const fn opcode(opcode: Opcode) -> &'static str {
    match opcode {
        Opcode::Close => "close",
        Opcode::Continuation => "continuation",
        Opcode::Binary => "binary",
        Opcode::Ping => "ping",
        Opcode::Pong => "pong",
        Opcode::Text => "text",
    }
}

const fn party(party: Party) -> &'static str {
    match party {
        Party::Local => "local",
        Party::Peer => "peer",
    }
}

const fn cause(cause: &Cause) -> &'static str {
    match cause {
        Cause::Aborted => "aborted",
        Cause::Eof => "eof",
        Cause::ClosingHandshake => "closing_handshake",
        Cause::Failed => "failed",
        Cause::Overloaded => "overloaded",
        Cause::Protocol(_) => "protocol",
        Cause::Timeout(_) => "timeout",
        Cause::Transport(_) => "transport",
    }
}

#[cfg(all(test, feature = "std"))]
mod tests;

//! Traces as lines of JSON, in the format of `sockless_core::trace`.
//!
//! A run is a trace of the network, with the seed in its first line, and the number of each event. Its frames are all
//! `websocket:frame_created`, `by` an end, whose stream then has the length `end`. The events of `sim:` are its own.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sockless_core::Opcode;
use sockless_core::frames::OpcodeBits;

use super::{End, Event, FrameEvent, Named, ParseTraceError, Payload, Trace, What};

/// The format in the first line.
pub(super) const FORMAT: &str = "sockless-trace";
pub(super) const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Header {
    format: String,
    version: u32,
    role: Vantage,
    #[serde(default)]
    time_unit: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
}

/// The place that a trace observes: one end, or the network between them, as in qlog.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Vantage {
    Client,
    Network,
    Server,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    time: &'a RawValue,
    #[serde(default)]
    number: Option<u64>,
    #[serde(default)]
    group: String,
    name: String,
    #[serde(borrow)]
    data: &'a RawValue,
}

const OPENED: &str = "sim:connection_opened";
const POLLED: &str = "sim:task_polled";
const WRITTEN: &str = "sim:bytes_written";
const READ: &str = "sim:bytes_read";
const NOTED: &str = "sim:noted";
const FAILED: &str = "sim:run_failed";
const REQUEST: &str = "http:request";
const RESPONSE: &str = "http:response";
const CREATED: &str = "websocket:frame_created";
const PARSED: &str = "websocket:frame_parsed";
const STATE: &str = "websocket:state_updated";
const TRUNCATED: &str = "websocket:trace_truncated";

#[derive(Serialize, Deserialize)]
struct Opened {
    client: Option<String>,
    server: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Polled {
    task: u64,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    named: Option<Named>,
}

/// Bytes that an end has written or read.
#[derive(Serialize, Deserialize)]
struct Bytes {
    by: End,
    length: u64,
}

#[derive(Serialize, Deserialize)]
struct Noted {
    by: End,
    text: String,
}

#[derive(Serialize, Deserialize)]
struct Failed {
    text: String,
}

/// The head of a request or of a response.
#[derive(Serialize, Deserialize)]
struct Head {
    lines: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Frame {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<End>,
    opcode: OpcodeName,
    fin: bool,
    rsv: u8,
    length: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hex: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
}

/// A name, or the number of an opcode that is reserved.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum OpcodeName {
    Assigned(Assigned),
    Reserved(u8),
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Assigned {
    Continuation = 0x0,
    Text = 0x1,
    Binary = 0x2,
    Close = 0x8,
    Ping = 0x9,
    Pong = 0xA,
}

#[derive(Deserialize)]
struct State {
    new: String,
    #[serde(default)]
    cause: Option<String>,
    #[serde(default)]
    detail: Option<String>,
}

/// Writes a trace of the network.
pub(super) fn write(trace: &Trace, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let header = Header {
        format: FORMAT.to_owned(),
        version: VERSION,
        role: Vantage::Network,
        time_unit: "ms".to_owned(),
        seed: trace.seed,
    };
    writeln!(f, "{}", json(&header)?)?;
    trace.numbered().try_for_each(|(number, event)| write_event(f, number, event))
}

fn write_event(f: &mut fmt::Formatter<'_>, number: u64, event: &Event) -> fmt::Result {
    let (connection, name, data) = match &event.what {
        What::Poll { task, named } => {
            (None, POLLED, json(&Polled { task: *task, named: named.clone() }))
        }
        What::Opened { connection, client, server } => {
            let (client, server) = (client.clone(), server.clone());
            (Some(connection), OPENED, json(&Opened { client, server }))
        }
        What::Head { connection, from, line } => {
            let name = if *from == End::Client { REQUEST } else { RESPONSE };
            (Some(connection), name, json(&Head { lines: vec![line.clone()] }))
        }
        What::Frame(frame) => (Some(&frame.connection), CREATED, json(&Frame::of(frame))),
        What::Write { connection, from, len } => {
            (Some(connection), WRITTEN, json(&Bytes { by: *from, length: *len }))
        }
        What::Read { connection, by, len } => {
            (Some(connection), READ, json(&Bytes { by: *by, length: *len }))
        }
        What::Note { connection, from, text } => {
            (Some(connection), NOTED, json(&Noted { by: *from, text: text.clone() }))
        }
        What::Failure { text } => (None, FAILED, json(&Failed { text: text.clone() })),
    };
    let (millis, nanos) = (event.time / 1_000_000, event.time % 1_000_000);
    write!(f, r#"{{"time":{millis}.{nanos:06},"number":{number}"#)?;
    if let Some(connection) = connection {
        write!(f, r#","group":"{connection}""#)?;
    }
    writeln!(f, r#","name":"{name}","data":{}}}"#, data?)
}

fn json(value: &impl Serialize) -> Result<String, fmt::Error> {
    serde_json::to_string(value).map_err(|_| fmt::Error)
}

/// Reads one or more traces, each behind a first line of its own.
pub(super) fn parse(text: &str) -> Result<Trace, ParseTraceError> {
    let mut reader = Reader::default();
    for (index, line) in text.lines().enumerate() {
        reader.line(line).ok_or(ParseTraceError { line: index + 1 })?;
    }
    reader.finish().ok_or(ParseTraceError { line: 1 })
}

#[derive(Default)]
struct Reader {
    vantage: Option<Vantage>,
    seed: Option<u64>,
    /// The number of the first event of a run.
    first: Option<u64>,
    /// The time of the first event of real connections, in nanoseconds.
    begun: Option<u64>,
    /// The number of each real connection by its group.
    numbers: BTreeMap<String, u64>,
    /// The number of bytes that each end of a real connection has written.
    written: BTreeMap<(u64, End), u64>,
    events: VecDeque<Event>,
}

/// Where an event of a real connection belongs.
#[derive(Clone, Copy)]
struct Place {
    time: u64,
    connection: u64,
    observer: End,
}

impl Reader {
    fn finish(self) -> Option<Trace> {
        let Self { vantage, seed, first, mut events, .. } = self;
        if vantage? != Vantage::Network {
            // A frame is written when its payload has arrived, with the time of its header.
            events.make_contiguous().sort_by_key(|event| event.time);
        }
        Some(Trace { seed, first: first.unwrap_or(0), events })
    }

    /// Reads a line. Returns `None` if it is not of the format.
    fn line(&mut self, text: &str) -> Option<()> {
        let Ok(line) = serde_json::from_str::<Line<'_>>(text) else { return self.header(text) };
        match self.vantage? {
            Vantage::Network => self.of_network(&line),
            Vantage::Client => self.of_end(&line, End::Client),
            Vantage::Server => self.of_end(&line, End::Server),
        }
    }

    fn header(&mut self, text: &str) -> Option<()> {
        let Header { format, version, role, seed, .. } = serde_json::from_str(text).ok()?;
        let is_known = format == FORMAT && version == VERSION;
        // Only traces of single connections follow each other.
        let is_next = self.vantage.is_none_or(|before| before == role && role != Vantage::Network);
        (self.vantage, self.seed) = (Some(role), seed);
        (is_known && is_next).then_some(())
    }

    /// Reads an event of a run.
    fn of_network(&mut self, line: &Line<'_>) -> Option<()> {
        let first = *self.first.get_or_insert(line.number?);
        if line.number? != first + self.events.len() as u64 {
            return None;
        }
        let connection = || line.group.parse().ok();
        let what = match &*line.name {
            POLLED => {
                let Polled { task, named } = line.data()?;
                What::Poll { task, named }
            }
            OPENED => {
                let Opened { client, server } = line.data()?;
                What::Opened { connection: connection()?, client, server }
            }
            REQUEST | RESPONSE => {
                let from = if line.name == REQUEST { End::Client } else { End::Server };
                let Head { lines } = line.data()?;
                let [text]: [String; 1] = lines.try_into().ok()?;
                What::Head { connection: connection()?, from, line: text }
            }
            CREATED => {
                let frame: Frame = line.data()?;
                What::Frame(frame.event(connection()?, frame.by?, frame.end?)?)
            }
            WRITTEN => {
                let Bytes { by: from, length: len } = line.data()?;
                What::Write { connection: connection()?, from, len }
            }
            READ => {
                let Bytes { by, length: len } = line.data()?;
                What::Read { connection: connection()?, by, len }
            }
            NOTED => {
                let Noted { by: from, text } = line.data()?;
                What::Note { connection: connection()?, from, text }
            }
            FAILED => {
                let Failed { text } = line.data()?;
                What::Failure { text }
            }
            _ => return None,
        };
        self.push(line.nanos()?, what);
        Some(())
    }

    /// Reads an event of a real connection, of which `observer` has written the trace.
    fn of_end(&mut self, line: &Line<'_>, observer: End) -> Option<()> {
        let time = line.nanos()?;
        let time = time.saturating_sub(*self.begun.get_or_insert(time));
        let connection = self.connection(time, &line.group);
        let place = Place { time, connection, observer };
        let peer = observer.other();
        match &*line.name {
            REQUEST => self.head(place, End::Client, line.data()?),
            RESPONSE => self.head(place, End::Server, line.data()?),
            CREATED => self.frame(place, observer, &line.data()?)?,
            PARSED => self.frame(place, peer, &line.data()?)?,
            STATE => {
                let State { new, cause, detail } = line.data()?;
                let why = detail.or(cause).map_or(String::new(), |why| format!(": {why}"));
                self.note(place, format!("{new}{why}"));
            }
            TRUNCATED => self.note(place, "the trace ends here".to_owned()),
            // Of a later version.
            _ => {}
        }
        Some(())
    }

    /// Returns the number of the connection of a group, and adds it if it is new.
    fn connection(&mut self, time: u64, group: &str) -> u64 {
        if let Some(number) = self.numbers.get(group) {
            return *number;
        }
        let connection = self.numbers.len() as u64 + 1;
        self.numbers.insert(group.to_owned(), connection);
        let [client, server] = ["clients", "server"].map(|name| Some(name.to_owned()));
        self.push(time, What::Opened { connection, client, server });
        connection
    }

    fn head(&mut self, Place { time, connection, .. }: Place, from: End, head: Head) {
        for line in head.lines {
            self.push(time, What::Head { connection, from, line });
        }
    }

    fn note(&mut self, Place { time, connection, observer }: Place, text: String) {
        self.push(time, What::Note { connection, from: observer, text });
    }

    /// Adds a frame, which the other end reads at once. Returns `None` if its payload is malformed.
    fn frame(&mut self, place: Place, from: End, frame: &Frame) -> Option<()> {
        let Place { time, connection, .. } = place;
        // Its header counts as two bytes, however long it was.
        let len = frame.length.saturating_add(2);
        let end = self.written.entry((connection, from)).or_default();
        *end = end.saturating_add(len);
        let event = frame.event(connection, from, *end)?;
        self.push(time, What::Frame(event));
        self.push(time, What::Read { connection, by: from.other(), len });
        Some(())
    }

    fn push(&mut self, time: u64, what: What) {
        self.events.push_back(Event { time, what });
    }
}

impl<'a> Line<'a> {
    fn data<T: Deserialize<'a>>(&self) -> Option<T> {
        serde_json::from_str(self.data.get()).ok()
    }

    /// The time in nanoseconds, without a rounding error where it has no exponent.
    fn nanos(&self) -> Option<u64> {
        let text = self.time.get();
        let (millis, nanos) = text.split_once('.').unwrap_or((text, ""));
        let has_digits = nanos.bytes().all(|byte| byte.is_ascii_digit()) && nanos.len() <= 6;
        if let (Ok(millis), true) = (millis.parse::<u64>(), has_digits) {
            return millis
                .checked_mul(1_000_000)?
                .checked_add(format!("{nanos:0<6}").parse().ok()?);
        }
        let millis: f64 = text.parse().ok()?;
        (millis >= 0.0).then(|| (millis * 1e6).round() as u64)
    }
}

impl Frame {
    fn of(frame: &FrameEvent) -> Self {
        let (text, hex) = match str::from_utf8(&frame.payload.0) {
            Ok(text) => (Some(text.to_owned()), None),
            Err(_) => (None, Some(frame.payload.hex())),
        };
        Self {
            by: Some(frame.from),
            opcode: OpcodeName::of(frame.opcode),
            fin: frame.is_final,
            rsv: frame.rsv,
            length: frame.len,
            end: Some(frame.end),
            text,
            hex,
            truncated: (frame.payload.0.len() as u64) < frame.len,
        }
    }

    /// Returns the event. Returns `None` if the frame is malformed.
    fn event(&self, connection: u64, from: End, end: u64) -> Option<FrameEvent> {
        let payload = match (&self.text, &self.hex) {
            (Some(text), _) => Payload(text.as_bytes().to_vec()),
            (None, Some(hex)) => Payload::from_hex(hex)?,
            (None, None) => Payload::default(),
        };
        let opcode = match self.opcode {
            OpcodeName::Assigned(name) => name as u8,
            OpcodeName::Reserved(number) => OpcodeBits::new(number)?.get(),
        };
        let is_valid = self.rsv < 8 && payload.0.len() as u64 <= self.length;
        is_valid.then_some(FrameEvent {
            connection,
            from,
            opcode,
            is_final: self.fin,
            rsv: self.rsv,
            len: self.length,
            end,
            payload,
        })
    }
}

impl OpcodeName {
    fn of(bits: u8) -> Self {
        let opcode = OpcodeBits::new(bits).and_then(OpcodeBits::opcode);
        opcode.map_or(Self::Reserved(bits), |opcode| {
            Self::Assigned(match opcode {
                Opcode::Continuation => Assigned::Continuation,
                Opcode::Text => Assigned::Text,
                Opcode::Binary => Assigned::Binary,
                Opcode::Close => Assigned::Close,
                Opcode::Ping => Assigned::Ping,
                Opcode::Pong => Assigned::Pong,
            })
        })
    }
}

//! The transcript of a connection, as its bytes show it: [`Tap`].

mod lines;

use std::collections::VecDeque;
use std::fmt;
use std::io::IoSlice;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use sockless_core::Instant;

use crate::laws::{Broken, Head, Laws};
use crate::lock;
use crate::trace::{End, FrameEvent, Log, Payload, What as TraceWhat};
pub(crate) use lines::fmt_frame;
use lines::{Lines, What};

/// The number of connections of a simulation whose transcripts are kept.
const CONNECTIONS: usize = 256;

/// The connections of a simulation: those that are open, and those that ended last.
#[derive(Default)]
pub(crate) struct Taps {
    connections: Mutex<Connections>,
    /// No law is checked.
    tolerates_violations: Arc<AtomicBool>,
}

#[derive(Default)]
struct Connections {
    opened: u64,
    taps: VecDeque<Arc<Mutex<Tap>>>,
}

impl Taps {
    pub(crate) fn open(&self, now: Instant, log: &Arc<Log>) -> Arc<Mutex<Tap>> {
        let mut connections = lock(&self.connections);
        connections.opened += 1;
        let tolerates = Arc::clone(&self.tolerates_violations);
        let tap = Arc::new(Mutex::new(Tap::new(connections.opened, now, log, tolerates)));
        if connections.taps.len() >= CONNECTIONS {
            // Those of open connections are all kept.
            let ended = connections.taps.iter().position(|tap| Arc::strong_count(tap) == 1);
            ended.and_then(|index| connections.taps.remove(index));
        }
        connections.taps.push_back(Arc::clone(&tap));
        tap
    }

    pub(crate) fn tolerate_violations(&self) {
        self.tolerates_violations.store(true, Ordering::Relaxed);
    }

    /// Returns a violation of the laws, once.
    pub(crate) fn take_violation(&self) -> Option<Violation> {
        lock(&self.connections).taps.iter().find_map(|tap| lock(tap).take_violation())
    }

    /// Formats the transcripts of all connections that are not reported elsewhere.
    pub(crate) fn report(&self, report: &mut String) -> fmt::Result {
        use fmt::Write;

        let connections = lock(&self.connections);
        let taps: Vec<_> = connections.taps.iter().map(|tap| lock(tap)).collect();
        let shown = taps.iter().filter(|tap| !tap.is_reported && !tap.lines.is_empty());
        for (index, tap) in shown.enumerate() {
            if index == 0 {
                report.push_str("\nconnections (> from the client, < from the server):");
            }
            write!(report, "\n  {}, opened at {:?}{}", tap.name(), tap.opened, tap.lines)?;
        }
        let forgotten = connections.opened as usize - connections.taps.len();
        if forgotten > 0 {
            write!(report, "\n  and {forgotten} earlier ones")?;
        }
        Ok(())
    }
}

/// The last frames of one connection, from the bytes that were written. Side 0 is the client.
pub(crate) struct Tap {
    pub(crate) id: u64,
    /// The failure has a transcript of its own of this connection.
    pub(crate) is_reported: bool,
    opened: Instant,
    /// The first line of the request, as far as it is shown.
    request: Option<Box<[u8]>>,
    streams: [Stream; 2],
    lines: Lines,
    laws: Laws,
    /// The number of frames that each side has begun.
    frames: [u64; 2],
    /// The head of the response, while it is written.
    response: Vec<u8>,
    violation: Option<Judged>,
    tolerates_violations: Arc<AtomicBool>,
    /// The number of bytes that each side has written.
    written: [u64; 2],
    log: Arc<Log>,
}

/// A law of the protocol that an end has broken.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    /// The end and the connection.
    pub(crate) end: String,
    pub(crate) broken: Broken,
    /// The frame with its number.
    pub(crate) frame: String,
}

/// A violation, before it fails the run.
#[derive(Clone, Copy)]
struct Judged {
    side: usize,
    broken: Broken,
    /// The number of frames, the last of which breaks the law.
    frames: u64,
    /// The line of that frame.
    line: Option<u64>,
}

/// The writer of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writer {
    /// A driver, which has to obey the laws of the protocol.
    Driver,
    /// A test, or a client or server of another library.
    Other,
}

/// The state of one direction.
#[derive(Clone, Copy)]
enum Stream {
    New,
    /// The head of a request or a response. `matched` bytes of its end have come.
    Head {
        matched: usize,
        line: u64,
    },
    FrameHead {
        bytes: [u8; 14],
        len: usize,
    },
    Payload {
        left: u64,
        mask: [u8; 4],
        at: usize,
        line: u64,
        /// Its number in the trace.
        event: u64,
        is_ping: bool,
    },
    /// No WebSocket.
    Opaque,
}

const NO_FRAME: Stream = Stream::FrameHead { bytes: [0; 14], len: 0 };

impl Tap {
    fn new(
        id: u64,
        opened: Instant,
        log: &Arc<Log>,
        tolerates_violations: Arc<AtomicBool>,
    ) -> Self {
        Self {
            id,
            is_reported: false,
            opened,
            request: None,
            streams: [Stream::New; 2],
            lines: Lines::default(),
            laws: Laws::default(),
            frames: [0; 2],
            response: Vec::new(),
            violation: None,
            tolerates_violations,
            written: [0; 2],
            log: Arc::clone(log),
        }
    }

    pub(crate) fn name(&self) -> String {
        match &self.request {
            Some(request) => {
                let request = lines::escape(request);
                format!("connection #{} {}", self.id, request.trim_end_matches(" HTTP/1.1"))
            }
            None => format!("connection #{}", self.id),
        }
    }

    /// Records the first `len` bytes of `slices`, which `writer` wrote at `side`. Returns false if
    /// they are pings and pongs only.
    pub(crate) fn write(
        &mut self,
        side: usize,
        writer: Writer,
        now: Instant,
        slices: &[IoSlice<'_>],
        mut len: usize,
    ) -> bool {
        let mut is_life = false;
        for slice in slices {
            let mut bytes = &slice[..len.min(slice.len())];
            len -= bytes.len();
            while !bytes.is_empty() {
                // The test kit writes the opening handshake of its clients.
                if writer == Writer::Other && matches!(self.streams[side], Stream::FrameHead { .. })
                {
                    self.laws.exempt(side);
                }
                let (used, is_ping) = self.step(side, now, bytes);
                is_life |= !is_ping;
                self.written[side] += used as u64;
                bytes = &bytes[used..];
            }
        }
        is_life
    }

    /// From now on, no law is checked on what `side` writes.
    pub(crate) fn exempt(&mut self, side: usize) {
        self.laws.exempt(side);
    }

    /// Each pong of `side` answers a ping.
    pub(crate) fn set_automatic(&mut self, side: usize) {
        self.laws.set_automatic(side);
    }

    /// Records that `side` shuts down, having read everything or not.
    pub(crate) fn shut_down(&mut self, side: usize, has_read: bool) {
        if !matches!(self.streams[side], Stream::Opaque) {
            let checked = self.laws.shut_down(side, has_read);
            self.judge(side, None, checked);
        }
    }

    /// Returns true if a law was broken, which fails the run.
    pub(crate) fn has_violation(&self) -> bool {
        self.violation.is_some()
    }

    /// Keeps the violation of a law in the frame that has this line.
    fn judge(&mut self, side: usize, line: Option<u64>, checked: Result<(), Broken>) {
        let Err(broken) = checked else { return };
        if self.tolerates_violations.load(Ordering::Relaxed) || self.violation.is_some() {
            return;
        }
        self.violation = Some(Judged { side, broken, frames: self.frames[side], line });
    }

    /// Returns the violation with the text of its frame, as far as it was written.
    fn take_violation(&mut self) -> Option<Violation> {
        let Judged { side, broken, frames, line } = self.violation.take()?;
        let role = if side == 0 { "client" } else { "server" };
        let end = format!("the {role} of {}", self.name());
        let frame = match line {
            Some(line) => format!("frame {frames}: {}", self.lines.frame(line)),
            None => format!("after frame {frames}"),
        };
        Some(Violation { end, broken, frame })
    }

    /// Records something that the bytes do not show.
    pub(crate) fn note(&mut self, side: usize, now: Instant, what: &'static str) {
        self.lines.push(side, now, What::Note(what));
        let (connection, from) = (self.id, End::of(side));
        self.log.push(now, || TraceWhat::Note { connection, from, text: what.to_owned() });
    }

    /// Takes some of `bytes`. Returns how many, and whether they are of a ping or a pong.
    fn step(&mut self, side: usize, now: Instant, bytes: &[u8]) -> (usize, bool) {
        match self.streams[side] {
            Stream::New => {
                let is_head = bytes[0].is_ascii_uppercase();
                self.streams[side] = match is_head {
                    true => {
                        Stream::Head { matched: 0, line: self.lines.push(side, now, What::Head) }
                    }
                    false => Stream::Opaque,
                };
                (0, false)
            }
            Stream::Head { matched, line } => (self.head(side, now, bytes, matched, line), false),
            Stream::FrameHead { bytes: head, len } => self.frame_head(side, now, bytes, head, len),
            Stream::Payload { left, mask, at, line, event, is_ping } => {
                let used = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX)).min(STEP);
                let (bytes, left) = (&bytes[..used], left - used as u64);
                let mut unmasked = [0; STEP];
                let clear = match mask {
                    [0, 0, 0, 0] => bytes,
                    _ => unmask(bytes, mask, at, &mut unmasked),
                };
                self.lines.extend(line, clear, 0);
                self.log.extend(event, clear);
                if self.laws.wants_payload(side) {
                    let checked = self.laws.payload(side, clear);
                    self.judge(side, Some(line), checked);
                }
                self.streams[side] =
                    Stream::Payload { left, mask, at: (at + used) % 4, line, event, is_ping };
                if left == 0 {
                    self.end_of_frame(side, line);
                }
                (used, is_ping)
            }
            Stream::Opaque => {
                let line = self.lines.push_bytes(side, now);
                self.lines.extend(line, bytes, bytes.len() as u64);
                (bytes.len(), false)
            }
        }
    }

    /// Takes bytes of the head of a request or a response, and returns how many.
    fn head(
        &mut self,
        side: usize,
        now: Instant,
        bytes: &[u8],
        mut matched: usize,
        line: u64,
    ) -> usize {
        let end = end_of_head(bytes, &mut matched);
        let used = end.unwrap_or(bytes.len());
        self.lines.extend(line, &bytes[..used], used as u64);
        if side == 1 && self.response.len() < HEAD {
            self.response.extend_from_slice(&bytes[..used]);
        }
        self.streams[side] = Stream::Head { matched, line };
        if end.is_none() {
            return used;
        }
        let first_line = self.lines.first_line(line);
        let (connection, from) = (self.id, End::of(side));
        self.log.push(now, || TraceWhat::Head {
            connection,
            from,
            line: lines::escape(first_line),
        });
        let is_upgrade = match side {
            0 => !first_line.starts_with(b"PRI "),
            _ => first_line.windows(5).any(|part| part == b" 101 "),
        };
        if side == 0 {
            self.request = Some(first_line.into());
        }
        self.streams[side] = NO_FRAME;
        if !is_upgrade {
            self.streams = [Stream::Opaque; 2];
        } else if side == 1 {
            let checked = self.laws.accept(&std::mem::take(&mut self.response));
            self.judge(0, None, checked);
        }
        used
    }

    /// Takes bytes of the head of a frame (RFC 6455 §5.2), of which `len` have come before. Returns how many it takes, and
    /// whether they are of a ping or a pong.
    fn frame_head(
        &mut self,
        side: usize,
        now: Instant,
        bytes: &[u8],
        mut head: [u8; 14],
        mut len: usize,
    ) -> (usize, bool) {
        let mut used = 0;
        if len == 0
            && let [_, second, ..] = bytes
            && let Some(all) = bytes.get(..head_len(*second))
        {
            head[..all.len()].copy_from_slice(all);
            (len, used) = (all.len(), all.len());
        }
        while len < 2 || len < head_len(head[1]) {
            let Some(&byte) = bytes.get(used) else { break };
            head[len] = byte;
            (len, used) = (len + 1, used + 1);
        }
        if len >= 2 && len == head_len(head[1]) {
            self.begin_frame(side, now, head, used);
        } else {
            self.streams[side] = Stream::FrameHead { bytes: head, len };
        }
        (used, matches!(head[0] & 0x0f, PING | PONG))
    }

    /// Begins the frame with this head, the last `used` bytes of which come now.
    fn begin_frame(&mut self, side: usize, now: Instant, head: [u8; 14], used: usize) {
        let (is_masked, extended) = (head[1] & 0x80 != 0, extended_len(head[1]));
        let len = head_len(head[1]);
        let left = match extended {
            0 => u64::from(head[1] & 0x7f),
            _ => head[2..2 + extended].iter().fold(0, |len, byte| len << 8 | u64::from(*byte)),
        };
        let mut mask = [0; 4];
        if is_masked {
            mask.copy_from_slice(&head[2 + extended..len]);
        }
        let line = self.lines.push(side, now, What::Frame(head[0]));
        self.lines.extend(line, &[], left);
        self.frames[side] += 1;
        let event = self.log.push(now, || {
            TraceWhat::Frame(FrameEvent {
                connection: self.id,
                from: End::of(side),
                opcode: head[0] & 0x0f,
                is_final: head[0] & 0x80 != 0,
                rsv: head[0] >> 4 & 7,
                len: left,
                end: self.written[side] + used as u64 + left,
                payload: Payload::default(),
            })
        });
        let checked =
            self.laws.frame(side, &Head { first: head[0], is_masked, extended, len: left });
        self.judge(side, Some(line), checked);
        let is_ping = matches!(head[0] & 0x0f, PING | PONG);
        self.streams[side] = Stream::Payload { left, mask, at: 0, line, event, is_ping };
        if left == 0 {
            self.end_of_frame(side, line);
        }
    }

    fn end_of_frame(&mut self, side: usize, line: u64) {
        let checked = self.laws.end_of_frame(side);
        self.judge(side, Some(line), checked);
        self.streams[side] = NO_FRAME;
    }
}

/// Returns the length of `bytes` up to the end of a head, `matched` bytes of which have come.
fn end_of_head(bytes: &[u8], matched: &mut usize) -> Option<usize> {
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        // The end begins at none of four bytes if it does not have the last of them.
        if *matched == 0 && bytes.get(at + 3).is_some_and(|last| !matches!(last, b'\r' | b'\n')) {
            at += 4;
            continue;
        }
        at += 1;
        let is_next = byte == b"\r\n\r\n"[*matched];
        *matched = if is_next { *matched + 1 } else { usize::from(byte == b'\r') };
        if *matched == 4 {
            return Some(at);
        }
    }
    None
}

/// Returns `bytes`, the first of which is the one at `at` of its frame, without the mask (RFC 6455
/// §5.3).
fn unmask<'a>(
    bytes: &[u8],
    mut mask: [u8; 4],
    at: usize,
    unmasked: &'a mut [u8; STEP],
) -> &'a [u8] {
    let unmasked = &mut unmasked[..bytes.len()];
    unmasked.copy_from_slice(bytes);
    mask.rotate_left(at % 4);
    let (words, rest) = unmasked.as_chunks_mut();
    let word_of_mask = u32::from_ne_bytes(mask);
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ word_of_mask).to_ne_bytes();
    }
    rest.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
    unmasked
}

/// The length of the head of a frame, by its second byte.
fn head_len(second: u8) -> usize {
    2 + extended_len(second) + if second & 0x80 != 0 { 4 } else { 0 }
}

/// The number of bytes that encode the length of a payload, besides the seven bits.
fn extended_len(second: u8) -> usize {
    match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    }
}

/// The most bytes of a payload that are looked at at a time.
const STEP: usize = 256;

/// The bytes that are kept of the head of a response.
const HEAD: usize = 64 << 10;

const PING: u8 = 9;
const PONG: u8 = 10;

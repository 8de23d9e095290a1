//! The lines of a transcript: [`Lines`].

use std::collections::VecDeque;
use std::fmt;

use sockless_core::Instant;

/// The number of lines that are kept of a connection, and the bytes that are kept of each.
const LINES: usize = 16;
const SHOWN: usize = 48;

/// The last lines of a transcript, oldest first.
#[derive(Default)]
pub(super) struct Lines {
    lines: VecDeque<Line>,
    /// The number of the next line.
    next: u64,
}

struct Line {
    at: Instant,
    side: usize,
    what: What,
    len: u64,
    start: [u8; SHOWN],
    shown: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Bytes,
    /// The first byte of its head.
    Frame(u8),
    Head,
    Note(&'static str),
}

impl Lines {
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Adds a line and returns its number.
    pub(super) fn push(&mut self, side: usize, at: Instant, what: What) -> u64 {
        if self.lines.len() == LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(Line { at, side, what, len: 0, start: [0; SHOWN], shown: 0 });
        self.next += 1;
        self.next - 1
    }

    /// Adds a line for bytes, unless the last line is one of the same end and instant.
    pub(super) fn push_bytes(&mut self, side: usize, at: Instant) -> u64 {
        match self.lines.back() {
            Some(last) if (last.side, last.at, last.what) == (side, at, What::Bytes) => {
                self.next - 1
            }
            _ => self.push(side, at, What::Bytes),
        }
    }

    /// Adds `bytes` to a line, if it is still kept, and `len` to its length.
    pub(super) fn extend(&mut self, line: u64, bytes: &[u8], len: u64) {
        let Some(line) = self.get_mut(line) else { return };
        line.len += len;
        let part = &bytes[..bytes.len().min(SHOWN - line.shown)];
        line.start[line.shown..][..part.len()].copy_from_slice(part);
        line.shown += part.len();
    }

    /// Returns the first line of a head, which may be cut off.
    pub(super) fn first_line(&mut self, line: u64) -> &[u8] {
        self.get_mut(line).map(|line| line.first_line()).unwrap_or_default()
    }

    /// Formats the frame of a line, with the beginning of its payload.
    pub(super) fn frame(&mut self, line: u64) -> String {
        let mut text = String::new();
        if let Some(line) = self.get_mut(line) {
            // Writing to a string does not fail.
            let _ = line.fmt_what(&mut text);
        }
        text
    }

    fn get_mut(&mut self, line: u64) -> Option<&mut Line> {
        let first = self.next - self.lines.len() as u64;
        self.lines.get_mut(usize::try_from(line.checked_sub(first)?).ok()?)
    }
}

impl Line {
    fn first_line(&self) -> &[u8] {
        let head = &self.start[..self.shown];
        let end = head.windows(2).position(|end| end == b"\r\n");
        &head[..end.unwrap_or(head.len())]
    }
}

impl fmt::Display for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dropped = self.next - self.lines.len() as u64;
        if dropped > 0 {
            write!(f, "\n    ({dropped} earlier lines)")?;
        }
        self.lines.iter().try_for_each(|line| write!(f, "\n    {line}"))
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = if self.side == 0 { '>' } else { '<' };
        write!(f, "{:?} {direction} ", self.at)?;
        self.fmt_what(f)
    }
}

impl Line {
    /// Formats it without its time and direction.
    fn fmt_what(&self, f: &mut impl fmt::Write) -> fmt::Result {
        let first = match self.what {
            What::Note(note) => return f.write_str(note),
            What::Head => return f.write_str(&escape(self.first_line())),
            What::Bytes => {
                let text = String::from_utf8_lossy(&self.start[..self.shown]);
                return write!(f, "{} bytes: {:?}", self.len, text);
            }
            What::Frame(first) => first,
        };
        fmt_frame(f, first, self.len, &self.start[..self.shown])
    }
}

/// Formats a line that an end wrote.
pub(super) fn escape(line: &[u8]) -> String {
    String::from_utf8_lossy(line).escape_debug().to_string()
}

/// Formats a frame with the first byte of its head, the length of its payload, and what is shown of
/// that.
pub(crate) fn fmt_frame(
    f: &mut impl fmt::Write,
    first: u8,
    len: u64,
    mut shown: &[u8],
) -> fmt::Result {
    match first & 0x0f {
        0 => f.write_str("Continuation")?,
        1 => f.write_str("Text")?,
        2 => f.write_str("Binary")?,
        8 => f.write_str("Close")?,
        9 => f.write_str("Ping")?,
        10 => f.write_str("Pong")?,
        opcode => write!(f, "opcode {opcode}")?,
    }
    if first & 0x80 == 0 {
        f.write_str(", not final")?;
    }
    if first & 0x40 != 0 {
        f.write_str(", compressed")?;
    }
    write!(f, ", {len} bytes: ")?;
    // A Close frame begins with its code.
    if let (8, [high, low, reason @ ..]) = (first & 0x0f, shown) {
        write!(f, "{} ", u16::from_be_bytes([*high, *low]))?;
        shown = reason;
    }
    write!(f, "{:?}", String::from_utf8_lossy(shown))
}

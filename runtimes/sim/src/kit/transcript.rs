//! The transcript of a conversation, for the message of a failure.

use std::collections::VecDeque;
use std::fmt::{self, Write};

use sockless_core::{Frame, Instant, Message};

/// The number of lines that are kept, and the shown length of each payload.
const LINES: usize = 20;
const SHOWN: usize = 60;
/// The length in bytes of the longest message that is kept until its line is shown.
const KEPT: usize = 256;

/// The last lines of a conversation, oldest first.
#[derive(Default)]
pub(crate) struct Transcript {
    lines: VecDeque<(Instant, Line)>,
    dropped: usize,
}

/// Something that the test sent or received.
pub(crate) enum Line {
    Received(Text),
    Sent(Text),
}

/// The text of a line.
pub(crate) enum Text {
    Formatted(String),
    /// A message, which is formatted when it is shown: hardly any transcript is.
    Message(Message),
}

impl Text {
    /// The text for a message. A long one is not kept.
    pub(crate) fn of(message: &Message) -> Self {
        match message.len() <= KEPT {
            true => Self::Message(message.clone()),
            false => Self::Formatted(show(message)),
        }
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::Formatted(text)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Formatted(text) => f.write_str(text),
            Self::Message(message) => f.write_str(&show(message)),
        }
    }
}

impl Transcript {
    pub(crate) fn push(&mut self, now: Instant, line: Line) {
        if self.lines.len() == LINES {
            self.lines.pop_front();
            self.dropped += 1;
        }
        self.lines.push_back((now, line));
    }
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.lines.is_empty() {
            return f.write_str("nothing was sent or received");
        }
        f.write_str("transcript (> from the test, < from the service):")?;
        if self.dropped > 0 {
            write!(f, "\n  ({} earlier lines)", self.dropped)?;
        }
        for (at, line) in &self.lines {
            let (direction, text) = match line {
                Line::Received(text) => ('<', text),
                Line::Sent(text) => ('>', text),
            };
            write!(f, "\n  {at:?} {direction} {text}")?;
        }
        Ok(())
    }
}

/// Formats a message as a test writes it, shortened if it is long.
pub(crate) fn show(message: &Message) -> String {
    match message {
        Message::Binary(bytes) => show_bytes(bytes),
        Message::Text(text) if text.chars().nth(SHOWN).is_none() => format!("{text:?}"),
        Message::Text(text) => {
            let start: String = text.chars().take(SHOWN).collect();
            format!("{start:?}… ({} bytes of text)", text.len())
        }
    }
}

pub(crate) fn show_frame(frame: &Frame) -> String {
    let Frame { fin, opcode, payload, .. } = frame;
    let unfinished = if *fin { "" } else { ", not final" };
    match std::str::from_utf8(payload) {
        Ok(text) if !payload.is_empty() => {
            format!("{opcode:?}{unfinished}: {}", show(&text.to_owned().into()))
        }
        _ => format!("{opcode:?}{unfinished}: {}", show_bytes(payload)),
    }
}

pub(crate) fn show_bytes(bytes: &[u8]) -> String {
    let mut shown = format!("{} bytes", bytes.len());
    for (index, byte) in bytes.iter().take(SHOWN / 3).enumerate() {
        let separator = if index == 0 { ": " } else { " " };
        // Writing to a string does not fail.
        let _ = write!(shown, "{separator}{byte:02x}");
    }
    if bytes.len() > SHOWN / 3 {
        shown.push('…');
    }
    shown
}

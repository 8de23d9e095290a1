//! The lines of a recording: [`Opening`] and [`Call`].

use alloc::string::String;
use alloc::vec::Vec;
use core::str::SplitWhitespace;
use core::time::Duration;

use super::STOPPED;
use super::error::ReplayError;
use crate::close::{CloseCode, CloseReason};
use crate::message::Message;
use crate::outgoing::{OutgoingMessage, Priority};
use crate::seed::Seed;
use crate::time::Instant;

/// The lines before the first call.
pub(super) struct Opening<'a> {
    pub(super) opened: Instant,
    /// The settings as they are recorded.
    pub(super) config: &'a str,
    pub(super) end: RecordedEnd,
}

/// The end that is recorded.
pub(super) enum RecordedEnd {
    /// With the seed of its masking keys.
    Client(Seed),
    Server,
}

/// A call of a method, with its arguments and its outputs.
pub(super) struct Call<'a> {
    /// The number of the line, counted from 1.
    pub(super) line: usize,
    pub(super) now: Instant,
    pub(super) name: &'a str,
    pub(super) arguments: Arguments<'a>,
    /// The call as it is written.
    pub(super) input: &'a str,
    pub(super) outputs: &'a str,
}

/// The arguments of a call. Each method returns `None` if the next one is something else.
pub(super) struct Arguments<'a>(SplitWhitespace<'a>);

/// Reads a recording, whose first line has been checked.
pub(super) fn parse(
    text: &str,
) -> Result<(Opening<'_>, impl Iterator<Item = Result<Call<'_>, ReplayError>>), ReplayError> {
    let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line)).skip(1);
    let mut next = |line| {
        let words = lines.next().and_then(|(_, text)| text.split_once(' '));
        words.ok_or(ReplayError::Malformed { line })
    };
    let (role, opened) = next(2)?;
    let opened = instant(opened).ok_or(ReplayError::Malformed { line: 2 })?;
    let (_, config) = next(3)?;
    let end = match role {
        "client" => {
            let seed = hex(next(4)?.1).and_then(|seed| <[u8; 32]>::try_from(seed).ok());
            RecordedEnd::Client(Seed::new(seed.ok_or(ReplayError::Malformed { line: 4 })?))
        }
        "server" => RecordedEnd::Server,
        _ => return Err(ReplayError::Malformed { line: 2 }),
    };
    let calls = lines
        .take_while(|(_, text)| *text != STOPPED)
        .map(|(line, text)| call(line, text).ok_or(ReplayError::Malformed { line }));
    Ok((Opening { opened, config, end }, calls))
}

fn call(line: usize, text: &str) -> Option<Call<'_>> {
    let (input, outputs) = text.split_once(" = ")?;
    let mut words = input.split_whitespace();
    let (now, name) = (instant(words.next()?)?, words.next()?);
    Some(Call { line, now, name, arguments: Arguments(words), input, outputs })
}

impl<'a> Arguments<'a> {
    pub(super) fn word(&mut self) -> Option<&'a str> {
        self.0.next()
    }

    pub(super) fn bytes(&mut self) -> Option<Vec<u8>> {
        hex(self.word()?)
    }

    pub(super) fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?).ok()
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        self.word()?.parse().ok()
    }

    pub(super) fn message(&mut self) -> Option<Message> {
        match self.word()? {
            "text" => Some(self.text()?.into()),
            "binary" => Some(self.bytes()?.into()),
            _ => None,
        }
    }

    /// A message with the place that follows, if it has one of its own.
    pub(super) fn placed(&mut self, message: OutgoingMessage) -> Option<OutgoingMessage> {
        let priority = match self.word() {
            None => return Some(message),
            Some("urgent") => Priority::Urgent,
            Some("normal") => Priority::Normal,
            Some("bulk") => Priority::Bulk,
            Some(_) => return None,
        };
        let message = message.priority(priority);
        match self.word() {
            None => Some(message),
            Some(key) => Some(message.latest(key.parse().ok()?)),
        }
    }

    /// The reason of a Close frame.
    pub(super) fn reason(&mut self) -> Option<CloseReason> {
        let code = CloseCode::new(u16::try_from(self.number()?).ok()?);
        let text = self.text()?;
        Some(code.map_or(CloseReason::EMPTY, |code| CloseReason::new(code, text)))
    }

    pub(super) fn are_taken(mut self) -> bool {
        self.word().is_none()
    }
}

fn instant(nanos: &str) -> Option<Instant> {
    let nanos = nanos.parse::<u128>().ok()?;
    let seconds = u64::try_from(nanos / 1_000_000_000).ok()?;
    Some(Instant::from_epoch(Duration::new(seconds, (nanos % 1_000_000_000) as u32)))
}

/// Reads bytes that [`Hex`](super::text::Hex) has written.
pub(super) fn hex(word: &str) -> Option<Vec<u8>> {
    let digits = word.strip_prefix('x')?.as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, rest) = digits.as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some((digit(*high)? * 16 + digit(*low)?) as u8));
    if rest.is_empty() { bytes.collect() } else { None }
}

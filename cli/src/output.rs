//! The output: messages on stdout, notes on stderr, or both above the prompt.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use rustyline::ExternalPrinter;
use sockless::{Escaped, Message};
use tokio::time::Instant;

use crate::framing::Framing;

const RECEIVED: Style = AnsiColor::Cyan.on_default();
const NOTE: Style = Style::new().dimmed();

/// The length of the part of a binary message that a terminal shows, in bytes.
const SHOWN_LEN: usize = 1024;

/// The time in which the prompt is drawn again below what was printed. Its thread does not report it.
const REDRAW: Duration = Duration::from_millis(20);

/// Prints messages and notes.
pub(crate) struct Output {
    place: Place,
    framing: Framing,
    /// True if messages that are JSON are indented.
    json: bool,
    /// The time from which notes count; `None` without `--verbose`.
    since: Option<Instant>,
}

/// Where the output appears.
enum Place {
    /// Above the line that is being edited.
    Prompt(Box<dyn ExternalPrinter + Send>),
    /// In place of the prompt, which Ctrl-D or Ctrl-C has ended: messages may come until the session is closed.
    FormerPrompt,
    /// On stdout, which is a terminal.
    Terminal,
    /// On stdout, which is a file or a pipe.
    Pipe,
}

impl Output {
    /// Prints to stdout and stderr.
    pub(crate) fn new(framing: Framing, json: bool, verbose: bool) -> Self {
        let place = if io::stdout().is_terminal() { Place::Terminal } else { Place::Pipe };
        Self { place, framing, json, since: verbose.then(Instant::now) }
    }

    /// Prints above the prompt from now on.
    pub(crate) fn move_above(&mut self, prompt: impl ExternalPrinter + Send + 'static) {
        self.place = Place::Prompt(Box::new(prompt));
    }

    /// True if what is printed appears above a prompt.
    pub(crate) fn is_above_prompt(&self) -> bool {
        matches!(self.place, Place::Prompt(_) | Place::FormerPrompt)
    }

    /// Prints a message that was received.
    ///
    /// # Errors
    ///
    /// That of writing: `BrokenPipe` when the program that reads stdout has ended.
    pub(crate) fn message(&mut self, message: &Message) -> io::Result<()> {
        self.note(format_args!("< {}", Summary(message)));
        let indented = if self.json { indent(message) } else { None };
        let message = indented.as_ref().unwrap_or(message);
        match &mut self.place {
            Place::Pipe => self.framing.write(message, &mut io::stdout().lock()),
            Place::Terminal => writeln!(io::stdout(), "{}", shown(message)),
            Place::Prompt(_) | Place::FormerPrompt => {
                let line = painted(RECEIVED, &shown(message), &io::stdout());
                self.print_above(&format!("< {line}\n"))
            }
        }
    }

    /// Prints a note about the connection, if the user wants to see what happens.
    pub(crate) fn note(&mut self, note: impl fmt::Display) {
        if let Some(since) = self.since {
            let elapsed = since.elapsed().as_secs_f64();
            self.print(&format!("{elapsed:9.3} s {note}"));
        }
    }

    /// Prints a note that a user at a terminal needs in any case.
    pub(crate) fn notice(&mut self, notice: impl fmt::Display) {
        if self.is_above_prompt() {
            self.print(&notice.to_string());
        }
    }

    /// Ends the prompt once all that was printed is above it, and prints `last` in its place unless it
    /// was noted. Later output goes to the terminal.
    pub(crate) async fn leave_prompt(&mut self, last: Option<&dyn fmt::Display>) {
        if !self.is_above_prompt() {
            return;
        }
        if let Place::Prompt(prompt) = &mut self.place {
            // The prompt's thread takes one line at a time: when it takes the last of these, it has
            // printed what came before them.
            for _ in 0..2 {
                let _ = prompt.print(String::new());
            }
            tokio::time::sleep(REDRAW).await;
        }
        self.place = Place::Terminal;
        clear_line();
        if let (Some(last), None) = (last, self.since) {
            let _ = writeln!(io::stdout(), "{}", painted(NOTE, &last.to_string(), &io::stdout()));
        }
    }

    /// Prints to stderr. A terminal that cannot be written to is not an error of the session.
    fn print(&mut self, note: &str) {
        let _ = match &mut self.place {
            Place::Prompt(_) | Place::FormerPrompt => {
                let note = painted(NOTE, note, &io::stdout());
                self.print_above(&format!("{note}\n"))
            }
            _ => writeln!(io::stderr(), "{}", painted(NOTE, note, &io::stderr())),
        };
    }

    /// Prints lines above the prompt, or in its place.
    fn print_above(&mut self, lines: &str) -> io::Result<()> {
        if let Place::Prompt(prompt) = &mut self.place {
            if prompt.print(lines.to_owned()).is_ok() {
                return Ok(());
            }
            clear_line();
            self.place = Place::FormerPrompt;
        }
        write!(io::stdout(), "{lines}")
    }
}

/// Removes the line that the cursor is in from the terminal.
pub(crate) fn clear_line() {
    // CR, and Erase in Line of ECMA-48.
    let _ = write!(io::stdout(), "\r\u{1b}[K").and_then(|()| io::stdout().flush());
}

/// The kind and length of a message.
pub(crate) struct Summary<'a>(pub(crate) &'a Message);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.0.is_text() { "text" } else { "binary" };
        write!(f, "{kind}, {} bytes", self.0.as_bytes().len())
    }
}

/// Returns the message for a terminal, without characters that control it.
fn shown(message: &Message) -> String {
    let Some(text) = message.as_text() else {
        let bytes = message.as_bytes();
        let hidden = bytes.len().saturating_sub(SHOWN_LEN);
        let rest = if hidden > 0 { format!("… and {hidden} bytes") } else { String::new() };
        return format!("0x{}{rest}", hex::encode(&bytes[..bytes.len() - hidden]));
    };
    let lines: Vec<_> = text.split('\n').map(|line| Escaped(line).to_string()).collect();
    lines.join("\n")
}

/// The message with indentation, if it is JSON.
fn indent(message: &Message) -> Option<Message> {
    let value: serde_json::Value = serde_json::from_slice(message.as_bytes()).ok()?;
    serde_json::to_string_pretty(&value).ok().map(Message::from)
}

/// The text in a style, where `stream` shows colours (`NO_COLOR` and `CLICOLOR` are honoured).
fn painted(style: Style, text: &str, stream: &impl anstream::stream::RawStream) -> String {
    match AutoStream::choice(stream) {
        ColorChoice::Never => text.to_owned(),
        _ => format!("{style}{text}{style:#}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_cannot_control_the_terminal() {
        assert_eq!(shown(&"\u{1b}[2J\u{9b}1m\nnext".into()), "\\u{1b}[2J\\u{9b}1m\nnext");
    }

    #[test]
    fn a_long_binary_message_is_shown_in_part() {
        let shown = shown(&vec![0xAB; SHOWN_LEN + 5].into());
        assert!(shown.starts_with("0xabab") && shown.ends_with("ab… and 5 bytes"));
    }

    #[test]
    fn json_is_indented_and_keeps_its_order() {
        let indented = indent(&r#"{"b":1,"a":[2]}"#.into()).unwrap();
        assert_eq!(indented.as_text(), Some("{\n  \"b\": 1,\n  \"a\": [\n    2\n  ]\n}"));
        assert_eq!(indent(&"not json".into()), None);
    }
}

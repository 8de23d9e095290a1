//! The commands of a user: [`Command`], read from a line of the prompt.

use std::path::PathBuf;

use sockless::bytes::Bytes;
use sockless::{CloseCode, CloseReason, Message};

/// The commands of the prompt, for `/help`.
pub(crate) const HELP: &str = "\
/ping [TEXT]              sends a ping, and prints the time to its answer
/close [CODE [REASON]]    closes the session, with 1000 by default
/hex BYTES                sends a binary message
/file PATH                sends the contents of a file as a binary message
/text PATH                sends the contents of a file as a text message
//TEXT                    sends a message that begins with a slash
/help                     prints this list";

/// A command of the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// To send a message.
    Send(Message),
    /// To send a ping.
    Ping(Bytes),
    /// To close the session.
    Close(CloseReason),
    /// To see the commands, or why a line is not one.
    Explain(String),
}

impl Command {
    /// Reads a line of the prompt.
    pub(crate) fn parse(line: &str) -> Self {
        let Some(rest) = line.strip_prefix('/') else { return Self::Send(line.to_owned().into()) };
        if rest.starts_with('/') {
            return Self::Send(rest.to_owned().into());
        }
        let (name, argument) = rest.split_once(' ').unwrap_or((rest, ""));
        let argument = argument.trim();
        let command = match name {
            "ping" => ping(argument),
            "close" => close(argument).map(Self::Close),
            "hex" => bytes(argument).map(|bytes| Self::Send(bytes.into())),
            "file" => read(argument).map(|bytes| Self::Send(bytes.into())),
            "text" => read(argument).and_then(text).map(|text| Self::Send(text.into())),
            "help" => Ok(Self::Explain(HELP.to_owned())),
            _ => Err(format!("there is no command /{name}; /help lists them, //{name} sends it")),
        };
        command.unwrap_or_else(Self::Explain)
    }
}

fn ping(text: &str) -> Result<Command, String> {
    const MAX_LEN: usize = 125;
    match text.len() {
        0..=MAX_LEN => Ok(Command::Ping(text.to_owned().into())),
        len => Err(format!("a ping has at most {MAX_LEN} bytes, these are {len}")),
    }
}

fn close(argument: &str) -> Result<CloseReason, String> {
    if argument.is_empty() {
        return Ok(CloseCode::NORMAL.into());
    }
    let (code, text) = argument.split_once(' ').unwrap_or((argument, ""));
    let code = close_code(code)?;
    if text.len() > CloseReason::MAX_TEXT_LEN {
        let (len, max) = (text.len(), CloseReason::MAX_TEXT_LEN);
        return Err(format!("a reason has at most {max} bytes, these are {len}"));
    }
    Ok(CloseReason::new(code, text))
}

/// Reads a code that may be sent in a Close frame.
pub(crate) fn close_code(code: &str) -> Result<CloseCode, String> {
    let code = code.parse().ok().and_then(CloseCode::new);
    code.ok_or_else(|| {
        "expected a code that may be sent: 1000-1003, 1007-1014, 3000-4999".to_owned()
    })
}

fn bytes(argument: &str) -> Result<Vec<u8>, String> {
    let digits: String = argument.split_ascii_whitespace().collect();
    let digits = digits.strip_prefix("0x").unwrap_or(&digits);
    hex::decode(digits).map_err(|error| format!("expected hexadecimal digits: {error}"))
}

fn read(path: &str) -> Result<Vec<u8>, String> {
    let path = PathBuf::from(path);
    std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))
}

fn text(bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes)
        .map_err(|_| "the file is not UTF-8; /file sends it as binary".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_message_unless_it_begins_with_a_slash() {
        assert_eq!(Command::parse("hello"), Command::Send("hello".into()));
        assert_eq!(Command::parse(""), Command::Send("".into()));
        assert_eq!(Command::parse("//etc"), Command::Send("/etc".into()));
    }

    #[test]
    fn commands_are_read_with_their_arguments() {
        assert_eq!(Command::parse("/ping"), Command::Ping(Bytes::new()));
        assert_eq!(Command::parse("/ping are you there"), Command::Ping("are you there".into()));
        assert_eq!(Command::parse("/close"), Command::Close(CloseCode::NORMAL.into()));
        let reason = CloseReason::new(CloseCode::GOING_AWAY, "good bye");
        assert_eq!(Command::parse("/close 1001 good bye"), Command::Close(reason));
        let bytes = Message::from(vec![0, 0xFF]);
        assert_eq!(Command::parse("/hex 00 FF"), Command::Send(bytes.clone()));
        assert_eq!(Command::parse("/hex 0x00ff"), Command::Send(bytes));
    }

    #[test]
    fn what_cannot_be_done_is_explained() {
        let long = "x".repeat(126);
        let lines = [
            "/pong",
            "/",
            "/close 1005",
            "/close x",
            "/hex 0",
            "/hex xy",
            "/file /does/not/exist",
            "/help",
            &format!("/ping {long}"),
            &format!("/close 1000 {long}"),
        ]
        .map(str::to_owned);
        for line in lines {
            assert!(matches!(Command::parse(&line), Command::Explain(_)), "{line}");
        }
    }
}

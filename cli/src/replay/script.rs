//! The acts of the ends of all connections of a recording, in order: [`Script`].

use std::collections::BTreeMap;
use std::fmt;

use sockless::proto::Instant;
use sockless::sim::{Trace, TraceFrame, TraceHead};
use sockless::{CloseCode, CloseReason, Message, Role};

/// The steps of a replay.
pub(crate) struct Script {
    pub(crate) steps: Vec<Step>,
}

/// Something that happened on a connection.
pub(crate) struct Step {
    pub(crate) at: Instant,
    pub(crate) connection: u64,
    pub(crate) what: What,
}

pub(crate) enum What {
    Open(Handshake),
    /// The client sent a message.
    Send(Message),
    /// The server sent a message.
    Receive(Message),
    /// The client closed first.
    Close(CloseReason),
    /// The server closed first.
    Closed(CloseReason),
}

/// The recorded part of the opening handshake. By default nothing.
#[derive(Clone, Default)]
pub(crate) struct Handshake {
    /// With the query. Empty if it was not recorded.
    pub(crate) path: String,
    pub(crate) subprotocols: Vec<String>,
    /// The status of a response that rejected the request.
    pub(crate) rejection: Option<u16>,
}

/// A recording that cannot be replayed.
#[derive(Debug)]
pub(crate) struct CannotReplay {
    connection: u64,
    reason: &'static str,
}

impl fmt::Display for CannotReplay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection {}: {}", self.connection, self.reason)
    }
}

impl Script {
    /// Reads a trace.
    ///
    /// # Errors
    ///
    /// If messages are compressed, not valid, or not recorded whole.
    pub(crate) fn new(trace: &Trace) -> Result<Self, CannotReplay> {
        let mut opened = BTreeMap::<u64, (Instant, Handshake)>::new();
        for head in trace.heads() {
            let (_, handshake) =
                opened.entry(head.connection()).or_insert((head.at(), Handshake::default()));
            handshake.add(&head);
        }
        for frame in trace.frames() {
            opened.entry(frame.connection()).or_insert((frame.at(), Handshake::default()));
        }
        let open = |(connection, (at, handshake))| {
            let what = What::Open(handshake);
            Step { at, connection, what }
        };
        let mut steps: Vec<_> = opened.into_iter().map(open).collect();
        let mut ends = BTreeMap::<(u64, bool), End>::new();
        let mut closed = Vec::new();
        for frame in trace.frames() {
            let connection = frame.connection();
            let end = ends.entry((connection, is_of_client(&frame))).or_default();
            let what = end.add(&frame).map_err(|reason| CannotReplay { connection, reason })?;
            let Some(what) = what else { continue };
            // After a Close frame nothing else counts: the closing handshake may have overtaken it.
            if closed.contains(&connection) {
                continue;
            }
            if matches!(what, What::Close(_) | What::Closed(_)) {
                closed.push(connection);
            }
            steps.push(Step { at: frame.at(), connection, what });
        }
        // A connection opens before its frames of the same time, since the order is stable.
        steps.sort_by_key(|step| step.at);
        Ok(Self { steps })
    }
}

fn is_of_client(frame: &TraceFrame<'_>) -> bool {
    frame.from() == Role::Client
}

impl Handshake {
    fn add(&mut self, head: &TraceHead<'_>) {
        let line = head.line();
        if head.from() == Role::Server {
            let status = line.strip_prefix("HTTP/").and_then(|rest| rest.split(' ').nth(1));
            let status = status.and_then(|status| status.parse().ok());
            self.rejection = status.filter(|status| *status != 101).or(self.rejection);
        } else if let Some((name, value)) = line.split_once(": ") {
            if name.eq_ignore_ascii_case("sec-websocket-protocol") {
                self.subprotocols.extend(value.split(',').map(|name| name.trim().to_owned()));
            }
        } else if self.path.is_empty() {
            self.path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        }
    }
}

/// The message of one end that is not complete.
#[derive(Default)]
struct End {
    is_text: bool,
    payload: Vec<u8>,
}

impl End {
    fn add(&mut self, frame: &TraceFrame<'_>) -> Result<Option<What>, &'static str> {
        if frame.rsv() != 0 {
            return Err("its messages are compressed");
        }
        if frame.len() != frame.payload().len() as u64 {
            return Err("a payload was not recorded whole");
        }
        let of_client = is_of_client(frame);
        match frame.opcode() {
            0x8 => {
                let reason = close_reason(frame.payload());
                return Ok(Some(if of_client {
                    What::Close(reason)
                } else {
                    What::Closed(reason)
                }));
            }
            0x9..=0xF => return Ok(None),
            0x0 => {}
            opcode => (self.is_text, self.payload) = (opcode == 0x1, Vec::new()),
        }
        self.payload.extend_from_slice(frame.payload());
        if !frame.is_final() {
            return Ok(None);
        }
        let payload = std::mem::take(&mut self.payload);
        let message = match self.is_text {
            true => String::from_utf8(payload).map_err(|_| "a text message is not UTF-8")?.into(),
            false => Message::from(payload),
        };
        Ok(Some(if of_client { What::Send(message) } else { What::Receive(message) }))
    }
}

/// Reads the payload of a Close frame, as far as it may be sent again.
fn close_reason(payload: &[u8]) -> CloseReason {
    let Some((code, text)) = payload.split_first_chunk() else { return CloseReason::EMPTY };
    let Some(code) = CloseCode::new(u16::from_be_bytes(*code)) else { return CloseReason::EMPTY };
    CloseReason::new(code, String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: &str = r#"{"format":"sockless-trace","version":1,"role":"server","time_unit":"ms"}
{"time":1,"group":"a","name":"http:request","data":{"lines":["GET /a?b=1 HTTP/1.1","Sec-WebSocket-Protocol: v2, v1"]}}
{"time":2,"group":"a","name":"http:response","data":{"lines":["HTTP/1.1 101 Switching Protocols"]}}
"#;

    fn frame(time: u32, name: &str, head: &str, text: &str) -> String {
        let len = text.len();
        format!(
            r#"{{"time":{time},"group":"a","name":"websocket:frame_{name}","data":{{{head},"length":{len},"text":"{text}"}}}}"#
        )
    }

    fn script(lines: &[String]) -> Result<Vec<String>, String> {
        let text = format!("{BEGIN}{}", lines.join("\n"));
        let script = Script::new(&text.parse().unwrap()).map_err(|error| error.to_string())?;
        let shown = |step: &Step| match &step.what {
            What::Open(Handshake { path, subprotocols, rejection }) => {
                format!("open {path} {subprotocols:?} {rejection:?}")
            }
            What::Send(message) => format!("send {}", message.as_text().unwrap_or("binary")),
            What::Receive(message) => format!("receive {}", message.as_text().unwrap_or("binary")),
            What::Close(reason) => format!("close {:?}", reason.code().map(CloseCode::get)),
            What::Closed(reason) => format!("closed {:?}", reason.code().map(CloseCode::get)),
        };
        Ok(script.steps.iter().map(shown).collect())
    }

    #[test]
    fn fragments_are_joined_around_control_frames_until_the_first_close() {
        let lines = [
            frame(3, "parsed", r#""opcode":"text","fin":false,"rsv":0"#, "fra"),
            frame(4, "parsed", r#""opcode":"ping","fin":true,"rsv":0"#, "?"),
            frame(5, "created", r#""opcode":"binary","fin":true,"rsv":0"#, "x"),
            frame(6, "parsed", r#""opcode":"continuation","fin":true,"rsv":0"#, "gment"),
            frame(7, "parsed", r#""opcode":"close","fin":true,"rsv":0"#, ""),
            frame(8, "created", r#""opcode":"text","fin":true,"rsv":0"#, "late"),
            frame(9, "created", r#""opcode":"close","fin":true,"rsv":0"#, ""),
        ];
        let expected =
            ["open /a?b=1 [\"v2\", \"v1\"] None", "receive binary", "send fragment", "close None"];
        assert_eq!(script(&lines).unwrap(), expected);
    }

    #[test]
    fn what_cannot_be_repeated_is_an_error() {
        let compressed = frame(3, "parsed", r#""opcode":"text","fin":true,"rsv":4"#, "x");
        assert_eq!(script(&[compressed]).unwrap_err(), "connection 1: its messages are compressed");
        let cut = frame(3, "parsed", r#""opcode":"text","fin":true,"rsv":0"#, "x");
        let cut = cut.replace("\"length\":1", "\"length\":2");
        let error = script(&[cut]).unwrap_err();
        assert_eq!(error, "connection 1: a payload was not recorded whole");
    }
}

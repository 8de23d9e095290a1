//! The message layer once more, small and slow: whole frames in, the expected events and replies out.

use sockless_core::{
    Cause, Chunk, CloseCode, CloseReason, Closed, Event, Frame, Message, Opcode, Party,
    ProtocolError,
};

use crate::session::Setup;
use crate::wire::{CLOSE, PONG};

/// The expected behaviour of one end.
#[derive(Debug)]
pub struct Model {
    setup: Setup,
    /// The expected events.
    pub events: Vec<Event>,
    /// The expected replies to the peer, as first byte and payload.
    pub replies: Vec<(u8, Vec<u8>)>,
    message: Option<Arriving>,
    /// The peer has closed, and our answer waits.
    answer_waits: Option<CloseReason>,
    over: bool,
}

/// A message that is arriving.
#[derive(Debug)]
struct Arriving {
    text: bool,
    held: Vec<u8>,
    len: u64,
    frames: u32,
    in_chunks: bool,
}

impl Model {
    /// An open end.
    pub fn new(setup: Setup) -> Self {
        Self {
            setup,
            events: Vec::new(),
            replies: Vec::new(),
            message: None,
            answer_waits: None,
            over: false,
        }
    }

    /// True if further input is ignored.
    pub fn is_deaf(&self) -> bool {
        self.over || self.answer_waits.is_some()
    }

    /// A frame has come whole.
    pub fn receive(&mut self, frame: &Frame) {
        if self.is_deaf() {
            return;
        }
        if let Err(error) = self.try_receive(frame) {
            self.fail(error);
        }
    }

    /// The peer broke a rule.
    pub fn fail(&mut self, error: ProtocolError) {
        if self.is_deaf() {
            return;
        }
        let reason = error.close_reason();
        let sent = if self.setup.closes {
            CloseReason::EMPTY
        } else {
            self.replies.push((CLOSE, body(&reason)));
            reason
        };
        self.end(Party::Local, Cause::Protocol(error), Some(sent), None);
    }

    /// The transport has ended.
    pub fn eof(&mut self) {
        if let Some(reason) = self.answer_waits.take() {
            self.answer(reason);
        } else if !self.over && self.setup.closes {
            self.end(Party::Local, Cause::Eof, Some(CloseReason::EMPTY), None);
        } else if !self.over {
            self.end(Party::Peer, Cause::Eof, None, None);
        }
    }

    fn try_receive(&mut self, frame: &Frame) -> Result<(), ProtocolError> {
        let (len, max) = (frame.payload.len() as u64, self.setup.max_frame_len);
        if len > max {
            return Err(ProtocolError::FrameTooLong { len, max });
        }
        match frame.opcode {
            Opcode::Ping => {
                if !self.setup.closes {
                    self.replies.push((PONG, frame.payload.to_vec()));
                }
                self.events.push(Event::Ping(frame.payload.clone()));
            }
            Opcode::Pong => self.events.push(Event::Pong(frame.payload.clone())),
            Opcode::Close => self.receive_close(reason_of(&frame.payload)?),
            Opcode::Continuation | Opcode::Binary | Opcode::Text => self.receive_data(frame)?,
        }
        Ok(())
    }

    fn receive_close(&mut self, reason: CloseReason) {
        if self.setup.closes {
            let sent = Some(CloseReason::EMPTY);
            return self.end(Party::Local, Cause::ClosingHandshake, sent, Some(reason));
        }
        self.events.push(Event::PeerClosed(reason.clone()));
        if self.setup.sends_chunk {
            self.answer_waits = Some(reason);
        } else {
            self.answer(reason);
        }
    }

    fn answer(&mut self, reason: CloseReason) {
        self.replies.push((CLOSE, body(&reason)));
        let sent = Some(reason.clone());
        self.end(Party::Peer, Cause::ClosingHandshake, sent, Some(reason));
    }

    fn receive_data(&mut self, frame: &Frame) -> Result<(), ProtocolError> {
        let setup = self.setup;
        let message = match (&mut self.message, frame.opcode) {
            (None, Opcode::Continuation) => return Err(ProtocolError::ContinuationUnexpected),
            (Some(_), Opcode::Binary | Opcode::Text) => {
                return Err(ProtocolError::MessageUnfinished);
            }
            (message, opcode) => message.get_or_insert(Arriving {
                text: opcode == Opcode::Text,
                held: Vec::new(),
                len: 0,
                frames: 0,
                in_chunks: false,
            }),
        };
        message.len += frame.payload.len() as u64;
        message.frames += 1;
        let (len, max) = (message.len, setup.max_message_len);
        if len > max {
            return Err(ProtocolError::MessageTooLong { len, max });
        }
        if message.frames > setup.max_fragments {
            let max = setup.max_fragments;
            return Err(ProtocolError::TooManyFragments { max });
        }
        for &byte in &frame.payload {
            if message.held.len() == setup.recv_chunk_len {
                let data = message.take_whole_characters();
                self.events.push(Event::Chunk(Chunk { data, last: false }));
                message.in_chunks = true;
            }
            message.held.push(byte);
            message.check(false)?;
        }
        if frame.fin {
            message.check(true)?;
            let (data, in_chunks) = (message.take_whole_characters(), message.in_chunks);
            self.message = None;
            self.events.push(if in_chunks {
                Event::Chunk(Chunk { data, last: true })
            } else {
                Event::Message(data)
            });
        }
        Ok(())
    }

    fn end(
        &mut self,
        by: Party,
        cause: Cause,
        sent: Option<CloseReason>,
        received: Option<CloseReason>,
    ) {
        self.over = true;
        let closed = Closed::new(by, cause, sent, received);
        self.events.push(Event::Closed(closed));
    }
}

impl Arriving {
    /// True if the bytes so far can be the beginning of text, or with `whole`, are text.
    fn check(&self, whole: bool) -> Result<(), ProtocolError> {
        match std::str::from_utf8(&self.held) {
            Err(error) if self.text && (whole || error.error_len().is_some()) => {
                Err(ProtocolError::TextInvalid)
            }
            _ => Ok(()),
        }
    }

    fn take_whole_characters(&mut self) -> Message {
        if !self.text {
            return std::mem::take(&mut self.held).into();
        }
        let text = std::mem::take(&mut self.held);
        let whole = match std::str::from_utf8(&text) {
            Ok(whole) => whole,
            Err(error) => std::str::from_utf8(&text[..error.valid_up_to()]).unwrap_or_default(),
        };
        self.held = text[whole.len()..].to_vec();
        whole.to_owned().into()
    }
}

fn reason_of(payload: &[u8]) -> Result<CloseReason, ProtocolError> {
    match payload {
        [] => Ok(CloseReason::EMPTY),
        [_] => Err(ProtocolError::CloseTruncated),
        [high, low, text @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            let code = CloseCode::new(code).ok_or(ProtocolError::CloseCodeInvalid(code))?;
            let text = std::str::from_utf8(text).map_err(|_| ProtocolError::CloseReasonInvalid)?;
            Ok(CloseReason::new(code, text.to_owned()))
        }
    }
}

fn body(reason: &CloseReason) -> Vec<u8> {
    let code = reason.code().map(|code| code.get().to_be_bytes());
    let mut body = code.map(Vec::from).unwrap_or_default();
    body.extend_from_slice(reason.text().as_bytes());
    body
}

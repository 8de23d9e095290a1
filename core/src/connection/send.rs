//! Messages become frames: fragments, pieces, pings and the one pong that waits.

use alloc::vec::Vec;

use bytes::Bytes;

use super::Connection;
use crate::close::CloseReason;
use crate::error::SendError;
use crate::frame::{MAX_CONTROL_LEN, Opcode, Rsv};
use crate::message::{Message, Piece};

/// The kind of a message that is being sent in pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Binary,
    Text,
}

impl Connection {
    #[inline]
    pub(super) fn send_message(&mut self, message: Message) -> Result<(), SendError> {
        if !self.is_open() {
            return Err(SendError::Closing);
        }
        if self.sending.is_some() {
            return Err(SendError::MessageUnfinished);
        }
        let opcode = opcode_of(&message);
        self.push_data(opcode, message.into_bytes(), true);
        Ok(())
    }

    pub(super) fn send_part(&mut self, piece: Piece) -> Result<(), SendError> {
        if !self.may_send_part() {
            return Err(SendError::Closing);
        }
        let kind = if piece.data.is_text() { Kind::Text } else { Kind::Binary };
        let opcode = match self.sending {
            None => opcode_of(&piece.data),
            Some(sending) if sending == kind => Opcode::Continuation,
            Some(_) => return Err(SendError::MessageUnfinished),
        };
        self.sending = (!piece.last).then_some(kind);
        self.push_data(opcode, piece.data.into_bytes(), piece.last);
        if piece.last {
            self.answer_close_that_waits();
        }
        Ok(())
    }

    /// Queues the frames of a message or of a piece of one.
    #[inline]
    fn push_data(&mut self, mut opcode: Opcode, mut payload: Bytes, fin: bool) {
        self.timers.message_sent();
        // A field that was set by hand may say nothing at all, which would never end.
        let fragment_len = self.raw.config.fragment_len.max(1);
        while payload.len() > fragment_len {
            let fragment = payload.split_to(fragment_len);
            self.raw.push(false, Rsv::NONE, opcode, fragment);
            opcode = Opcode::Continuation;
        }
        self.raw.push(fin, Rsv::NONE, opcode, payload);
    }

    pub(super) fn send_ping(&mut self, payload: Bytes) -> Result<(), SendError> {
        if !self.is_open() {
            return Err(SendError::Closing);
        }
        if payload.len() > MAX_CONTROL_LEN {
            return Err(SendError::ControlTooLong { len: payload.len() });
        }
        self.push_control(Opcode::Ping, payload);
        Ok(())
    }

    /// Answers a ping at once, or, when more than enough waits to be sent, remembers it in place of
    /// the one before: RFC 6455 §5.5.3 lets us answer the newest only. So a flood of pings from a
    /// peer that does not read costs one payload.
    pub(super) fn answer_ping(&mut self, payload: Bytes) {
        if self.ending.as_ref().is_some_and(|ending| ending.sent_close()) {
            return;
        }
        self.pong = Some(payload);
        self.flush_pong();
    }

    #[inline]
    pub(super) fn flush_pong(&mut self) {
        if self.pong.is_some() && self.is_writable() {
            self.push_pong();
        }
    }

    #[cold]
    fn push_pong(&mut self) {
        if let Some(payload) = self.pong.take() {
            self.push_control(Opcode::Pong, payload);
        }
    }

    pub(super) fn push_close(&mut self, reason: &CloseReason) {
        // Nothing may follow a Close frame (RFC 6455 §5.5.1).
        self.pong = None;
        let mut payload = Vec::with_capacity(2 + reason.text().len());
        if let Some(code) = reason.code() {
            payload.extend_from_slice(&code.get().to_be_bytes());
            payload.extend_from_slice(reason.text().as_bytes());
        }
        self.push_control(Opcode::Close, payload.into());
    }

    fn push_control(&mut self, opcode: Opcode, payload: Bytes) {
        self.raw.push(true, Rsv::NONE, opcode, payload);
    }
}

fn opcode_of(message: &Message) -> Opcode {
    match message {
        Message::Binary(_) => Opcode::Binary,
        Message::Text(_) => Opcode::Text,
    }
}

//! Sending: messages become frames; fragments, chunks, pings and pongs.

use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

use super::Connection;
use crate::close::{CloseCode, CloseReason};
use crate::config::Config;
use crate::error::SendError;
use crate::extension::{ChunkInfo, Direction, Encoded};
use crate::frame::{Frame, FrameHead, MAX_CONTROL_LEN, Opcode, Rsv};
use crate::message::{Chunk, Message};
use crate::outgoing::{Broadcast, Content, Encoding, OutgoingMessage, Placed, Priority};
use crate::raw::Ending;
use crate::time::Instant;

/// The kind of a message that is being sent in chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Binary,
    Text,
}

impl Connection {
    #[inline]
    pub(super) fn send_message(
        &mut self,
        outgoing: OutgoingMessage,
        now: Instant,
    ) -> Result<(), SendError> {
        match outgoing.0 {
            Content::Message { message, compress }
                if self.is_open() && self.sending.is_none() && self.waiting.is_none() =>
            {
                self.push_message(message, compress, now)
            }
            content => self.send_content(content, now),
        }
    }

    #[inline(never)]
    fn send_content(&mut self, content: Content, now: Instant) -> Result<(), SendError> {
        if !self.is_open() {
            return Err(SendError::Closing);
        }
        if let Content::Placed(placed) = content {
            self.enqueue(*placed, now);
            return Ok(());
        }
        if self.sending.is_some() {
            return Err(SendError::MessageUnfinished);
        }
        if self.has_waiting_messages() {
            // In its order with those that are as urgent.
            self.enqueue(Placed { content, key: None, priority: Priority::Normal }, now);
            return Ok(());
        }
        self.push_content(content, now)
    }

    /// Queues the frames of a message, whatever its place was.
    pub(super) fn push_content(&mut self, content: Content, now: Instant) -> Result<(), SendError> {
        match content {
            Content::Message { message, compress } => self.push_message(message, compress, now),
            Content::Broadcast(broadcast) if self.raw.is_unmasked() => {
                self.push_broadcast(&broadcast, now)
            }
            Content::Broadcast(broadcast) => {
                self.push_message(broadcast.message().clone(), broadcast.compress(), now)
            }
            Content::Placed(placed) => self.push_content(placed.content, now),
        }
    }

    pub(super) fn send_next_chunk(&mut self, chunk: Chunk, now: Instant) -> Result<(), SendError> {
        if self.sending.is_none() {
            // Messages queued earlier are sent first.
            self.encode_waiting();
        }
        if !self.may_send_chunk() {
            return Err(SendError::Closing);
        }
        let kind = if chunk.data.is_text() { Kind::Text } else { Kind::Binary };
        let opcode = match self.sending {
            None => opcode_of(&chunk.data),
            Some(sending) if sending == kind => Opcode::Continuation,
            Some(_) => return Err(SendError::MessageUnfinished),
        };
        let first = self.sending.is_none();
        self.sending = (!chunk.last).then_some(kind);
        let info =
            ChunkInfo { is_text: kind == Kind::Text, first, last: chunk.last, compress: true };
        self.push_data(opcode, chunk.data.into_bytes(), info, now)?;
        if chunk.last {
            self.answer_close_after_message(now);
        }
        Ok(())
    }

    #[inline(always)]
    fn push_message(
        &mut self,
        message: Message,
        compress: bool,
        now: Instant,
    ) -> Result<(), SendError> {
        let info = whole(&message, compress);
        self.push_data(opcode_of(&message), message.into_bytes(), info, now)
    }

    /// Queues the frames of a message or of a chunk of one.
    #[inline(always)]
    fn push_data(
        &mut self,
        opcode: Opcode,
        payload: Bytes,
        info: ChunkInfo,
        now: Instant,
    ) -> Result<(), SendError> {
        self.timers.message_sent(now);
        if self.codecs.is_empty() && payload.len() <= self.raw.config.max_send_frame_len {
            self.raw.push(now, info.last, Rsv::NONE, opcode, payload);
            return Ok(());
        }
        self.push_encoded(opcode, payload, info, now)
    }

    /// Queues a message or a chunk of one as the extensions encode it, in fragments.
    #[inline(never)]
    fn push_encoded(
        &mut self,
        opcode: Opcode,
        payload: Bytes,
        info: ChunkInfo,
        now: Instant,
    ) -> Result<(), SendError> {
        let Encoded { rsv, payload } = self.encode(info, payload, now)?;
        let observed = !self.codecs.is_empty();
        for Frame { fin, rsv, opcode, payload } in
            fragments(opcode, rsv, payload, info, &self.raw.config)
        {
            if observed {
                self.observe_outgoing(fin, rsv, opcode, payload.len());
            }
            self.raw.push(now, fin, rsv, opcode, payload);
        }
        Ok(())
    }

    /// Queues a message in frames that are shared with other connections.
    fn push_broadcast(&mut self, broadcast: &Broadcast, now: Instant) -> Result<(), SendError> {
        let (message, compress) = (broadcast.message(), broadcast.compress());
        let Some(codecs) = self.codecs.fingerprint() else {
            return self.push_message(message.clone(), compress, now);
        };
        self.timers.message_sent(now);
        let max_send_frame_len = self.raw.config.max_send_frame_len;
        let frames = broadcast.frames(Encoding { codecs, max_send_frame_len }, || {
            let (opcode, info) = (opcode_of(message), whole(message, compress));
            let Encoded { rsv, payload } = self.encode(info, message.clone().into_bytes(), now)?;
            let mut frames = BytesMut::with_capacity(payload.len() + FrameHead::MAX_LEN);
            for Frame { fin, rsv, opcode, payload } in
                fragments(opcode, rsv, payload, info, &self.raw.config)
            {
                let len = payload.len() as u64;
                FrameHead { fin, rsv, opcode, mask: None, len }.put(&mut frames);
                frames.extend_from_slice(&payload);
            }
            Ok(frames.freeze())
        })?;
        if !self.codecs.is_empty() {
            self.observe_frames(&frames);
        }
        self.raw.push_frames(now, frames);
        Ok(())
    }

    /// Has the extensions encode a message or a chunk of one. An extension that fails ends the
    /// connection.
    #[inline]
    fn encode(
        &mut self,
        info: ChunkInfo,
        payload: Bytes,
        now: Instant,
    ) -> Result<Encoded, SendError> {
        if self.codecs.is_empty() {
            return Ok(Encoded { rsv: Rsv::NONE, payload });
        }
        let len = payload.len();
        let encoded = self.codecs.encode(info, payload).map_err(|(name, error)| {
            // The message is lost, perhaps with a part of it sent: the peer would miss it in the
            // sequence.
            self.sending = None;
            self.waiting = None;
            self.start_closing(CloseCode::INTERNAL_ERROR.into(), None, now);
            SendError::CodecFailed { name, error }
        })?;
        // A whole message without a bit is sent as it is.
        if encoded.rsv != Rsv::NONE || !(info.first && info.last) {
            self.raw.watch.coded(Direction::Outgoing, encoded.payload.len(), len);
        }
        Ok(encoded)
    }

    fn observe_frames(&mut self, mut frames: &[u8]) {
        while let Ok(Some((head, header_len))) = FrameHead::decode(frames) {
            self.codecs.observe(Direction::Outgoing, &head);
            frames = &frames[header_len + head.len as usize..];
        }
    }

    fn observe_outgoing(&mut self, fin: bool, rsv: Rsv, opcode: Opcode, len: usize) {
        let head = FrameHead { fin, rsv, opcode, mask: None, len: len as u64 };
        self.codecs.observe(Direction::Outgoing, &head);
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

    /// Answers a ping at once or, while the queue is full, remembers it in place of the one before:
    /// only the newest ping needs an answer (RFC 6455 §5.5.3). So a flood of pings from a peer that
    /// does not read costs one payload.
    pub(super) fn answer_ping(&mut self, payload: &Bytes) {
        if self.raw.ending().is_some_and(Ending::has_sent_close) {
            return;
        }
        let has_room = self.is_writable();
        self.set_pong((!has_room).then_some(payload));
        if has_room {
            self.push_control(Opcode::Pong, payload.clone());
        }
    }

    pub(super) fn push_close(&mut self, reason: &CloseReason) {
        // Nothing may follow a Close frame (RFC 6455 §5.5.1).
        self.set_pong(None);
        let mut payload = Vec::with_capacity(2 + reason.text().len());
        if let Some(code) = reason.code() {
            payload.extend_from_slice(&code.get().to_be_bytes());
            payload.extend_from_slice(reason.text().as_bytes());
        }
        self.push_control(Opcode::Close, payload.into());
    }

    pub(super) fn push_control(&mut self, opcode: Opcode, payload: Bytes) {
        self.observe_outgoing(true, Rsv::NONE, opcode, payload.len());
        let now = self.raw.watch.now();
        self.raw.push(now, true, Rsv::NONE, opcode, payload);
    }
}

/// The frames of a message or of a chunk of one (RFC 6455 §5.4).
fn fragments(
    opcode: Opcode,
    rsv: Rsv,
    payload: Bytes,
    info: ChunkInfo,
    config: &Config,
) -> impl Iterator<Item = Frame> + use<> {
    // At least 1: the setter of the configuration sees to that.
    let max_send_frame_len = config.max_send_frame_len;
    let mut rest = Some((opcode, rsv, payload));
    core::iter::from_fn(move || {
        let (opcode, rsv, mut payload) = rest.take()?;
        if payload.len() <= max_send_frame_len {
            return Some(Frame { fin: info.last, rsv, opcode, payload });
        }
        let fragment = payload.split_to(max_send_frame_len);
        rest = Some((Opcode::Continuation, Rsv::NONE, payload));
        Some(Frame { fin: false, rsv, opcode, payload: fragment })
    })
}

/// The description of a whole message for extensions.
fn whole(message: &Message, compress: bool) -> ChunkInfo {
    ChunkInfo { is_text: message.is_text(), first: true, last: true, compress }
}

fn opcode_of(message: &Message) -> Opcode {
    match message {
        Message::Binary(_) => Opcode::Binary,
        Message::Text(_) => Opcode::Text,
    }
}

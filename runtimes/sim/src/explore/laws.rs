//! The laws of a WebSocket, checked on the frames that an end writes and on the events that it
//! reports: [`Watched`].

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};
use sockless_core::{Cause, Chunk, Event, FrameHead, Message, Opcode, Role, Rsv};

use super::step::name;

/// The history of an end, as far as the laws need it.
#[derive(Clone, Debug, Hash)]
pub(super) struct Watched {
    role: Role,
    /// True if it sends only the messages of its script.
    sends_script_only: bool,
    /// The messages that were accepted and have not been written.
    accepted: VecDeque<Message>,
    /// The chunks that were accepted of an unfinished message.
    chunks: Option<Message>,
    /// The messages that were written and have not been received; `None` for a compressed one that
    /// the script has not sent.
    written: VecDeque<Option<Message>>,
    /// The beginning of a frame.
    unparsed: BytesMut,
    /// The message whose frames are being written.
    writing: Option<Writing>,
    /// The number of frames, each of which has drawn a masking key.
    frames: u64,
    wrote_close: bool,
    /// The chunks that it has received of an unfinished message.
    received: Vec<u8>,
    /// The payload of the newest ping that it has received and not answered.
    unanswered: Option<Bytes>,
    closed: bool,
    /// True if its script has put bytes on the wire.
    breaks_protocol: bool,
}

/// A message whose frames are being written.
#[derive(Clone, Debug, Hash)]
struct Writing {
    is_text: bool,
    is_compressed: bool,
    payload: Vec<u8>,
}

/// The effect of a step of the script.
impl Watched {
    pub(super) fn new(role: Role) -> Self {
        Self {
            role,
            sends_script_only: true,
            accepted: VecDeque::new(),
            chunks: None,
            written: VecDeque::new(),
            unparsed: BytesMut::new(),
            writing: None,
            frames: 0,
            wrote_close: false,
            received: Vec::new(),
            unanswered: None,
            closed: false,
            breaks_protocol: false,
        }
    }

    pub(super) fn sends_more_than_the_script(&mut self) {
        self.sends_script_only = false;
    }

    pub(super) fn breaks_protocol(&mut self) {
        self.breaks_protocol = true;
    }

    pub(super) fn accepted(&mut self, message: Message) {
        self.accepted.push_back(message);
    }

    pub(super) fn accepted_chunk(&mut self, Chunk { data, last }: Chunk) {
        let whole = match self.chunks.take() {
            Some(before) => joined(data.is_text(), &[before.as_bytes(), data.as_bytes()].concat()),
            None => data,
        };
        if last {
            self.accepted.push_back(whole);
        } else {
            self.chunks = Some(whole);
        }
    }

    pub(super) fn has_closed(&self) -> bool {
        self.closed
    }

    /// Checks that all messages have arrived, once no byte is under way.
    pub(super) fn check_arrived(&self) -> Result<(), String> {
        let late = self.accepted.len() + self.written.len();
        if late > 0 && !self.breaks_protocol {
            return Err(format!("{late} messages of the {} never arrive", name(self.role)));
        }
        Ok(())
    }
}

/// The bytes that it writes.
impl Watched {
    /// Checks the bytes that an end has written, which were all that it had to send.
    pub(super) fn check_written(&mut self, bytes: &[u8], is_open: bool) -> Result<(), String> {
        self.unparsed.extend_from_slice(bytes);
        while !self.unparsed.is_empty() {
            if self.wrote_close {
                return Err(format!("the {} sends after its Close frame", name(self.role)));
            }
            let decoded = FrameHead::decode(&self.unparsed);
            let decoded =
                decoded.map_err(|error| format!("the {} sends: {error}", name(self.role)))?;
            let Some((head, header_len)) = decoded else { break };
            if ((self.unparsed.len() - header_len) as u64) < head.len {
                break;
            }
            self.unparsed.advance(header_len);
            let mut payload = self.unparsed.split_to(head.len as usize);
            for (byte, key) in payload.iter_mut().zip(head.mask.iter().flatten().cycle()) {
                *byte ^= key;
            }
            self.check_frame(&head, payload.freeze())?;
        }
        if self.unanswered.is_some() && is_open && !self.wrote_close {
            return Err(format!("the {} does not answer a ping", name(self.role)));
        }
        Ok(())
    }

    fn check_frame(&mut self, head: &FrameHead, payload: Bytes) -> Result<(), String> {
        self.frames += 1;
        if head.mask.is_some() != (self.role == Role::Client) {
            let masked = if head.mask.is_some() { "a masked" } else { "an unmasked" };
            return Err(format!("the {} sends {masked} frame", name(self.role)));
        }
        match head.opcode {
            Opcode::Close => self.check_close(),
            Opcode::Ping => Ok(()),
            Opcode::Pong => {
                self.unanswered.take_if(|expected| *expected == payload);
                Ok(())
            }
            Opcode::Binary | Opcode::Text | Opcode::Continuation => self.check_data(head, &payload),
        }
    }

    fn check_close(&mut self) -> Result<(), String> {
        self.wrote_close = true;
        match self.accepted.len() {
            0 => Ok(()),
            left => Err(format!("the {} closes before {left} messages were sent", name(self.role))),
        }
    }

    fn check_data(&mut self, head: &FrameHead, payload: &[u8]) -> Result<(), String> {
        let mut writing = match (self.writing.take(), head.opcode) {
            (Some(writing), Opcode::Continuation) => writing,
            (None, Opcode::Binary | Opcode::Text) => Writing {
                is_text: head.opcode == Opcode::Text,
                is_compressed: head.rsv != Rsv::NONE,
                payload: Vec::new(),
            },
            (_, opcode) => {
                return Err(format!("the {} sends {opcode:?} out of sequence", name(self.role)));
            }
        };
        writing.payload.extend_from_slice(payload);
        if !head.fin {
            self.writing = Some(writing);
            return Ok(());
        }
        let written = (!writing.is_compressed).then(|| joined(writing.is_text, &writing.payload));
        let is_next = match (&written, self.accepted.front()) {
            (Some(written), Some(accepted)) => written == accepted,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        if is_next {
            let message = self.accepted.pop_front();
            self.written.push_back(message);
        } else if self.sends_script_only {
            return Err(format!("the {} sends a message that it was not given", name(self.role)));
        } else {
            self.written.push_back(written);
        }
        Ok(())
    }
}

/// The events that it reports.
impl Watched {
    /// Checks an event of an end whose peer is `peer`.
    pub(super) fn check_event(&mut self, event: &Event, peer: &mut Self) -> Result<(), String> {
        if self.closed {
            return Err(format!("the {} reports {event:?} after its end", name(self.role)));
        }
        match event {
            Event::Message(message) => self.check_received(message, peer),
            Event::Chunk(Chunk { data, last }) => {
                self.received.extend_from_slice(data.as_bytes());
                if !last {
                    return Ok(());
                }
                let message = joined(data.is_text(), &std::mem::take(&mut self.received));
                self.check_received(&message, peer)
            }
            Event::Ping(payload) => {
                self.unanswered = Some(payload.clone());
                Ok(())
            }
            Event::PeerClosed(_) => self.check_complete(peer),
            Event::Closed(closed) => {
                self.closed = true;
                let is_failure = matches!(closed.cause(), Cause::Protocol(_));
                if closed.received().is_some() && !is_failure {
                    self.check_complete(peer)
                } else {
                    Ok(())
                }
            }
            _ => Ok(()),
        }
    }

    fn check_received(&self, message: &Message, peer: &mut Self) -> Result<(), String> {
        let is_next = match peer.written.pop_front() {
            Some(Some(next)) => next == *message,
            Some(None) => true,
            None => false,
        };
        if is_next || peer.breaks_protocol {
            return Ok(());
        }
        Err(format!("the {} receives a message that is not the next one", name(self.role)))
    }

    /// Checks that all messages before the peer's Close frame were received.
    fn check_complete(&self, peer: &Self) -> Result<(), String> {
        match peer.written.len() {
            0 => Ok(()),
            _ if peer.breaks_protocol => Ok(()),
            lost => Err(format!(
                "the {} receives a Close frame and has lost {lost} messages before it",
                name(self.role)
            )),
        }
    }
}

/// A message with this payload. Text that is cut within a character is not valid on its own, so
/// it is compared by its bytes.
fn joined(is_text: bool, payload: &[u8]) -> Message {
    match str::from_utf8(payload) {
        Ok(text) if is_text => text.to_owned().into(),
        _ => payload.to_vec().into(),
    }
}

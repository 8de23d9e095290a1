//! Receiving: frames become events; their sequence, reassembly, chunks and limits.

use alloc::boxed::Box;
use alloc::string::String;

use bytes::{Buf, Bytes, BytesMut};
use bytestring::ByteString;

use super::Connection;
use super::assembly::Assembly;
use crate::close::{CloseCode, CloseReason};
use crate::error::ProtocolError;
use crate::event::Event;
use crate::extension::Direction;
use crate::frame::{FrameHead, Opcode, Rsv, take_payload};
use crate::message::Message;
use crate::raw::{Ending, Whole};
use crate::time::Instant;

/// Text shorter than this is checked by the standard library, as simdutf8 itself does.
const SIMD_LEN: usize = 64;

/// The length by which an encoded message may exceed its limit, besides an eighth: a deflate stream
/// that stores in the smallest blocks of zlib adds four hundredths.
const MAX_ENCODED_OVERHEAD: u64 = 1024;

/// The result of one look at the read buffer.
enum Step {
    Event(Event),
    /// Bytes were taken; look again.
    Again,
    /// More bytes are needed.
    Starved,
    /// As much was decoded as may be for now.
    Spent,
}

impl Connection {
    /// Takes the next event out of `inbound`: a message of one complete frame directly, all else by
    /// steps.
    #[inline]
    pub(super) fn next_event(&mut self, inbound: &mut BytesMut, now: Instant) -> Option<Event> {
        let Some(whole) = self.whole_message(inbound) else {
            return self.next_event_by_steps(inbound, now);
        };
        self.raw.unmask_whole(&whole, inbound);
        self.raw.note_whole(&whole, inbound);
        match self.take_whole(whole, inbound, now) {
            Ok(message) => Some(Event::Message(message)),
            Err(error) => self.fail_protocol(error, inbound, now),
        }
    }

    /// The message at the front of `inbound`, if the steps would return it whole.
    #[inline]
    pub(super) fn whole_message(&self, inbound: &[u8]) -> Option<Whole> {
        let whole = self.raw.whole_message(inbound)?;
        let is_next = self.is_open() && self.assembly.is_none() && self.codecs.is_empty();
        let (len, config) = (whole.payload.len(), &self.raw.config);
        let is_allowed = len as u64 <= config.max_message_len
            && len as u64 <= config.max_frame_len
            && len <= self.max_chunk_len()
            && config.max_fragments > 0;
        (is_next && is_allowed).then_some(whole)
    }

    #[inline(never)]
    fn next_event_by_steps(&mut self, inbound: &mut BytesMut, now: Instant) -> Option<Event> {
        if self.raw.ending().is_some_and(Ending::discards_input) {
            // After the peer's Close frame, and after a failure, input is ignored (RFC 6455 §5.5.1,
            // §7.1.7).
            inbound.clear();
            return self.take_report();
        }
        loop {
            match self.step(inbound, now) {
                Ok(Step::Event(event)) => return Some(event),
                Ok(Step::Again) => {}
                Ok(Step::Starved) if self.raw.eof => return self.end_of_input(inbound, now),
                Ok(Step::Starved | Step::Spent) => return None,
                Err(error) => return self.fail_protocol(error, inbound, now),
            }
        }
    }

    #[inline]
    fn step(&mut self, inbound: &mut BytesMut, now: Instant) -> Result<Step, ProtocolError> {
        let head = match &self.raw.incoming {
            Some(incoming) if !self.unchecked_head => incoming.head,
            Some(incoming) => {
                let head = incoming.head;
                self.unchecked_head = false;
                // Fewer reserved bits may be accepted now.
                self.raw.check(&head)?;
                self.begin_frame(&head, now)?;
                head
            }
            None => {
                let Some(head) = self.raw.poll_head(inbound) else { return Ok(Step::Starved) };
                let head = head?;
                self.begin_frame(&head, now)?;
                head
            }
        };
        if head.opcode.is_control() {
            self.receive_control(head.opcode, inbound, now)
        } else {
            self.receive_data(&head, inbound, now)
        }
    }

    /// Checks a header against the frames before it, and its length against the limits, before the
    /// payload is waited for.
    #[inline]
    fn begin_frame(&mut self, head: &FrameHead, now: Instant) -> Result<(), ProtocolError> {
        if !self.codecs.is_empty() {
            self.codecs.observe(Direction::Incoming, head);
        }
        let max = self.raw.config.max_frame_len;
        if head.len > max {
            return Err(ProtocolError::FrameTooLong { len: head.len, max });
        }
        if head.opcode.is_control() {
            if self.assembly.is_none() {
                self.timers.message_began(&self.raw.config, now);
            }
            return Ok(());
        }
        let (len, frames, is_encoded) = match (&mut self.assembly, head.opcode) {
            (None, Opcode::Continuation) => return Err(ProtocolError::ContinuationUnexpected),
            (Some(assembly), Opcode::Continuation) => {
                assembly.len = assembly.len.saturating_add(head.len);
                assembly.frames += 1;
                (assembly.len, assembly.frames, assembly.decoding.is_some())
            }
            (Some(_), _) => return Err(ProtocolError::MessageUnfinished),
            (None, _) => {
                self.timers.message_began(&self.raw.config, now);
                (head.len, 1, head.rsv != Rsv::NONE)
            }
        };
        let max = self.raw.config.get_max_streamed_len();
        // The limit is for the decoded message. One that cannot be compressed is longer when
        // encoded.
        let overhead = if is_encoded { max / 8 + MAX_ENCODED_OVERHEAD } else { 0 };
        if len > max.saturating_add(overhead) {
            return Err(self.too_long(len));
        }
        let max = self.raw.config.max_fragments;
        if frames > max {
            return Err(ProtocolError::TooManyFragments { max });
        }
        Ok(())
    }

    #[inline]
    fn receive_data(
        &mut self,
        head: &FrameHead,
        inbound: &mut BytesMut,
        now: Instant,
    ) -> Result<Step, ProtocolError> {
        let available = self.raw.unmask(inbound);
        if self.assembly.is_none() {
            let plain = head.rsv == Rsv::NONE;
            if plain && head.fin && head.len <= self.recv_chunk_len() as u64 {
                if available as u64 == head.len {
                    let is_text = head.opcode == Opcode::Text;
                    self.raw.watch.received(head.len);
                    let whole = Whole { is_text, payload: 0..available };
                    let message = self.take_whole(whole, inbound, now)?;
                    return Ok(Step::Event(Event::Message(message)));
                }
                if head.opcode == Opcode::Binary {
                    // It stays in the read buffer until it is complete: one block, and no copy.
                    return Ok(Step::Starved);
                }
            }
            let decoding = (!plain).then(|| Box::new(self.codecs.begin(head.rsv, head.len)));
            self.assembly = Some(Assembly::new(head, decoding));
        }
        match &self.assembly {
            Some(Assembly { decoding: Some(_), .. }) => {
                self.decode(head.fin, available, inbound, now)
            }
            _ => self.assemble(head.fin, available, inbound, now),
        }
    }

    /// Takes a message of one frame, which has arrived and is unmasked.
    #[inline]
    fn take_whole(
        &mut self,
        whole: Whole,
        inbound: &mut BytesMut,
        now: Instant,
    ) -> Result<Message, ProtocolError> {
        let Whole { is_text, payload } = whole;
        let message = if !is_text {
            Message::Binary(take_payload(inbound, payload))
        } else if payload.len() < SIMD_LEN {
            let bytes = take_payload(inbound, payload);
            Message::Text(bytes.try_into().map_err(|_| ProtocolError::TextInvalid)?)
        } else {
            // Text of any length is copied: without `unsafe`, text that was split off would have to
            // be checked again, which costs more than the copy.
            let text = simdutf8::basic::from_utf8(&inbound[payload.clone()])
                .map_err(|_| ProtocolError::TextInvalid)?;
            let mut copy = String::new();
            let reserved = copy.try_reserve_exact(text.len());
            reserved.map_err(|_| ProtocolError::OutOfMemory { len: text.len() as u64 })?;
            copy.push_str(text);
            inbound.advance(payload.end);
            Message::Text(copy.into())
        };
        self.raw.incoming = None;
        self.timers.message_ended(now);
        Ok(message)
    }

    /// Moves the bytes that have arrived into the message that is being assembled.
    fn assemble(
        &mut self,
        fin: bool,
        available: usize,
        inbound: &mut BytesMut,
        now: Instant,
    ) -> Result<Step, ProtocolError> {
        let (recv_chunk_len, max_message_len) =
            (self.recv_chunk_len(), self.raw.config.get_max_streamed_len());
        let remaining = self.raw.incoming.as_ref().map_or(0, |incoming| incoming.remaining());
        let Some(assembly) = &mut self.assembly else {
            return Ok(Step::Starved);
        };
        let room = recv_chunk_len.saturating_sub(assembly.held.len());
        if remaining > 0 {
            if room == 0 {
                // Only now is the message known to be longer than a chunk, however it was
                // fragmented.
                return Ok(Step::Event(Event::Chunk(assembly.take_chunk())));
            }
            if available == 0 {
                return Ok(Step::Starved);
            }
        }
        let len = available.min(room);
        let useful = if fin { remaining } else { u64::MAX };
        let most = max_message_len.min(recv_chunk_len as u64);
        assembly.held.make_room(len, useful, most)?;
        assembly.held.push(&inbound[..len])?;
        inbound.advance(len);
        if !(self.raw.taken(len, true) && fin) {
            return Ok(Step::Again);
        }
        self.end_message(now)
    }

    /// Has the extensions decode the bytes that have arrived, and moves the result into the message
    /// that is being assembled.
    fn decode(
        &mut self,
        fin: bool,
        available: usize,
        inbound: &mut BytesMut,
        now: Instant,
    ) -> Result<Step, ProtocolError> {
        let (recv_chunk_len, max) = (self.recv_chunk_len(), self.raw.config.get_max_streamed_len());
        let remaining = self.raw.incoming.as_ref().map_or(0, |incoming| incoming.remaining());
        let Some(assembly) = &mut self.assembly else {
            return Ok(Step::Starved);
        };
        let Assembly { held, decoding: Some(decoding), .. } = assembly else {
            return Ok(Step::Starved);
        };
        if available == 0 && remaining > 0 && decoding.is_done() {
            return Ok(Step::Starved);
        }
        if self.codecs.is_spent() {
            return Ok(Step::Spent);
        }
        let last = fin && available as u64 == remaining;
        // As much is decoded as may be held, and then one byte more, which shows that the message
        // is longer than a chunk, or too long.
        let allowed = usize::try_from(max.saturating_sub(decoding.len())).unwrap_or(usize::MAX);
        let room = recv_chunk_len.saturating_sub(held.len()).min(allowed).max(1);
        let step = decoding.step(&mut self.codecs, &inbound[..available], last, room)?;
        if step.len > max {
            let len = step.len;
            return Err(self.too_long(len));
        }
        inbound.advance(step.read);
        self.raw.watch.coded(Direction::Incoming, step.read, 0);
        if !step.output.is_empty() {
            if held.len() >= recv_chunk_len {
                // The chunk is returned before the bytes that follow it are decoded.
                self.raw.taken(step.read, false);
                decoding.put_back();
                return Ok(Step::Event(Event::Chunk(assembly.take_chunk())));
            }
            held.make_room(step.output.len(), u64::MAX, max.min(recv_chunk_len as u64))?;
            held.push(step.output)?;
            self.raw.watch.coded(Direction::Incoming, 0, step.output.len());
        }
        if !(self.raw.taken(step.read, step.done) && fin) {
            return Ok(Step::Again);
        }
        self.end_message(now)
    }

    /// The error for a message of at least `len` bytes, which names the setting that it exceeds.
    #[cold]
    fn too_long(&self, len: u64) -> ProtocolError {
        let config = &self.raw.config;
        let (max, held) = (config.get_max_streamed_len(), config.max_message_len);
        if max > held {
            ProtocolError::StreamTooLong { len, max }
        } else {
            ProtocolError::MessageTooLong { len, max }
        }
    }

    /// The length above which a message is returned in chunks, either because that was asked for or
    /// because it is too long to be held whole.
    #[inline]
    fn recv_chunk_len(&self) -> usize {
        let config = &self.raw.config;
        let len = self.max_chunk_len();
        if config.get_max_streamed_len() == config.max_message_len {
            return len;
        }
        let held = usize::try_from(config.max_message_len).unwrap_or(usize::MAX);
        len.min(held).max(4)
    }

    /// The part that has arrived of an unfinished message, as a chunk.
    pub(super) fn partial_message(
        &mut self,
        inbound: &mut BytesMut,
        now: Instant,
    ) -> Option<Event> {
        if self.raw.ending().is_some_and(Ending::discards_input) {
            return None;
        }
        if self.assembly.is_none()
            && let Some(incoming) = &self.raw.incoming
            && !incoming.head.opcode.is_control()
            && !self.unchecked_head
        {
            // The steps would leave it in the read buffer until it is complete.
            let head = incoming.head;
            self.assembly = Some(Assembly::new(&head, None));
            loop {
                match self.step(inbound, now) {
                    Ok(Step::Event(event)) => return Some(event),
                    Ok(Step::Again) => {}
                    Ok(Step::Starved | Step::Spent) => break,
                    Err(error) => return self.fail_protocol(error, inbound, now),
                }
            }
        }
        let assembly = self.assembly.as_mut()?;
        (assembly.held.whole_len() > 0).then(|| Event::Chunk(assembly.take_chunk()))
    }

    /// Returns the message that has ended, or its last chunk.
    fn end_message(&mut self, now: Instant) -> Result<Step, ProtocolError> {
        let Some(mut assembly) = self.assembly.take() else {
            return Ok(Step::Again);
        };
        self.timers.message_ended(now);
        Ok(Step::Event(assembly.finish()?))
    }

    fn receive_control(
        &mut self,
        opcode: Opcode,
        inbound: &mut BytesMut,
        now: Instant,
    ) -> Result<Step, ProtocolError> {
        let Some(payload) = self.raw.poll_whole_payload(inbound) else {
            return Ok(Step::Starved);
        };
        if self.assembly.is_none() {
            self.timers.frame_ended();
        }
        Ok(match opcode {
            Opcode::Ping => {
                self.answer_ping(&payload);
                Step::Event(Event::Ping(payload))
            }
            Opcode::Pong => {
                self.timers.handle_pong(&payload, now);
                Step::Event(Event::Pong(payload))
            }
            _ => {
                let reason = parse_close(&payload)?;
                match self.peer_closed(reason, now) {
                    Some(event) => Step::Event(event),
                    None => Step::Again,
                }
            }
        })
    }
}

/// Reads the body of a Close frame (RFC 6455 §5.5.1).
fn parse_close(payload: &Bytes) -> Result<CloseReason, ProtocolError> {
    let Some((code, text)) = payload.split_first_chunk() else {
        return match payload.len() {
            0 => Ok(CloseReason::EMPTY),
            _ => Err(ProtocolError::CloseTruncated),
        };
    };
    let code = u16::from_be_bytes(*code);
    let code = CloseCode::new(code).ok_or(ProtocolError::CloseCodeInvalid(code))?;
    let text = str::from_utf8(text).map_err(|_| ProtocolError::CloseReasonInvalid)?;
    Ok(CloseReason::new(code, ByteString::from(text)))
}

#[cfg(test)]
mod tests;

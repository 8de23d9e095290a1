//! Frames out of the read buffer and into the outgoing queue, for both layers.

use alloc::boxed::Box;
use core::ops::Range;

use bytes::{Buf, Bytes, BytesMut};

use super::RawConnection;
use crate::config::Masking;
use crate::error::ProtocolError;
use crate::extension::Direction;
use crate::frame::{Frame, FrameHead, Opcode, Rsv, take_payload};
use crate::mask;
use crate::role::Role;
use crate::seed::{MaskKeys, Seed};
use crate::time::Instant;

/// The length of a masking key in bytes.
const KEY_LEN: usize = 4;

/// The frame whose payload is arriving.
#[derive(Clone, Debug)]
pub(crate) struct Incoming {
    pub(crate) head: FrameHead,
    /// The number of payload bytes that have been taken out of the read buffer.
    pub(super) taken: u64,
    /// The number of bytes at the front of the read buffer that have been unmasked, if they were
    /// masked, and shown to the observer, if there is one.
    pub(super) unmasked: usize,
}

/// A message of one frame that is complete in the read buffer.
pub(crate) struct Whole {
    pub(crate) is_text: bool,
    pub(crate) payload: Range<usize>,
}

impl RawConnection {
    /// The next frame, checked against the rules and limits of this layer.
    pub(super) fn next_frame(
        &mut self,
        inbound: &mut BytesMut,
    ) -> Option<Result<Frame, ProtocolError>> {
        if self.incoming.is_none() {
            let head = match self.poll_head(inbound)? {
                Ok(head) => head,
                Err(error) => return Some(Err(error)),
            };
            let max = self.config.max_frame_len.min(self.config.max_message_len);
            if head.len > max {
                return Some(Err(self.fail(ProtocolError::FrameTooLong { len: head.len, max })));
            }
        }
        let head = self.incoming.as_ref()?.head;
        let payload = self.poll_whole_payload(inbound)?;
        Some(Ok(Frame { fin: head.fin, rsv: head.rsv, opcode: head.opcode, payload }))
    }

    /// The message at the front of `inbound`, if it is one complete frame without reserved bits and
    /// with the mask bit that its sender must use; `None` if it needs a closer look.
    #[inline]
    pub(crate) fn whole_message(&self, inbound: &[u8]) -> Option<Whole> {
        let &[first, second, ref rest @ ..] = inbound else {
            return None;
        };
        let is_text = match first {
            0x81 => true,
            0x82 => false,
            _ => return None,
        };
        let (mask_bit, key_len) = if self.role == Role::Server { (0x80, KEY_LEN) } else { (0, 0) };
        // With the wrong mask bit this is over 127.
        let (len, len_len) = match second ^ mask_bit {
            len @ 0..=125 => (usize::from(len), 0),
            126 => (usize::from(u16::from_be_bytes(*rest.first_chunk()?)), 2),
            _ => return None,
        };
        let start = 2 + len_len + key_len;
        let is_minimal = len_len == 0 || len > 125;
        let is_whole = start + len <= inbound.len();
        let is_next = self.incoming.is_none() && self.failure.is_none();
        let whole = Whole { is_text, payload: start..start + len };
        (is_minimal && is_whole && is_next).then_some(whole)
    }

    /// Unmasks the payload of a whole message in place.
    #[inline]
    pub(crate) fn unmask_whole(&self, whole: &Whole, inbound: &mut [u8]) {
        if self.role == Role::Server {
            let (header, payload) = inbound[..whole.payload.end].split_at_mut(whole.payload.start);
            if let Some(&key) = header.last_chunk::<KEY_LEN>() {
                mask::apply(payload, key, 0);
            }
        }
    }

    /// Records a whole message of one frame, which is unmasked and about to be taken.
    #[inline]
    pub(crate) fn note_whole(&mut self, whole: &Whole, inbound: &[u8]) {
        if self.watch.is_set() {
            let (header, payload) = inbound[..whole.payload.end].split_at(whole.payload.start);
            self.note_taken(whole.is_text, header, payload);
        }
    }

    /// Records a message of one frame, whose payload is unmasked.
    pub(crate) fn note_taken(&mut self, is_text: bool, header: &[u8], payload: &[u8]) {
        if self.watch.is_set() {
            let opcode = if is_text { Opcode::Text } else { Opcode::Binary };
            self.watch.received((header.len() + payload.len()) as u64);
            let (rsv, len) = (Rsv::NONE, payload.len() as u64);
            let mask = header.last_chunk::<KEY_LEN>().copied();
            let mask = mask.filter(|_| self.role == Role::Server);
            let head = FrameHead { fin: true, rsv, opcode, mask, len };
            self.watch.frame(Direction::Incoming, &head, payload);
        }
    }

    /// Takes the next header out of `inbound`. No payload may be arriving.
    ///
    /// The caller checks the length before it asks for the payload.
    #[inline]
    pub(crate) fn poll_head(
        &mut self,
        inbound: &mut BytesMut,
    ) -> Option<Result<FrameHead, ProtocolError>> {
        if self.failure.is_some() {
            inbound.clear();
            return None;
        }
        let decoded = match FrameHead::decode(inbound) {
            Ok(decoded) => decoded,
            Err(error) => return Some(Err(self.fail(error))),
        };
        let (head, header_len) = decoded?;
        if let Err(error) = self.check(&head) {
            return Some(Err(self.fail(error)));
        }
        inbound.advance(header_len);
        if self.watch.is_set() {
            self.watch.received(header_len as u64);
            self.watch.frame(Direction::Incoming, &head, &[]);
        }
        self.incoming = Some(Incoming { head, taken: 0, unmasked: 0 });
        Some(Ok(head))
    }

    /// Checks a header against the rules of this connection (RFC 6455 §5.1, §5.2).
    #[inline]
    pub(crate) fn check(&self, head: &FrameHead) -> Result<(), ProtocolError> {
        if head.rsv != Rsv::NONE {
            // A reserved bit applies to a message and is set on its first frame (RFC 7692 §6.1):
            // never on a control frame or a continuation.
            let begins = matches!(head.opcode, Opcode::Text | Opcode::Binary);
            if !begins || !self.rsv.contains(head.rsv) {
                return Err(ProtocolError::ReservedBitSet);
            }
        }
        match (self.role, head.mask) {
            (Role::Server, Some(_)) | (Role::Client, None) => Ok(()),
            _ if self.config.accept_any_masking => Ok(()),
            (Role::Server, None) => Err(ProtocolError::MaskMissing),
            (Role::Client, Some(_)) => Err(ProtocolError::MaskUnexpected),
        }
    }

    /// Rejects all input from here on.
    pub(crate) fn fail(&mut self, error: ProtocolError) -> ProtocolError {
        self.failure = Some(Box::new(error));
        self.incoming = None;
        error
    }

    /// Takes the whole payload of the frame that is arriving, once it is there.
    #[inline]
    pub(crate) fn poll_whole_payload(&mut self, inbound: &mut BytesMut) -> Option<Bytes> {
        let available = self.unmask(inbound);
        let incoming = self.incoming.as_ref()?;
        let len = usize::try_from(incoming.remaining()).ok()?;
        if available < len {
            return None;
        }
        self.incoming = None;
        self.watch.received(len as u64);
        Some(take_payload(inbound, 0..len))
    }

    /// Unmasks the part of the payload that has arrived. Returns the number of clear bytes at the
    /// front of `inbound`.
    #[inline]
    pub(crate) fn unmask(&mut self, inbound: &mut BytesMut) -> usize {
        let Some(incoming) = &mut self.incoming else {
            return 0;
        };
        let remaining = usize::try_from(incoming.remaining()).unwrap_or(usize::MAX);
        let available = inbound.len().min(remaining);
        // A caller that has cut the buffer short has lost bytes, but must not cause a panic.
        let start = incoming.unmasked.min(available);
        if let Some(key) = incoming.head.mask {
            // Only the phase counts, so the cast may lose the upper bits.
            let phase = (incoming.taken as usize).wrapping_add(start);
            mask::apply(&mut inbound[start..available], key, phase);
        }
        incoming.unmasked = available;
        if self.watch.is_set() {
            self.watch.payload(Direction::Incoming, &inbound[start..available]);
        }
        available
    }

    /// Records that `len` clear bytes have been taken from the front of `inbound`. If they were the
    /// last ones and `may_end`, the frame has ended; returns whether it has.
    pub(crate) fn taken(&mut self, len: usize, may_end: bool) -> bool {
        let Some(incoming) = &mut self.incoming else {
            return true;
        };
        incoming.taken += len as u64;
        self.watch.received(len as u64);
        incoming.unmasked = incoming.unmasked.saturating_sub(len);
        let ended = may_end && incoming.remaining() == 0;
        if ended {
            self.incoming = None;
        }
        ended
    }

    /// Returns true if frames are sent unmasked, so that the same bytes can be sent to many peers.
    pub(crate) fn is_unmasked(&self) -> bool {
        matches!(
            (self.config.masking, self.role),
            (Masking::Clients, Role::Server) | (Masking::None, _)
        )
    }

    #[inline]
    fn next_key(&mut self) -> [u8; 4] {
        let keys = self.keys.get_or_insert_with(|| Box::new(MaskKeys::new(Seed::new([0; 32]))));
        keys.next_key()
    }

    /// Queues a frame of any kind.
    #[inline]
    pub(crate) fn push(
        &mut self,
        now: Instant,
        fin: bool,
        rsv: Rsv,
        opcode: Opcode,
        payload: Bytes,
    ) {
        if self.watch.is_set() {
            let head = FrameHead { fin, rsv, opcode, mask: None, len: payload.len() as u64 };
            self.note_queued(now, head, &payload);
        }
        let head = FrameHead { fin, rsv, opcode, mask: None, len: payload.len() as u64 };
        if self.is_unmasked() {
            self.outbound.push_frame(&head, payload);
        } else {
            self.push_masked(head, payload);
        }
    }

    /// Queues whole frames by reference, which are not masked.
    pub(crate) fn push_frames(&mut self, now: Instant, frames: Bytes) {
        if self.watch.is_set() {
            self.note_all_queued(now, &frames);
        }
        self.outbound.push_frames(frames);
    }

    /// Counts whole frames, and shows them to the observer.
    #[cold]
    fn note_all_queued(&mut self, now: Instant, mut frames: &[u8]) {
        while let Ok(Some((head, header_len))) = FrameHead::decode(frames) {
            let (payload, after) = frames[header_len..].split_at(head.len as usize);
            self.note_queued(now, head, payload);
            frames = after;
        }
    }

    /// Counts a frame, and shows it to the observer.
    #[cold]
    fn note_queued(&mut self, now: Instant, head: FrameHead, payload: &[u8]) {
        self.watch.at(now);
        self.watch.frame(Direction::Outgoing, &head, payload);
    }

    #[inline(never)]
    fn push_masked(&mut self, head: FrameHead, payload: Bytes) {
        let mask = Some(self.next_key());
        self.outbound.push_frame(&FrameHead { mask, ..head }, payload);
    }
}

impl Incoming {
    /// The number of payload bytes that have not been taken out of the read buffer.
    #[inline]
    pub(crate) fn remaining(&self) -> u64 {
        self.head.len - self.taken
    }
}

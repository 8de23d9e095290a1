//! The frame layer: [`RawConnection`], frames in and frames out, and nothing by itself.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::ops::Range;

use bytes::{Buf, Bytes, BytesMut};

use crate::config::{Config, Masking};
use crate::error::{ProtocolError, SendError};
use crate::frame::{Frame, FrameHead, MAX_CONTROL_LEN, Opcode, Rsv};
use crate::limits::COPY_LEN;
use crate::mask;
use crate::outbound::Outbound;
use crate::seed::{MaskKeys, Seed};

/// The length of a masking key in bytes.
const KEY_LEN: usize = 4;

/// Which end of a connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The end that dialled: it masks what it sends (RFC 6455 §5.1).
    Client,
    /// The end that was dialled: it closes the transport first (RFC 6455 §7.1.1).
    Server,
}

/// An open connection of frames, without its transport: masking and the header rules of
/// RFC 6455 §5.2, nothing automatic.
///
/// It is what a proxy or a protocol test uses: pings, Close frames and fragments are delivered and
/// sent as they are, text is not checked, and no clock runs. A frame is held whole in memory, so
/// [`Config::max_frame_len`] and [`Config::max_message_len`] both bound it.
///
/// ```
/// use bytes::{Buf, BytesMut};
/// use sockless_core::{Config, Frame, Opcode, RawConnection, Seed};
///
/// let config = std::sync::Arc::new(Config::default());
/// let mut client = RawConnection::client(Seed::new([7; 32]), config.clone());
/// let mut server = RawConnection::server(config);
///
/// client.send(Frame::new(Opcode::Ping, "are you there?".into()))?;
/// let outbound = client.outbound();
/// let mut wire = BytesMut::from(&outbound.copy_to_bytes(outbound.remaining())[..]);
///
/// let frame = server.poll_frame(&mut wire).unwrap()?;
/// assert_eq!((frame.opcode, &frame.payload[..]), (Opcode::Ping, &b"are you there?"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct RawConnection {
    role: Role,
    pub(crate) config: Arc<Config>,
    /// The keys of an end that masks; a server that never does has none.
    keys: Option<Box<MaskKeys>>,
    pub(crate) outbound: Outbound,
    pub(crate) incoming: Option<Incoming>,
    /// The reserved bits that extensions own.
    rsv: Rsv,
    /// The rule that the peer broke, after which nothing is heard.
    pub(crate) failure: Option<Box<ProtocolError>>,
}

/// The frame whose payload is arriving.
#[derive(Clone, Debug)]
pub(crate) struct Incoming {
    pub(crate) head: FrameHead,
    /// How much of the payload has been taken out of the read buffer.
    taken: u64,
    /// How much at the front of the read buffer has been unmasked.
    unmasked: usize,
}

/// A message that is one frame, and lies whole in the read buffer.
pub(crate) struct Whole {
    pub(crate) is_text: bool,
    pub(crate) payload: Range<usize>,
}

impl RawConnection {
    /// The client's end; `seed` feeds its masking keys.
    pub fn client(seed: Seed, config: Arc<Config>) -> Self {
        Self::new(Role::Client, Some(Box::new(MaskKeys::new(seed))), config)
    }

    /// The server's end.
    pub fn server(config: Arc<Config>) -> Self {
        Self::new(Role::Server, None, config)
    }

    fn new(role: Role, keys: Option<Box<MaskKeys>>, config: Arc<Config>) -> Self {
        let outbound = Outbound::default();
        Self { role, config, keys, outbound, incoming: None, rsv: Rsv::NONE, failure: None }
    }

    /// Which end this is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Takes the next whole frame out of `inbound`, unmasking it in place; `None` when it needs more
    /// bytes.
    ///
    /// Between calls only append to `inbound`.
    ///
    /// # Errors
    ///
    /// The peer's breach of the header rules or of a length limit, once. Everything that arrives
    /// after it is dropped.
    pub fn poll_frame(&mut self, inbound: &mut BytesMut) -> Option<Result<Frame, ProtocolError>> {
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

    /// Puts `frames` back in front of `inbound`, as if they had not been taken out of it: for whoever
    /// finds out late that a [`Connection`](crate::Connection) should have had them.
    ///
    /// The frames are those that [`poll_frame`](Self::poll_frame) gave last, in their order.
    pub fn unread(&mut self, frames: impl IntoIterator<Item = Frame>, inbound: &mut BytesMut) {
        let mut before = BytesMut::new();
        // A key of zeros masks nothing, and is as good as any: the frames will not travel.
        let mask = (self.role == Role::Server).then_some([0; 4]);
        for Frame { fin, rsv, opcode, payload } in frames {
            let head = FrameHead { fin, rsv, opcode, mask, len: payload.len() as u64 };
            head.put(&mut before);
            before.extend_from_slice(&payload);
        }
        if let Some(incoming) = self.incoming.take() {
            if let Some(key) = incoming.head.mask {
                let unmasked = incoming.unmasked.min(inbound.len());
                mask::apply(&mut inbound[..unmasked], key, 0);
            }
            incoming.head.put(&mut before);
        }
        if !before.is_empty() {
            before.unsplit(core::mem::take(inbound));
            *inbound = before;
        }
    }

    /// Queues a frame, masked when this is the client's end.
    ///
    /// # Errors
    ///
    /// [`SendError::ControlTooLong`] for a control frame over 125 bytes. Nothing else is checked:
    /// the order of frames is the caller's.
    pub fn send(&mut self, frame: Frame) -> Result<(), SendError> {
        if frame.opcode.is_control() && frame.payload.len() > MAX_CONTROL_LEN {
            return Err(SendError::ControlTooLong { len: frame.payload.len() });
        }
        self.push(frame.fin, frame.rsv, frame.opcode, frame.payload);
        Ok(())
    }

    /// The bytes to send.
    pub fn outbound(&mut self) -> &mut Outbound {
        &mut self.outbound
    }

    /// How many bytes wait to be sent, apart from payloads that are held elsewhere too.
    pub fn held(&self) -> usize {
        self.outbound.held()
    }

    /// Whether bytes wait to be sent.
    pub fn has_unsent(&self) -> bool {
        self.outbound.has_remaining()
    }

    /// Replaces the settings, with effect from the next frame on.
    pub fn set_config(&mut self, config: Arc<Config>) {
        self.config = config;
    }

    /// Accepts the reserved bits `rsv` on the first frame of a message, for whoever works on such
    /// messages himself: what an extension would make of their payload is not done here.
    pub fn accept_rsv(&mut self, rsv: Rsv) {
        self.rsv = rsv;
    }

    /// The reserved bits that are accepted.
    pub fn rsv(&self) -> Rsv {
        self.rsv
    }

    /// The settings in force.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// Whether fewer bytes than [`Config::high_water`] wait to be sent.
    pub fn is_writable(&self) -> bool {
        self.outbound.remaining() < self.config.high_water
    }

    /// How many bytes the frame that is arriving still lacks, beyond what `inbound` holds; for
    /// drivers that read straight into a buffer of the right size. Never make room for all of it at
    /// once: it is what the peer claims.
    pub fn bytes_needed(&self, inbound: &BytesMut) -> u64 {
        self.incoming
            .as_ref()
            .map_or(0, |incoming| incoming.remaining().saturating_sub(inbound.len() as u64))
    }

    /// The message at the front of `inbound`, if it is one frame that has arrived whole, without a
    /// reserved bit and rightly masked; `None` of all that has to be looked at more closely.
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
        // With the wrong bit this is over 127.
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

    /// Unmasks the payload of a whole message where it lies.
    #[inline]
    pub(crate) fn unmask_whole(&self, whole: &Whole, inbound: &mut [u8]) {
        if self.role == Role::Server {
            let (header, payload) = inbound[..whole.payload.end].split_at_mut(whole.payload.start);
            if let Some(&key) = header.last_chunk::<KEY_LEN>() {
                mask::apply(payload, key, 0);
            }
        }
    }

    /// Takes the next header out of `inbound`, if no payload is arriving.
    ///
    /// The length is the caller's to check, before it asks for the payload.
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
        self.incoming = Some(Incoming { head, taken: 0, unmasked: 0 });
        Some(Ok(head))
    }

    /// What no header may say on this connection (RFC 6455 §5.1, §5.2).
    #[inline]
    pub(crate) fn check(&self, head: &FrameHead) -> Result<(), ProtocolError> {
        if head.rsv != Rsv::NONE {
            // A bit is its message's, and stands on the first frame (RFC 7692 §6.1): no control frame
            // and no continuation has one.
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

    /// Refuses all that follows.
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
        Some(take(inbound, 0..len))
    }

    /// Unmasks what has arrived of the payload, and says how much of it lies clear at the front of
    /// `inbound`.
    #[inline]
    pub(crate) fn unmask(&mut self, inbound: &mut BytesMut) -> usize {
        let Some(incoming) = &mut self.incoming else {
            return 0;
        };
        let remaining = usize::try_from(incoming.remaining()).unwrap_or(usize::MAX);
        let available = inbound.len().min(remaining);
        if let Some(key) = incoming.head.mask {
            // Only the phase counts, so that the cast may lose the upper bits.
            // A host that has cut the buffer short has lost bytes, and no more than that.
            incoming.unmasked = incoming.unmasked.min(available);
            let phase = (incoming.taken as usize).wrapping_add(incoming.unmasked);
            mask::apply(&mut inbound[incoming.unmasked..available], key, phase);
            incoming.unmasked = available;
        }
        available
    }

    /// Says that `len` clear bytes have been taken from the front of `inbound`, and that the frame has
    /// ended with them if there are no more and `may_end`; whether it has.
    pub(crate) fn taken(&mut self, len: usize, may_end: bool) -> bool {
        let Some(incoming) = &mut self.incoming else {
            return true;
        };
        incoming.taken += len as u64;
        incoming.unmasked = incoming.unmasked.saturating_sub(len);
        let ended = may_end && incoming.remaining() == 0;
        if ended {
            self.incoming = None;
        }
        ended
    }

    /// Whether frames go out as they are, so that one of them can go to many peers.
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
    pub(crate) fn push(&mut self, fin: bool, rsv: Rsv, opcode: Opcode, payload: Bytes) {
        let head = FrameHead { fin, rsv, opcode, mask: None, len: payload.len() as u64 };
        if self.is_unmasked() {
            self.outbound.push_frame(&head, payload);
        } else {
            self.push_masked(head, payload);
        }
    }

    #[inline(never)]
    fn push_masked(&mut self, head: FrameHead, payload: Bytes) {
        let mask = Some(self.next_key());
        self.outbound.push_frame(&FrameHead { mask, ..head }, payload);
    }
}

impl Incoming {
    /// How much of the payload has not been taken out of the read buffer.
    #[inline]
    pub(crate) fn remaining(&self) -> u64 {
        self.head.len - self.taken
    }
}

/// Takes `payload` out of `inbound`, and all before it: a copy of a short payload, a part of the buffer
/// for a long one.
#[inline(always)]
pub(crate) fn take(inbound: &mut BytesMut, payload: Range<usize>) -> Bytes {
    if payload.len() > COPY_LEN {
        inbound.advance(payload.start);
        return inbound.split_to(payload.len()).freeze();
    }
    let end = payload.end;
    let copy = Bytes::copy_from_slice(&inbound[payload]);
    inbound.advance(end);
    copy
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A text message, a ping between its fragments, and half of the last fragment.
    fn half_a_session(client: &mut RawConnection) -> BytesMut {
        let frames = [
            (false, Opcode::Text, "one "),
            (true, Opcode::Ping, "?"),
            (true, Opcode::Continuation, "two"),
        ];
        for (fin, opcode, payload) in frames {
            client.push(fin, Rsv::NONE, opcode, Bytes::from_static(payload.as_bytes()));
        }
        let outbound = client.outbound();
        BytesMut::from(&outbound.copy_to_bytes(outbound.remaining())[..])
    }

    #[test]
    fn masking_is_the_clients_unless_it_is_switched() {
        let send = |mut end: RawConnection, masking| {
            end.set_config(Arc::new(Config::default().masking(masking)));
            end.push(true, Rsv::NONE, Opcode::Text, Bytes::from_static(b"x"));
            end.outbound().chunk()[1] & 0x80 != 0
        };
        let config = Arc::new(Config::default());
        let client = RawConnection::client(Seed::new([7; 32]), config.clone());
        let server = RawConnection::server(config);
        for (masking, by_client, by_server) in [
            (Masking::Clients, true, false),
            (Masking::All, true, true),
            (Masking::None, false, false),
        ] {
            assert_eq!(send(client.clone(), masking), by_client, "{masking:?}");
            assert_eq!(send(server.clone(), masking), by_server, "{masking:?}");
        }
    }

    #[test]
    fn any_masking_is_accepted_when_asked() {
        for accept in [false, true] {
            let config = Arc::new(Config::default().accept_any_masking(accept));
            let mut server = RawConnection::server(config.clone());
            let frame = server.poll_frame(&mut BytesMut::from(&[0x82, 1, b'x'][..])).unwrap();
            assert_eq!(frame.is_ok(), accept);
            let mut client = RawConnection::client(Seed::new([7; 32]), config);
            let masked = [0x82, 0x81, 0, 0, 0, 0, b'x'];
            let frame = client.poll_frame(&mut BytesMut::from(&masked[..])).unwrap();
            assert_eq!(frame.is_ok(), accept);
        }
    }

    #[test]
    fn what_is_unread_is_received_again() {
        let config = Arc::new(Config::default());
        let mut client = RawConnection::client(Seed::new([7; 32]), config.clone());
        let whole = half_a_session(&mut client);
        for cut in 0..=whole.len() {
            let mut server = RawConnection::server(config.clone());
            let mut inbound = BytesMut::from(&whole[..cut]);
            let mut taken = alloc::vec::Vec::new();
            while let Some(frame) = server.poll_frame(&mut inbound) {
                taken.push(frame.unwrap());
            }
            server.unread(taken, &mut inbound);
            inbound.extend_from_slice(&whole[cut..]);
            let again: alloc::vec::Vec<_> =
                core::iter::from_fn(|| server.poll_frame(&mut inbound)).collect();
            let payloads: alloc::vec::Vec<_> =
                again.iter().map(|frame| frame.as_ref().unwrap().payload.clone()).collect();
            assert_eq!(payloads, ["one ", "?", "two"], "cut at {cut}");
        }
    }
}

//! The frame layer: [`RawConnection`], frames in and frames out, nothing automatic.

mod ending;
mod writing;

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::ops::Range;

use bytes::{Buf, Bytes, BytesMut};
use bytestring::ByteString;

use crate::config::{Config, Masking};
use crate::connection::TransportAction;
use crate::error::{ProtocolError, SendError};
use crate::event::{Cause, Closed, Party, Timeout};
use crate::frame::{Frame, FrameHead, MAX_CONTROL_LEN, Opcode, Rsv};
use crate::limits::COPY_LEN;
use crate::mask;
use crate::outbound::Outbound;
use crate::seed::{MaskKeys, Seed};
use crate::time::Instant;

pub(crate) use ending::{Ending, Phase};
use writing::Writing;

/// The length of a masking key in bytes.
const KEY_LEN: usize = 4;

/// Which end of a connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The end that connected. It masks the frames that it sends (RFC 6455 §5.1).
    Client,
    /// The end that accepted the connection. It closes the transport first (RFC 6455 §7.1.1).
    Server,
}

/// An open connection of frames, without its transport: masking and the header rules of
/// RFC 6455 §5.2, nothing automatic.
///
/// Proxies and protocol tests use it. Pings, Close frames and fragments are received and sent as they are,
/// and text is not checked. A frame is held whole in memory, so that
/// [`Config::max_frame_len`] and [`Config::max_message_len`] both bound it.
///
/// It is driven like a [`Connection`](crate::Connection), by the same loop:
/// [`poll_frame`](Self::poll_frame) takes bytes and returns frames; [`outbound`](Self::outbound) has the bytes
/// to send, [`transport_action`](Self::transport_action) what to do with the transport after them, and
/// [`poll_timeout`](Self::poll_timeout) the time at which to call [`handle_timeout`](Self::handle_timeout).
///
/// ```
/// use bytes::{Buf, BytesMut};
/// use sockless_core::{Config, Frame, Instant, Opcode, RawConnection, Seed};
///
/// let (config, now) = (std::sync::Arc::new(Config::default()), Instant::EPOCH);
/// let mut client = RawConnection::client(Seed::new([7; 32]), config.clone());
/// let mut server = RawConnection::server(config);
///
/// client.send(Frame::new(Opcode::Ping, "are you there?".into()), now)?;
/// let outbound = client.outbound();
/// let mut wire = BytesMut::from(&outbound.copy_to_bytes(outbound.remaining())[..]);
///
/// let frame = server.poll_frame(&mut wire, now).unwrap()?;
/// assert_eq!((frame.opcode, &frame.payload[..]), (Opcode::Ping, &b"are you there?"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct RawConnection {
    role: Role,
    pub(crate) config: Arc<Config>,
    /// The masking keys; `None` until this end masks a frame without having been given a seed.
    keys: Option<Box<MaskKeys>>,
    pub(crate) outbound: Outbound,
    pub(crate) incoming: Option<Incoming>,
    /// The reserved bits that extensions own.
    rsv: Rsv,
    /// The rule that the peer broke, after which input is discarded.
    pub(crate) failure: Option<Box<ProtocolError>>,
    writing: Writing,
    /// Set once either side has begun to end the connection.
    ending: Option<Box<Ending>>,
    /// The transport delivers nothing more.
    pub(crate) eof: bool,
}

/// The frame whose payload is arriving.
#[derive(Clone, Debug)]
pub(crate) struct Incoming {
    pub(crate) head: FrameHead,
    /// The number of payload bytes that have been taken out of the read buffer.
    taken: u64,
    /// The number of bytes at the front of the read buffer that have been unmasked.
    unmasked: usize,
}

/// A message of one frame that is complete in the read buffer.
pub(crate) struct Whole {
    pub(crate) is_text: bool,
    pub(crate) payload: Range<usize>,
}

impl RawConnection {
    /// Creates the client's end. `seed` feeds its masking keys.
    pub fn client(seed: Seed, config: Arc<Config>) -> Self {
        Self::new(Role::Client, Some(Box::new(MaskKeys::new(seed))), config)
    }

    /// Creates the server's end.
    pub fn server(config: Arc<Config>) -> Self {
        Self::new(Role::Server, None, config)
    }

    fn new(role: Role, keys: Option<Box<MaskKeys>>, config: Arc<Config>) -> Self {
        Self {
            role,
            config,
            keys,
            outbound: Outbound::default(),
            incoming: None,
            rsv: Rsv::NONE,
            failure: None,
            writing: Writing::Free,
            ending: None,
            eof: false,
        }
    }

    /// Takes the next whole frame out of `inbound`, unmasking it in place. Returns `None` when it needs more
    /// bytes.
    ///
    /// Between calls only append to `inbound`.
    ///
    /// # Errors
    ///
    /// The end of the connection, once and last: [`Cause::Protocol`] when the peer broke the header rules or a
    /// limit, [`Cause::Eof`] when the transport ended, [`Cause::Aborted`] after [`close`](Self::close) or
    /// [`abort`](Self::abort). Input that arrives after it is discarded.
    pub fn poll_frame(
        &mut self,
        inbound: &mut BytesMut,
        now: Instant,
    ) -> Option<Result<Frame, Closed>> {
        if self.ending.is_none() {
            match self.next_frame(inbound) {
                Some(Ok(frame)) => return Some(Ok(frame)),
                Some(Err(error)) => self.linger(Party::Local, Cause::Protocol(error), now),
                None if self.eof => self.end_at_once(Party::Peer, Cause::Eof, now),
                None => return None,
            }
            inbound.clear();
        } else if !inbound.is_empty() {
            inbound.clear();
            self.note_ending_progress(true, now);
        }
        self.take_report().map(Err)
    }

    /// Records that the transport will deliver nothing more. Frames that are still in the read buffer are
    /// returned first.
    pub fn handle_eof(&mut self, now: Instant) {
        self.eof = true;
        self.note_ending_progress(false, now);
        if self.ending.is_some() {
            self.stop_lingering();
        }
    }

    /// Ends the connection because the transport has failed. `error` describes the failure in the report.
    pub fn handle_transport_error(&mut self, error: impl Into<ByteString>, now: Instant) {
        self.end_at_once(Party::Peer, Cause::Transport(error.into()), now);
    }

    /// Enforces the deadline that has passed at `now`, if one has; an early call does nothing.
    ///
    /// After [`Config::write_timeout`] without progress an open connection ends at once. One that is closing
    /// drops what is queued.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.handle_progress(false, now);
        if self.poll_timeout().is_none_or(|deadline| now < deadline) {
            return;
        }
        match self.ending {
            None => self.end_at_once(Party::Local, Cause::Timeout(Timeout::Write), now),
            Some(_) => self.abandon(),
        }
    }

    /// Records that the transport has been given as much of [`outbound`](Self::outbound) as it accepts for now,
    /// from which [`Config::write_timeout`] counts.
    pub fn handle_blocked(&mut self, now: Instant) {
        self.handle_progress(true, now);
    }

    fn handle_progress(&mut self, is_blocked: bool, now: Instant) {
        self.note_written(is_blocked, now);
        self.note_ending_progress(false, now);
    }

    /// Queues a frame, masked if this is the client's end.
    ///
    /// # Errors
    ///
    /// [`SendError::ControlTooLong`] for a control frame over 125 bytes; [`SendError::Closing`] once the
    /// connection has begun to end. Nothing else is checked: the order of frames is the caller's.
    pub fn send(&mut self, frame: Frame, now: Instant) -> Result<(), SendError> {
        if !self.is_open() {
            return Err(SendError::Closing);
        }
        if frame.opcode.is_control() && frame.payload.len() > MAX_CONTROL_LEN {
            return Err(SendError::ControlTooLong { len: frame.payload.len() });
        }
        self.push(frame.fin, frame.rsv, frame.opcode, frame.payload);
        self.note_written(false, now);
        Ok(())
    }

    /// Sends what is queued, then shuts down this half of the transport. No Close frame is sent: a caller
    /// that wants one sends it first. A second call does nothing.
    ///
    /// Until the peer ends its half, input is discarded. It has [`Config::closing_timeout`] for that, again
    /// after each byte that it sends, and [`Config::write_timeout`] while it accepts none of the bytes that
    /// are queued. In all it takes at most 12 closing timeouts, and longer only for a peer that takes at least
    /// 1 KiB per second.
    pub fn close(&mut self, now: Instant) {
        self.linger(Party::Local, Cause::Aborted, now);
    }

    /// Ends the connection and drops what is queued.
    pub fn abort(&mut self, now: Instant) {
        self.end_at_once(Party::Local, Cause::Aborted, now);
    }

    /// Replaces the settings, with effect from the next frame on.
    pub fn set_config(&mut self, config: Arc<Config>) {
        self.config = config;
    }

    /// Accepts the reserved bits `rsv` on the first frame of a message. The payload of such a message is
    /// returned as it is: no extension decodes it.
    pub fn accept_rsv(&mut self, rsv: Rsv) {
        self.rsv = rsv;
    }

    /// Returns the bytes to send, a [`bytes::Buf`].
    #[inline]
    pub fn outbound(&mut self) -> &mut Outbound {
        &mut self.outbound
    }

    /// Returns what to do with the transport once [`outbound`](Self::outbound) is empty.
    #[inline]
    pub fn transport_action(&self) -> TransportAction {
        self.action()
    }

    /// Returns the time at which to call [`handle_timeout`](Self::handle_timeout). Any other call may change
    /// it.
    #[inline]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.ending {
            None => self.write_deadline(),
            Some(_) => self.ending_deadline(),
        }
    }

    /// Returns which end this is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Returns the settings in force.
    #[inline]
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// Returns the reserved bits that are accepted.
    pub fn rsv(&self) -> Rsv {
        self.rsv
    }

    /// Returns true until either side has begun to end the connection.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.ending.is_none()
    }

    /// Returns true while fewer than [`Config::high_water`] bytes are queued.
    #[inline]
    pub fn is_writable(&self) -> bool {
        self.outbound.remaining() < self.config.high_water
    }

    /// Returns true while bytes are queued.
    pub fn has_unsent(&self) -> bool {
        self.outbound.has_remaining()
    }
}

/// # For drivers
///
/// A loop of its own gets along without these.
impl RawConnection {
    /// Ends the connection because it could not be read from for
    /// [`Config::stall_timeout`], since the application received nothing.
    pub fn handle_stall(&mut self, now: Instant) {
        self.linger(Party::Local, Cause::Timeout(Timeout::Stall), now);
    }

    /// Ends the connection and drops what is queued, because all connections of the driver together hold too
    /// much.
    pub fn handle_overload(&mut self, now: Instant) {
        self.end_at_once(Party::Local, Cause::Overloaded, now);
    }

    /// Returns the number of bytes that are queued, without payloads that are shared with other connections.
    #[inline]
    pub fn held_bytes(&self) -> usize {
        self.outbound.held_bytes()
    }

    /// Returns how many bytes the frame that is arriving lacks, beyond those in `inbound`, so that a driver can
    /// read into a buffer of the right size.
    ///
    /// Never reserve all of it at once: the number is the peer's claim.
    pub fn bytes_needed(&self, inbound: &BytesMut) -> u64 {
        self.incoming
            .as_ref()
            .map_or(0, |incoming| incoming.remaining().saturating_sub(inbound.len() as u64))
    }

    /// Puts `frames` back in front of `inbound`, so that a [`Connection`](crate::Connection) made
    /// [from this one](crate::Connection::from_raw) receives them.
    ///
    /// They must be the frames that [`poll_frame`](Self::poll_frame) returned last, in their order.
    pub fn put_back(&mut self, frames: impl IntoIterator<Item = Frame>, inbound: &mut BytesMut) {
        let mut before = BytesMut::new();
        // A key of zeros leaves the payload as it is. It need not be random: these frames are not sent.
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
}

impl RawConnection {
    /// The next frame, checked against the rules and limits of this layer.
    fn next_frame(&mut self, inbound: &mut BytesMut) -> Option<Result<Frame, ProtocolError>> {
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

    /// Makes the connection one that has not begun to end, for the layer that is put on top of it.
    pub(crate) fn reopen(&mut self) {
        self.ending = None;
    }

    /// The message at the front of `inbound`, if it is one complete frame without reserved bits and with the
    /// mask bit that its sender must use; `None` if it needs a closer look.
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
        self.incoming = Some(Incoming { head, taken: 0, unmasked: 0 });
        Some(Ok(head))
    }

    /// Checks a header against the rules of this connection (RFC 6455 §5.1, §5.2).
    #[inline]
    pub(crate) fn check(&self, head: &FrameHead) -> Result<(), ProtocolError> {
        if head.rsv != Rsv::NONE {
            // A reserved bit applies to a message and is set on its first frame (RFC 7692 §6.1): never on
            // a control frame or a continuation.
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
        Some(take(inbound, 0..len))
    }

    /// Unmasks what has arrived of the payload. Returns how many clear bytes are at the front of `inbound`.
    #[inline]
    pub(crate) fn unmask(&mut self, inbound: &mut BytesMut) -> usize {
        let Some(incoming) = &mut self.incoming else {
            return 0;
        };
        let remaining = usize::try_from(incoming.remaining()).unwrap_or(usize::MAX);
        let available = inbound.len().min(remaining);
        if let Some(key) = incoming.head.mask {
            // Only the phase counts, so the cast may lose the upper bits.
            // A caller that has cut the buffer short has lost bytes, but must not cause a panic.
            incoming.unmasked = incoming.unmasked.min(available);
            let phase = (incoming.taken as usize).wrapping_add(incoming.unmasked);
            mask::apply(&mut inbound[incoming.unmasked..available], key, phase);
            incoming.unmasked = available;
        }
        available
    }

    /// Records that `len` clear bytes have been taken from the front of `inbound`. If they were the last ones
    /// and `may_end`, the frame has ended; returns whether it has.
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

    /// Whether frames are sent unmasked, so that the same bytes can be sent to many peers.
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
    /// The number of payload bytes that have not been taken out of the read buffer.
    #[inline]
    pub(crate) fn remaining(&self) -> u64 {
        self.head.len - self.taken
    }
}

/// Takes `payload` and all before it out of `inbound`: copied if it is short, split off if it is long.
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

    const NOW: Instant = Instant::EPOCH;

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
            let frame = server.poll_frame(&mut BytesMut::from(&[0x82, 1, b'x'][..]), NOW).unwrap();
            assert_eq!(frame.is_ok(), accept);
            let mut client = RawConnection::client(Seed::new([7; 32]), config);
            let masked = [0x82, 0x81, 0, 0, 0, 0, b'x'];
            let frame = client.poll_frame(&mut BytesMut::from(&masked[..]), NOW).unwrap();
            assert_eq!(frame.is_ok(), accept);
        }
    }

    #[test]
    fn frames_that_were_put_back_are_received_again() {
        let config = Arc::new(Config::default());
        let mut client = RawConnection::client(Seed::new([7; 32]), config.clone());
        let whole = half_a_session(&mut client);
        for cut in 0..=whole.len() {
            let mut server = RawConnection::server(config.clone());
            let mut inbound = BytesMut::from(&whole[..cut]);
            let mut taken = alloc::vec::Vec::new();
            while let Some(frame) = server.poll_frame(&mut inbound, NOW) {
                taken.push(frame.unwrap());
            }
            server.put_back(taken, &mut inbound);
            inbound.extend_from_slice(&whole[cut..]);
            let again: alloc::vec::Vec<_> =
                core::iter::from_fn(|| server.poll_frame(&mut inbound, NOW)).collect();
            let payloads: alloc::vec::Vec<_> =
                again.iter().map(|frame| frame.as_ref().unwrap().payload.clone()).collect();
            assert_eq!(payloads, ["one ", "?", "two"], "cut at {cut}");
        }
    }
}

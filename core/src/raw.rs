//! The frame layer: [`RawConnection`], frames in and frames out, nothing automatic.

mod ending;
mod frames;
mod output;
mod writing;

use alloc::boxed::Box;
use alloc::sync::Arc;

use bytes::BytesMut;
use bytestring::ByteString;

use crate::config::Config;
use crate::error::{ProtocolError, SendError};
use crate::event::{Cause, Closed, Party, Timeout};
use crate::frame::{Frame, FrameHead, MAX_CONTROL_LEN, Rsv};
use crate::lifecycle::TransportAction;
use crate::mask;
use crate::observer::{Observer, Watch};
use crate::outbound::{Outbound, Queue};
use crate::role::Role;
use crate::seed::{MaskKeys, Seed};
use crate::stats::Stats;
use crate::time::Instant;
use crate::turn::Turn;

pub(crate) use ending::{Ending, Phase};
use frames::Incoming;
pub(crate) use frames::Whole;
use writing::Writing;

/// An open connection of frames, without its transport: masking and the header rules of
/// RFC 6455 §5.2, nothing automatic.
///
/// Proxies and protocol tests use it. Pings, Close frames and fragments are received and sent as
/// they are, and text is not checked. A frame is held whole in memory, so that
/// [`Config::max_frame_len`] and [`Config::max_message_len`] both bound it.
///
/// It is driven like a [`Connection`](crate::Connection), by the same loop:
/// [`poll_output`](Self::poll_output) takes received bytes, and returns frames, bytes to write and what
/// to wait for. A driver that takes the steps of a turn in another order calls them itself:
/// [`poll_frame`](Self::poll_frame), [`outbound`](Self::outbound),
/// [`handle_blocked`](Self::handle_blocked), [`transport_action`](Self::transport_action),
/// [`poll_timeout`](Self::poll_timeout) and [`handle_timeout`](Self::handle_timeout).
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
/// let mut outbound = client.outbound();
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
    pub(crate) outbound: Queue,
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
    pub(crate) watch: Watch,
    /// The turn of `poll_output`, of this layer or of the one on top.
    pub(crate) turn: Turn,
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
            outbound: Queue::default(),
            incoming: None,
            rsv: Rsv::NONE,
            failure: None,
            writing: Writing::Free,
            ending: None,
            eof: false,
            watch: Watch::default(),
            turn: Turn::default(),
        }
    }

    /// Takes the next whole frame out of `inbound`, unmasking it in place. Returns `None` when it
    /// needs more bytes.
    ///
    /// Between calls only append to `inbound`.
    ///
    /// # Errors
    ///
    /// The end of the connection, once and last: [`Cause::Protocol`] when the peer broke the header
    /// rules or a limit, [`Cause::Eof`] when the transport ended, [`Cause::Aborted`] after
    /// [`close`](Self::close) or [`abort`](Self::abort). Input that arrives after it is discarded.
    pub fn poll_frame(
        &mut self,
        inbound: &mut BytesMut,
        now: Instant,
    ) -> Option<Result<Frame, Closed>> {
        self.watch.at(now);
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

    /// Records that the transport will deliver nothing more. Frames that are still in the read
    /// buffer are returned first.
    pub fn handle_eof(&mut self, now: Instant) {
        self.eof = true;
        self.note_ending_progress(false, now);
        if self.ending.is_some() {
            self.stop_lingering();
        }
    }

    /// Ends the connection because the transport has failed. `error` describes the failure in the
    /// report.
    pub fn handle_transport_error(&mut self, error: impl Into<ByteString>, now: Instant) {
        self.end_at_once(Party::Peer, Cause::Transport(error.into()), now);
    }

    /// Enforces the deadline that has passed at `now`, if one has; an early call does nothing.
    ///
    /// After [`Config::write_timeout`] without progress an open connection ends at once. One that
    /// is closing drops what is queued.
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

    /// Records that the transport has been given as much of [`outbound`](Self::outbound) as it
    /// accepts for now, from which [`Config::write_timeout`] counts.
    pub fn handle_blocked(&mut self, now: Instant) {
        self.handle_progress(true, now);
    }

    /// Records whether the transport has passed on all that it has accepted; see
    /// [`Connection::handle_flushed`](crate::Connection::handle_flushed).
    pub fn handle_flushed(&mut self, is_flushed: bool, now: Instant) {
        self.note_flushed(is_flushed, now);
    }

    fn handle_progress(&mut self, is_blocked: bool, now: Instant) {
        self.note_written(is_blocked, now);
        self.note_ending_progress(false, now);
    }

    /// Queues a frame, masked if this is the client's end.
    ///
    /// # Errors
    ///
    /// [`SendError::ControlTooLong`] for a control frame over 125 bytes; [`SendError::Closing`]
    /// once the connection has begun to end. Nothing else is checked: the order of frames is the
    /// caller's.
    pub fn send(&mut self, frame: Frame, now: Instant) -> Result<(), SendError> {
        if !self.is_open() {
            return Err(SendError::Closing);
        }
        if frame.opcode.is_control() && frame.payload.len() > MAX_CONTROL_LEN {
            return Err(SendError::ControlTooLong { len: frame.payload.len() });
        }
        self.push(now, frame.fin, frame.rsv, frame.opcode, frame.payload);
        self.note_written(false, now);
        Ok(())
    }

    /// Sends what is queued, then shuts down this half of the transport. No Close frame is sent: a
    /// caller that wants one sends it first. A second call does nothing.
    ///
    /// Until the peer ends its half, input is discarded. It has [`Config::closing_timeout`] for
    /// that, again after each byte that it sends, and [`Config::write_timeout`] while it accepts
    /// none of the bytes that are queued. In all it takes at most 12 closing timeouts, and a second
    /// for each KiB that the transport takes meanwhile or, at most 256 KiB, has taken before.
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

    /// Accepts the reserved bits `rsv` on the first frame of a message. The payload of such a
    /// message is returned as it is: no extension decodes it.
    pub fn accept_rsv(&mut self, rsv: Rsv) {
        self.rsv = rsv;
    }

    /// Sets the observer of frames and states, or removes it. Returns the former one.
    pub fn set_observer(
        &mut self,
        observer: Option<Box<dyn Observer>>,
    ) -> Option<Box<dyn Observer>> {
        self.watch.set(observer)
    }

    /// Starts to count frames and received bytes for [`stats`](Self::stats), unless an observer has started it.
    /// The counters take some 200 bytes.
    pub fn start_counting(&mut self) {
        self.watch.start();
    }

    /// Returns the counters of the connection.
    pub fn stats(&self) -> Stats {
        let (sent, received) = self.watch.traffic(self.outbound.taken());
        Stats {
            sent,
            received,
            queued_bytes: self.outbound.unsent(),
            held_bytes: self.held_bytes(),
            round_trip: None,
            round_trips: 0,
        }
    }

    /// Returns the bytes to send, lent or owned: see [`Outbound`].
    #[inline]
    pub fn outbound(&mut self) -> Outbound<'_> {
        Outbound(&mut self.outbound)
    }

    /// Returns what to do with the transport once [`outbound`](Self::outbound) is empty.
    #[inline]
    pub fn transport_action(&self) -> TransportAction {
        self.action()
    }

    /// Returns the time at which to call [`handle_timeout`](Self::handle_timeout). Any other call
    /// may change it.
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
        self.outbound.unsent() < self.config.high_water
    }

    /// Returns true while bytes are queued, or were popped and not reported sent.
    pub fn has_unsent(&self) -> bool {
        self.outbound.has_unsent()
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

    /// Ends the connection and drops what is queued, because all connections of the driver together
    /// hold too much.
    pub fn handle_overload(&mut self, now: Instant) {
        self.end_at_once(Party::Local, Cause::Overloaded, now);
    }

    /// Returns the number of bytes that are queued, without payloads that are shared with other
    /// connections.
    #[inline]
    pub fn held_bytes(&self) -> usize {
        self.outbound.held_bytes()
    }

    /// Returns how many bytes the frame that is arriving lacks, beyond those in `inbound`, so that
    /// a driver can read into a buffer of the right size.
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
    /// An observer is shown them again.
    pub fn put_back(&mut self, frames: impl IntoIterator<Item = Frame>, inbound: &mut BytesMut) {
        let mut before = BytesMut::new();
        // A key of zeros leaves the payload as it is. It need not be random: these frames are not
        // sent.
        let mask = (self.role == Role::Server).then_some([0; 4]);
        for Frame { fin, rsv, opcode, payload } in frames {
            let head = FrameHead { fin, rsv, opcode, mask, len: payload.len() as u64 };
            let start = before.len();
            head.put(&mut before);
            before.extend_from_slice(&payload);
            self.watch.take_back(opcode, before.len() - start);
        }
        if let Some(incoming) = self.incoming.take() {
            if let Some(key) = incoming.head.mask {
                let unmasked = incoming.unmasked.min(inbound.len());
                mask::apply(&mut inbound[..unmasked], key, 0);
            }
            let start = before.len();
            incoming.head.put(&mut before);
            self.watch.take_back(incoming.head.opcode, before.len() - start);
        }
        if !before.is_empty() {
            before.unsplit(core::mem::take(inbound));
            *inbound = before;
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::config::Masking;
    use crate::frame::Opcode;

    const NOW: Instant = Instant::EPOCH;

    /// A text message, a ping between its fragments, and half of the last fragment.
    fn half_a_session(client: &mut RawConnection) -> BytesMut {
        let frames = [
            (false, Opcode::Text, "one "),
            (true, Opcode::Ping, "?"),
            (true, Opcode::Continuation, "two"),
        ];
        for (fin, opcode, payload) in frames {
            client.push(NOW, fin, Rsv::NONE, opcode, Bytes::from_static(payload.as_bytes()));
        }
        let mut outbound = client.outbound();
        BytesMut::from(&outbound.copy_to_bytes(outbound.remaining())[..])
    }

    #[test]
    fn masking_is_the_clients_unless_it_is_switched() {
        let send = |mut end: RawConnection, masking| {
            end.set_config(Arc::new(Config::default().masking(masking)));
            end.push(NOW, true, Rsv::NONE, Opcode::Text, Bytes::from_static(b"x"));
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

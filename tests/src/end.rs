//! One end of a connection on a virtual clock; its peer is the test, which writes the frames itself.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use sockless_core::extension::Agreed;
use sockless_core::{
    Cause, CloseReason, Closed, Config, Connection, Event, Instant, Negotiated, Party,
    ProtocolError, Role, Seed, TransportAction,
};

use crate::wire::{self, CLOSE, Read, Writer, close_body};

/// Both ends of a connection, for cases that hold for each.
pub const BOTH: [Role; 2] = [Role::Client, Role::Server];

/// The rule that a peer broke, where that ended a connection.
#[track_caller]
pub fn broken_rule(closed: Closed) -> ProtocolError {
    match closed.cause() {
        Cause::Protocol(error) => *error,
        cause => panic!("{cause:?}"),
    }
}

/// A connection, its read buffer and its clock.
#[derive(Debug)]
pub struct End {
    /// The connection under test.
    pub connection: Connection,
    /// Bytes that the transport has delivered and the connection has not taken.
    pub inbound: BytesMut,
    /// The clock.
    pub now: Instant,
    /// Writes frames as the peer of this end must.
    pub peer: Writer,
}

/// Only where the codecs of the connection can be copied: without any, and once it is over.
impl Clone for End {
    fn clone(&self) -> Self {
        let connection = self.connection.try_clone().expect("codecs that can be copied");
        let (inbound, now, peer) = (self.inbound.clone(), self.now, self.peer);
        Self { connection, inbound, now, peer }
    }
}

impl End {
    /// An end that was opened at the epoch.
    pub fn new(role: Role, config: Config) -> Self {
        let (config, now) = (Arc::new(config), Instant::EPOCH);
        Self {
            connection: connection(role, config, now),
            inbound: BytesMut::new(),
            now,
            peer: peer_of(role),
        }
    }

    /// Receives bytes from the peer, and polls until there are no further events.
    pub fn receive(&mut self, bytes: impl AsRef<[u8]>) -> Vec<Event> {
        self.inbound.extend_from_slice(bytes.as_ref());
        self.poll()
    }

    /// Polls until there are no further events.
    pub fn poll(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.connection.poll_event(&mut self.inbound, self.now)).collect()
    }

    /// The transport delivers nothing more.
    pub fn eof(&mut self) -> Vec<Event> {
        self.connection.handle_eof(self.now);
        self.poll()
    }

    /// Lets time pass, firing each deadline when it is due and not before.
    pub fn wait(&mut self, duration: Duration) -> Vec<Event> {
        let end = self.now + duration;
        let mut events = Vec::new();
        for turn in 0.. {
            assert!(turn < 10_000, "the deadlines never end");
            let due = self.connection.poll_timeout().filter(|&due| due <= end);
            self.now = due.unwrap_or(end).max(self.now);
            self.connection.handle_timeout(self.now);
            events.extend(self.poll());
            if due.is_none() {
                break;
            }
        }
        events
    }

    /// Sends a reason to close.
    pub fn close(&mut self, reason: impl Into<CloseReason>) {
        self.connection.close(reason, self.now);
    }

    /// All bytes that wait to be sent.
    pub fn drain(&mut self) -> Vec<u8> {
        let bytes = drain(&mut self.connection);
        self.connection.handle_blocked(self.now);
        bytes
    }

    /// All frames that wait to be sent, which must be masked if this is a client, and only then.
    pub fn sent(&mut self) -> Vec<Read> {
        let frames = wire::read_all(&self.drain());
        for frame in &frames {
            let masked = frame.key.is_some();
            assert_eq!(masked, self.connection.role() == Role::Client, "{frame:?}");
        }
        frames
    }

    /// The connection has reported only its end; afterwards it takes no input and sends nothing.
    #[track_caller]
    pub fn assert_over(&mut self, events: &[Event], expected: &Closed) {
        assert_eq!(events, [Event::Closed(expected.clone())]);
        self.assert_silent();
    }

    /// The peer broke the rule of `error`: the last frame is a Close with `code` that names the rule, further
    /// input is dropped, and the transport is read until it ends.
    #[track_caller]
    pub fn assert_fails_with(&mut self, code: u16, error: ProtocolError, events: &[Event]) {
        let reported = format!("{error} (RFC 6455 {})", error.clause());
        let reason = error.close_reason();
        assert_eq!(reason.code().map(|code| code.get()), Some(code), "{error}");
        let closed = Closed::new(Party::Local, Cause::Protocol(error), Some(reason), None);
        assert_eq!(events.last(), Some(&Event::Closed(closed)));
        let sent = self.sent();
        let Some(close) = sent.last() else {
            panic!("nothing was sent to the peer");
        };
        assert_eq!((close.first, &close.payload), (CLOSE, &close_body(code, &reported)));
        assert_eq!(sent.iter().filter(|frame| frame.first == CLOSE).count(), 1);
        assert_eq!(self.connection.transport_action(), TransportAction::ShutdownWrite);
        self.assert_silent();
        assert_eq!(self.eof(), []);
        assert_eq!(self.connection.transport_action(), TransportAction::Close);
    }

    /// Nothing that is done to a connection that is over makes it speak.
    #[track_caller]
    pub fn assert_silent(&mut self) {
        let mut over = self.clone();
        over.drain();
        let peer = over.peer;
        assert!(!over.connection.is_open());
        for bytes in [peer.text("late"), peer.ping("late"), peer.close(1000, ""), vec![0xFF; 99]] {
            assert_eq!(over.receive(bytes), []);
            assert_eq!(over.inbound.len(), 0, "what arrives after the end is dropped");
        }
        assert!(over.connection.send("late", over.now).is_err());
        assert!(over.connection.ping("late", over.now).is_err());
        over.close(CloseReason::EMPTY);
        assert_eq!(over.eof(), []);
        assert_eq!(over.wait(Duration::from_secs(1_000_000)), []);
        over.connection.handle_transport_error("late", over.now);
        over.connection.abort(over.now);
        assert_eq!(over.eof(), []);
        assert!(over.drain().is_empty());
        assert_eq!(over.connection.transport_action(), TransportAction::Close);
        assert_eq!(over.connection.poll_timeout(), None);
    }
}

/// A connection of this role, to a peer with the same settings.
pub fn connection(role: Role, config: Arc<Config>, now: Instant) -> Connection {
    let negotiated = negotiated(role, &config);
    match role {
        Role::Client => Connection::client(negotiated, Seed::new([7; 32]), config, now),
        Role::Server => Connection::server(negotiated, config, now),
    }
}

/// The extensions that two ends with the same settings agree on, as this role sees them.
fn negotiated(role: Role, config: &Config) -> Negotiated {
    let mut negotiated = Negotiated::default();
    for extension in config.get_extensions().iter() {
        let offers = extension.offers();
        let (answer, codec) = extension.answer(&offers[0]).expect("an answer to oneself");
        let codec = match role {
            Role::Client => extension.confirm(&answer).expect("one's own answer"),
            Role::Server => codec,
        };
        negotiated.extensions.push(Agreed::new(&**extension, answer, codec));
    }
    negotiated
}

/// Writes frames as the peer of this role must.
pub fn peer_of(role: Role) -> Writer {
    Writer { masks: role == Role::Server }
}

/// All bytes that wait to be sent, and those that wait for room behind them.
pub fn drain(connection: &mut Connection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while connection.outbound().has_remaining() {
        let mut outbound = connection.outbound();
        let waiting = outbound.remaining();
        bytes.extend_from_slice(&outbound.copy_to_bytes(waiting));
    }
    bytes
}

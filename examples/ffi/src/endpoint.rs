//! One end of a transport, from the opening handshake to the end: [`Endpoint`]. All of it is safe code.

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use sockless_core::handshake::{
    ClientHandshake, ClientRequestError, ResponseHead, ServerHandshake, UpgradeRequest,
};
use sockless_core::{
    CloseReason, Config, Connection, Event, Instant, Message, Negotiated, Seed, SendError,
    TransportAction,
};

/// A connection that begins with its opening handshake.
pub(crate) struct Endpoint {
    state: State,
    config: Arc<Config>,
    inbound: BytesMut,
    /// The latest time that a call has passed.
    now: Instant,
}

enum State {
    Accepting(ServerHandshake),
    Connecting(ClientHandshake),
    Open(Connection),
    /// The opening handshake has failed.
    Failed {
        /// The part of the answer that is to be sent.
        answer: Bytes,
        /// Why, until it has been reported.
        why: Option<String>,
    },
}

/// What happened.
pub(crate) enum Happened {
    /// The opening handshake is complete; a server has the target of the request.
    Open(String),
    Event(Event),
    /// The opening handshake failed, for this reason.
    Failed(String),
}

impl Endpoint {
    pub(crate) fn server(now: Instant) -> Self {
        let config = Arc::new(Config::default());
        let handshake = ServerHandshake::new(config.clone(), now);
        Self { state: State::Accepting(handshake), config, inbound: BytesMut::new(), now }
    }

    pub(crate) fn client(
        host: &str,
        target: &str,
        seed: [u8; 32],
        now: Instant,
    ) -> Result<Self, ClientRequestError> {
        let config = Arc::new(Config::default());
        let seed = Seed::new(seed);
        let handshake =
            ClientHandshake::with_headers(host, target, &[], seed, config.clone(), now)?;
        Ok(Self { state: State::Connecting(handshake), config, inbound: BytesMut::new(), now })
    }

    /// Notes the time, which cannot go back.
    pub(crate) fn at(&mut self, now: Instant) -> &mut Self {
        self.now = self.now.max(now);
        self
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        // Nothing is read after the end: it would only be kept.
        if self.transport_action() != TransportAction::Close {
            self.inbound.extend_from_slice(bytes);
        }
    }

    pub(crate) fn handle_eof(&mut self) {
        match &mut self.state {
            State::Accepting(handshake) => handshake.handle_eof(),
            State::Connecting(handshake) => handshake.handle_eof(),
            State::Open(connection) => connection.handle_eof(self.now),
            State::Failed { .. } => {}
        }
    }

    pub(crate) fn handle_timeout(&mut self) {
        match &mut self.state {
            State::Accepting(handshake) => handshake.handle_timeout(self.now),
            State::Connecting(handshake) => handshake.handle_timeout(self.now),
            State::Open(connection) => connection.handle_timeout(self.now),
            State::Failed { .. } => {}
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Accepting(handshake) => handshake.poll_timeout(),
            State::Connecting(handshake) => handshake.poll_timeout(),
            State::Open(connection) => connection.poll_timeout(),
            State::Failed { .. } => None,
        }
    }

    pub(crate) fn next(&mut self) -> Option<Happened> {
        match &mut self.state {
            State::Accepting(_) => self.accept(),
            State::Connecting(handshake) => {
                match handshake.poll_head(&mut self.inbound, self.now)? {
                    Ok((connection, _)) => {
                        self.state = State::Open(connection);
                        Some(Happened::Open(String::new()))
                    }
                    Err(error) => self.fail(Bytes::new(), error.to_string()),
                }
            }
            State::Open(connection) => {
                connection.poll_event(&mut self.inbound, self.now).map(Happened::Event)
            }
            State::Failed { why, .. } => why.take().map(Happened::Failed),
        }
    }

    fn accept(&mut self) -> Option<Happened> {
        let State::Accepting(handshake) = &mut self.state else { return None };
        let head = match handshake.poll_head(&mut self.inbound)? {
            Ok(head) => head,
            Err(error) => {
                let answer = error.encoded_response().unwrap_or_default();
                return self.fail(answer, error.to_string());
            }
        };
        match UpgradeRequest::from_head(&head) {
            Ok(upgrade) => {
                let (answer, negotiated) = upgrade.accept_head();
                self.open(&answer, negotiated);
                Some(Happened::Open(head.target().into()))
            }
            Err(error) => self.fail(error.encoded_response(), error.to_string()),
        }
    }

    fn open(&mut self, answer: &ResponseHead, negotiated: Negotiated) {
        let State::Accepting(handshake) = &mut self.state else { return };
        let (handshake, config) = (handshake.clone(), self.config.clone());
        self.state = State::Open(handshake.accept_head(answer, negotiated, config, self.now));
    }

    fn fail(&mut self, answer: Bytes, why: String) -> Option<Happened> {
        self.inbound = BytesMut::new();
        self.state = State::Failed { answer, why: None };
        Some(Happened::Failed(why))
    }

    /// The next bytes to write.
    pub(crate) fn output(&mut self) -> &[u8] {
        match &mut self.state {
            State::Accepting(_) => &[],
            State::Connecting(handshake) => handshake.outbound().into_chunk(),
            State::Open(connection) => connection.outbound().into_chunk(),
            State::Failed { answer, .. } => Buf::chunk(answer),
        }
    }

    /// Notes that the transport took `len` bytes; false if there are fewer.
    pub(crate) fn sent(&mut self, len: usize) -> bool {
        let remaining = match &mut self.state {
            State::Accepting(_) => 0,
            State::Connecting(handshake) => handshake.outbound().remaining(),
            State::Open(connection) => connection.outbound().remaining(),
            State::Failed { answer, .. } => answer.remaining(),
        };
        if len > remaining {
            return false;
        }
        match &mut self.state {
            State::Accepting(_) => {}
            State::Connecting(handshake) => handshake.outbound().advance(len),
            State::Open(connection) => {
                connection.outbound().advance(len);
                connection.handle_blocked(self.now);
            }
            State::Failed { answer, .. } => answer.advance(len),
        }
        true
    }

    pub(crate) fn transport_action(&self) -> TransportAction {
        match &self.state {
            State::Accepting(_) | State::Connecting(_) => TransportAction::KeepOpen,
            State::Open(connection) => connection.transport_action(),
            State::Failed { .. } => TransportAction::Close,
        }
    }

    /// The connection, if the opening handshake is complete.
    fn connection(&mut self) -> Result<&mut Connection, SendError> {
        match &mut self.state {
            State::Open(connection) => Ok(connection),
            _ => Err(SendError::Closing),
        }
    }

    pub(crate) fn send(&mut self, message: Message) -> Result<(), SendError> {
        let now = self.now;
        self.connection()?.send(message, now)
    }

    pub(crate) fn ping(&mut self, payload: &[u8]) -> Result<(), SendError> {
        let now = self.now;
        self.connection()?.ping(Bytes::copy_from_slice(payload), now)
    }

    pub(crate) fn close(&mut self, reason: CloseReason) {
        let now = self.now;
        match self.connection() {
            Ok(connection) => connection.close(reason, now),
            Err(_) => self.end_opening(),
        }
    }

    pub(crate) fn abort(&mut self) {
        let now = self.now;
        match self.connection() {
            Ok(connection) => connection.abort(now),
            Err(_) => self.end_opening(),
        }
    }

    /// Ends a connection whose opening handshake is not complete.
    fn end_opening(&mut self) {
        if !matches!(self.state, State::Failed { .. }) {
            let why = Some("closed by us before the opening handshake was complete".into());
            self.inbound = BytesMut::new();
            self.state = State::Failed { answer: Bytes::new(), why };
        }
    }
}

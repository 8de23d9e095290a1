//! One end of a transport, from the opening handshake to the end: [`Endpoint`]. All of it is safe code.

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use sockless_core::handshake::{
    ClientHandshake, ClientRequestError, ResponseHead, ServerHandshake, UpgradeRequest,
};
use sockless_core::{
    CloseReason, Config, Connection, Event, Instant, Lifecycle, Message, Negotiated, Output, Seed,
    SendError,
};

/// A connection that begins with its opening handshake.
pub(crate) struct Endpoint {
    state: State,
    config: Arc<Config>,
    inbound: BytesMut,
    /// The latest time that a call has passed.
    now: Instant,
    /// The number of bytes of the opening handshake that were left when the last ones were taken in this turn.
    offered: Option<usize>,
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
        /// When the transport is dropped, although it has not taken the answer.
        until: Instant,
    },
}

/// The next thing to do: [`Output`], from the opening handshake on.
pub(crate) enum Polled<'a> {
    /// The opening handshake is complete; a server has the target of the request.
    Open(String),
    Event(Event),
    /// The opening handshake failed, for this reason.
    Failed(String),
    Write(&'a [u8]),
    ShutdownWrite,
    Wait(Wait),
    Drop,
}

/// The things to wait for.
#[derive(Clone, Copy)]
pub(crate) struct Wait {
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) until: Option<Instant>,
}

impl Endpoint {
    pub(crate) fn server(now: Instant) -> Self {
        let config = Arc::new(Config::default());
        let handshake = ServerHandshake::new(config.clone(), now);
        Self::new(State::Accepting(handshake), config, now)
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
        Ok(Self::new(State::Connecting(handshake), config, now))
    }

    fn new(state: State, config: Arc<Config>, now: Instant) -> Self {
        Self { state, config, inbound: BytesMut::new(), now, offered: None }
    }

    /// Notes the time, which cannot go back.
    pub(crate) fn at(&mut self, now: Instant) -> &mut Self {
        self.now = self.now.max(now);
        self
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        let is_over = match &self.state {
            State::Accepting(_) | State::Connecting(_) => false,
            State::Open(connection) => connection.state() == Lifecycle::Closed,
            State::Failed { .. } => true,
        };
        // Nothing is read after the end: it would only be kept.
        if !is_over {
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

    pub(crate) fn poll(&mut self) -> Polled<'_> {
        if !matches!(self.state, State::Open(_)) {
            return self.poll_opening();
        }
        let State::Open(connection) = &mut self.state else { return Polled::Drop };
        match connection.poll_output(&mut self.inbound, self.now) {
            Output::Event(event) => Polled::Event(event),
            Output::Write(outbound) => Polled::Write(outbound.into_chunk()),
            Output::ShutdownWrite => Polled::ShutdownWrite,
            Output::Wait(wait) => {
                let (read, write, until) = (wait.read, wait.write, wait.until);
                Polled::Wait(Wait { read, write, until })
            }
            Output::Close => Polled::Drop,
        }
    }

    /// The opening handshake, or the answer to one that failed, in turns as those of a connection.
    fn poll_opening(&mut self) -> Polled<'_> {
        if let Some(event) = self.next_of_opening() {
            return event;
        }
        let left = self.left();
        if left > 0 && self.offered != Some(left) {
            self.offered = Some(left);
            return Polled::Write(self.output());
        }
        self.offered = None;
        let until = match &self.state {
            State::Accepting(handshake) => handshake.poll_timeout(),
            State::Connecting(handshake) => handshake.poll_timeout(),
            State::Failed { until, .. } if left > 0 => Some(*until),
            State::Failed { .. } | State::Open(_) => return Polled::Drop,
        };
        let read = !matches!(self.state, State::Failed { .. });
        Polled::Wait(Wait { read, write: left > 0, until })
    }

    fn next_of_opening(&mut self) -> Option<Polled<'static>> {
        let event = self.verdict();
        if event.is_some() {
            return event;
        }
        // Bytes that have come are looked at before the deadline is.
        match &mut self.state {
            State::Accepting(handshake) => handshake.handle_timeout(self.now),
            State::Connecting(handshake) => handshake.handle_timeout(self.now),
            State::Failed { answer, until, .. } if self.now >= *until => answer.clear(),
            State::Open(_) | State::Failed { .. } => {}
        }
        self.verdict()
    }

    fn verdict(&mut self) -> Option<Polled<'static>> {
        match &mut self.state {
            State::Accepting(_) => self.accept(),
            State::Connecting(handshake) => {
                match handshake.poll_head(&mut self.inbound, self.now)? {
                    Ok((connection, _)) => {
                        self.state = State::Open(connection);
                        Some(Polled::Open(String::new()))
                    }
                    Err(error) => self.fail(Bytes::new(), error.to_string()),
                }
            }
            State::Open(_) => None,
            State::Failed { why, .. } => why.take().map(Polled::Failed),
        }
    }

    fn accept(&mut self) -> Option<Polled<'static>> {
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
                Some(Polled::Open(head.target().into()))
            }
            Err(error) => self.fail(error.encoded_response(), error.to_string()),
        }
    }

    fn open(&mut self, answer: &ResponseHead, negotiated: Negotiated) {
        let State::Accepting(handshake) = &mut self.state else { return };
        let (handshake, config) = (handshake.clone(), self.config.clone());
        self.state = State::Open(handshake.accept_head(answer, negotiated, config, self.now));
    }

    fn fail(&mut self, answer: Bytes, why: String) -> Option<Polled<'static>> {
        self.set_failed(answer, None);
        Some(Polled::Failed(why))
    }

    fn set_failed(&mut self, answer: Bytes, why: Option<String>) {
        self.inbound = BytesMut::new();
        let until = self.now + self.config.get_closing_timeout();
        self.state = State::Failed { answer, why, until };
    }

    /// The number of bytes to write.
    fn left(&mut self) -> usize {
        match &mut self.state {
            State::Accepting(_) => 0,
            State::Connecting(handshake) => handshake.outbound().remaining(),
            State::Open(connection) => connection.outbound().remaining(),
            State::Failed { answer, .. } => answer.remaining(),
        }
    }

    /// The bytes of the opening handshake to write.
    fn output(&mut self) -> &[u8] {
        match &mut self.state {
            State::Accepting(_) | State::Open(_) => &[],
            State::Connecting(handshake) => handshake.outbound().into_chunk(),
            State::Failed { answer, .. } => Buf::chunk(answer),
        }
    }

    /// Notes that the transport took `len` bytes; false if there are fewer.
    pub(crate) fn sent(&mut self, len: usize) -> bool {
        if len > self.left() {
            return false;
        }
        match &mut self.state {
            State::Accepting(_) => {}
            State::Connecting(handshake) => handshake.outbound().advance(len),
            State::Open(connection) => connection.outbound().advance(len),
            State::Failed { answer, .. } => answer.advance(len),
        }
        true
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
            let why = "closed by us before the opening handshake was complete";
            self.set_failed(Bytes::new(), Some(why.into()));
        }
    }
}

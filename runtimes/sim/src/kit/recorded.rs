//! The bytes that a client sent when it was recorded: [`RecordedClient`].

use std::fmt;
use std::time::Duration;

use bytes::BytesMut;
use sockless_core::Rsv;
use sockless_core::frames::{FrameWriter, OpcodeBits, WireHead};
use sockless_core::record::{Received, Recording, ReplayError};

use crate::trace::{End, FrameEvent, Trace, What};

/// The frames of a client and their times, for [`OpenConversation::replay`](super::OpenConversation::replay).
///
/// It is made of a [`Recording`], and returned by [`Trace::client`] and [`Trace::redacted_client`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedClient {
    pub(super) received: Vec<(Duration, Received)>,
}

/// Of the recording of a server's connection. A [redacted](sockless_core::record::Recorder::redact)
/// one has payloads of the same lengths.
///
/// # Errors
///
/// [`ReplayError::Malformed`].
impl From<&Self> for RecordedClient {
    fn from(client: &Self) -> Self {
        client.clone()
    }
}

impl TryFrom<&Recording> for RecordedClient {
    type Error = ReplayError;

    fn try_from(recording: &Recording) -> Result<Self, ReplayError> {
        Ok(Self { received: recording.received()? })
    }
}

/// Recorded clients.
impl Trace {
    /// Returns what the client of a connection sent after its handshake, for
    /// [`OpenConversation::replay`](crate::OpenConversation::replay): its frames, each at its time since
    /// the first event of the connection, and the end of the stream at the time of the last one.
    ///
    /// Frames are those of the trace, compressed ones too, which only a connection that has negotiated the
    /// same extension can read. Their masking keys are others, since a trace does not have them.
    ///
    /// # Errors
    ///
    /// If the trace has no connection of this number, counted from 1, or not the whole payload of a
    /// frame: [`Payloads`](sockless_core::trace::Payloads) sets how much of it is recorded.
    ///
    /// ```
    /// use sockless::sim::{Sim, Trace};
    /// use sockless::trace::{JsonTrace, Payloads};
    /// use sockless::{Role, Router, websocket};
    /// # use sockless::proto::{Connection, Event, Instant, Negotiated};
    /// # use sockless::{Closed, Session};
    /// # async fn echo(mut session: Session) -> Result<(), Closed> {
    /// #     loop {
    /// #         let message = session.recv().await?;
    /// #         session.send(message).await?;
    /// #     }
    /// # }
    /// # let (sender, lines) = std::sync::mpsc::channel();
    /// # let write = move |line: &str| drop(sender.send(line.to_owned()));
    ///
    /// // In production, of a connection or a session:
    /// let trace = JsonTrace::new(Role::Server, write).payloads(Payloads::UpTo(usize::MAX));
    /// # let now = Instant::EPOCH;
    /// # let mut server = Connection::server(Negotiated::default(), Default::default(), now);
    /// # let mut inbound = sockless::bytes::BytesMut::from(&b"\x81\x82\0\0\0\0hi"[..]);
    /// server.set_observer(Some(Box::new(trace)));
    /// # while server.poll_event(&mut inbound, now).is_some() {}
    /// # let text: String = lines.try_iter().collect();
    ///
    /// let client = text.parse::<Trace>()?.client(1)?;
    /// Sim::check(0..10, |sim| {
    ///     let (app, client) = (sim.app(Router::new().route("/", websocket(echo))), client.clone());
    ///     async move {
    ///         assert_eq!(app.open("/").replay(client).await.messages(), ["hi"]);
    ///     }
    /// });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn client(&self, connection: u64) -> Result<RecordedClient, TraceClientError> {
        self.client_with(connection, |frame, _| Some(frame.payload.0.clone()))
    }

    /// Returns what [`client`](Self::client) returns, with other payloads of the same lengths: for
    /// a trace that was recorded without them. Text becomes as many letters, everything else zeros, and
    /// a Close frame has the code 1000.
    ///
    /// # Errors
    ///
    /// If the trace has no connection of this number, counted from 1, or a message is compressed.
    ///
    /// ```
    /// use sockless::sim::{Sim, Trace};
    /// use sockless::trace::JsonTrace;
    /// use sockless::{Role, Router, websocket};
    /// # use sockless::proto::{Connection, Event, Instant, Negotiated};
    /// # use sockless::{Closed, Session};
    /// # async fn echo(mut session: Session) -> Result<(), Closed> {
    /// #     loop {
    /// #         let message = session.recv().await?;
    /// #         session.send(message).await?;
    /// #     }
    /// # }
    /// # let (sender, lines) = std::sync::mpsc::channel();
    /// # let write = move |line: &str| drop(sender.send(line.to_owned()));
    ///
    /// // In production, of a connection or a session:
    /// let trace = JsonTrace::new(Role::Server, write);
    /// # let now = Instant::EPOCH;
    /// # let mut server = Connection::server(Negotiated::default(), Default::default(), now);
    /// # let mut inbound = sockless::bytes::BytesMut::from(&b"\x81\x82\0\0\0\0hi"[..]);
    /// server.set_observer(Some(Box::new(trace)));
    /// # while server.poll_event(&mut inbound, now).is_some() {}
    /// # let text: String = lines.try_iter().collect();
    ///
    /// let client = text.parse::<Trace>()?.redacted_client(1)?;
    /// Sim::check(0..10, |sim| {
    ///     let (app, client) = (sim.app(Router::new().route("/", websocket(echo))), client.clone());
    ///     async move {
    ///         assert_eq!(app.open("/").replay(client).await.messages(), ["xx"]);
    ///     }
    /// });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn redacted_client(&self, connection: u64) -> Result<RecordedClient, TraceClientError> {
        self.client_with(connection, redacted)
    }

    /// Returns the client with the payloads that `payload_of` returns for its frames, each with
    /// whether it belongs to a text; `None` if it has to be recorded.
    fn client_with(
        &self,
        connection: u64,
        payload_of: impl Fn(&FrameEvent, bool) -> Option<Vec<u8>>,
    ) -> Result<RecordedClient, TraceClientError> {
        let error = |why| TraceClientError { connection, why };
        let mut events = self.events_of(connection);
        let (opened, _) = events.next().ok_or(error(Why::Unknown))?;
        let since = |at: u64| Duration::from_nanos(at.saturating_sub(opened));
        let (mut received, mut ended, mut is_text) = (Vec::new(), opened, false);
        for (at, what) in events {
            ended = ended.max(at);
            if let What::Frame(frame) = what
                && frame.from == End::Client
            {
                match frame.opcode {
                    TEXT => is_text = true,
                    BINARY => is_text = false,
                    _ => {}
                }
                let payload = payload_of(frame, is_text);
                let bytes = payload.and_then(|payload| wire_bytes(frame, &payload));
                received.push((since(at), Received::Bytes(bytes.ok_or(error(Why::Incomplete))?)));
            }
        }
        received.push((since(ended), Received::Eof));
        Ok(RecordedClient { received })
    }
}

/// Returns another payload of the same length; `None` if it is compressed.
fn redacted(frame: &FrameEvent, is_text: bool) -> Option<Vec<u8>> {
    if frame.rsv != 0 {
        return None;
    }
    let is_text = is_text && matches!(frame.opcode, TEXT | CONTINUATION);
    let letter = if is_text || frame.opcode == CLOSE { b'x' } else { 0 };
    let mut payload = vec![letter; usize::try_from(frame.len).ok()?];
    if frame.opcode == CLOSE
        && let Some(code) = payload.first_chunk_mut()
    {
        *code = 1000_u16.to_be_bytes();
    }
    Some(payload)
}

/// Returns the frame with a mask; `None` if a part of its payload is missing.
fn wire_bytes(frame: &FrameEvent, payload: &[u8]) -> Option<Vec<u8>> {
    if payload.len() as u64 != frame.len {
        return None;
    }
    let bits = [(4, Rsv::RSV1), (2, Rsv::RSV2), (1, Rsv::RSV3)];
    let set = bits.iter().filter(|(bit, _)| frame.rsv & bit != 0);
    let head = WireHead {
        fin: frame.is_final,
        rsv: set.fold(Rsv::NONE, |rsv, (_, bit)| rsv.union(*bit)),
        opcode: OpcodeBits::new(frame.opcode)?,
        mask: Some([0; 4]),
        len: frame.len,
    };
    let (mut writer, mut out) = (FrameWriter::verbatim(), BytesMut::new());
    writer.begin(&head, &mut out).ok()?;
    writer.payload(payload, &mut out).ok()?;
    Some(out.to_vec())
}

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;

/// A client that cannot be replayed, from [`Trace::client`] and [`Trace::redacted_client`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceClientError {
    connection: u64,
    why: Why,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Why {
    Incomplete,
    Unknown,
}

impl fmt::Display for TraceClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connection = self.connection;
        match self.why {
            Why::Unknown => write!(f, "the trace has no connection {connection}"),
            Why::Incomplete => write!(
                f,
                "connection {connection} has a payload that was not recorded whole: record it with \
                 JsonTrace::payloads(Payloads::UpTo(usize::MAX)), or use Trace::redacted_client if \
                 it is not compressed"
            ),
        }
    }
}

impl std::error::Error for TraceClientError {}

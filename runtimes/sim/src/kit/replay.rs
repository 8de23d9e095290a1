//! A client that repeats what another one sent when it was recorded: [`OpenConversation::replay`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sockless_core::record::Received;
use sockless_core::{Frame, Message, Opcode, RawConnection};
use sockless_driver::Runtime;

use super::open::OpenConversation;
use super::opened::Opened;
use super::recorded::RecordedClient;
use crate::io::SimIo;
use crate::sim::Sim;

/// The frames that a replayed client received from the service, from [`OpenConversation::replay`].
#[derive(Clone, Debug)]
pub struct ReplayedClient {
    frames: Vec<(Duration, Frame)>,
    has_ended: bool,
}

impl ReplayedClient {
    /// Returns the frames, with the times since the client had connected.
    pub fn frames(&self) -> &[(Duration, Frame)] {
        &self.frames
    }

    /// Returns the messages, without those that are compressed or not finished.
    pub fn messages(&self) -> Vec<Message> {
        let (mut messages, mut unfinished) = (Vec::new(), None);
        for (_, frame) in &self.frames {
            let (is_text, mut payload) = match (frame.opcode, unfinished.take()) {
                (Opcode::Text, _) => (true, Vec::new()),
                (Opcode::Binary, _) => (false, Vec::new()),
                (Opcode::Continuation, Some(begun)) => begun,
                (_, begun) => {
                    unfinished = begun;
                    continue;
                }
            };
            payload.extend_from_slice(&frame.payload);
            if !frame.fin {
                unfinished = Some((is_text, payload));
                continue;
            }
            messages.push(match String::from_utf8(payload) {
                Ok(text) if is_text => text.into(),
                Ok(text) => text.into_bytes().into(),
                Err(error) => error.into_bytes().into(),
            });
        }
        messages
    }

    /// Returns false if the service had not ended the connection within the
    /// [`patience`](crate::App::patience) after the recording.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }
}

impl OpenConversation {
    /// Opens the WebSocket and sends what a client sent when it was recorded, at the recorded times: a
    /// client of production drives the handler of today. It does not wait for replies, and answers no
    /// pings but those that were answered then.
    ///
    /// `client` is the [`Recording`](sockless_core::record::Recording) of a server's connection, which is repeated byte for byte, or what
    /// [`Trace::client`](crate::Trace::client) returns.
    ///
    /// # Panics
    ///
    /// Panics if the service rejects the upgrade, if what it sends is not valid, and if the recording
    /// is malformed.
    ///
    /// ```
    /// use sockless::record::Recording;
    /// use sockless::sim::Sim;
    /// # use sockless::bytes::BytesMut;
    /// # use sockless::proto::{Instant, Negotiated, record::Recorder};
    /// # use sockless::{Closed, Router, Session, websocket};
    /// # async fn echo(mut session: Session) -> Result<(), Closed> {
    /// #     loop {
    /// #         let message = session.recv().await?;
    /// #         session.send(message).await?;
    /// #     }
    /// # }
    /// # let router = Router::new().route("/echo", websocket(echo));
    /// # let mut server = Recorder::server(Negotiated::default(), Default::default(), Instant::EPOCH);
    /// # let mut inbound = BytesMut::from(&b"\x81\x82\0\0\0\0hi\x88\x80\0\0\0\0"[..]);
    /// # while server.poll_event(&mut inbound, Instant::EPOCH).is_some() {}
    /// # server.handle_eof(Instant::EPOCH);
    /// # let text = server.into_recording().to_string();
    ///
    /// let recording: Recording = text.parse()?;
    /// Sim::check(0..10, |sim| {
    ///     let (app, recording) = (sim.app(router.clone()), recording.clone());
    ///     async move {
    ///         let client = app.open("/echo").replay(&recording).await;
    ///         assert_eq!(client.messages(), ["hi"]);
    ///         assert!(client.has_ended());
    ///     }
    /// });
    /// # Ok::<(), sockless::record::ReplayError>(())
    /// ```
    pub async fn replay(
        self,
        client: impl TryInto<RecordedClient, Error: fmt::Display>,
    ) -> ReplayedClient {
        let place = self.place;
        let fail = |why: &dyn fmt::Display| -> ! { panic!("{place}: {why}") };
        let client = client.try_into();
        let received = client.unwrap_or_else(|error| fail(&error)).received;
        let Opened { app, io, mut inbound, connection, .. } = self.granted().await;
        let (sim, patience) = (&app.sim, app.patience);
        let io = Arc::new(io);
        let mut frames = Vec::new();
        let mut raw = RawConnection::client(sim.seed(), connection.config().clone());
        let begun = sim.now();
        let lasting = received.last().map_or(Duration::ZERO, |(at, _)| *at);
        let sending = sim.spawn(send(sim.clone(), Arc::clone(&io), received));
        let receiving = async {
            loop {
                while let Some(frame) = raw.poll_frame(&mut inbound, sim.now()) {
                    let frame = frame.unwrap_or_else(|closed| fail(&closed));
                    frames.push((sim.now().saturating_since(begun), frame));
                }
                match io.read_some().await {
                    Ok(bytes) if !bytes.is_empty() => inbound.extend_from_slice(&bytes),
                    _ => return,
                }
            }
        };
        let has_ended = sim.timeout(lasting + patience, receiving).await.is_some();
        drop(sending);
        ReplayedClient { frames, has_ended }
    }
}

/// Sends what was recorded, each part at its time.
async fn send(sim: Sim, io: Arc<SimIo>, received: Vec<(Duration, Received)>) {
    let begun = sim.now();
    for (at, what) in received {
        sim.sleep_until(begun + at).await;
        // The service may have ended the connection by now.
        let sent = match what {
            Received::Bytes(bytes) => io.write_all(&bytes).await,
            Received::Eof => io.shutdown().await,
            Received::Error(_) => {
                io.wire().cut();
                Ok(())
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

//! A conversation in frames and bytes: [`RawConversation`].

use std::fmt;
use std::panic::Location;

use bytes::BytesMut;
use http::Response;
use sockless_core::{Frame, RawConnection};
use sockless_driver::Runtime;

use super::opened::Opened;
use super::transcript::{Line, Transcript, show_bytes, show_frame};
use super::{App, Place};
use crate::io::SimIo;
use crate::wire::Wire;

/// A client that a test controls frame by frame, from
/// [`OpenConversation::raw`](super::OpenConversation::raw).
///
/// Nothing is automatic: pings are not answered, the closing handshake is left to the test, and
/// nothing is read until a method asks for it.
///
/// Dropping it ends the transport.
///
/// ```
/// use sockless::sim::Sim;
/// use sockless::{Frame, Opcode};
/// # use sockless::{Closed, Router, Session, websocket};
/// # async fn echo(mut session: Session) -> Result<(), Closed> {
/// #     loop {
/// #         let message = session.recv().await?;
/// #         session.send(message).await?;
/// #     }
/// # }
/// # let router = Router::new().route("/echo", websocket(echo));
///
/// let sim = Sim::new(1);
/// sim.run(async {
///     let mut client = sim.app(router).open("/echo").raw().await;
///     client.send(Frame::new(Opcode::Ping, "are you there?".into())).await;
///     client.expect(Frame::new(Opcode::Pong, "are you there?".into())).await;
/// });
/// ```
pub struct RawConversation {
    app: App,
    path: String,
    io: SimIo,
    inbound: BytesMut,
    connection: RawConnection,
    response: Response<()>,
    transcript: Transcript,
}

impl RawConversation {
    pub(crate) fn new(opened: Opened) -> Self {
        let Opened { app, path, io, inbound, connection, response } = opened;
        let connection = RawConnection::client(app.sim.seed(), connection.config().clone());
        Self { app, path, io, inbound, connection, response, transcript: Transcript::default() }
    }

    /// Sends a frame, masked.
    ///
    /// # Panics
    ///
    /// Panics if it is a control frame of more than 125 bytes, and if the transport accepts no
    /// bytes in time.
    #[track_caller]
    pub fn send(&mut self, frame: Frame) -> impl Future<Output = ()> + Send {
        let place = Location::caller();
        async move {
            self.transcript.push(self.app.sim.now(), Line::Sent(show_frame(&frame).into()));
            if let Err(error) = self.connection.send(frame, self.app.sim.now()) {
                self.fail(place, &error);
            }
            let mut outbound = self.connection.outbound();
            let bytes = outbound.copy_to_bytes(outbound.remaining());
            self.write_all(place, &bytes).await;
        }
    }

    /// Sends bytes unchanged, for example an invalid frame.
    ///
    /// # Panics
    ///
    /// Panics if the transport accepts no bytes in time.
    #[track_caller]
    pub fn write(&mut self, bytes: &[u8]) -> impl Future<Output = ()> + Send {
        let place = Location::caller();
        async move {
            self.transcript.push(self.app.sim.now(), Line::Sent(show_bytes(bytes).into()));
            self.write_all(place, bytes).await;
        }
    }

    /// Receives the next frame.
    ///
    /// # Panics
    ///
    /// Panics if the transport ends first, if the frame is invalid, and if nothing is received in
    /// time.
    #[track_caller]
    pub fn recv(&mut self) -> impl Future<Output = Frame> + Send {
        let place = Location::caller();
        async move {
            match self.next(place, "a frame").await {
                Some(frame) => frame,
                None => self.fail(place, &"expected a frame, the transport has ended"),
            }
        }
    }

    /// Receives the next frame and asserts that it equals `frame`.
    ///
    /// # Panics
    ///
    /// Panics if it differs, and as [`recv`](Self::recv).
    #[track_caller]
    pub fn expect(&mut self, frame: Frame) -> impl Future<Output = ()> + Send {
        let place = Location::caller();
        async move {
            let expected = show_frame(&frame);
            match self.next(place, &expected).await {
                Some(received) if received == frame => {}
                Some(received) => {
                    let received = show_frame(&received);
                    self.fail(place, &format_args!("expected {expected}, got {received}"));
                }
                None => {
                    self.fail(place, &format_args!("expected {expected}, the transport has ended"))
                }
            }
        }
    }

    /// Waits for the transport to end, and asserts that no frame is received before.
    ///
    /// # Panics
    ///
    /// Panics if a frame is received, and if the transport does not end in time.
    #[track_caller]
    pub fn expect_end(&mut self) -> impl Future<Output = ()> + Send {
        let place = Location::caller();
        async move {
            if let Some(frame) = self.next(place, "the end").await {
                let frame = show_frame(&frame);
                self.fail(place, &format_args!("expected the end, got {frame}"));
            }
        }
    }

    /// Returns the 101 response of the service.
    pub fn response(&self) -> &Response<()> {
        &self.response
    }

    /// Returns a handle that injects faults into the connection.
    pub fn wire(&self) -> Wire {
        self.io.wire()
    }

    /// Returns the next frame; `None` if the transport has ended or failed.
    async fn next(&mut self, place: Place, awaited: &str) -> Option<Frame> {
        let deadline = self.app.sim.now() + self.app.patience;
        loop {
            match self.connection.poll_frame(&mut self.inbound, self.app.sim.now()) {
                Some(Ok(frame)) => {
                    self.transcript
                        .push(self.app.sim.now(), Line::Received(show_frame(&frame).into()));
                    return Some(frame);
                }
                Some(Err(closed)) => {
                    self.fail(place, &format_args!("expected {awaited}, but {closed}"));
                }
                None => {}
            }
            let left = deadline.saturating_since(self.app.sim.now());
            match self.app.sim.timeout(left, self.io.read_some()).await {
                Some(Ok(bytes)) if !bytes.is_empty() => self.inbound.extend_from_slice(&bytes),
                Some(_) => return None,
                None => {
                    let patience = self.app.patience;
                    let why = format_args!("expected {awaited} within {patience:?}, got nothing");
                    self.fail(place, &why);
                }
            }
        }
    }

    async fn write_all(&mut self, place: Place, bytes: &[u8]) {
        match self.app.sim.timeout(self.app.patience, self.io.write_all(bytes)).await {
            Some(Ok(())) => {}
            Some(Err(error)) => self.fail(place, &format_args!("the transport failed: {error}")),
            None => {
                let patience = self.app.patience;
                self.fail(place, &format_args!("the service read nothing within {patience:?}"));
            }
        }
    }

    fn fail(&self, place: Place, why: &dyn fmt::Display) -> ! {
        self.io.wire().omit_transcript();
        panic!("{place}: {}: {why}\n{}", self.path, self.transcript)
    }
}

impl fmt::Debug for RawConversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawConversation({}; {})", self.path, self.transcript)
    }
}

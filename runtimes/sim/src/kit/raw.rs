//! A conversation in frames and bytes: [`RawConversation`].

use std::fmt;
use std::panic::Location;

use bytes::{Buf, BytesMut};
use http::Response;
use sockless_core::{Frame, RawConnection};
use sockless_driver::Runtime;

use super::open::Opened;
use super::transcript::{Line, Transcript, show_bytes, show_frame};
use super::{App, Place};
use crate::pipe::SimIo;
use crate::wire::Wire;

/// A client of frames and bytes, from [`OpenConversation::raw`](super::OpenConversation::raw). Nothing goes by itself: pings
/// are not answered, closing handshakes not run, and nothing is read before it is asked for.
///
/// Dropping it ends the transport.
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
    /// When it is a control frame over 125 bytes, and when the transport takes nothing more.
    #[track_caller]
    pub fn send(&mut self, frame: Frame) -> impl Future<Output = ()> + Send {
        let place = Location::caller();
        async move {
            self.transcript.push(self.app.sim.now(), Line::Sent(show_frame(&frame)));
            if let Err(error) = self.connection.send(frame, self.app.sim.now()) {
                self.fail(place, &error);
            }
            let outbound = self.connection.outbound();
            let bytes = outbound.copy_to_bytes(outbound.remaining());
            self.write_all(place, &bytes).await;
        }
    }

    /// Sends bytes as they are, such as no client should.
    ///
    /// # Panics
    ///
    /// When the transport takes nothing more.
    #[track_caller]
    pub fn write(&mut self, bytes: &[u8]) -> impl Future<Output = ()> + Send {
        let place = Location::caller();
        async move {
            self.transcript.push(self.app.sim.now(), Line::Sent(show_bytes(bytes)));
            self.write_all(place, bytes).await;
        }
    }

    /// Receives the next frame.
    ///
    /// # Panics
    ///
    /// When there is none, when it is invalid, and when it does not come in time.
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

    /// Receives the next frame, which is to be `frame`.
    ///
    /// # Panics
    ///
    /// When it is another, and as [`recv`](Self::recv).
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

    /// Waits for the transport's end, before which no frame is to come.
    ///
    /// # Panics
    ///
    /// When a frame comes, and when the end does not come in time.
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

    /// The service's 101 response.
    pub fn response(&self) -> &Response<()> {
        &self.response
    }

    /// The handle by which the transport is made to stall or fail.
    pub fn wire(&self) -> Wire {
        self.io.wire()
    }

    /// The next frame, or none at the end of the transport, however that came.
    async fn next(&mut self, place: Place, awaited: &str) -> Option<Frame> {
        let deadline = self.app.sim.now() + self.app.patience;
        loop {
            match self.connection.poll_frame(&mut self.inbound, self.app.sim.now()) {
                Some(Ok(frame)) => {
                    self.transcript.push(self.app.sim.now(), Line::Received(show_frame(&frame)));
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
                    let why = format_args!("expected {awaited}, nothing came within {patience:?}");
                    self.fail(place, &why);
                }
            }
        }
    }

    async fn write_all(&self, place: Place, bytes: &[u8]) {
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
        panic!("{place}: {}: {why}\n{}", self.path, self.transcript)
    }
}

impl fmt::Debug for RawConversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawConversation({}; {})", self.path, self.transcript)
    }
}

//! A conversation in messages: [`Conversation`].

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::panic::Location;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use sockless_core::{Chunk, CloseCode, CloseReason, Closed, Connection, Instant, Message};

use super::open::Opened;
use super::peer::{Driving, Peer};
use super::transcript::{Line, show, show_bytes};
use super::{App, Place};
use crate::lock;
use crate::wire::Wire;

/// A well-behaved client in the hands of a test, from [`App::open`]. It is driven beside the test: it
/// answers pings and Close frames and takes all that the service sends, to be looked at later.
///
/// Messages, pings and pongs are received apart from each other. Each expectation waits for up to the
/// [`patience`](App::patience) of the app and then fails the test.
///
/// Dropping it closes the connection with 1000.
pub struct Conversation {
    app: App,
    path: String,
    peer: Arc<Mutex<Peer>>,
    response: Response<()>,
    wire: Wire,
}

impl Conversation {
    pub(crate) fn new(opened: Opened) -> Self {
        let Opened { app, path, io, inbound, connection, response } = opened;
        let wire = io.wire();
        let peer = Arc::new(Mutex::new(Peer::new(connection)));
        app.sim.spawn(Driving::new(&app.sim, peer.clone(), io, inbound));
        Self { app, path, peer, response, wire }
    }

    /// Sends a message, waiting while the client's own queue is full.
    ///
    /// # Panics
    ///
    /// When either side has begun to close, and when there is no room in time.
    #[track_caller]
    pub fn send(&mut self, message: impl Into<Message>) -> impl Future<Output = ()> + Send {
        self.send_chunk(Chunk { data: message.into(), last: true })
    }

    /// Sends a part of a message in a frame of its own.
    ///
    /// # Panics
    ///
    /// When it is not of the kind of the part before it, and as [`send`](Self::send).
    #[track_caller]
    pub fn send_chunk(&mut self, piece: Chunk) -> impl Future<Output = ()> + Send {
        let place = Location::caller();
        let mut piece = Some(piece);
        async move {
            let sent = self.wait(place, "room to send", |peer, now| {
                if peer.connection.is_open() && !peer.connection.is_writable() {
                    return None;
                }
                Some(peer.send(piece.take()?, now))
            });
            if let Err(error) = sent.await {
                self.fail(place, &format_args!("cannot send: {error}"));
            }
        }
    }

    /// Sends a ping.
    ///
    /// # Panics
    ///
    /// For more than 125 bytes, and when either side has begun to close.
    #[track_caller]
    pub fn ping(&self, payload: impl Into<Bytes>) {
        let payload = payload.into();
        let pinged = self.command(format!("Ping: {}", show_bytes(&payload)), |connection, now| {
            connection.ping(payload, now)
        });
        if let Err(error) = pinged {
            self.fail(Location::caller(), &format_args!("cannot ping: {error}"));
        }
    }

    /// Starts the closing handshake.
    pub fn close(&self, reason: impl Into<CloseReason>) {
        let reason = reason.into();
        self.command(format!("Close {reason}"), |connection, now| connection.close(reason, now));
    }

    /// Drops the transport now, as a client does that crashes.
    pub fn terminate(&self) {
        self.command("the end of the transport".to_owned(), Connection::abort);
    }

    /// Receives the next message.
    ///
    /// # Panics
    ///
    /// When the connection ends first, and when it does not come in time.
    #[track_caller]
    pub fn recv(&mut self) -> impl Future<Output = Message> + Send {
        let place = Location::caller();
        async move { self.next(place, "a message", |peer| &mut peer.messages).await }
    }

    /// Receives the payload of the next ping, which was answered when it came.
    ///
    /// # Panics
    ///
    /// As [`recv`](Self::recv).
    #[track_caller]
    pub fn recv_ping(&mut self) -> impl Future<Output = Bytes> + Send {
        let place = Location::caller();
        async move { self.next(place, "a ping", |peer| &mut peer.pings).await }
    }

    /// Receives the payload of the next pong.
    ///
    /// # Panics
    ///
    /// As [`recv`](Self::recv).
    #[track_caller]
    pub fn recv_pong(&mut self) -> impl Future<Output = Bytes> + Send {
        let place = Location::caller();
        async move { self.next(place, "a pong", |peer| &mut peer.pongs).await }
    }

    /// Receives the next message, which is to be `message`.
    ///
    /// # Panics
    ///
    /// When it is another, and as [`recv`](Self::recv).
    #[track_caller]
    pub fn expect(&mut self, message: impl Into<Message>) -> impl Future<Output = ()> + Send {
        let (place, message) = (Location::caller(), message.into());
        async move {
            let expected = show(&message);
            let received = self.next(place, &expected, |peer| &mut peer.messages).await;
            if received != message {
                let received = show(&received);
                self.fail(place, &format_args!("expected {expected}, got {received}"));
            }
        }
    }

    /// Waits for `duration`, in which no message is to come, and not the end either.
    ///
    /// # Panics
    ///
    /// When something comes.
    #[track_caller]
    pub fn expect_silence(&mut self, duration: Duration) -> impl Future<Output = ()> + Send {
        let place = Location::caller();
        async move {
            let mut broken = |peer: &mut Peer, _| {
                peer.messages.pop_front().map(Ok).or_else(|| peer.closed.clone().map(Err))
            };
            match self.app.sim.timeout(duration, self.poll_peer(&mut broken)).await {
                None => {}
                Some(Ok(message)) => {
                    let message = show(&message);
                    self.fail(place, &format_args!("expected silence, got {message}"));
                }
                Some(Err(closed)) => {
                    self.fail(place, &format_args!("expected silence, the end came: {closed}"));
                }
            }
        }
    }

    /// Waits for the end, before which no message is to come and in which the service is to send a
    /// Close frame of this code; how it ended has the rest.
    ///
    /// # Panics
    ///
    /// When a message comes first, when the end is another, and when it does not come in time.
    #[track_caller]
    pub fn expect_closed(&mut self, code: u16) -> impl Future<Output = Closed> + Send {
        let place = Location::caller();
        async move {
            let awaited = format!("the service to close with {code}");
            let ended = self.wait(place, &awaited, |peer, _| match peer.messages.pop_front() {
                Some(message) => Some(Err(message)),
                None => peer.closed.clone().map(Ok),
            });
            match ended.await {
                Ok(closed) => {
                    let received = closed.received().and_then(CloseReason::code);
                    if received.map(CloseCode::get) != Some(code) {
                        self.fail(place, &format_args!("expected {awaited}, it was {closed}"));
                    }
                    closed
                }
                Err(message) => {
                    let message = show(&message);
                    self.fail(place, &format_args!("expected {awaited}, got {message}"));
                }
            }
        }
    }

    /// Waits for the end, and says how it was, as the client saw it.
    ///
    /// # Panics
    ///
    /// When it does not come in time.
    #[track_caller]
    pub fn closed(&mut self) -> impl Future<Output = Closed> + Send {
        let place = Location::caller();
        async move { self.wait(place, "the end", |peer, _| peer.closed.clone()).await }
    }

    /// The subprotocol that the service selected.
    pub fn subprotocol(&self) -> Option<String> {
        lock(&self.peer).connection.subprotocol().map(str::to_owned)
    }

    /// The service's 101 response.
    pub fn response(&self) -> &Response<()> {
        &self.response
    }

    /// The handle by which the transport is made to stall or fail.
    pub fn wire(&self) -> Wire {
        self.wire.clone()
    }

    /// Takes the next item out of one of the queues, unless the end comes first.
    async fn next<T>(
        &mut self,
        place: Place,
        awaited: &str,
        queue: impl Fn(&mut Peer) -> &mut VecDeque<T>,
    ) -> T {
        let next = self.wait(place, awaited, |peer, _| match queue(peer).pop_front() {
            Some(item) => Some(Ok(item)),
            None => peer.closed.clone().map(Err),
        });
        match next.await {
            Ok(item) => item,
            Err(closed) => {
                self.fail(place, &format_args!("expected {awaited}, the end came: {closed}"))
            }
        }
    }

    /// Waits until `take` has what is awaited.
    async fn wait<T>(
        &self,
        place: Place,
        awaited: &str,
        mut take: impl FnMut(&mut Peer, Instant) -> Option<T>,
    ) -> T {
        let patience = self.app.patience;
        match self.app.sim.timeout(patience, self.poll_peer(&mut take)).await {
            Some(taken) => taken,
            None => self.fail(place, &format_args!("expected {awaited}, not within {patience:?}")),
        }
    }

    async fn poll_peer<T>(&self, take: &mut impl FnMut(&mut Peer, Instant) -> Option<T>) -> T {
        poll_fn(|cx| {
            let mut peer = lock(&self.peer);
            match take(&mut peer, self.app.sim.now()) {
                Some(taken) => Poll::Ready(taken),
                None => {
                    peer.waiter = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    fn command<T>(&self, line: String, command: impl FnOnce(&mut Connection, Instant) -> T) -> T {
        let now = self.app.sim.now();
        let mut peer = lock(&self.peer);
        let done = command(&mut peer.connection, now);
        peer.transcript.push(now, Line::Sent(line));
        peer.wake_driver();
        done
    }

    fn fail(&self, place: Place, why: &dyn fmt::Display) -> ! {
        let said = lock(&self.peer).transcript.to_string();
        panic!("{place}: {}: {why}\n{said}", self.path)
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.close(CloseCode::NORMAL);
    }
}

impl fmt::Debug for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Conversation({}; {})", self.path, lock(&self.peer).transcript)
    }
}

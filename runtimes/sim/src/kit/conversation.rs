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
use sockless_core::{
    Chunk, CloseCode, CloseReason, Closed, Connection, Instant, Message, SendError,
};

use super::opened::Opened;
use super::peer::{ClientDriver, ClientState};
use super::transcript::{Line, Text, show, show_bytes};
use super::{App, Place};
use crate::lock;
use crate::tasks::Origin;
use crate::wire::Wire;

/// A client that a test controls, from [`App::open`].
///
/// A task drives it beside the test: it answers pings and Close frames, and receives everything
/// that the service sends, for the test to take. Messages, pings and pongs are received separately.
/// Each expectation waits for at most the [`patience`](App::patience) of the app and then fails the
/// test.
///
/// Dropping it closes the connection with 1000.
///
/// ```
/// use sockless::CloseCode;
/// use sockless::sim::Sim;
/// # use sockless::{Closed, Router, Session, websocket};
/// # async fn echo(mut session: Session) -> Result<(), Closed> {
/// #     loop {
/// #         let message = session.recv().await?;
/// #         session.send(message).await?;
/// #     }
/// # }
/// # let router = Router::new().route("/echo", websocket(echo));
///
/// Sim::check(0..10, |sim| {
///     let app = sim.app(router.clone());
///     async move {
///         let mut client = app.open("/echo").await;
///         client.send("hello").await;
///         client.expect("hello").await;
///         client.ping("are you there?");
///         assert_eq!(client.recv_pong().await, "are you there?");
///         client.close(CloseCode::NORMAL);
///         client.closed().await;
///     }
/// });
/// ```
pub struct Conversation {
    app: App,
    path: String,
    peer: Arc<Mutex<ClientState>>,
    response: Response<()>,
    wire: Wire,
}

impl Conversation {
    pub(crate) fn new(opened: Opened) -> Self {
        let Opened { app, path, io, inbound, connection, response } = opened;
        let wire = io.wire();
        wire.set_automatic();
        let peer = Arc::new(Mutex::new(ClientState::new(connection)));
        let driver = ClientDriver::new(&app.sim, peer.clone(), io, inbound);
        let machine = app.sim.world.time.machine();
        app.sim.world.tasks.spawn(Box::pin(driver), Origin::Kit, machine);
        Self { app, path, peer, response, wire }
    }

    /// Sends a message. Waits while the client's send queue is full.
    ///
    /// # Panics
    ///
    /// Panics if either side has started to close, and if the queue stays full for too long.
    #[track_caller]
    pub fn send(&mut self, message: impl Into<Message>) -> impl Future<Output = ()> + Send {
        self.send_chunk(Chunk { data: message.into(), last: true })
    }

    /// Sends a chunk of a message in a frame of its own.
    ///
    /// # Panics
    ///
    /// Panics if its kind differs from that of the previous chunk, and as [`send`](Self::send).
    #[track_caller]
    pub fn send_chunk(&mut self, chunk: Chunk) -> impl Future<Output = ()> + Send {
        let place = Location::caller();
        let mut chunk = Some(chunk);
        async move {
            let sent = self.wait(place, "room to send", |peer, now| {
                if peer.connection.is_open() && !peer.connection.is_writable() {
                    return None;
                }
                Some(peer.send(chunk.take()?, now))
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
    /// Panics if `payload` is longer than 125 bytes, and if either side has started to close.
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

    /// Drops the transport immediately, like a client that crashes.
    pub fn terminate(&self) {
        self.command("the end of the transport".to_owned(), Connection::abort);
    }

    /// Receives the next message.
    ///
    /// # Panics
    ///
    /// Panics if the connection ends first, and if nothing is received in time.
    #[track_caller]
    pub fn recv(&mut self) -> impl Future<Output = Message> + Send {
        let place = Location::caller();
        async move { self.take_next(place, "a message", |peer| &mut peer.messages).await }
    }

    /// Receives the next message, or how the connection ended once all messages have been received:
    /// for tests in which connections break. Waits without a limit; see
    /// [`Sim::timeout`](crate::Sim::timeout).
    ///
    /// Cancel-safe: a message is either returned or received by the next call.
    ///
    /// # Errors
    ///
    /// The end of the connection, as the client saw it.
    ///
    /// ```
    /// use sockless::sim::Sim;
    /// # use sockless::{Closed, Router, Session, websocket};
    /// # async fn echo(mut session: Session) -> Result<(), Closed> {
    /// #     loop {
    /// #         let message = session.recv().await?;
    /// #         session.send(message).await?;
    /// #     }
    /// # }
    /// # let router = Router::new().route("/echo", websocket(echo));
    ///
    /// Sim::check(0..10, |sim| {
    ///     let app = sim.app(router.clone());
    ///     async move {
    ///         let mut client = app.open("/echo").await;
    ///         client.try_send("hello").unwrap();
    ///         assert_eq!(client.next().await, Ok("hello".into()));
    ///         client.wire().cut();
    ///         assert!(!client.next().await.unwrap_err().is_clean());
    ///         assert!(client.try_send("hello").is_err());
    ///     }
    /// });
    /// ```
    pub async fn next(&mut self) -> Result<Message, Closed> {
        self.poll_peer(&mut |peer: &mut ClientState, _| match peer.messages.pop_front() {
            Some(message) => Some(Ok(message)),
            None => peer.closed.clone().map(Err),
        })
        .await
    }

    /// Queues a message, however many are queued.
    ///
    /// # Errors
    ///
    /// [`SendError::Closing`] once either side has started to close, or the connection has ended.
    pub fn try_send(&mut self, message: impl Into<Message>) -> Result<(), SendError> {
        let chunk = Chunk { data: message.into(), last: true };
        let now = self.app.sim.now();
        lock(&self.peer).send(chunk, now)
    }

    /// Receives the payload of the next ping. It was answered when it arrived.
    ///
    /// # Panics
    ///
    /// As [`recv`](Self::recv).
    #[track_caller]
    pub fn recv_ping(&mut self) -> impl Future<Output = Bytes> + Send {
        let place = Location::caller();
        async move { self.take_next(place, "a ping", |peer| &mut peer.pings).await }
    }

    /// Receives the payload of the next pong.
    ///
    /// # Panics
    ///
    /// As [`recv`](Self::recv).
    #[track_caller]
    pub fn recv_pong(&mut self) -> impl Future<Output = Bytes> + Send {
        let place = Location::caller();
        async move { self.take_next(place, "a pong", |peer| &mut peer.pongs).await }
    }

    /// Receives the next message and asserts that it equals `message`.
    ///
    /// # Panics
    ///
    /// Panics if it differs, and as [`recv`](Self::recv).
    #[track_caller]
    pub fn expect(&mut self, message: impl Into<Message>) -> impl Future<Output = ()> + Send {
        let (place, message) = (Location::caller(), message.into());
        async move {
            let expected = Text::of(&message);
            let received = self.take_next(place, &expected, |peer| &mut peer.messages).await;
            if received != message {
                let received = show(&received);
                self.fail(place, &format_args!("expected {expected}, got {received}"));
            }
        }
    }

    /// Asserts that for `duration` no message is received and the connection does not end.
    ///
    /// # Panics
    ///
    /// Panics if a message is received or the connection ends.
    #[track_caller]
    pub fn expect_silence(&mut self, duration: Duration) -> impl Future<Output = ()> + Send {
        let place = Location::caller();
        async move {
            let mut broken = |peer: &mut ClientState, _| {
                peer.messages.pop_front().map(Ok).or_else(|| peer.closed.clone().map(Err))
            };
            match self.app.sim.timeout(duration, self.poll_peer(&mut broken)).await {
                None => {}
                Some(Ok(message)) => {
                    let message = show(&message);
                    self.fail(place, &format_args!("expected silence, got {message}"));
                }
                Some(Err(closed)) => {
                    self.fail(
                        place,
                        &format_args!("expected silence, the connection ended: {closed}"),
                    );
                }
            }
        }
    }

    /// Waits for the connection to end, and asserts that the service sent a Close frame with this
    /// code and no message before it. Returns how the connection ended, as the client saw it.
    ///
    /// # Panics
    ///
    /// Panics if a message is received first, if the connection ends differently, and if it does
    /// not end in time.
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
                        self.fail(
                            place,
                            &format_args!("expected {awaited}, the connection ended: {closed}"),
                        );
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

    /// Waits for the connection to end and returns how it ended, as the client saw it.
    ///
    /// # Panics
    ///
    /// Panics if it does not end in time.
    #[track_caller]
    pub fn closed(&mut self) -> impl Future<Output = Closed> + Send {
        let place = Location::caller();
        async move { self.wait(place, "the end", |peer, _| peer.closed.clone()).await }
    }

    /// Returns the subprotocol that the service selected.
    pub fn subprotocol(&self) -> Option<String> {
        lock(&self.peer).connection.subprotocol().map(str::to_owned)
    }

    /// Returns the 101 response of the service.
    pub fn response(&self) -> &Response<()> {
        &self.response
    }

    /// Returns a handle that injects faults into the connection.
    pub fn wire(&self) -> Wire {
        self.wire.clone()
    }

    /// Takes the next item of one of the queues, and fails the test if the connection ends first.
    async fn take_next<T>(
        &mut self,
        place: Place,
        awaited: &(impl fmt::Display + ?Sized),
        queue: impl Fn(&mut ClientState) -> &mut VecDeque<T>,
    ) -> T {
        let next = self.wait(place, awaited, |peer, _| match queue(peer).pop_front() {
            Some(item) => Some(Ok(item)),
            None => peer.closed.clone().map(Err),
        });
        match next.await {
            Ok(item) => item,
            Err(closed) => self
                .fail(place, &format_args!("expected {awaited}, the connection ended: {closed}")),
        }
    }

    /// Waits until `take` returns `Some`.
    async fn wait<T>(
        &self,
        place: Place,
        awaited: &(impl fmt::Display + ?Sized),
        mut take: impl FnMut(&mut ClientState, Instant) -> Option<T>,
    ) -> T {
        let patience = self.app.patience;
        match self.app.sim.timeout(patience, self.poll_peer(&mut take)).await {
            Some(taken) => taken,
            None => self
                .fail(place, &format_args!("expected {awaited} within {patience:?}, got nothing")),
        }
    }

    async fn poll_peer<T>(
        &self,
        take: &mut impl FnMut(&mut ClientState, Instant) -> Option<T>,
    ) -> T {
        poll_fn(|cx| {
            let mut peer = lock(&self.peer);
            match take(&mut peer, self.app.sim.now()) {
                Some(taken) => {
                    // Even if it is a ping.
                    self.app.sim.world.time.live();
                    Poll::Ready(taken)
                }
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
        peer.transcript.push(now, Line::Sent(line.into()));
        peer.wake_driver();
        done
    }

    fn fail(&self, place: Place, why: &dyn fmt::Display) -> ! {
        self.wire.omit_transcript();
        let transcript = lock(&self.peer).transcript.to_string();
        panic!("{place}: {}: {why}\n{transcript}", self.path)
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

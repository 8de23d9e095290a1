//! The client behind a conversation: [`ClientState`], and the task that drives it.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use sockless_core::{
    Chunk, Closed, Connection, Event, Instant, Message, SendError, TransportAction,
};
use sockless_driver::{Io, Timer};

use super::transcript::{Line, Text, Transcript, show, show_bytes};
use crate::io::SimIo;
use crate::lock;
use crate::sim::Sim;
use crate::time::SimTimer;

/// The state that a test shares with the task that drives its client.
pub(crate) struct ClientState {
    pub(crate) connection: Connection,
    pub(crate) messages: VecDeque<Message>,
    pub(crate) pings: VecDeque<Bytes>,
    pub(crate) pongs: VecDeque<Bytes>,
    pub(crate) closed: Option<Closed>,
    pub(crate) transcript: Transcript,
    pub(crate) waiter: Option<Waker>,
    driver: Option<Waker>,
    /// True while a message is sent in chunks.
    unfinished: bool,
}

impl ClientState {
    pub(crate) fn new(connection: Connection) -> Self {
        Self {
            connection,
            messages: VecDeque::new(),
            pings: VecDeque::new(),
            pongs: VecDeque::new(),
            closed: None,
            transcript: Transcript::default(),
            waiter: None,
            driver: None,
            unfinished: false,
        }
    }

    pub(crate) fn send(&mut self, chunk: Chunk, now: Instant) -> Result<(), SendError> {
        let Chunk { last, .. } = chunk;
        let line = if last && !self.unfinished {
            let line = Text::of(&chunk.data);
            self.connection.send(chunk.data, now)?;
            line
        } else {
            let line = format!("{} (a chunk)", show(&chunk.data)).into();
            self.connection.send_chunk(chunk, now)?;
            line
        };
        self.unfinished = !last;
        self.transcript.push(now, Line::Sent(line));
        self.wake_driver();
        Ok(())
    }

    fn handle(&mut self, event: Event, now: Instant) {
        let line = match &event {
            Event::Message(message) => Text::of(message),
            Event::Chunk(chunk) => format!("{} (a chunk)", show(&chunk.data)).into(),
            Event::Ping(payload) => format!("Ping: {}", show_bytes(payload)).into(),
            Event::Pong(payload) => format!("Pong: {}", show_bytes(payload)).into(),
            Event::PeerClosed(reason) => format!("Close {reason}").into(),
            Event::Closed(closed) => format!("the connection ended: {closed}").into(),
            event => format!("{event:?}").into(),
        };
        assert!(self.closed.is_none(), "the client reports an event after its end: {line}");
        self.transcript.push(now, Line::Received(line));
        match event {
            Event::Message(message) => self.messages.push_back(message),
            Event::Chunk(chunk) => self.messages.push_back(chunk.data),
            Event::Ping(payload) => self.pings.push_back(payload),
            Event::Pong(payload) => self.pongs.push_back(payload),
            Event::Closed(closed) => self.closed = Some(closed),
            _ => {}
        }
    }

    pub(crate) fn wake_driver(&mut self) {
        if let Some(driver) = self.driver.take() {
            driver.wake();
        }
    }
}

/// The task that drives a client until its transport is closed.
pub(crate) struct ClientDriver {
    sim: Sim,
    peer: Arc<Mutex<ClientState>>,
    io: SimIo,
    inbound: BytesMut,
    timer: SimTimer,
    /// The transport delivers no further bytes.
    eof: bool,
    /// Its writing half has been shut down.
    shut_down: bool,
}

impl ClientDriver {
    pub(crate) fn new(
        sim: &Sim,
        peer: Arc<Mutex<ClientState>>,
        io: SimIo,
        inbound: BytesMut,
    ) -> Self {
        let never = Instant::from_epoch(Duration::MAX);
        let timer = SimTimer::in_background(&sim.world.time, never);
        Self { sim: sim.clone(), peer, io, inbound, timer, eof: false, shut_down: false }
    }
}

impl Future for ClientDriver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { sim, peer, io, inbound, timer, eof, shut_down } = &mut *self;
        let (now, mut peer) = (sim.now(), lock(peer));
        let peer = &mut *peer;
        loop {
            let more = !*eof && read(io, inbound, eof, &mut peer.connection, now, cx);
            while let Some(event) = peer.connection.poll_event(inbound, now) {
                peer.handle(event, now);
            }
            if !more {
                break;
            }
        }
        let drained = write(io, &mut peer.connection, now, cx);
        peer.connection.handle_blocked(now);
        // Writing may have found the transport broken.
        while let Some(event) = peer.connection.poll_event(inbound, now) {
            peer.handle(event, now);
        }
        if let Some(waiter) = peer.waiter.take() {
            waiter.wake();
        }
        match peer.connection.transport_action() {
            TransportAction::Close if drained => return Poll::Ready(()),
            // Reading finds the same error.
            TransportAction::ShutdownWrite if drained && !*shut_down => {
                *shut_down = io.poll_shutdown(cx).is_ready();
            }
            _ => {}
        }
        peer.driver = Some(cx.waker().clone());
        timer.reset(peer.connection.poll_timeout().unwrap_or(Instant::from_epoch(Duration::MAX)));
        if timer.poll_expired(cx).is_ready() {
            // The next poll writes what this queued.
            peer.connection.handle_timeout(now);
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

/// Reads once. Returns whether there may be more bytes.
fn read(
    io: &mut SimIo,
    inbound: &mut BytesMut,
    eof: &mut bool,
    connection: &mut Connection,
    now: Instant,
    cx: &mut Context<'_>,
) -> bool {
    match io.poll_receive(cx, inbound, READ_LEN) {
        Poll::Pending => return false,
        Poll::Ready(Ok(1..)) => return true,
        Poll::Ready(Ok(0)) => connection.handle_eof(now),
        Poll::Ready(Err(error)) => connection.handle_transport_error(error.to_string(), now),
    }
    *eof = true;
    false
}

/// Writes the queue. Returns whether all of it was written.
fn write(io: &mut SimIo, connection: &mut Connection, now: Instant, cx: &mut Context<'_>) -> bool {
    while connection.outbound().has_remaining() {
        let mut outbound = connection.outbound();
        match io.poll_write(cx, &[IoSlice::new(outbound.chunk())]) {
            Poll::Pending => return false,
            Poll::Ready(Ok(written)) => outbound.advance(written),
            Poll::Ready(Err(error)) => {
                connection.handle_transport_error(error.to_string(), now);
                return true;
            }
        }
    }
    // The next write finds the same error.
    io.poll_flush(cx).is_ready()
}

const READ_LEN: usize = 64 << 10;

//! Fault injection and counters of a connection: [`Wire`].

use std::fmt;
use std::sync::Arc;

use sockless_core::Instant;

use crate::ends::Ends;
use crate::lane::Lane;
use crate::link::Link;
use crate::pipe::Pipe;
use crate::stats::WireStats;

/// Injects faults into a simulated connection and counts its bytes, as seen from one of its ends.
/// From [`SimIo::wire`](crate::SimIo::wire) or [`Conversation::wire`](crate::Conversation::wire).
///
/// It can be kept while the code under test owns the end itself. Every fault takes effect at once,
/// except that bytes under way keep their time of arrival.
///
/// ```
/// use sockless::Cause;
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
/// let sim = Sim::new(1);
/// sim.run(async {
///     let app = sim.app(router);
///     let mut client = app.open("/echo").await;
///     client.wire().cut();
///     let closed = client.closed().await;
///     assert!(matches!(closed.cause(), Cause::Transport(_)));
/// });
/// ```
#[derive(Clone)]
pub struct Wire {
    pipe: Arc<Pipe>,
    side: usize,
}

/// A direction of a connection, as seen from the end of the [`Wire`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireDirection {
    /// From the peer to this end.
    Inbound,
    /// From this end to the peer.
    Outbound,
}

impl Wire {
    pub(crate) fn new(pipe: &Arc<Pipe>, side: usize) -> Self {
        Self { pipe: Arc::clone(pipe), side }
    }

    /// Returns the counters of this end.
    pub fn stats(&self) -> WireStats {
        self.pipe.stats(self.side)
    }

    /// Cuts the connection: from now on all operations of both ends fail with
    /// [`ConnectionReset`](std::io::ErrorKind::ConnectionReset), and the bytes under way are lost.
    pub fn cut(&self) {
        self.act("the test cuts the connection", |state, _| state.cut());
    }

    /// Resets the connection from this end, as a process does that exits with unread data. All
    /// operations of this end fail with [`ConnectionReset`](std::io::ErrorKind::ConnectionReset)
    /// from now on, and those of its peer once the reset has arrived there, after the bytes sent
    /// before. Bytes that the peer has not read by then are lost.
    pub fn reset(&self) {
        self.act("the test resets this end", |state, now| state.reset(self.side, now));
    }

    /// Resets the stream from this end, as an `RST_STREAM` of HTTP/2 does that is not `CANCEL`: the
    /// peer can read the bytes that have been sent, and then gets an error of the kind
    /// [`Other`](std::io::ErrorKind::Other) instead of the end of the stream. Once the reset has
    /// arrived there, the peer's writes and flushes fail, and
    /// [`Io::poll_ending`](sockless_driver::Io::poll_ending) returns `Ended` even over a link with
    /// [`ending_unknown`](Link::ending_unknown). All operations of this end fail with
    /// [`ConnectionReset`](std::io::ErrorKind::ConnectionReset) from now on. Without effect if
    /// either end has been reset.
    pub fn reset_stream(&self) {
        self.act("the test resets the stream", |state, _| state.reset_stream(self.side));
    }

    /// Resets the other end only, as a NAT gateway does that has dropped its entry: this end notices
    /// nothing, and what it writes is lost. Over a link with [resets](Link::resets) its writes are
    /// answered with a reset.
    pub fn reset_peer(&self) {
        self.act("the test resets the other end", |state, _| state.reset_peer(self.side));
    }

    /// Makes each end vanish for the other, like a pulled cable: from now on nothing arrives in
    /// either direction, including ends and resets, and no error is reported. Bytes that have
    /// arrived can be read. Writers fill their buffers and then wait.
    pub fn vanish(&self) {
        self.act("the test makes each end vanish for the other", Ends::vanish);
    }

    /// Ends one direction, as if its writer had shut it down: the reader gets the bytes under way
    /// and then the end of the stream, the writer gets
    /// [`BrokenPipe`](std::io::ErrorKind::BrokenPipe).
    pub fn end(&self, direction: WireDirection) {
        self.act_on_lane(direction, "the test ends this direction", Lane::end);
    }

    /// Stops one direction until [`resume`](Self::resume): the reader waits, and the writer waits
    /// once the link's capacity is used up.
    pub fn stall(&self, direction: WireDirection) {
        self.act_on_lane(direction, "the test stalls this direction", |lane| {
            lane.set_stalled(true);
        });
    }

    /// Ends a [`stall`](Self::stall).
    pub fn resume(&self, direction: WireDirection) {
        self.act_on_lane(direction, "the test resumes this direction", |lane| {
            lane.set_stalled(false);
        });
    }

    /// Changes the link of one direction. Bytes under way are kept, even beyond the new capacity,
    /// and new ones do not overtake them.
    pub fn set_link(&self, direction: WireDirection, link: Link) {
        self.act_on_lane(direction, "the test changes the link", |lane| lane.set_link(link));
    }

    /// Checks no law of WebSocket on what this end writes from now on; see
    /// [`Sim::tolerate_violations`](crate::Sim::tolerate_violations).
    pub fn tolerate_violations(&self) {
        self.pipe.tolerate_violations(self.side);
    }

    /// Expects that this end sends pongs only to answer pings.
    pub(crate) fn set_automatic(&self) {
        self.pipe.set_automatic(self.side);
    }

    /// Leaves the transcript of the connection out of the message of a failure.
    pub(crate) fn omit_transcript(&self) {
        self.pipe.omit_transcript();
    }

    fn act(&self, note: &'static str, act: impl FnOnce(&mut Ends, Instant)) {
        let now = self.pipe.with(|state, now, _| {
            act(state, now);
            now
        });
        self.pipe.note(self.side, now, note);
    }

    fn act_on_lane(
        &self,
        direction: WireDirection,
        note: &'static str,
        act: impl FnOnce(&mut Lane),
    ) {
        let lane = self.lane(direction);
        let now = self.pipe.with(|state, now, _| {
            act(&mut state.lanes[lane]);
            now
        });
        self.pipe.note(lane, now, note);
    }

    fn lane(&self, direction: WireDirection) -> usize {
        match direction {
            WireDirection::Inbound => 1 - self.side,
            WireDirection::Outbound => self.side,
        }
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

//! The events of a run, as data: [`Trace`].

mod event;
mod html;
mod json;
mod log;

use std::collections::VecDeque;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sockless_core::{Instant, Role};

use crate::sim::Sim;
pub(crate) use event::{End, Event, FrameEvent, Named, Payload, What};
pub(crate) use log::{Log, directory};

/// What happened in a run, in order: connections, frames, reads and writes, faults, the polls of
/// tasks, and the failure.
///
/// [`Sim::trace`] returns it, and the environment variable `SOCKLESS_SIM_TRACE` names a directory to
/// which the trace of a run that fails is written: as text, and as a [timeline](Self::html).
///
/// `Display` writes it as lines of JSON, and `FromStr` reads those, in the format of
/// [`sockless_core::trace`]: `FromStr` also reads what [`JsonTrace`](sockless_core::trace::JsonTrace)
/// has written of connections over real sockets. Payloads are kept up to 4 KiB each, and of a long
/// run the last 200,000 events.
///
/// The `role` in the first line of a run is `network`, since frames of both ends are observed, and the
/// `seed` is there. Each event has its `number`, counted from 0; its `group` is the number of the
/// connection, and its `time` is virtual. All frames are `websocket:frame_created`, with the end that
/// wrote them as `by`, and the number of bytes that it has then written as `end`. The events whose
/// names begin with `sim:` are what else happens in a run, and may change with the simulator's version.
///
/// ```
/// use sockless::sim::{Sim, Trace};
/// # use sockless::{Closed, Router, Session, websocket};
/// # async fn echo(mut session: Session) -> Result<(), Closed> {
/// #     loop {
/// #         let message = session.recv().await?;
/// #         session.send(message).await?;
/// #     }
/// # }
/// # let router = Router::new().route("/echo", websocket(echo));
///
/// let run = |text: &'static str| {
///     let sim = Sim::new(7);
///     sim.record_trace();
///     sim.run(async {
///         let mut client = sim.app(router.clone()).open("/echo").await;
///         client.send(text).await;
///         client.expect(text).await;
///     });
///     sim.trace()
/// };
/// let (hello, help) = (run("hello"), run("help!"));
/// let frames: Vec<_> = hello.frames().map(|frame| frame.payload().to_vec()).collect();
/// assert_eq!(frames, [b"hello", b"hello"]);
///
/// assert_eq!(hello.diff(&run("hello")), None);
/// let difference = hello.diff(&help).unwrap().to_string();
/// assert!(difference.contains("sends Text, 5 bytes: \"help!\""), "{difference}");
///
/// let saved: Trace = hello.to_string().parse()?;
/// assert_eq!(saved, hello);
/// # Ok::<(), sockless::sim::ParseTraceError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// `None` for real connections.
    seed: Option<u64>,
    /// The number of the first event that was kept.
    first: u64,
    events: VecDeque<Event>,
}

impl Trace {
    /// Returns the seed of the run; `None` for connections over real sockets.
    pub fn seed(&self) -> Option<u64> {
        self.seed
    }

    /// Returns the number of events that happened, with those that were not kept.
    pub fn len(&self) -> u64 {
        self.first + self.events.len() as u64
    }

    /// Returns true if nothing happened.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the frames of all connections, in the order in which they were begun.
    pub fn frames(&self) -> impl Iterator<Item = TraceFrame<'_>> {
        self.events.iter().filter_map(|event| match &event.what {
            What::Frame(frame) => Some(TraceFrame { time: event.time, frame }),
            _ => None,
        })
    }

    /// Returns the lines of the heads of requests and responses, in order. Of a run these are the first
    /// lines; of connections over real sockets, what was passed to
    /// [`JsonTrace::head`](sockless_core::trace::JsonTrace::head).
    pub fn heads(&self) -> impl Iterator<Item = TraceHead<'_>> {
        self.events.iter().filter_map(|Event { time, what }| match what {
            What::Head { connection, from, line } => {
                Some(TraceHead { time: *time, connection: *connection, from: *from, line })
            }
            _ => None,
        })
    }

    /// Returns the first event in which `other` differs; `None` if they are equal.
    pub fn diff(&self, other: &Self) -> Option<TraceDifference> {
        let first = self.first.max(other.first);
        let from = |trace: &Self| {
            let skipped = usize::try_from(first - trace.first).unwrap_or(usize::MAX);
            trace.events.iter().skip(skipped).cloned().collect::<Vec<_>>()
        };
        let (ours, theirs) = (from(self), from(other));
        let index =
            (0..ours.len().max(theirs.len())).find(|at| ours.get(*at) != theirs.get(*at))?;
        let text = |events: &[Event]| events.get(index).map(ToString::to_string);
        Some(TraceDifference {
            number: first + index as u64,
            first: text(&ours),
            second: text(&theirs),
        })
    }

    /// Returns a timeline: one page of HTML without external resources and scripts. It has the
    /// machines with their tasks, the connections with their frames as arrows, and the failure at
    /// the end; of a long run, the last 2000 events. What peers wrote is escaped.
    pub fn html(&self) -> String {
        html::page(self)
    }

    /// Writes the trace to `DIRECTORY/NAME.jsonl` and the timeline to `DIRECTORY/NAME.html`, and
    /// returns the path of the latter. Creates the directory.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub fn save(&self, directory: impl AsRef<Path>, name: &str) -> std::io::Result<PathBuf> {
        let directory = directory.as_ref();
        std::fs::create_dir_all(directory)?;
        std::fs::write(directory.join(format!("{name}.jsonl")), self.to_string())?;
        let page = directory.join(format!("{name}.html"));
        std::fs::write(&page, self.html())?;
        Ok(page)
    }

    /// Returns the events of a connection, with their times in nanoseconds.
    #[cfg(feature = "record")]
    pub(crate) fn events_of(&self, connection: u64) -> impl Iterator<Item = (u64, &What)> {
        let is_of = move |event: &&Event| event.what.connection() == Some(connection);
        self.events.iter().filter(is_of).map(|event| (event.time, &event.what))
    }

    fn numbered(&self) -> impl Iterator<Item = (u64, &Event)> {
        (self.first..).zip(&self.events)
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        json::write(self, f)
    }
}

/// Accepts what `Display` and [`JsonTrace`](sockless_core::trace::JsonTrace) write. Of the latter
/// there may be several, each behind its first line, if they observe the same end.
impl FromStr for Trace {
    type Err = ParseTraceError;

    fn from_str(text: &str) -> Result<Self, ParseTraceError> {
        json::parse(text)
    }
}

/// A text that is not a [`Trace`] of this version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseTraceError {
    line: usize,
}

impl fmt::Display for ParseTraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} is not of a {} of version {}", self.line, json::FORMAT, json::VERSION)
    }
}

impl std::error::Error for ParseTraceError {}

/// The first event in which two traces differ, from [`Trace::diff`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceDifference {
    number: u64,
    first: Option<String>,
    second: Option<String>,
}

impl TraceDifference {
    /// Returns the number of the event, counted from 0.
    pub fn number(&self) -> u64 {
        self.number
    }
}

impl fmt::Display for TraceDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |event: &Option<String>| event.clone().unwrap_or_else(|| "the end".to_owned());
        write!(
            f,
            "the traces differ at event {}:\n  first:  {}\n  second: {}",
            self.number,
            text(&self.first),
            text(&self.second)
        )
    }
}

/// A line of the head of a request or a response, from [`Trace::heads`].
#[derive(Clone, Copy, Debug)]
pub struct TraceHead<'a> {
    time: u64,
    connection: u64,
    from: End,
    line: &'a str,
}

impl<'a> TraceHead<'a> {
    /// Returns when it was written, as [`TraceFrame::at`].
    pub fn at(&self) -> Instant {
        instant(self.time)
    }

    /// Returns the number of its connection, counted from 1.
    pub fn connection(&self) -> u64 {
        self.connection
    }

    /// Returns the end that wrote it.
    pub fn from(&self) -> Role {
        self.from.role()
    }

    /// Returns the line, without its end.
    pub fn line(&self) -> &'a str {
        self.line
    }
}

fn instant(nanos: u64) -> Instant {
    Instant::from_epoch(std::time::Duration::from_nanos(nanos))
}

/// A frame that an end has written, from [`Trace::frames`].
#[derive(Clone, Copy, Debug)]
pub struct TraceFrame<'a> {
    time: u64,
    frame: &'a FrameEvent,
}

impl<'a> TraceFrame<'a> {
    /// Returns when it was begun: since the beginning of a run, or since the first event of
    /// connections over real sockets.
    pub fn at(&self) -> Instant {
        instant(self.time)
    }

    /// Returns the number of its connection, counted from 1.
    pub fn connection(&self) -> u64 {
        self.frame.connection
    }

    /// Returns the end that wrote it.
    pub fn from(&self) -> Role {
        self.frame.from.role()
    }

    /// Returns the opcode: 0 to 15.
    pub fn opcode(&self) -> u8 {
        self.frame.opcode
    }

    /// Returns true if it ends a message.
    pub fn is_final(&self) -> bool {
        self.frame.is_final
    }

    /// Returns the reserved bits: RSV1 counts 4, RSV2 2 and RSV3 1.
    pub fn rsv(&self) -> u8 {
        self.frame.rsv
    }

    /// Returns the length of its payload, as its head has it.
    #[expect(clippy::len_without_is_empty, reason = "the length of a part of it")]
    pub fn len(&self) -> u64 {
        self.frame.len
    }

    /// Returns its payload without the mask: what was recorded of it, in a run up to 4 KiB.
    pub fn payload(&self) -> &'a [u8] {
        &self.frame.payload.0
    }
}

/// Traces.
impl Sim {
    /// Keeps what happens from now on for [`trace`](Self::trace).
    pub fn record_trace(&self) {
        self.world.log.enable();
    }

    /// Returns what happened since [`record_trace`](Self::record_trace), or since the beginning if
    /// `SOCKLESS_SIM_TRACE` is set.
    pub fn trace(&self) -> Trace {
        self.world.log.trace(self.world.seed)
    }
}

//! The elements of the matrix: [`Cell`], and the combinations that are left out.

use std::fmt;
use std::time::Duration;

use sockless_core::{Config, MessageRate, Role};
use sockless_sim::{Link, Sim};

use crate::expected::STANDSTILL;
use sockless_tests::opened::SECOND;

/// How many bytes of undelivered messages a session reads ahead, and how many it queues to be sent. Far
/// less than the defaults, so that the cells are quick; the deadlines do not depend on it.
pub(crate) const QUEUE: usize = 8_000;

/// The length of each message that the peer or the session sends.
pub(crate) const MESSAGE: usize = 1_000;

/// One case: how the peer ends, where the handler stands, and what else matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) end: End,
    pub(crate) stand: Stand,
    pub(crate) unread: Unread,
    pub(crate) role: Role,
    pub(crate) settings: Settings,
    pub(crate) watch: Watch,
}

/// The way in which the peer ends or stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Ends what it writes, and keeps its socket.
    Fin,
    /// Resets its connection: what it has sent is lost where it was not read.
    Rst,
    /// Resets its stream, as over HTTP/2: the transport fails behind what was sent, without a FIN, and says so
    /// when it is asked for its end, even if it does not otherwise know it.
    StreamReset,
    /// Disappears, which no packet reports.
    Vanish,
    /// Sends a Close frame, waits up to 5 s for the answer, and drops its socket.
    CloseAndWait,
    /// Sends a Close frame and drops its socket.
    CloseAndDrop,
    /// Reads nothing, though the session sends much.
    NeverReads,
    /// Reads all that comes from when we close on, and answers at once.
    Answers,
    /// Reads 8 KiB a second, up to the end.
    ReadsSlowly,
    /// The same with seconds of what was sent in the buffers of the transport, and so before each ping, which it answers
    /// when it has read up to it.
    ReadsBehind,
    /// Sends a Close frame after our process stood still for half a minute, in which it answered at once.
    Standstill,
    /// Sends a byte of a long message now and then.
    Drips,
    /// Sends a part of a message and nothing more.
    Unfinished,
}

/// Where the handler stands. Where it sends, its peer has not read a byte before it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stand {
    Recv,
    /// In `chunk` of a reader.
    Reader,
    /// In `write` of a writer.
    Write,
    Send,
    Flush,
    Closed,
    /// In an hour's sleep of its own.
    Sleep,
    /// In `closed` of the one half, with the other half held.
    SplitHeld,
    /// In `closed` of the one half, with the other half dropped.
    SplitDropped,
    RawRecv,
    RawSend,
    RawFlush,
    RawClosed,
    /// In an hour's sleep of its own, with a session of frames.
    RawSleep,
}

/// The amount that the peer sends before it ends, compared with the read-ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    None,
    Below,
    /// As many bytes of payload; whether that leaves room depends on what an item costs besides.
    JustAt,
    /// More than one read brings, so that some of it stays in the receiver's buffer; it all fits in there.
    FarAbove,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settings {
    Default,
    /// Every deadline is a few seconds.
    Short,
}

/// True if the transport reports its end without being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watch {
    Known,
    Unknown,
}

const ENDS: [End; 13] = [
    End::Fin,
    End::Rst,
    End::StreamReset,
    End::Vanish,
    End::CloseAndWait,
    End::CloseAndDrop,
    End::NeverReads,
    End::Answers,
    End::ReadsSlowly,
    End::ReadsBehind,
    End::Standstill,
    End::Drips,
    End::Unfinished,
];

const STANDS: [Stand; 14] = [
    Stand::Recv,
    Stand::Reader,
    Stand::Write,
    Stand::Send,
    Stand::Flush,
    Stand::Closed,
    Stand::Sleep,
    Stand::SplitHeld,
    Stand::SplitDropped,
    Stand::RawRecv,
    Stand::RawSend,
    Stand::RawFlush,
    Stand::RawClosed,
    Stand::RawSleep,
];

const UNREAD: [Unread; 4] = [Unread::None, Unread::Below, Unread::JustAt, Unread::FarAbove];

/// All cells that make sense.
pub(crate) fn all() -> Vec<Cell> {
    let mut cells = Vec::new();
    for end in ENDS {
        for stand in STANDS {
            for unread in UNREAD {
                for role in [Role::Server, Role::Client] {
                    for settings in [Settings::Default, Settings::Short] {
                        for watch in [Watch::Known, Watch::Unknown] {
                            cells.push(Cell { end, stand, unread, role, settings, watch });
                        }
                    }
                }
            }
        }
    }
    cells.retain(|cell| cell.why_not().is_none());
    cells
}

impl Cell {
    /// Why the cell makes no sense, if it does not.
    pub(crate) fn why_not(self) -> Option<&'static str> {
        let needs_output =
            matches!(self.end, End::NeverReads | End::ReadsSlowly | End::ReadsBehind);
        if needs_output && !self.sends() {
            return Some("a session that sends nothing does not notice whether its peer reads");
        }
        if self.end == End::Standstill && self.is_paused() {
            return Some("nothing more is read of a peer whose messages are not received");
        }
        let lasts = matches!(self.end, End::ReadsSlowly | End::ReadsBehind);
        if lasts && self.settings == Settings::Short && self.is_paused() {
            return Some("what was not received for `stall_timeout` ends it before the peer does");
        }
        if self.end == End::Standstill && self.sends() {
            return Some("a peer that reads nothing has not answered");
        }
        if self.end == End::Answers && self.is_raw() {
            return Some("a session of frames is closed by its handler's return");
        }
        None
    }

    /// True if the handler sends as much as it can, and is blocked in it.
    pub(crate) fn sends(self) -> bool {
        matches!(
            self.stand,
            Stand::Write | Stand::Send | Stand::Flush | Stand::RawSend | Stand::RawFlush
        )
    }

    /// True if the handler receives, or has declared that it never will.
    pub(crate) fn receives(self) -> bool {
        matches!(self.stand, Stand::Recv | Stand::Reader | Stand::SplitDropped | Stand::RawRecv)
    }

    pub(crate) fn is_raw(self) -> bool {
        matches!(
            self.stand,
            Stand::RawRecv | Stand::RawSend | Stand::RawFlush | Stand::RawClosed | Stand::RawSleep
        )
    }

    /// True if the session holds as many unread bytes as it may, or can come to it.
    pub(crate) fn is_paused(self) -> bool {
        !self.receives() && matches!(self.unread, Unread::JustAt | Unread::FarAbove)
    }

    /// The number of messages that the peer sends before it ends.
    pub(crate) fn messages(self) -> usize {
        match self.unread {
            Unread::None => 0,
            Unread::Below => QUEUE / MESSAGE / 2,
            Unread::JustAt => QUEUE / MESSAGE,
            Unread::FarAbove => 120,
        }
    }

    pub(crate) fn config(self) -> Config {
        let config = Config::default().read_ahead(QUEUE).high_water(QUEUE);
        match self.settings {
            Settings::Default => config,
            Settings::Short => config
                .ping_interval(SECOND)
                .ping_timeout(SECOND)
                .idle_timeout(self.short_idle())
                .message_timeout(2 * SECOND)
                .message_rate(MessageRate::new(SECOND, 1024))
                .write_timeout(2 * SECOND)
                .closing_timeout(self.short_closing())
                .stall_timeout(3 * SECOND),
        }
    }

    /// The idle timeout among short deadlines: a peer that answers only sends no message.
    fn short_idle(self) -> Duration {
        if self.end == End::Standstill { 2 * STANDSTILL } else { 2 * SECOND }
    }

    /// The closing timeout among short deadlines: a peer that is seconds behind needs them to answer.
    pub(crate) fn short_closing(self) -> Duration {
        if self.end == End::ReadsBehind { 10 * SECOND } else { SECOND }
    }

    /// The links to the session and from it. What the peer sends before it ends fits in the receiver's
    /// buffer, so that its end arrives; what the session sends does not, so that it is blocked.
    pub(crate) fn links(self, sim: &Sim) -> [Link; 2] {
        let mut link = Link::tcp()
            .latency(Duration::from_millis(10))
            .jitter(Duration::from_millis(5))
            .ending_unknown(self.watch == Watch::Unknown);
        if sim.draw(0..3) == 0 {
            link = link.short_reads(3_000);
        }
        if sim.draw(0..3) == 0 {
            link = link.short_writes(3_000);
        }
        let small = if self.end == End::ReadsBehind { 16 << 10 } else { 2 << 10 };
        [link.clone().buffers(256 << 10, 256 << 10), link.buffers(small, small)]
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { end, stand, unread, role, settings, watch } = self;
        write!(f, "{end:?} at {stand:?}, unread {unread:?}, {role:?}, {settings:?}, end {watch:?}")
    }
}

//! The events of a run, in order: their digest, and the comparison of two runs: [`Fingerprint`].

use std::fmt;
use std::sync::Arc;

use sockless_core::Instant;

use crate::waits;

/// An event that a simulation records in its fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Occurrence {
    Polled { task: u64 },
    Read { pipe: u64, side: usize, len: usize },
    Wrote { pipe: u64, side: usize, len: usize, digest: u64 },
}

impl fmt::Display for Occurrence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = |side: usize| if side == 0 { "client" } else { "server" };
        match *self {
            Self::Polled { task: 0 } => f.write_str("main runs"),
            Self::Polled { task } => write!(f, "task {task} runs"),
            Self::Read { pipe, side, len } => {
                write!(f, "the {} of connection #{pipe} reads {len} bytes", end(side))
            }
            Self::Wrote { pipe, side, len, digest } => write!(
                f,
                "the {} of connection #{pipe} writes {len} bytes with the digest {:08x}",
                end(side),
                digest >> 32
            ),
        }
    }
}

/// The events of a run that is compared with another one, up to [`Fingerprint::KEPT`].
pub(crate) type Events = Vec<(Instant, Occurrence)>;

/// The digest of the events so far and, for the first seed of a check, the events.
#[derive(Default)]
pub(crate) struct Fingerprint {
    digest: u64,
    count: usize,
    /// The number of bytes that were written.
    bytes: u64,
    /// The task that was polled last.
    task: u64,
    mode: Mode,
}

#[derive(Default)]
enum Mode {
    #[default]
    Digest,
    Keep(Events),
    Compare(Arc<Events>),
    Parted(Box<Parted>),
}

/// The first event in which two runs of a seed differ.
#[derive(Clone, Debug)]
pub(crate) struct Parted {
    index: usize,
    first: Option<(Instant, Occurrence)>,
    second: Option<(Instant, Occurrence)>,
    /// The task that ran.
    pub(crate) task: u64,
    /// The call in which the second run differs.
    place: Option<String>,
}

impl Fingerprint {
    /// The number of events that are kept for the comparison: 40 MB.
    const KEPT: usize = 1 << 20;

    pub(crate) fn keep(&mut self) {
        self.mode = Mode::Keep(Vec::new());
    }

    pub(crate) fn compare_with(&mut self, events: Arc<Events>) {
        self.mode = Mode::Compare(events);
    }

    /// Ends the comparison of two runs.
    pub(crate) fn stop_comparing(&mut self) {
        if !matches!(self.mode, Mode::Parted(_)) {
            self.mode = Mode::Digest;
        }
    }

    /// Returns the events that were kept.
    pub(crate) fn take_events(&mut self) -> Events {
        match std::mem::take(&mut self.mode) {
            Mode::Keep(events) => events,
            _ => Vec::new(),
        }
    }

    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }

    /// Returns the number of bytes that were written to connections.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn parted(&self) -> Option<Parted> {
        match &self.mode {
            Mode::Parted(parted) => Some(Parted::clone(parted)),
            _ => None,
        }
    }

    /// Adds an event. Returns true if the compared runs part here.
    #[inline]
    pub(crate) fn record(&mut self, now: Instant, event: Occurrence) -> bool {
        let words = match event {
            Occurrence::Polled { task } => {
                self.task = task;
                [1, task, 0, 0]
            }
            Occurrence::Read { pipe, side, len } => [2 + side as u64, pipe, len as u64, 0],
            Occurrence::Wrote { pipe, side, len, digest } => {
                self.bytes += len as u64;
                [4 + side as u64, pipe, len as u64, digest]
            }
        };
        let time = now.since_epoch().as_nanos() as u64;
        self.digest = words.into_iter().fold(self.digest ^ time, mix);
        self.count += 1;
        match &self.mode {
            Mode::Digest | Mode::Parted(_) => false,
            Mode::Keep(_) | Mode::Compare(_) => self.compare(now, event),
        }
    }

    /// Keeps the event, or compares it with the one that was kept.
    fn compare(&mut self, now: Instant, event: Occurrence) -> bool {
        match &mut self.mode {
            Mode::Digest | Mode::Parted(_) => false,
            Mode::Keep(events) => {
                if events.len() < Self::KEPT {
                    events.push((now, event));
                }
                false
            }
            Mode::Compare(events) => {
                let first = events.get(self.count - 1).copied();
                let is_known = first.is_some() || events.len() < Self::KEPT;
                if !is_known || first == Some((now, event)) {
                    return false;
                }
                self.part(first, Some((now, event)));
                true
            }
        }
    }

    /// Compares the ends of the runs. Returns true if the first run went on.
    pub(crate) fn end(&mut self) -> bool {
        let Mode::Compare(events) = &self.mode else { return false };
        let Some(first) = events.get(self.count).copied() else { return false };
        self.count += 1;
        self.part(Some(first), None);
        true
    }

    fn part(
        &mut self,
        first: Option<(Instant, Occurrence)>,
        second: Option<(Instant, Occurrence)>,
    ) {
        let place = match second {
            Some((_, Occurrence::Polled { .. })) | None => None,
            Some(_) => waits::this_place(),
        };
        let (index, task) = (self.count, self.task);
        self.mode = Mode::Parted(Box::new(Parted { index, first, second, task, place }));
    }
}

impl Parted {
    /// Returns true if the runs part in which task is polled next, of which an earlier wake-up is the
    /// cause.
    pub(crate) fn is_poll(&self) -> bool {
        matches!(self.second, Some((_, Occurrence::Polled { .. })))
    }
}

impl fmt::Display for Parted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { index, first, second, .. } = self;
        write!(f, "two runs part at event {index}:")?;
        for (name, event) in [("first ", first), ("second", second)] {
            match event {
                Some((at, event)) => write!(f, "\n  {name} run: {at:?} {event}")?,
                None => write!(f, "\n  {name} run: the end")?,
            }
        }
        match &self.place {
            Some(place) => write!(f, "\n  in {place}"),
            None => Ok(()),
        }
    }
}

/// Returns a digest of the first `len` bytes of `slices`.
pub(crate) fn digest(slices: &[std::io::IoSlice<'_>], mut len: usize) -> u64 {
    let mut digest = 0;
    for slice in slices {
        let part = &slice[..len.min(slice.len())];
        len -= part.len();
        let mut words = part.chunks_exact(8);
        for word in &mut words {
            digest = mix(digest, u64::from_le_bytes(word.try_into().unwrap_or_default()));
        }
        digest = words.remainder().iter().fold(digest, |digest, byte| mix(digest, (*byte).into()));
    }
    digest
}

/// FxHash: an adversary could find collisions, but different runs do not collide by accident.
fn mix(digest: u64, word: u64) -> u64 {
    (digest.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95)
}

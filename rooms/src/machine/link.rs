//! The place of a room in the stream of its messages: [`Link`], and [`Place`], which holds it.

use crate::event::Resumed;
use crate::position::{Epoch, Position};

/// The room's place in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// The bus has not confirmed that it reports all items. Until `known` they have been delivered.
    Unconfirmed { known: Option<Position> },
    /// The bus reports all items; those until `top` have been delivered.
    Live { top: Option<Position> },
    /// The items after `top` are missing, and are read.
    Recovering { top: Position },
}

impl Link {
    /// The result of joining from `start`; `None` if the bus has to be asked.
    pub(super) fn resolve(self, start: Start, has_history: bool) -> Option<Resumed> {
        let Self::Live { top } = self else { return None };
        match (start, top) {
            (Start::Now, _) => Some(Resumed::New),
            (Start::Last(count), top) => {
                let has_messages = has_history && top.is_some_and(|top| top.offset > 0);
                (count == 0 || !has_messages).then_some(Resumed::New)
            }
            (Start::After(since), Some(top)) if since == top => Some(Resumed::Complete),
            (Start::After(since), Some(top)) if has_history && since.epoch == top.epoch => None,
            (Start::After(_), _) => Some(Resumed::Gap),
        }
    }
}

/// The link, and the numbers that fit beside it: in 24 bytes, where a link alone would take as many.
pub(super) struct Place {
    /// That of the link, if it has one.
    position: Position,
    link: Kind,
    pub(super) has_history: bool,
    /// The number of the member that joined last.
    pub(super) last_number: u32,
}

/// A [`Link`], without its position.
#[derive(Clone, Copy)]
enum Kind {
    UnconfirmedAndUnknown,
    Unconfirmed,
    LiveAndUnknown,
    Live,
    Recovering,
}

impl Place {
    pub(super) fn new(has_history: bool) -> Self {
        let position = Position { epoch: Epoch(0), offset: 0 };
        Self { position, link: Kind::UnconfirmedAndUnknown, has_history, last_number: 0 }
    }

    #[inline]
    pub(super) fn link(&self) -> Link {
        let top = self.position;
        match self.link {
            Kind::UnconfirmedAndUnknown => Link::Unconfirmed { known: None },
            Kind::Unconfirmed => Link::Unconfirmed { known: Some(top) },
            Kind::LiveAndUnknown => Link::Live { top: None },
            Kind::Live => Link::Live { top: Some(top) },
            Kind::Recovering => Link::Recovering { top },
        }
    }

    pub(super) fn set_link(&mut self, link: Link) {
        let (kind, position) = match link {
            Link::Unconfirmed { known: None } => (Kind::UnconfirmedAndUnknown, None),
            Link::Unconfirmed { known } => (Kind::Unconfirmed, known),
            Link::Live { top: None } => (Kind::LiveAndUnknown, None),
            Link::Live { top } => (Kind::Live, top),
            Link::Recovering { top } => (Kind::Recovering, Some(top)),
        };
        self.link = kind;
        self.position = position.unwrap_or(self.position);
    }
}

/// The first message that a member is to receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// The next one that is published.
    Now,
    /// The one behind this position.
    After(Position),
    /// The first of so many of the history.
    Last(u64),
}

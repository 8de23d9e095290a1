//! The place of a room in the stream of its messages: [`Link`].

use crate::event::Resumed;
use crate::position::Position;

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

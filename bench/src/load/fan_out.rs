//! Messages that go from one connection to all: which of them are still on their way to somebody.

use std::collections::VecDeque;
use std::time::Instant;

/// The messages that have been sent and not been heard by all.
pub struct FanOut {
    members: usize,
    /// For each: when it was released, and how many have not heard it.
    waiting: VecDeque<(Instant, usize)>,
    /// How many have been heard by all.
    over: u64,
}

impl FanOut {
    pub fn new(members: usize) -> Self {
        Self { members, waiting: VecDeque::new(), over: 0 }
    }

    /// How many messages are on their way.
    pub fn in_flight(&self) -> usize {
        self.waiting.len()
    }

    /// More messages are sent.
    pub fn release(&mut self, count: usize, now: Instant) {
        self.waiting.extend(std::iter::repeat_n((now, self.members), count));
    }

    /// A member, who has heard `heard` messages before, hears one more: when that was released.
    pub fn hear(&mut self, heard: u64) -> Option<Instant> {
        let index = usize::try_from(heard.checked_sub(self.over)?).ok()?;
        let (released, waiting) = self.waiting.get_mut(index)?;
        *waiting = waiting.checked_sub(1)?;
        Some(*released)
    }

    /// How many messages have been heard by all since this was asked last.
    pub fn take_over(&mut self) -> usize {
        let over = self.waiting.iter().take_while(|(_, waiting)| *waiting == 0).count();
        self.waiting.drain(..over);
        self.over += over as u64;
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_over_when_all_have_heard_it() {
        let now = Instant::now();
        let mut fan_out = FanOut::new(2);
        fan_out.release(2, now);
        // The first member is ahead of the second.
        assert_eq!([0, 1].map(|heard| fan_out.hear(heard)), [Some(now); 2]);
        assert_eq!((fan_out.take_over(), fan_out.in_flight()), (0, 2));
        assert_eq!(fan_out.hear(0), Some(now));
        assert_eq!((fan_out.take_over(), fan_out.in_flight()), (1, 1));
        assert_eq!(fan_out.hear(1), Some(now));
        assert_eq!((fan_out.take_over(), fan_out.in_flight()), (1, 0));
        assert_eq!(fan_out.hear(2), None, "nobody has sent a third");
    }
}

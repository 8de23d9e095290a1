//! Messages from one connection to all, with the number of deliveries that each still waits for.

use std::collections::VecDeque;
use std::time::Instant;

/// The messages in flight: sent, and not yet received by all members.
pub struct FanOut {
    members: usize,
    /// For each message, when it was released, and how many members have not received it.
    waiting: VecDeque<(Instant, usize)>,
    /// The number of messages that all members have received.
    over: u64,
}

impl FanOut {
    pub fn new(members: usize) -> Self {
        Self { members, waiting: VecDeque::new(), over: 0 }
    }

    /// The number of messages in flight.
    pub fn in_flight(&self) -> usize {
        self.waiting.len()
    }

    /// Records that `count` messages are sent.
    pub fn release(&mut self, count: usize, now: Instant) {
        self.waiting.extend(std::iter::repeat_n((now, self.members), count));
    }

    /// Records that a member that has received `heard` messages receives the next one, and returns when that was
    /// released.
    pub fn hear(&mut self, heard: u64) -> Option<Instant> {
        let index = usize::try_from(heard.checked_sub(self.over)?).ok()?;
        let (released, waiting) = self.waiting.get_mut(index)?;
        *waiting = waiting.checked_sub(1)?;
        Some(*released)
    }

    /// The number of messages that have become complete since the last call.
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
    fn a_message_is_complete_when_all_members_have_received_it() {
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
        assert_eq!(fan_out.hear(2), None, "there is no third message");
    }
}

//! The pongs that tasks wait for: [`Pongs`].

use std::time::Duration;

use bytes::Bytes;
use sockless_core::Instant;

/// The pings that wait for their pongs, and the last pong for tasks that watch them.
#[derive(Default)]
pub(crate) struct Pongs {
    /// In the order in which they were sent. Each lasts as long as the future that awaits it.
    sent: Vec<Sent>,
    last_id: u64,
    watchers: usize,
    /// The number of pongs that came while there were watchers, and the last of them.
    seen: u64,
    last: Bytes,
    round_trip: Option<Duration>,
}

struct Sent {
    id: u64,
    payload: Bytes,
    at: Instant,
    round_trip: Option<Duration>,
}

impl Pongs {
    /// Records a ping, and returns its number.
    pub(crate) fn note_ping(&mut self, payload: Bytes, at: Instant) -> u64 {
        self.last_id += 1;
        self.sent.push(Sent { id: self.last_id, payload, at, round_trip: None });
        self.last_id
    }

    /// Ends the wait for a pong.
    pub(crate) fn forget(&mut self, id: u64) {
        self.sent.retain(|sent| sent.id != id);
    }

    /// Records a pong. It answers the first ping with its payload, and those sent before it: a peer
    /// may answer the last of several only (RFC 6455 §5.5.3). Returns whether a task waits for it.
    pub(crate) fn note_pong(&mut self, payload: &Bytes, now: Instant) -> bool {
        let is_it = |sent: &Sent| sent.round_trip.is_none() && sent.payload == payload;
        let answered = self.sent.iter().position(is_it);
        if let Some(index) = answered {
            for sent in &mut self.sent[..=index] {
                let round_trip = now.saturating_since(sent.at);
                sent.round_trip.get_or_insert(round_trip);
                self.round_trip = Some(round_trip);
            }
        }
        if self.watchers > 0 {
            self.seen += 1;
            self.last = payload.clone();
        }
        answered.is_some() || self.watchers > 0
    }

    /// Returns the round-trip time of a ping that was answered.
    pub(crate) fn answer(&self, id: u64) -> Option<Duration> {
        self.sent.iter().find(|sent| sent.id == id)?.round_trip
    }

    /// Returns the round-trip time of the last ping that was answered.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// Registers a watcher, and returns the number of pongs so far.
    pub(crate) fn watch(&mut self) -> u64 {
        self.watchers += 1;
        self.seen
    }

    pub(crate) fn stop_watching(&mut self) {
        self.watchers -= 1;
    }

    /// Returns the last pong, and the number of pongs so far, if there are more than `seen`.
    pub(crate) fn newer_than(&self, seen: u64) -> Option<(Bytes, u64)> {
        (self.seen > seen).then(|| (self.last.clone(), self.seen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_pong_answers_its_ping_and_those_before_it() {
        let mut pongs = Pongs::default();
        let at = |seconds| Instant::EPOCH + SECOND * seconds;
        let [a, b, c] = ["a", "b", "c"].map(Bytes::from);
        let ids = [&a, &b, &c].map(|payload| pongs.note_ping(payload.clone(), at(0)));
        assert!(pongs.note_pong(&b, at(2)));
        assert_eq!(ids.map(|id| pongs.answer(id)), [Some(SECOND * 2), Some(SECOND * 2), None]);
        assert!(!pongs.note_pong(&a, at(3)), "it is answered already");
        assert!(!pongs.note_pong(&"unsolicited".into(), at(3)));
        assert!(pongs.note_pong(&c, at(5)));
        assert_eq!(pongs.round_trip(), Some(SECOND * 5));
        ids.into_iter().for_each(|id| pongs.forget(id));
        assert!(pongs.sent.is_empty());
    }
}

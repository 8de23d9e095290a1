//! Numbered streams without gap and repetition: [`Sequences`].

use std::collections::BTreeMap;

/// Numbered streams: the numbers of each must follow each other without gap and repetition, over
/// as many connections as it takes.
///
/// ```
/// use sockless::sim::oracles::Sequences;
///
/// let mut updates = Sequences::new();
/// updates.observe("Alice", 7);
/// updates.observe("Bob", 3);
/// updates.observe("Alice", 8);
/// assert_eq!(updates.last("Alice"), Some(8));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Sequences {
    last: BTreeMap<String, u64>,
}

impl Sequences {
    /// Creates an oracle without streams.
    pub fn new() -> Self {
        Self::default()
    }

    /// Records the next number of `stream`. A stream may begin with any number.
    ///
    /// # Panics
    ///
    /// Panics unless the number is one more than the last one of the stream.
    #[track_caller]
    pub fn observe(&mut self, stream: &str, number: u64) {
        let Some(last) = self.last.insert(stream.to_owned(), number) else { return };
        let what = match number {
            _ if number == last + 1 => return,
            _ if number > last + 1 => "a gap",
            _ => "a repetition",
        };
        panic!("{stream}: {what}: expected {}, got {number}", last + 1);
    }

    /// Records that `stream` continues with any number, for example after a gap that was
    /// announced.
    pub fn restart(&mut self, stream: &str) {
        self.last.remove(stream);
    }

    /// Returns the last number of `stream`.
    pub fn last(&self, stream: &str) -> Option<u64> {
        self.last.get(stream).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::Sequences;

    #[test]
    #[should_panic = "Alice: a gap: expected 2, got 3"]
    fn a_gap_is_found() {
        let mut sequences = Sequences::new();
        sequences.observe("Alice", 1);
        sequences.observe("Alice", 3);
    }

    #[test]
    #[should_panic = "Alice: a repetition: expected 2, got 1"]
    fn a_repetition_is_found() {
        let mut sequences = Sequences::new();
        sequences.observe("Alice", 1);
        sequences.observe("Alice", 1);
    }

    #[test]
    fn an_announced_gap_is_allowed() {
        let mut sequences = Sequences::new();
        sequences.observe("Alice", 1);
        sequences.restart("Alice");
        sequences.observe("Alice", 9);
    }
}

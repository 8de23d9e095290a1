//! A member of a room that checks what it receives.

use std::net::SocketAddr;
use std::sync::Mutex;

use sockless::rooms::Position;
use tokio::time::timeout;

use crate::hosts::LIMIT;

/// The items that a member has received.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    last: Option<(Position, u64)>,
    /// A gap was reported, and no message after it.
    in_gap: bool,
    pub(crate) gaps: u64,
    pub(crate) resumes: u64,
}

impl Seen {
    /// The last number that was received.
    pub(crate) fn number(&self) -> u64 {
        self.last.map_or(0, |(_, number)| number)
    }

    /// A line of the server, as the envelope of the suite writes it.
    fn take(&mut self, line: &str) {
        let words: Vec<_> = line.split(' ').collect();
        match *words {
            ["message", position, number] => {
                self.message(position.parse().unwrap(), number.parse().unwrap());
            }
            ["welcome", _, "complete"] => self.resumes += 1,
            ["welcome", _, "new"] => {
                assert!(self.last.is_none(), "a member that resumes is not new");
            }
            ["welcome", _, "gap"] | ["gap", _] => {
                self.in_gap = true;
                self.gaps += 1;
            }
            ["interrupted" | "restored"] => {}
            _ => panic!("unexpected: {line}"),
        }
    }

    /// Without a gap before it, a message has the next position and the next number.
    fn message(&mut self, position: Position, number: u64) {
        if let Some((last, last_number)) = self.last {
            if self.in_gap {
                // What was not confirmed is published again, and the broker has forgotten the first.
                assert!(number >= last_number, "{number} after {last_number} and a gap");
            } else {
                let next = Position { offset: last.offset + 1, ..last };
                assert_eq!(
                    (position, number),
                    (next, last_number + 1),
                    "after {last}, without a gap"
                );
            }
        }
        self.in_gap = false;
        self.last = Some((position, number));
    }
}

/// Is a member until it has received the number `until`, and comes back after every `lives` lines.
pub(crate) async fn run(addr: SocketAddr, lives: u64, until: u64, seen: &Mutex<Seen>) {
    loop {
        let since = seen.lock().unwrap().last.map(|(position, _)| format!("?since={position}"));
        let url = format!("ws://{addr}/room{}", since.unwrap_or_default());
        let mut session = sockless::connect(&url).await.expect("an open session");
        for _ in 0..lives {
            let message = timeout(LIMIT, session.recv()).await.expect("a message in time");
            let message = message.expect("no session ends with the broker");
            let mut seen = seen.lock().unwrap();
            seen.take(message.as_text().unwrap());
            if seen.number() >= until {
                return;
            }
        }
        session.terminate();
    }
}

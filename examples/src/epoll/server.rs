//! The loop: [`Server`].

#![expect(clippy::disallowed_methods, reason = "a loop of its own has a clock of its own")]

use std::collections::BTreeSet;
use std::io::{ErrorKind, Result};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use sockless_core::{Config, Instant};

use super::lent::Lent;
use super::peer::{Next, Peer, React};

/// The listener's token; the peers' are their places in the list.
const LISTENER: Token = Token(usize::MAX);

/// The pause after a failure to accept: without descriptors, an immediate retry would spin.
const PAUSE: Duration = Duration::from_millis(100);

/// A listener and the peers that it has accepted.
pub(crate) struct Server {
    poll: Poll,
    listener: TcpListener,
    config: Arc<Config>,
    react: React,
    peers: Vec<Option<Box<Seat>>>,
    /// Places in the list that are free.
    free: Vec<usize>,
    /// When each peer wants a turn, soonest first; each peer is in it at most once.
    deadlines: BTreeSet<(Instant, Token)>,
    lent: Lent,
    start: std::time::Instant,
}

/// A peer, and what the loop has promised it.
struct Seat {
    peer: Peer,
    interest: Interest,
    deadline: Option<Instant>,
}

impl Server {
    pub(crate) fn bind(addr: SocketAddr, config: Config, react: React) -> Result<Self> {
        let (poll, mut listener) = (Poll::new()?, TcpListener::bind(addr)?);
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            poll,
            listener,
            config: Arc::new(config),
            react,
            peers: Vec::new(),
            free: Vec::new(),
            deadlines: BTreeSet::new(),
            lent: Lent::default(),
            start: std::time::Instant::now(),
        })
    }

    pub(crate) fn local_addr(&self) -> Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until polling fails.
    pub(crate) fn run(&mut self) -> Result<()> {
        let mut events = Events::with_capacity(1024);
        loop {
            let next = self.deadlines.first().map(|(deadline, _)| *deadline);
            let wait = next.map(|deadline| deadline.saturating_since(self.now()));
            match self.poll.poll(&mut events, wait) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            for event in &events {
                self.turn(event.token())?;
            }
            for token in self.due() {
                self.turn(token)?;
            }
        }
    }

    /// Readings of one clock, from an epoch of our own.
    fn now(&self) -> Instant {
        Instant::from_epoch(self.start.elapsed())
    }

    /// Whose deadlines have passed. Taken out, and put in again by their turns if need be.
    fn due(&mut self) -> Vec<Token> {
        let now = self.now();
        let mut due = Vec::new();
        while let Some((_, token)) = self.deadlines.first().filter(|(at, _)| *at <= now).copied() {
            self.deadlines.pop_first();
            if let Some(seat) = self.peers.get_mut(token.0).and_then(Option::as_mut) {
                seat.deadline = None;
            }
            due.push(token);
        }
        due
    }

    fn turn(&mut self, token: Token) -> Result<()> {
        if token == LISTENER {
            return self.accept();
        }
        let now = self.now();
        // A peer may have ended since the event was made, and its place been taken: the new one gets a
        // turn for no reason.
        let Some(seat) = self.peers.get_mut(token.0).and_then(Option::as_mut) else {
            return Ok(());
        };
        let (interest, deadline) = match seat.peer.turn(&mut self.lent, self.react, now) {
            Next::Wait(interest, until) => (interest, until),
            // Bytes that were read already are announced by no readiness.
            Next::Again => (seat.interest, Some(now)),
            Next::Over => {
                self.remove(token);
                return Ok(());
            }
        };
        if interest != seat.interest {
            self.poll.registry().reregister(seat.peer.stream(), token, interest)?;
            seat.interest = interest;
        }
        if deadline != seat.deadline {
            let before = std::mem::replace(&mut seat.deadline, deadline);
            before.map(|at| self.deadlines.remove(&(at, token)));
            deadline.map(|at| self.deadlines.insert((at, token)));
        }
        Ok(())
    }

    fn accept(&mut self) -> Result<()> {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => self.add(stream)?,
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return Ok(()),
                    ErrorKind::ConnectionAborted | ErrorKind::Interrupted => {}
                    _ => {
                        eprintln!("accepting failed; trying again in {PAUSE:?}: {error}");
                        self.deadlines.insert((self.now() + PAUSE, LISTENER));
                        return Ok(());
                    }
                },
            }
        }
    }

    fn add(&mut self, mut stream: TcpStream) -> Result<()> {
        // Each write is sent without delay; a socket without this option still works.
        let _ = stream.set_nodelay(true);
        let index = self.free.pop().unwrap_or(self.peers.len());
        let interest = Interest::READABLE;
        self.poll.registry().register(&mut stream, Token(index), interest)?;
        if index == self.peers.len() {
            self.peers.push(None);
        }
        let peer = Peer::new(stream, self.config.clone(), self.now());
        self.peers[index] = Some(Box::new(Seat { peer, interest, deadline: None }));
        self.turn(Token(index))
    }

    /// Drops a peer, whose socket takes itself out of the poll.
    fn remove(&mut self, token: Token) {
        if let Some(seat) = self.peers[token.0].take() {
            seat.deadline.map(|at| self.deadlines.remove(&(at, token)));
            self.free.push(token.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Seat;

    /// The rest is its place in the list and in the deadlines, and the system's.
    #[test]
    fn an_idle_peer_owns_half_a_kibibyte() {
        assert!(size_of::<Seat>() <= 512, "{} bytes", size_of::<Seat>());
    }
}

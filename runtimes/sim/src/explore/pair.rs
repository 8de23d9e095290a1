//! A client and a server whose interleavings are explored: [`Pair`].

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use bytes::BytesMut;
use sockless_core::{
    CloseReason, Config, Connection, Instant, Negotiated, Role, Seed, TransportAction,
};

use super::endpoint::Endpoint;
use super::laws::Watched;
use super::search::Model;
use super::step::{Amount, PairAction, PairStep, name};

/// The number of turns within which two ends must finish once nothing holds them up.
const TURNS: usize = 1000;

/// A client and a server on one clock, with a short script each: a [`Model`] whose
/// [`PairAction`](super::PairAction)s are their steps, the bytes between them, and their deadlines.
///
/// In each state these laws are checked:
///
/// - no call panics;
/// - [`Event::Closed`](sockless_core::Event::Closed) is reported once and last, and nothing is sent after a Close frame;
/// - frames are masked by the client only, and fragments follow their message;
/// - when all output has been written, the newest ping has been answered, unless the end is
///   closing;
/// - messages are received in the order in which they were accepted, without gap or repetition, and
///   an end that receives a Close frame has received all messages that were accepted before it;
/// - an end holds no more than [`Config::memory_ceiling`].
///
/// When nothing more can happen, all that is left is delivered at once: then both ends must finish
/// within 1,000 turns, and have reported their end.
///
/// Two states are the same if the `Debug` texts of their ends are, with the bytes in between, the
/// clock, the rest of the scripts, and what the laws have to remember. The `Debug` text of a
/// [`Connection`] has all of its fields but the masking keys, whose number is counted instead, and
/// the codecs of extensions: with extensions, only connections whose codecs hold no state between
/// messages can be copied. So states are never merged that could behave differently. States that
/// behave alike may be visited twice, for example those that took the same bytes in more or fewer
/// reads.
pub struct Pair<E = Connection> {
    now: Instant,
    /// The client, then the server.
    ends: [End<E>; 2],
    timers: u32,
    cuts: Cuts,
    laws: Arc<Vec<Law<E>>>,
}

/// A law of the test.
type Law<E> = (String, Box<dyn Fn(&Pair<E>) -> bool + Send + Sync>);

/// Where the stream of bytes between two ends is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cuts {
    /// Nowhere: all bytes under way arrive together. The default.
    #[default]
    Nowhere,
    /// Either all bytes under way arrive, or half of them.
    Halves,
    /// Either all bytes under way arrive, or one: every split is visited. It has by far the most
    /// states.
    Anywhere,
}

#[derive(Debug)]
struct End<E> {
    endpoint: E,
    script: Arc<[PairStep]>,
    next_step: usize,
    reading: bool,
    /// The bytes that the transport has delivered and the endpoint has not taken.
    inbound: BytesMut,
    /// The bytes under way to this end.
    arriving: BytesMut,
    /// The end of the bytes under way to this end.
    fin: Fin,
    watched: Watched,
    outputs: Outputs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Fin {
    Open,
    Arriving,
    Arrived,
}

/// The outputs of an endpoint after its last call.
#[derive(Clone, Copy, Debug)]
struct Outputs {
    has_bytes: bool,
    transport: TransportAction,
    deadline: Option<Instant>,
    is_open: bool,
}

impl Pair<Connection> {
    /// Creates two connections with `config` and without extensions.
    pub fn new(config: &Config) -> Self {
        let (config, now) = (Arc::new(config.clone()), Instant::EPOCH);
        let seed = Seed::new([7; 32]);
        Self::of(
            Connection::client(Negotiated::default(), seed, config.clone(), now),
            Connection::server(Negotiated::default(), config, now),
        )
    }
}

impl<E: Endpoint> Pair<E> {
    /// Puts two endpoints together, which were created at [`Instant::EPOCH`].
    ///
    /// # Panics
    ///
    /// Panics unless the first is a client and the second a server.
    pub fn of(client: E, server: E) -> Self {
        let ends = [(Role::Client, client), (Role::Server, server)];
        Self {
            now: Instant::EPOCH,
            ends: ends.map(|(role, endpoint)| End::new(role, endpoint)),
            timers: 2,
            cuts: Cuts::default(),
            laws: Arc::default(),
        }
    }

    /// Sets the script of the client. Default: no steps.
    #[must_use]
    pub fn client(mut self, steps: impl IntoIterator<Item = PairStep>) -> Self {
        self.ends[0].script = steps.into_iter().collect();
        self
    }

    /// Sets the script of the server. Default: no steps.
    #[must_use]
    pub fn server(mut self, steps: impl IntoIterator<Item = PairStep>) -> Self {
        self.ends[1].script = steps.into_iter().collect();
        self
    }

    /// Sets how often the next deadline may pass while something else could still happen. Default:
    /// 2. Keep-alive has a next deadline at any time, so more of them have more states.
    #[must_use]
    pub fn timers(mut self, timers: u32) -> Self {
        self.timers = timers;
        self
    }

    /// Sets where the stream of bytes is cut. Default: [`Cuts::Nowhere`].
    #[must_use]
    pub fn cuts(mut self, cuts: Cuts) -> Self {
        self.cuts = cuts;
        self
    }

    /// Allows the endpoints to send messages that their scripts do not have, for example replies.
    #[must_use]
    pub fn sends_on_its_own(mut self) -> Self {
        self.ends.iter_mut().for_each(|end| end.watched.sends_more_than_the_script());
        self
    }

    /// Adds a law that must hold in each state; `what` describes it.
    #[must_use]
    pub fn always(
        mut self,
        what: impl Into<String>,
        holds: impl Fn(&Self) -> bool + Send + Sync + 'static,
    ) -> Self {
        let laws = Arc::get_mut(&mut self.laws).expect("laws are added before the pair is copied");
        laws.push((what.into(), Box::new(holds)));
        self
    }

    /// Returns the endpoint of `role`.
    pub fn end(&self, role: Role) -> &E {
        &self.ends[side(role)].endpoint
    }

    /// Returns the time.
    pub fn now(&self) -> Instant {
        self.now
    }
}

impl<E: Endpoint> Model for Pair<E> {
    type Action = PairAction;

    /// # Panics
    ///
    /// Panics if an extension's codec cannot be copied.
    fn fork(&self) -> Self {
        Self {
            now: self.now,
            ends: self.ends.each_ref().map(End::fork),
            timers: self.timers,
            cuts: self.cuts,
            laws: Arc::clone(&self.laws),
        }
    }

    fn actions(&self) -> Vec<PairAction> {
        let mut actions = Vec::new();
        for role in [Role::Client, Role::Server] {
            let end = &self.ends[side(role)];
            if end.is_gone() {
                continue;
            }
            actions
                .extend(end.script.get(end.next_step).map(|s| PairAction::Step(role, s.clone())));
            if self.has_to_write(role) {
                actions.push(PairAction::Write(role));
            }
            if end.reading && !end.arriving.is_empty() {
                actions.push(PairAction::Deliver(role, Amount::All));
                if let Some(amount) = self.cuts.amount().filter(|_| end.arriving.len() > 1) {
                    actions.push(PairAction::Deliver(role, amount));
                }
            } else if end.reading && end.fin == Fin::Arriving {
                actions.push(PairAction::End(role));
            }
        }
        if self.timers > 0 && self.next_deadline().is_some() {
            actions.push(PairAction::Timer);
        }
        actions
    }

    fn apply(&mut self, action: &PairAction) -> Result<(), String> {
        match action {
            PairAction::Step(role, step) => self.step(*role, step)?,
            PairAction::Write(role) => self.write(*role)?,
            PairAction::Deliver(role, amount) => self.deliver(*role, *amount)?,
            PairAction::End(role) => self.end_input(*role)?,
            PairAction::Timer => {
                self.timers = self.timers.saturating_sub(1);
                self.pass_deadline()?;
            }
        }
        self.check()
    }

    fn check_end(&mut self) -> Result<(), String> {
        for role in [Role::Client, Role::Server] {
            if !self.ends[side(role)].reading {
                self.step(role, &PairStep::Read)?;
            }
        }
        let mut all_has_arrived = false;
        for _ in 0..TURNS {
            if self.turn()? {
                continue;
            }
            if self.ends.iter().all(End::is_gone) {
                return self.check_reports();
            }
            if !all_has_arrived && self.ends.iter().all(|end| end.outputs.is_open) {
                all_has_arrived = true;
                self.ends.iter().try_for_each(|end| end.watched.check_arrived())?;
                self.step(Role::Client, &PairStep::Close(CloseReason::EMPTY))?;
            } else if self.next_deadline().is_some() {
                self.pass_deadline()?;
            } else {
                return Err("an end is left without a deadline".into());
            }
            self.check()?;
        }
        Err(format!("the ends do not finish within {TURNS} turns"))
    }

    fn digest<H: Hasher>(&self, hasher: &mut H) {
        (self.now, self.timers).hash(hasher);
        for end in &self.ends {
            // Writing to a hasher does not fail.
            let _ = fmt::write(&mut Digest(hasher), format_args!("{:?}", end.endpoint));
            (end.next_step, end.reading, end.fin).hash(hasher);
            (&end.inbound, &end.arriving, &end.watched).hash(hasher);
        }
    }
}

/// The step that happens.
impl<E: Endpoint> Pair<E> {
    fn step(&mut self, role: Role, step: &PairStep) -> Result<(), String> {
        let (end, peer) = self.both(role);
        end.next_step += 1;
        match step {
            PairStep::Read => end.reading = true,
            PairStep::StopReading => end.reading = false,
            PairStep::Write(bytes) => {
                end.watched.breaks_protocol();
                peer.arriving.extend_from_slice(bytes);
            }
            _ => {}
        }
        let now = self.now;
        let (end, _) = self.both(role);
        if end.endpoint.run_step(step, now).is_ok() {
            match step {
                PairStep::Send(message) => end.watched.accepted(message.clone()),
                PairStep::Chunk(chunk) => end.watched.accepted_chunk(chunk.clone()),
                _ => {}
            }
        }
        self.poll(role)
    }

    fn has_to_write(&self, role: Role) -> bool {
        let (end, peer) = (&self.ends[side(role)], &self.ends[1 - side(role)]);
        let ends = end.outputs.transport != TransportAction::KeepOpen;
        end.outputs.has_bytes || (ends && peer.fin == Fin::Open)
    }

    /// Writes all output, then does with the transport what the endpoint requires.
    fn write(&mut self, role: Role) -> Result<(), String> {
        let now = self.now;
        let (end, peer) = self.both(role);
        let bytes = end.endpoint.take_outbound(now);
        end.refresh();
        if !peer.is_gone() && peer.fin == Fin::Open {
            peer.arriving.extend_from_slice(&bytes);
        }
        if end.outputs.transport != TransportAction::KeepOpen && peer.fin == Fin::Open {
            peer.fin = Fin::Arriving;
        }
        end.watched.check_written(&bytes, end.outputs.is_open)
    }

    fn deliver(&mut self, role: Role, amount: Amount) -> Result<(), String> {
        let (end, _) = self.both(role);
        let len = match amount {
            Amount::All => end.arriving.len(),
            Amount::Half => end.arriving.len() / 2,
            Amount::One => 1,
        };
        let bytes = end.arriving.split_to(len);
        end.inbound.extend_from_slice(&bytes);
        self.poll(role)
    }

    fn end_input(&mut self, role: Role) -> Result<(), String> {
        let now = self.now;
        let (end, _) = self.both(role);
        end.fin = Fin::Arrived;
        end.endpoint.connection().handle_eof(now);
        self.poll(role)
    }

    fn next_deadline(&self) -> Option<Instant> {
        let ends = self.ends.iter().filter(|end| !end.is_gone());
        ends.filter_map(|end| end.outputs.deadline).min()
    }

    /// Advances to the next deadline, and lets both ends enforce what is due.
    fn pass_deadline(&mut self) -> Result<(), String> {
        let Some(next) = self.next_deadline() else { return Ok(()) };
        self.now = self.now.max(next);
        for role in [Role::Client, Role::Server] {
            // The first call notes that a deadline has passed. It is enforced by the second, after
            // a poll that has found no bytes.
            for _ in 0..2 {
                let now = self.now;
                let (end, _) = self.both(role);
                if end.outputs.deadline.is_some_and(|at| at <= now) && !end.is_gone() {
                    end.endpoint.handle_timeout(now);
                    self.poll(role)?;
                }
            }
        }
        Ok(())
    }

    /// Polls all events, unless the end does not read.
    fn poll(&mut self, role: Role) -> Result<(), String> {
        let now = self.now;
        let (end, peer) = self.both(role);
        let mut polls = 0;
        while end.reading
            && let Some(event) = end.endpoint.poll_event(&mut end.inbound, now)
        {
            polls += 1;
            assert!(polls < 100_000, "the {} reports events without end: {event:?}", name(role));
            end.watched.check_event(&event, &mut peer.watched)?;
        }
        end.refresh();
        Ok(())
    }

    /// Writes and delivers everything. Returns whether there was anything.
    fn turn(&mut self) -> Result<bool, String> {
        let mut has_moved = false;
        for role in [Role::Client, Role::Server] {
            if self.has_to_write(role) {
                self.write(role)?;
                has_moved = true;
            }
        }
        for role in [Role::Client, Role::Server] {
            let end = &self.ends[side(role)];
            if end.is_gone() {
                continue;
            }
            if !end.arriving.is_empty() {
                self.deliver(role, Amount::All)?;
                has_moved = true;
            } else if end.fin == Fin::Arriving {
                self.end_input(role)?;
                has_moved = true;
            }
        }
        self.check()?;
        Ok(has_moved)
    }

    fn both(&mut self, role: Role) -> (&mut End<E>, &mut End<E>) {
        let [client, server] = &mut self.ends;
        match role {
            Role::Client => (client, server),
            Role::Server => (server, client),
        }
    }
}

/// The laws that must hold.
impl<E: Endpoint> Pair<E> {
    fn check(&mut self) -> Result<(), String> {
        for (end, role) in self.ends.iter_mut().zip(["client", "server"]) {
            let connection = end.endpoint.connection();
            let ceiling = connection.config().memory_ceiling();
            let held = connection.held_bytes() + end.inbound.len();
            if held > ceiling {
                return Err(format!("the {role} holds {held} bytes, its ceiling is {ceiling}"));
            }
        }
        match self.laws.iter().find(|(_, holds)| !holds(self)) {
            Some((what, _)) => Err(format!("does not hold: {what}")),
            None => Ok(()),
        }
    }

    fn check_reports(&self) -> Result<(), String> {
        for (end, role) in self.ends.iter().zip(["client", "server"]) {
            if !end.watched.has_closed() {
                return Err(format!("the {role} drops its transport and does not report its end"));
            }
        }
        Ok(())
    }
}

impl<E: Endpoint> End<E> {
    fn new(role: Role, mut endpoint: E) -> Self {
        let outputs = Outputs::of(&mut endpoint);
        assert_eq!(endpoint.connection().role(), role, "the role of an endpoint");
        Self {
            endpoint,
            script: Arc::default(),
            next_step: 0,
            reading: true,
            inbound: BytesMut::new(),
            arriving: BytesMut::new(),
            fin: Fin::Open,
            watched: Watched::new(role),
            outputs,
        }
    }

    fn fork(&self) -> Self {
        let endpoint = self.endpoint.try_clone();
        Self {
            endpoint: endpoint.expect("an extension's codec cannot be copied"),
            script: Arc::clone(&self.script),
            inbound: self.inbound.clone(),
            arriving: self.arriving.clone(),
            watched: self.watched.clone(),
            ..*self
        }
    }

    fn refresh(&mut self) {
        self.outputs = Outputs::of(&mut self.endpoint);
    }
}

impl<E> End<E> {
    /// Returns true once its transport has been dropped.
    fn is_gone(&self) -> bool {
        self.outputs.transport == TransportAction::Close && !self.outputs.has_bytes
    }
}

impl Outputs {
    fn of(endpoint: &mut impl Endpoint) -> Self {
        let connection = endpoint.connection();
        Self {
            has_bytes: connection.outbound().has_remaining(),
            transport: connection.transport_action(),
            deadline: connection.poll_timeout(),
            is_open: connection.is_open(),
        }
    }
}

impl Cuts {
    /// The other amount that may arrive.
    fn amount(self) -> Option<Amount> {
        match self {
            Self::Nowhere => None,
            Self::Halves => Some(Amount::Half),
            Self::Anywhere => Some(Amount::One),
        }
    }
}

fn side(role: Role) -> usize {
    match role {
        Role::Client => 0,
        Role::Server => 1,
    }
}

/// Hashes text as it is formatted.
struct Digest<'a, H>(&'a mut H);

impl<H: Hasher> fmt::Write for Digest<'_, H> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

impl<E: fmt::Debug> fmt::Debug for Pair<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair").field("now", &self.now).field("ends", &self.ends).finish()
    }
}

//! Ends that break a promise are found, by a shortest counterexample.

use std::fmt;

use bytes::{Bytes, BytesMut};
use sockless_core::{
    CloseCode, Config, Connection, Event, Instant, Negotiated, Party, Seed, SendError,
};
use sockless_sim::explore::{Counterexample, Endpoint, Explorer, Pair, PairStep};

/// A promise that is broken.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    /// A message is lost if the closing handshake starts before it was written.
    LosesUnsent,
    /// The pong to the second ping is not sent.
    ForgetsSecondPong,
    /// The end is reported again when the transport ends.
    ReportsTwice,
    /// A message that is sent while another waits goes first.
    Overtakes,
    /// Something is sent after the Close frame.
    TalksOn,
    /// A deadline that passes between two messages panics.
    Panics,
    /// The end is not reported if it comes from the peer.
    SwallowsEnd,
}

/// A connection with a fault.
#[derive(Debug)]
struct Faulty {
    fault: Fault,
    connection: Connection,
    waiting: Vec<PairStep>,
    pings: u32,
    closed: Option<Event>,
}

impl Faulty {
    fn pair(fault: Fault) -> Pair<Self> {
        let (config, now) = (Config::default(), Instant::EPOCH);
        let config = std::sync::Arc::new(config.ping_interval(std::time::Duration::from_secs(30)));
        let end = |connection| Self { fault, connection, waiting: vec![], pings: 0, closed: None };
        let seed = Seed::new([1; 32]);
        Pair::of(
            end(Connection::client(Negotiated::default(), seed, config.clone(), now)),
            end(Connection::server(Negotiated::default(), config, now)),
        )
        .client([PairStep::Send("one".into()), PairStep::Send("two".into()), close()])
        .server([PairStep::Ping("p".into()), PairStep::Ping("q".into())])
        .timers(1)
    }

    fn send_waiting(&mut self, now: Instant) {
        for step in std::mem::take(&mut self.waiting).into_iter().rev() {
            let _ = self.connection.run_step(&step, now);
        }
    }
}

fn close() -> PairStep {
    PairStep::Close(CloseCode::NORMAL.into())
}

impl Endpoint for Faulty {
    fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    fn try_clone(&self) -> Option<Self> {
        let (connection, waiting) = (self.connection.try_clone()?, self.waiting.clone());
        Some(Self { connection, waiting, closed: self.closed.clone(), ..*self })
    }

    fn poll_event(&mut self, inbound: &mut BytesMut, now: Instant) -> Option<Event> {
        let before = self.pings;
        let event = self.connection.poll_event(inbound, now);
        match &event {
            Some(Event::Ping(_)) => self.pings += 1,
            Some(closed @ Event::Closed(_)) => self.closed = Some(closed.clone()),
            None if self.fault == Fault::ReportsTwice => return self.closed.take(),
            _ => {}
        }
        if self.fault == Fault::SwallowsEnd
            && let Some(Event::Closed(closed)) = &event
            && closed.by() == Party::Peer
        {
            return None;
        }
        if self.fault == Fault::ForgetsSecondPong && before == 1 && self.pings == 2 {
            // Whatever waits is lost, the pong among it.
            let mut outbound = self.connection.outbound();
            outbound.advance(outbound.remaining());
        }
        event
    }

    fn take_outbound(&mut self, now: Instant) -> Bytes {
        self.send_waiting(now);
        let mut bytes = BytesMut::from(&self.connection.take_outbound(now)[..]);
        if self.fault == Fault::TalksOn && bytes.windows(2).any(|two| two == [0x88, 0x82]) {
            bytes.extend_from_slice(&[0x89, 0]);
        }
        bytes.freeze()
    }

    fn handle_timeout(&mut self, now: Instant) {
        assert!(self.fault != Fault::Panics || self.pings != 1, "a deadline between two pings");
        self.connection.handle_timeout(now);
    }

    fn run_step(&mut self, step: &PairStep, now: Instant) -> Result<(), SendError> {
        match (self.fault, step) {
            (Fault::Overtakes, PairStep::Send(_)) if self.connection.is_open() => {
                self.waiting.push(step.clone());
                Ok(())
            }
            (Fault::Overtakes, PairStep::Close(_)) => {
                self.send_waiting(now);
                self.connection.run_step(step, now)
            }
            (Fault::LosesUnsent, PairStep::Close(_)) => {
                let mut outbound = self.connection.outbound();
                outbound.advance(outbound.remaining());
                self.connection.run_step(step, now)
            }
            _ => self.connection.run_step(step, now),
        }
    }
}

/// Returns the counterexample, which is as short as it can be.
#[track_caller]
fn find(fault: Fault) -> Counterexample<impl fmt::Display + fmt::Debug> {
    let found = Explorer::new().run(Faulty::pair(fault)).unwrap_err();
    println!("{fault:?}: {found}\n");
    found
}

#[test]
fn a_sound_wrapper_breaks_no_law() {
    let coverage = Explorer::new().run(Faulty::pair(Fault::None).timers(0)).unwrap();
    assert!(coverage.is_complete() && coverage.states() > 300, "{coverage}");
}

#[test]
fn a_message_that_closing_loses_is_found() {
    let found = find(Fault::LosesUnsent);
    assert_eq!(found.broken(), "the client closes before 2 messages were sent");
    assert_eq!(found.actions().len(), 4);
}

#[test]
fn a_ping_without_an_answer_is_found() {
    let found = find(Fault::ForgetsSecondPong);
    assert_eq!(found.broken(), "the client does not answer a ping");
    assert!(found.actions().len() <= 7, "{found}");
}

#[test]
fn a_second_report_of_the_end_is_found() {
    let found = find(Fault::ReportsTwice);
    assert!(found.broken().contains("after its end"), "{found}");
}

#[test]
fn a_message_that_overtakes_another_is_found() {
    let found = find(Fault::Overtakes);
    assert_eq!(found.broken(), "the client sends a message that it was not given");
    assert_eq!(found.actions().len(), 4);
}

#[test]
fn output_after_a_close_frame_is_found() {
    let found = find(Fault::TalksOn);
    assert_eq!(found.broken(), "the client sends after its Close frame");
}

#[test]
fn a_panic_at_a_deadline_between_two_pings_is_found() {
    let found = find(Fault::Panics);
    assert_eq!(found.broken(), "panicked: a deadline between two pings");
}

#[test]
fn an_end_that_is_not_reported_is_found() {
    let found = find(Fault::SwallowsEnd);
    assert_eq!(found.broken(), "the server drops its transport and does not report its end");
}

#[test]
fn a_law_of_the_test_is_checked_in_each_state() {
    let pair = Faulty::pair(Fault::None).always("the client receives one ping at most", |pair| {
        pair.end(sockless_core::Role::Client).pings < 2
    });
    let found = Explorer::new().run(pair).unwrap_err();
    assert_eq!(found.broken(), "does not hold: the client receives one ping at most");
    assert_eq!(found.actions().len(), 4);
}

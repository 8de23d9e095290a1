//! A connection of frames that is driven by `poll_output` alone, and events that an application pauses.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use sockless_core::{
    Cause, Closed, ClosingStep, Config, Event, Frame, Instant, Lifecycle, Message, Opcode, Output,
    Party, ProtocolError, RawConnection, Role, Seed, Timeout, TransportAction, Wait, limits,
};
use sockless_tests::end::{BOTH, End, broken_rule, peer_of};
use sockless_tests::wire::read_all;

const SECOND: Duration = Duration::from_secs(1);

/// A connection of frames, its read buffer and its clock.
struct Raw {
    connection: RawConnection,
    inbound: BytesMut,
    now: Instant,
}

/// The outputs of a turn, in order.
#[derive(Debug, Default)]
struct Done {
    events: Vec<Result<Frame, Closed>>,
    written: Vec<u8>,
    writes: usize,
    shutdowns: usize,
    /// `None` once the transport is to be dropped.
    wait: Option<Wait>,
}

impl Raw {
    fn new(role: Role, config: Config) -> Self {
        let config = Arc::new(config);
        let connection = match role {
            Role::Client => RawConnection::client(Seed::new([7; 32]), config),
            Role::Server => RawConnection::server(config),
        };
        Self { connection, inbound: BytesMut::new(), now: Instant::EPOCH }
    }

    fn send(&mut self, payload: Vec<u8>) {
        self.connection.send(Frame::new(Opcode::Binary, payload.into()), self.now).unwrap();
    }

    fn receive(&mut self, bytes: impl AsRef<[u8]>) {
        self.inbound.extend_from_slice(bytes.as_ref());
    }

    /// Runs a turn over a transport that takes up to `room` bytes.
    fn turn(&mut self, mut room: usize) -> Done {
        let mut done = Done::default();
        for _ in 0..100_000 {
            match self.connection.poll_output(&mut self.inbound, self.now) {
                Output::Event(event) => done.events.push(event),
                Output::Write(mut outbound) => {
                    done.writes += 1;
                    let len = outbound.chunk().len().min(room);
                    room -= len;
                    done.written.extend_from_slice(&outbound.chunk()[..len]);
                    outbound.advance(len);
                }
                Output::ShutdownWrite => done.shutdowns += 1,
                Output::Wait(wait) => {
                    done.wait = Some(wait);
                    return done;
                }
                Output::Close => return done,
            }
        }
        panic!("a turn does not end");
    }
}

fn binary(payload: impl Into<Vec<u8>>) -> Frame {
    Frame::new(Opcode::Binary, payload.into().into())
}

fn closed(by: Party, cause: Cause) -> Closed {
    Closed::new(by, cause, None, None)
}

#[test]
fn a_turn_gives_the_frames_then_the_bytes_to_write_then_what_to_wait_for() {
    for role in BOTH {
        let mut raw = Raw::new(role, Config::default());
        let peer = peer_of(role);
        raw.send(vec![1; 10]);
        raw.receive([peer.ping("a"), peer.binary("b")].concat());
        let done = raw.turn(usize::MAX);
        let ping = Frame::new(Opcode::Ping, "a".into());
        assert_eq!(done.events, [Ok(ping), Ok(binary("b"))]);
        assert_eq!(read_all(&done.written).len(), 1, "nothing is answered");
        assert_eq!(done.writes, 1);
        let wait = done.wait.expect("it is open");
        assert_eq!((wait.read, wait.write, wait.until), (true, false, None));
        assert_eq!(raw.connection.state(), Lifecycle::Open);
    }
}

#[test]
fn a_turn_of_frames_is_bounded_and_nothing_is_lost() {
    for (len, most) in [(0, limits::TURN_LEN / 64), (100_000, 3)] {
        let mut raw = Raw::new(Role::Server, Config::default());
        let frames = limits::TURN_LEN / (64 + len) * 3;
        for _ in 0..frames {
            raw.receive(peer_of(Role::Server).binary(vec![1; len]));
        }
        let mut received = 0;
        loop {
            let done = raw.turn(usize::MAX);
            assert!(done.events.len() <= most, "{}", done.events.len());
            received += done.events.len();
            let wait = done.wait.expect("it is open");
            match wait.until {
                Some(until) => assert!(until <= raw.now && !wait.read, "there is more to do"),
                None => break,
            }
        }
        assert_eq!(received, frames);
    }
}

#[test]
fn a_transport_that_takes_a_little_at_a_time_ends_the_turn_of_frames_too() {
    let mut raw = Raw::new(Role::Server, Config::default());
    raw.send(vec![0; 100_000]);
    let mut writes = 0;
    while let Output::Write(mut outbound) = raw.connection.poll_output(&mut raw.inbound, raw.now) {
        outbound.advance(1);
        writes += 1;
    }
    assert_eq!(writes, 16);
    assert_eq!(raw.turn(usize::MAX).written.len(), 100_010 - 16);
}

#[test]
fn frames_wait_while_the_queue_is_full() {
    let mut raw = Raw::new(Role::Server, Config::default().high_water(1000));
    raw.send(vec![0; 2000]);
    raw.receive(peer_of(Role::Server).binary("later"));
    let done = raw.turn(500);
    assert_eq!(done.events, []);
    let wait = done.wait.expect("it is open");
    assert_eq!((wait.read, wait.write), (false, true));
    assert_eq!(wait.until, raw.connection.poll_timeout());
    assert!(!raw.connection.wants_read() && raw.connection.wants_write());

    // Room appears in the middle of a turn: the frame follows in the same one.
    assert_eq!(raw.turn(usize::MAX).events, [Ok(binary("later"))]);
    assert!(raw.connection.wants_read() && !raw.connection.wants_write());
}

#[test]
fn a_transport_that_takes_nothing_ends_a_connection_of_frames_after_the_write_timeout() {
    for role in BOTH {
        let mut raw = Raw::new(role, Config::default().write_timeout(60 * SECOND));
        raw.send(vec![7]);
        let wait = raw.turn(0).wait.expect("it is open");
        assert_eq!((wait.read, wait.write), (true, true));
        assert_eq!(wait.until, Some(raw.now + 60 * SECOND));
        raw.now = raw.now + 60 * SECOND;
        // The first turn notes the deadline, so that one more write is attempted.
        let done = raw.turn(0);
        assert_eq!(done.events, []);
        assert!(done.wait.expect("it is open").until.expect("a deadline") <= raw.now);
        let done = raw.turn(0);
        let expected = closed(Party::Local, Cause::Timeout(Timeout::Write));
        assert_eq!((done.events, done.wait), (vec![Err(expected)], None));
    }
}

#[test]
fn a_process_that_stood_still_blames_no_transport_that_has_room_again() {
    for role in BOTH {
        let mut raw = Raw::new(role, Config::default().write_timeout(60 * SECOND));
        raw.send(vec![7; 100]);
        raw.turn(1);
        raw.now = raw.now + 1000 * SECOND;
        let done = raw.turn(1);
        assert_eq!((done.events.len(), done.written.len()), (0, 1));
        assert_eq!(done.wait.expect("it is open").until, Some(raw.now + 60 * SECOND));
        // The same while it is closing: bytes that came in time extend the time of the peer.
        let mut raw = Raw::new(role, Config::default());
        raw.connection.close(raw.now);
        assert_eq!(raw.turn(0).shutdowns, 1);
        raw.now = raw.now + 6 * SECOND;
        let wait = raw.turn(0).wait.expect("the deadline is noted");
        assert!(wait.read && wait.until <= Some(raw.now), "{wait:?}");
        raw.receive(peer_of(role).binary("late"));
        assert_eq!(raw.turn(0).wait.expect("it goes on").until, Some(raw.now + 5 * SECOND));
    }
}

#[test]
fn the_writing_half_is_shut_down_once_and_the_transport_dropped_after_the_end() {
    for role in BOTH {
        let mut raw = Raw::new(role, Config::default());
        raw.send(vec![7; 10]);
        raw.receive(peer_of(role).frame(0x83, ""));
        let done = raw.turn(usize::MAX);
        let [Err(end)] = &done.events[..] else { panic!("{:?}", done.events) };
        assert_eq!(broken_rule(end.clone()), ProtocolError::OpcodeReserved(3));
        assert_eq!((read_all(&done.written).len(), done.shutdowns), (1, 1));
        assert!(done.wait.expect("the peer has not ended its half").read);
        let Lifecycle::Closing(closing) = raw.connection.state() else { panic!("closing") };
        assert_eq!((closing.by, closing.waits_for), (Party::Local, ClosingStep::TransportEnd));
        for _ in 0..3 {
            raw.receive("whatever");
            let done = raw.turn(usize::MAX);
            assert_eq!((done.events.len(), done.shutdowns, raw.inbound.len()), (0, 0, 0));
            assert_eq!(raw.connection.transport_action(), TransportAction::ShutdownWrite);
        }
        raw.connection.handle_eof(raw.now);
        assert!(!raw.connection.wants_read());
        let done = raw.turn(usize::MAX);
        assert_eq!((done.events.len(), done.shutdowns, done.wait), (0, 0, None));
        assert_eq!(raw.connection.state(), Lifecycle::Closed);
    }
}

#[test]
fn the_end_of_the_transport_comes_after_the_frames_before_it() {
    for role in BOTH {
        let mut raw = Raw::new(role, Config::default());
        raw.receive(peer_of(role).binary("last"));
        raw.connection.handle_eof(raw.now);
        let done = raw.turn(usize::MAX);
        assert_eq!(done.events, [Ok(binary("last")), Err(closed(Party::Peer, Cause::Eof))]);
        assert_eq!(done.wait, None);
    }
}

#[test]
fn the_end_of_frames_is_reported_even_by_a_turn_that_is_spent() {
    let mut raw = Raw::new(Role::Server, Config::default());
    for _ in 0..limits::TURN_LEN / 64 {
        raw.receive(peer_of(Role::Server).binary(""));
    }
    for _ in 0..limits::TURN_LEN / 64 {
        let output = raw.connection.poll_output(&mut raw.inbound, raw.now);
        assert!(matches!(output, Output::Event(Ok(_))));
    }
    raw.connection.abort(raw.now);
    let done = raw.turn(usize::MAX);
    let expected = closed(Party::Local, Cause::Aborted);
    assert_eq!((done.events, done.wait), (vec![Err(expected)], None));
}

#[test]
fn paused_frames_wait_and_are_not_read_while_output_goes_on() {
    for role in BOTH {
        let mut raw = Raw::new(role, Config::default());
        raw.connection.set_paused(true);
        raw.send(vec![7; 10]);
        raw.receive(peer_of(role).binary("later"));
        let done = raw.turn(usize::MAX);
        assert_eq!((done.events.len(), read_all(&done.written).len()), (0, 1));
        let wait = done.wait.expect("it is open");
        assert_eq!((wait.read, wait.write, wait.until), (false, false, None));

        raw.connection.set_paused(false);
        assert_eq!(raw.turn(0).events, [Ok(binary("later"))]);
        // A connection that ends reads on, or the end of the transport would not be seen.
        raw.connection.set_paused(true);
        raw.connection.close(raw.now);
        assert!(raw.turn(0).wait.expect("the peer has not ended its half").read);
    }
}

#[test]
fn paused_messages_wait_and_no_peer_is_blamed_for_what_is_not_read() {
    for role in BOTH {
        let config = Config::default().ping_interval(30 * SECOND).ping_timeout(10 * SECOND);
        let mut end = End::new(role, config);
        let text = end.peer.text("later");
        end.inbound.extend_from_slice(&text);
        end.connection.set_paused(true);
        for second in (0..300).step_by(10) {
            end.now = Instant::EPOCH + second * SECOND;
            loop {
                match end.connection.poll_output(&mut end.inbound, end.now) {
                    Output::Write(mut outbound) => outbound.advance(usize::MAX),
                    Output::Wait(wait) if !wait.read => break,
                    output => panic!("after {second} s: {output:?}"),
                }
            }
        }
        end.connection.set_paused(false);
        let output = end.connection.poll_output(&mut end.inbound, end.now);
        let Output::Event(Event::Message(message)) = output else { panic!("{output:?}") };
        assert_eq!(message, Message::from("later"));
    }
}

//! A connection that is driven by `poll_output` alone: the order of a turn, its bound, and what it waits for.

use std::time::Duration;

use sockless_core::{
    Cause, CloseCode, ClosingStep, Config, Connection, Deflate, Event, Lifecycle, Message, Output,
    Party, Role, Timeout, TransportAction, Wait, limits,
};
use sockless_tests::counted::Counted;
use sockless_tests::end::{BOTH, End, peer_of};
use sockless_tests::wire::{self, CLOSE};

const SECOND: Duration = Duration::from_secs(1);

/// The outputs of a turn, in order.
#[derive(Debug, Default)]
struct Done {
    events: Vec<Event>,
    written: Vec<u8>,
    writes: usize,
    shutdowns: usize,
    /// `None` once the transport is to be dropped.
    wait: Option<Wait>,
}

/// Runs a turn over a transport that takes up to `room` bytes.
fn turn(end: &mut End, mut room: usize) -> Done {
    let mut done = Done::default();
    for _ in 0..100_000 {
        match end.connection.poll_output(&mut end.inbound, end.now) {
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

#[test]
fn a_turn_gives_the_events_then_the_bytes_to_write_then_what_to_wait_for() {
    for role in BOTH {
        let mut end = End::new(role, Config::default());
        let (ping, text) = (end.peer.ping("a"), end.peer.text("b"));
        end.inbound.extend_from_slice(&[ping, text].concat());
        let done = turn(&mut end, usize::MAX);
        assert_eq!(
            done.events,
            [Event::Ping("a".as_bytes().into()), Event::Message(Message::from("b"))]
        );
        assert_eq!(wire::read_all(&done.written).len(), 1, "the pong");
        assert_eq!(done.writes, 1);
        let wait = done.wait.expect("it is open");
        assert_eq!((wait.read, wait.write, wait.until), (true, false, None));
    }
}

#[test]
fn a_turn_is_bounded_however_much_has_arrived_and_nothing_is_lost() {
    for (len, most) in [(0, limits::TURN_LEN / 64), (100_000, 3)] {
        let mut end = End::new(Role::Server, Config::default());
        let frames = limits::TURN_LEN / (64 + len) * 3;
        for _ in 0..frames {
            let frame = end.peer.binary(vec![1; len]);
            end.inbound.extend_from_slice(&frame);
        }
        let mut received = 0;
        loop {
            let done = turn(&mut end, usize::MAX);
            assert!(done.events.len() <= most, "{}", done.events.len());
            received += done.events.len();
            let wait = done.wait.expect("it is open");
            match wait.until {
                Some(until) => assert!(until <= end.now && !wait.read, "there is more to do"),
                None => break,
            }
        }
        assert_eq!(received, frames);
    }
}

/// 15 MiB of zeros in 16 KB, for an end that counts what it inflates.
fn bombed() -> (Counted<Deflate>, End) {
    let deflate = Deflate::default().level(6);
    let config = Config::default().max_message_len(16 << 20);
    let mut client = End::new(Role::Client, config.clone().extension(deflate.clone()));
    client.connection.send(vec![0; 15 << 20], client.now).unwrap();
    let counted = Counted::new(deflate);
    let mut server = End::new(Role::Server, config.extension(counted.clone()));
    server.inbound.extend_from_slice(&client.drain());
    (counted, server)
}

/// The most that is decoded or encoded in one turn: what ends it, and a message or a step of one.
const MOST_CODED: u64 =
    (limits::TURN_LEN / limits::CODING_COST + limits::READ_LEN + (16 << 10)) as u64;

#[test]
fn a_turn_is_bounded_in_the_middle_of_a_message_that_is_inflated() {
    let (counted, mut end) = bombed();
    let mut inflated = 0;
    loop {
        let done = turn(&mut end, usize::MAX);
        let more = counted.decoded() - inflated;
        inflated += more;
        assert!(more <= MOST_CODED, "{more} bytes in a turn");
        if let [Event::Message(message)] = &done.events[..] {
            assert_eq!(message.len(), 15 << 20);
            break;
        }
        let wait = done.wait.expect("it is open");
        assert!(wait.until == Some(end.now) && !wait.read, "there is more to do");
    }
    assert_eq!(inflated, 15 << 20);
}

#[test]
fn a_turn_is_bounded_by_the_answers_that_are_compressed() {
    const MESSAGES: usize = 64;
    let deflate = Deflate::default();
    let mut client = End::new(Role::Client, Config::default().extension(deflate.clone()));
    client.connection.send(vec![7; 32 << 10], client.now).unwrap();
    let wire = client.drain();
    let counted = Counted::new(deflate);
    let mut end = End::new(Role::Server, Config::default().extension(counted.clone()));
    end.inbound.extend_from_slice(&wire.repeat(MESSAGES));
    let coded = || counted.decoded() + counted.encoded();
    let (mut before, mut turns) = (0, 0);
    loop {
        match end.connection.poll_output(&mut end.inbound, end.now) {
            Output::Event(Event::Message(message)) => {
                end.connection.send(message, end.now).unwrap();
            }
            Output::Write(mut bytes) => bytes.advance(bytes.remaining()),
            Output::Wait(wait) => {
                turns += 1;
                let more = coded() - before;
                before += more;
                assert!(more <= MOST_CODED + (32 << 10), "{more} bytes in a turn");
                if wait.until != Some(end.now) {
                    break;
                }
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(before, 2 * (MESSAGES as u64) * (32 << 10));
    assert!(turns >= MESSAGES / 2, "{turns}");
    // The cost was counted, and is not again.
    assert_eq!(end.connection.take_coded(), 0);
    end.connection.send(vec![7; 1024], end.now).unwrap();
    assert_eq!(end.connection.take_coded(), 2048);
}

#[test]
fn a_poll_with_a_budget_inflates_no_more_than_that() {
    const BUDGET: usize = 100_000;
    let (counted, mut end) = bombed();
    let mut inflated = 0;
    loop {
        let mut budget = BUDGET;
        let event = end.connection.poll_event_within(&mut end.inbound, end.now, &mut budget);
        let more = (counted.decoded() - inflated) as usize;
        inflated += more as u64;
        assert_eq!(budget, BUDGET.saturating_sub(more));
        assert!(more <= BUDGET + (16 << 10), "{more} bytes in a call");
        let Some(event) = event else {
            assert_eq!(budget, 0, "all of it had arrived");
            continue;
        };
        let Event::Message(message) = event else { panic!("{event:?}") };
        assert_eq!(message.len(), 15 << 20);
        break;
    }
    // Another call is not limited.
    let (_, mut end) = bombed();
    end.connection.poll_event_within(&mut end.inbound, end.now, &mut 1);
    let event = end.connection.poll_event(&mut end.inbound, end.now);
    assert!(matches!(event, Some(Event::Message(message)) if message.len() == 15 << 20));
}

#[test]
fn a_transport_that_takes_a_little_at_a_time_ends_the_turn_too() {
    let mut end = End::new(Role::Server, Config::default());
    end.connection.send(vec![0; 100_000], end.now).unwrap();
    let mut writes = 0;
    while let Output::Write(mut outbound) = end.connection.poll_output(&mut end.inbound, end.now) {
        outbound.advance(1);
        writes += 1;
    }
    assert_eq!(writes, 16);
    assert_eq!(turn(&mut end, usize::MAX).written.len(), 100_010 - 16);
}

#[test]
fn while_answers_find_no_room_events_wait_and_the_loop_does_not_read() {
    let mut end = End::new(Role::Server, Config::default().high_water(1000));
    end.connection.send(vec![0; 2000], end.now).unwrap();
    let text = end.peer.text("later");
    end.inbound.extend_from_slice(&text);
    let done = turn(&mut end, 500);
    assert_eq!(done.events, []);
    let wait = done.wait.unwrap();
    assert_eq!((wait.read, wait.write), (false, true));
    assert_eq!(wait.until, end.connection.poll_timeout());
    assert!(!end.connection.wants_read() && end.connection.wants_write());

    // Room appears in the middle of a turn: the event follows in the same one.
    let done = turn(&mut end, usize::MAX);
    assert_eq!(done.events, [Event::Message(Message::from("later"))]);
    assert!(end.connection.wants_read() && !end.connection.wants_write());
}

#[test]
fn a_transport_that_takes_nothing_ends_a_connection_after_the_write_timeout() {
    for role in BOTH {
        let mut end = End::new(role, Config::default().write_timeout(60 * SECOND));
        end.connection.send("x", end.now).unwrap();
        // Not to touch the bytes means that the transport is full.
        let wait = turn(&mut end, 0).wait.unwrap();
        assert_eq!((wait.read, wait.write), (true, true));
        assert_eq!(wait.until, Some(end.now + 60 * SECOND));
        end.now = end.now + 60 * SECOND;
        // The first turn notes the deadline: bytes that came in time may be unread.
        let done = turn(&mut end, 0);
        assert_eq!(done.events, []);
        assert!(done.wait.unwrap().until.unwrap() <= end.now);
        let done = turn(&mut end, 0);
        let [Event::Closed(closed)] = &done.events[..] else { panic!("{:?}", done.events) };
        assert_eq!(closed.cause(), &Cause::Timeout(Timeout::Write));
        assert_eq!(done.wait, None);
    }
}

#[test]
fn bytes_that_came_in_time_save_a_connection_whose_process_stood_still() {
    for role in BOTH {
        let config = Config::default().ping_interval(30 * SECOND).ping_timeout(10 * SECOND);
        let mut end = End::new(role, config);
        assert_eq!(turn(&mut end, 0).wait.unwrap().until, Some(end.now + 30 * SECOND));
        end.now = end.now + 30 * SECOND;
        let ping = wire::read_all(&turn(&mut end, 1000).written).pop().expect("the ping");
        end.now = end.now + 1000 * SECOND;
        // However often the turn is asked, only the next one may enforce what has passed.
        end.connection.send("x", end.now).unwrap();
        assert_eq!(turn(&mut end, 1000).events, []);
        let pong = end.peer.pong(&ping.payload);
        end.inbound.extend_from_slice(&pong);
        assert_eq!(turn(&mut end, 1000).events, [Event::Pong(ping.payload.into())]);
        assert!(end.connection.is_open());
    }
}

#[test]
fn the_writing_half_is_shut_down_once_and_the_transport_dropped_after_the_report() {
    for role in BOTH {
        let mut end = End::new(role, Config::default());
        let broken = end.peer.frame(0x83, "");
        end.inbound.extend_from_slice(&broken);
        let done = turn(&mut end, usize::MAX);
        assert!(matches!(done.events[..], [Event::Closed(_)]));
        assert_eq!(wire::read_all(&done.written)[0].first, CLOSE);
        assert_eq!(done.shutdowns, 1);
        assert!(done.wait.unwrap().read, "until the peer ends its half");
        for _ in 0..3 {
            let done = turn(&mut end, usize::MAX);
            assert_eq!((done.events.len(), done.shutdowns), (0, 0));
            assert_eq!(end.connection.transport_action(), TransportAction::ShutdownWrite);
        }
        end.connection.handle_eof(end.now);
        assert!(!end.connection.wants_read());
        let done = turn(&mut end, usize::MAX);
        assert_eq!((done.events.len(), done.shutdowns, done.wait), (0, 0, None));
        assert_eq!(end.connection.state(), Lifecycle::Closed);
    }
}

#[test]
fn the_end_is_reported_before_the_transport_is_dropped_even_by_a_turn_that_is_spent() {
    let mut end = End::new(Role::Server, Config::default());
    for _ in 0..limits::TURN_LEN / 64 {
        let text = end.peer.text("");
        end.inbound.extend_from_slice(&text);
    }
    for _ in 0..limits::TURN_LEN / 64 {
        let output = end.connection.poll_output(&mut end.inbound, end.now);
        assert!(matches!(output, Output::Event(Event::Message(_))));
    }
    end.connection.abort(end.now);
    let done = turn(&mut end, usize::MAX);
    assert!(matches!(done.events[..], [Event::Closed(_)]));
    assert_eq!(done.wait, None);
}

#[track_caller]
fn closing(connection: &Connection) -> (Party, bool, bool, ClosingStep) {
    let Lifecycle::Closing(closing) = connection.state() else {
        panic!("{:?}", connection.state())
    };
    (closing.by, closing.is_close_sent, closing.is_close_received, closing.waits_for)
}

#[test]
fn a_closing_connection_reports_what_it_waits_for() {
    for role in BOTH {
        let mut end = End::new(role, Config::default());
        end.now = end.now + SECOND;
        end.close(CloseCode::NORMAL);
        let Lifecycle::Closing(state) = end.connection.state() else { panic!("closing") };
        assert_eq!(state.since, end.now);
        assert_eq!(closing(&end.connection), (Party::Local, true, false, ClosingStep::Output));
        turn(&mut end, usize::MAX);
        assert_eq!(closing(&end.connection), (Party::Local, true, false, ClosingStep::PeerClose));
        let close = end.peer.close(1000, "");
        end.inbound.extend_from_slice(&close);
        let done = turn(&mut end, usize::MAX);
        if role == Role::Server {
            assert_eq!(end.connection.state(), Lifecycle::Closed);
            assert_eq!(done.wait, None);
        } else {
            let expected = (Party::Local, true, true, ClosingStep::TransportEnd);
            assert_eq!(closing(&end.connection), expected);
            end.connection.handle_eof(end.now);
            assert_eq!(end.connection.state(), Lifecycle::Closed);
        }
    }
    let mut end = End::new(Role::Server, Config::default());
    let chunk = sockless_core::Chunk { data: "a".into(), last: false };
    end.connection.send_chunk(chunk, end.now).unwrap();
    end.receive(peer_of(Role::Server).close(1000, ""));
    let expected = (Party::Peer, false, true, ClosingStep::LocalMessage);
    assert_eq!(closing(&end.connection), expected);
}

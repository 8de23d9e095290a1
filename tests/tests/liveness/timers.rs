//! Deadlines on a virtual clock: keep-alive, idleness, slow messages, old age.

use std::sync::Arc;
use std::time::Duration;

use sockless_core::{
    Cause, CloseReason, Closed, Config, Event, Instant, MessageRate, Party, Timeout,
    TransportAction,
};
use sockless_tests::end::{BOTH, End};
use sockless_tests::pair::{Pair, Weather};
use sockless_tests::wire::{BINARY, CLOSE, ENDS, PING, TEXT_BEGINS, close_body, read_all};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn by_default_nothing_is_waited_for() {
    for role in BOTH {
        let mut end = End::new(role, Config::default());
        assert_eq!(end.connection.poll_timeout(), None);
        assert_eq!(end.wait(1_000_000 * SECOND), []);
        assert!(end.connection.is_open());
        assert!(end.drain().is_empty());
    }
}

#[test]
fn pings_are_sent_at_their_interval() {
    for role in BOTH {
        let mut end = End::new(role, pinging());
        assert_eq!(end.connection.poll_timeout(), Some(at(10)));
        assert_eq!(end.wait(9 * SECOND), []);
        assert_eq!(end.sent(), []);
        for turn in 1..=3_u64 {
            assert_eq!(end.wait(SECOND), []);
            let sent = end.sent();
            assert_eq!((sent.len(), sent[0].first), (1, PING));
            assert_eq!(sent[0].payload, turn.to_be_bytes());
            assert_eq!(end.wait(SECOND), []);
            let pong = end.peer.pong(&sent[0].payload);
            assert_eq!(end.receive(pong).len(), 1);
            assert_eq!(end.connection.round_trip(), Some(SECOND));
            assert_eq!(end.connection.poll_timeout(), Some(at(10 * (turn as u32 + 1))));
            assert_eq!(end.wait(8 * SECOND), []);
        }
    }
}

#[test]
fn a_silent_peer_times_out_at_the_ping_timeout() {
    for role in BOTH {
        let mut end = End::new(role, pinging());
        assert_eq!(end.wait(10 * SECOND), []);
        assert_eq!(end.sent().len(), 1);
        assert_eq!(end.connection.poll_timeout(), Some(at(13)));
        assert_eq!(end.wait(2 * SECOND), []);
        let reported = "no answer to a ping (ping_timeout)";
        let events = end.wait(SECOND);
        assert_fails_by(&mut end, Timeout::Ping, 1011, reported, &events);
    }
}

#[test]
fn any_byte_is_a_sign_of_life() {
    for role in BOTH {
        let mut end = End::new(role, pinging().message_rate(None));
        for byte in end.peer.binary([0; 5]).into_iter().take(6) {
            assert_eq!(end.wait(10 * SECOND), []);
            assert_eq!(end.sent().len(), 1);
            assert_eq!(end.receive([byte]), []);
        }
        assert!(end.connection.is_open());
    }
}

#[test]
fn a_pong_to_another_ping_gives_no_round_trip() {
    for role in BOTH {
        let mut end = End::new(role, pinging());
        assert_eq!(end.wait(10 * SECOND), []);
        assert_eq!(end.receive(end.peer.pong("unasked for")).len(), 1);
        assert_eq!(end.connection.round_trip(), None);
    }
}

#[test]
fn a_write_that_moves_is_not_held_against_the_peer() {
    for role in BOTH {
        let mut end = End::new(role, pinging());
        assert_eq!(end.connection.send(vec![0; 1000], end.now), Ok(()));
        assert_eq!(end.wait(10 * SECOND), []);
        for _ in 0..9 {
            end.connection.outbound().advance(100);
            assert_eq!(end.wait(3 * SECOND), []);
        }
        // Now the ping is sent: from here on the peer has the whole timeout.
        assert_eq!(read_all_but(&mut end).payload, 1_u64.to_be_bytes());
        assert_eq!(end.wait(3 * SECOND), []);
        assert_eq!(end.wait(3 * SECOND).len(), 1);
    }
}

#[test]
fn a_blocked_write_is_bounded_by_the_write_timeout_and_not_by_the_ping_timeout() {
    for role in BOTH {
        // A kernel reports room in steps, which take a slow reader longer than the ping timeout.
        let mut end = End::new(role, pinging().write_timeout(20 * SECOND));
        assert_eq!(end.connection.send(vec![0; 1000], end.now), Ok(()));
        for _ in 0..9 {
            end.connection.handle_blocked(end.now);
            assert_eq!(end.wait(19 * SECOND), []);
            end.connection.outbound().advance(100);
        }
        end.connection.handle_blocked(end.now);
        assert_eq!(end.wait(19 * SECOND), []);
        let [Event::Closed(closed)] = &end.wait(SECOND)[..] else {
            panic!("a write that makes no progress has no end");
        };
        assert_eq!(closed.cause(), &Cause::Timeout(Timeout::Write));
    }
}

#[test]
fn without_a_write_timeout_a_blocked_write_is_bounded_by_the_ping_timeout() {
    for role in BOTH {
        let mut end = End::new(role, pinging().write_timeout(None));
        assert_eq!(end.connection.send(vec![0; 1000], end.now), Ok(()));
        assert_eq!(end.wait(12 * SECOND), []);
        let [Event::Closed(closed)] = &end.wait(SECOND)[..] else {
            panic!("the peer did not time out");
        };
        assert_eq!(closed.cause(), &Cause::Timeout(Timeout::Ping));
    }
}

#[test]
fn while_we_do_not_read_silence_is_ours_and_pings_go_on() {
    for role in BOTH {
        let config = pinging().message_timeout(15 * SECOND).write_timeout(None);
        let mut end = End::new(role, config);
        assert_eq!(end.receive(end.peer.frame(TEXT_BEGINS, "begun")), []);
        end.connection.set_reading(false, end.now);
        for _ in 0..100 {
            assert_eq!(end.wait(10 * SECOND), []);
            let sent = end.sent();
            assert_eq!((sent.len(), sent[0].first), (1, PING), "a ping each interval");
        }
        assert!(end.connection.is_open());

        // Then the peer has the whole of its time again, whenever we looked last.
        end.now = end.now + 2 * SECOND;
        end.connection.set_reading(true, end.now);
        assert_eq!(end.connection.poll_timeout(), Some(end.now + 3 * SECOND));
        assert_eq!(end.wait(2 * SECOND), []);
        assert_eq!(end.wait(SECOND).len(), 1);
    }
}

#[test]
fn while_we_do_not_read_a_connection_can_be_idle() {
    for role in BOTH {
        let mut end = End::new(role, Config::default().idle_timeout(20 * SECOND));
        end.connection.set_reading(false, end.now);
        assert_eq!(end.wait(19 * SECOND), []);
        // A delivery of messages that are held is activity.
        end.connection.handle_delivery(end.now);
        assert_eq!(end.wait(20 * SECOND - Duration::from_millis(1)), []);
        assert_eq!(end.sent(), []);
        assert_eq!(end.wait(Duration::from_millis(1)), []);
        assert_eq!(end.sent().len(), 1);
    }
}

#[test]
fn a_stall_of_any_length_closes_no_peer_that_has_sent() {
    let config = || {
        let config = pinging().idle_timeout(20 * SECOND).message_timeout(15 * SECOND);
        config.message_rate(MessageRate::new(5 * SECOND, 1))
    };
    for role in BOTH {
        for stall in [1, 3, 13, 100, 10_000] {
            for order in 0..3 {
                let mut end = End::new(role, config());
                assert_eq!(end.receive(end.peer.frame(TEXT_BEGINS, "begun, ")), []);
                assert_eq!(end.wait(2 * SECOND), []);
                // The process stands still; meanwhile the peer ends its message.
                end.now = end.now + stall * SECOND;
                // Then a loop does what it does, in whatever order, and reads at last.
                if order == 0 {
                    end.connection.handle_timeout(end.now);
                }
                if order < 2 {
                    assert_eq!(end.poll(), []);
                }
                let rest = end.peer.frame(ENDS, "and ended");
                assert_eq!(end.receive(rest), [Event::Message("begun, and ended".into())]);
                end.connection.handle_timeout(end.now);
                assert_eq!(end.poll(), []);
                assert!(end.connection.is_open(), "{stall} s, order {order}");
            }
        }
    }
}

#[test]
fn a_stall_that_did_no_harm_does_not_count_in_the_next_one() {
    let config = Config::default().message_timeout(15 * SECOND);
    for role in BOTH {
        let mut end = End::new(role, config.clone());
        for stall in 0..2 {
            assert_eq!(end.receive(end.peer.frame(TEXT_BEGINS, "begun, ")), []);
            end.now = end.now + 100 * SECOND;
            // Before it reads: what came in time is not there yet.
            assert_eq!(end.poll(), [], "stall {stall}");
            let rest = end.peer.frame(ENDS, "and ended");
            assert_eq!(end.receive(rest), [Event::Message("begun, and ended".into())]);
            assert!(end.connection.is_open(), "stall {stall}");
        }
    }
}

#[test]
fn input_that_came_in_time_may_take_several_reads() {
    for role in BOTH {
        let mut end = End::new(role, Config::default().message_timeout(5 * SECOND));
        let message = end.peer.binary(vec![7; 300 << 10]);
        let (first, rest) = message.split_at(1000);
        assert_eq!(end.receive(first), []);
        // The process stands still, and the rest comes meanwhile.
        end.now = end.now + 100 * SECOND;
        end.connection.handle_timeout(end.now);
        assert_eq!(end.poll(), []);
        let mut events = Vec::new();
        for read in rest.chunks(4096) {
            events.extend(end.receive(read));
            end.connection.handle_timeout(end.now);
        }
        assert_eq!(events, [Event::Message(vec![7; 300 << 10].into())]);
        assert!(end.connection.is_open());
    }
}

#[test]
fn a_flood_stops_no_clock() {
    for role in BOTH {
        let slow = Config::default().message_timeout(5 * SECOND).max_message_len(1 << 40);
        let old = Config::default().max_age(5 * SECOND);
        for (config, is_slow) in [(slow.recv_chunk_len(100), true), (old, false)] {
            let mut end = End::new(role, config);
            if is_slow {
                assert_eq!(end.receive(end.peer.header(BINARY, 1 << 39)), []);
            }
            // A loop that reads as long as there is something, and never finds time for a deadline.
            while end.connection.is_open() {
                end.now = end.now + SECOND / 10;
                assert!(end.now < at(7), "the clock stands still");
                let bytes = if is_slow { vec![0; 300] } else { end.peer.text("?") };
                end.receive(bytes);
            }
            assert!(end.now >= at(5), "{:?}", end.now);
        }
    }
}

#[test]
fn a_message_that_arrives_too_slowly_ends_the_connection() {
    for role in BOTH {
        let rate = MessageRate::new(10 * SECOND, 100);
        let mut end = End::new(role, Config::default().message_rate(rate));
        assert_eq!(end.receive(end.peer.header(BINARY, 10_000)), []);
        // 200 bytes a second are fast enough,
        for _ in 0..40 {
            assert_eq!(end.receive([0; 200]), []);
            assert_eq!(end.wait(SECOND), []);
        }
        // and then one a second is not.
        let mut seconds = 0;
        let closed = loop {
            let events = [end.receive([0]), end.wait(SECOND)].concat();
            seconds += 1;
            match events.last() {
                Some(Event::Closed(closed)) => break closed.clone(),
                Some(event) => panic!("{event:?}"),
                None => assert!(seconds < 100, "it is waited for"),
            }
        };
        assert!((10..12).contains(&seconds), "{seconds}");
        assert_eq!(closed.cause(), &Cause::Timeout(Timeout::Message));
    }
}

#[test]
fn a_transport_that_accepts_nothing_times_out() {
    for role in BOTH {
        let mut end = End::new(role, Config::default().write_timeout(10 * SECOND));
        assert_eq!(end.connection.send(vec![7; 100_000], end.now), Ok(()));
        for _ in 0..20 {
            end.connection.outbound().advance(1000);
            end.connection.handle_blocked(end.now);
            assert_eq!(end.connection.poll_timeout(), Some(end.now + 10 * SECOND));
            assert_eq!(end.wait(9 * SECOND), []);
        }
        // That the peer sends is no progress of this.
        assert_eq!(end.receive(end.peer.text("hello")).len(), 1);
        let events = end.wait(SECOND);
        let cause = Cause::Timeout(Timeout::Write);
        end.assert_over(&events, &Closed::new(Party::Local, cause, None, None));
        assert_eq!(end.connection.transport_action(), TransportAction::Close);
        assert!(end.drain().is_empty());
    }
}

#[test]
fn a_peer_that_takes_bytes_slowly_is_alive_whatever_becomes_of_our_pings() {
    for role in BOTH {
        let mut end = End::new(role, pinging());
        for _ in 0..100 {
            assert_eq!(end.connection.send(vec![7; 100_000], end.now), Ok(()));
            end.connection.outbound().advance(50_000);
            end.connection.handle_blocked(end.now);
            assert_eq!(end.wait(2 * SECOND), []);
        }
        assert!(end.connection.is_open());
        // Pings that would wait behind more than enough are not queued.
        let queued = end.connection.outbound().remaining();
        let events = end.wait(1000 * SECOND);
        assert_eq!(events.len(), 1, "now it is not");
        assert!(queued > 0);
    }
}

#[test]
fn an_idle_connection_is_closed() {
    for role in BOTH {
        let mut end = End::new(role, Config::default().idle_timeout(20 * SECOND));
        assert_eq!(end.connection.poll_timeout(), Some(at(20)));
        assert_eq!(end.wait(20 * SECOND), []);
        let reported = "no message for too long (idle_timeout)";
        let sent = end.sent();
        assert_eq!((sent.len(), &sent[0].payload), (1, &close_body(1001, reported)));
        let events = end.receive(end.peer.close(1001, ""));
        let (sent, received) = (reason(1001, reported), reason(1001, ""));
        let cause = Cause::Timeout(Timeout::Idle);
        let closed = Closed::new(Party::Local, cause, Some(sent), Some(received));
        end.assert_over(&events, &closed);
    }
}

#[test]
fn an_idle_peer_that_does_not_answer_times_out() {
    for role in BOTH {
        let config = Config::default().idle_timeout(20 * SECOND).closing_timeout(SECOND);
        let mut end = End::new(role, config);
        assert_eq!(end.wait(20 * SECOND), []);
        assert_eq!(end.sent().len(), 1);
        let events = end.wait(SECOND);
        let sent = reason(1001, "no message for too long (idle_timeout)");
        let cause = Cause::Timeout(Timeout::Idle);
        end.assert_over(&events, &Closed::new(Party::Local, cause, Some(sent), None));
    }
}

#[test]
fn messages_either_way_keep_a_connection_from_being_idle_and_pings_do_not() {
    for role in BOTH {
        let mut end = End::new(role, Config::default().idle_timeout(20 * SECOND));
        assert_eq!(end.wait(19 * SECOND), []);
        assert_eq!(end.receive(end.peer.text("received")).len(), 1);
        assert_eq!(end.wait(19 * SECOND), []);
        assert_eq!(end.connection.send("sent", end.now), Ok(()));
        // The idle timeout counts from the send.
        assert_eq!(end.poll(), []);
        assert_eq!(end.wait(19 * SECOND), []);
        assert!(end.connection.is_open());
        assert_eq!(end.receive(end.peer.ping("?")).len(), 1);
        assert_eq!(end.connection.ping("?", end.now), Ok(()));
        assert_eq!(end.wait(SECOND), []);
        assert!(!end.connection.is_open());
    }
}

#[test]
fn a_message_that_takes_too_long_fails() {
    for role in BOTH {
        for first in [0x81, 0x82, TEXT_BEGINS] {
            let mut end = End::new(role, Config::default().message_timeout(10 * SECOND));
            assert_eq!(end.wait(5 * SECOND), []);
            assert_eq!(end.connection.poll_timeout(), None);
            assert_eq!(end.receive(end.peer.header(first, 100)), []);
            assert_eq!(end.connection.poll_timeout(), Some(at(15)));
            for _ in 0..9 {
                assert_eq!(end.wait(SECOND), []);
                assert_eq!(end.receive([0x37]), []);
                assert_eq!(end.inbound.is_empty(), first != 0x82);
                // Alternating keys make other characters of it.
                assert_eq!(end.connection.poll_timeout(), Some(at(15)));
                if end.peer.masks {
                    break;
                }
            }
            let reported = "a message took too long (message_timeout, message_rate)";
            let events = end.wait(at(15).saturating_since(end.now));
            assert_fails_by(&mut end, Timeout::Message, 1008, reported, &events);
        }
    }
}

#[test]
fn messages_that_end_in_time_are_not_failed() {
    for role in BOTH {
        let mut end = End::new(role, Config::default().message_timeout(10 * SECOND));
        for _ in 0..5 {
            assert_eq!(end.receive(end.peer.frame(TEXT_BEGINS, "be")), []);
            assert_eq!(end.wait(9 * SECOND), []);
            assert_eq!(end.receive(end.peer.frame(0x80, "gun")).len(), 1);
            assert_eq!(end.connection.poll_timeout(), None);
        }
    }
}

#[test]
fn an_old_connection_is_closed_however_busy() {
    for role in BOTH {
        let mut end = End::new(role, Config::default().max_age(60 * SECOND));
        for _ in 0..59 {
            assert_eq!(end.wait(SECOND), []);
            assert_eq!(end.receive(end.peer.text("busy")).len(), 1);
        }
        assert_eq!(end.wait(SECOND), []);
        let reported = "the connection is too old (max_age)";
        assert_eq!(end.sent()[0].payload, close_body(1001, reported));
        let events = end.receive(end.peer.close(1001, ""));
        let cause = Cause::Timeout(Timeout::MaxAge);
        let (sent, received) = (Some(reason(1001, reported)), Some(reason(1001, "")));
        end.assert_over(&events, &Closed::new(Party::Local, cause, sent, received));
    }
}

#[test]
fn a_spurious_call_does_no_harm() {
    for role in BOTH {
        let config = pinging().idle_timeout(SECOND * 20).max_age(SECOND * 60);
        let mut end = End::new(role, config);
        for _ in 0..100 {
            end.connection.handle_timeout(end.now);
        }
        assert_eq!((end.drain(), end.connection.poll_timeout()), (vec![], Some(at(10))));
        assert_eq!(end.wait(10 * SECOND), []);
        for _ in 0..100 {
            end.connection.handle_timeout(end.now);
        }
        assert_eq!(end.sent().len(), 1);
        end.close(CloseReason::EMPTY);
        for _ in 0..100 {
            end.connection.handle_timeout(end.now);
        }
        assert_eq!(end.sent().len(), 1);
        assert_eq!(end.connection.poll_timeout(), Some(at(15)));
    }
}

#[test]
fn settings_change_on_a_live_connection() {
    for role in BOTH {
        let mut end = End::new(role, Config::default());
        assert_eq!(end.wait(100 * SECOND), []);
        end.connection.set_config(Arc::new(pinging()), end.now);
        assert_eq!(end.connection.poll_timeout(), Some(at(110)));
        assert_eq!(end.wait(10 * SECOND), []);
        assert_eq!(end.sent().len(), 1);
        end.connection.set_config(Arc::new(Config::default()), end.now);
        assert_eq!(end.connection.poll_timeout(), None);
        assert_eq!(end.wait(100 * SECOND), []);
        let config = Config::default().idle_timeout(5 * SECOND).max_age(1000 * SECOND);
        end.connection.set_config(Arc::new(config), end.now);
        assert_eq!(end.connection.poll_timeout(), Some(at(5)), "it has been idle for long");
        let config = Config::default().ping_interval(Duration::ZERO);
        assert_eq!(config.get_ping_interval(), None);
    }
}

#[test]
fn never_is_never_due() {
    for role in BOTH {
        let config = Config::default()
            .ping_interval(Duration::MAX)
            .idle_timeout(Duration::MAX)
            .max_age(Duration::MAX)
            .message_timeout(Duration::MAX)
            .closing_timeout(Duration::MAX);
        let mut end = End::new(role, config);
        assert_eq!(end.wait(1_000_000_000 * SECOND), []);
        assert!(end.connection.is_open());
        end.close(CloseReason::EMPTY);
        assert_eq!(end.wait(1_000_000_000 * SECOND), []);
    }
}

#[test]
fn two_ends_that_ping_keep_each_other_alive() {
    let weather = Weather { delay: SECOND, chunk: 3, cut: None };
    let mut pair = Pair::new([pinging(), pinging()], weather, 7);
    while pair.now < at(1000) {
        pair.turn();
        assert!(pair.leap());
    }
    for end in &pair.ends {
        assert!(end.connection.is_open());
        assert!(end.connection.round_trip().is_some_and(|time| time <= 3 * SECOND));
    }
}

/// A connection that ends because the peer was too slow sends the reason, and does not wait.
#[track_caller]
fn assert_fails_by(
    end: &mut End,
    timeout: Timeout,
    code: u16,
    reported: &'static str,
    events: &[Event],
) {
    let sent = end.sent();
    let last = sent.last().expect("a frame for the peer");
    assert_eq!((last.first, &last.payload), (CLOSE, &close_body(code, reported)));
    let closed =
        Closed::new(Party::Local, Cause::Timeout(timeout), Some(reason(code, reported)), None);
    assert_eq!(events.first(), Some(&Event::Closed(closed)));
    assert_eq!(events.len(), 1);
    end.assert_silent();
    let lingers = end.connection.transport_action();
    assert!(matches!(lingers, TransportAction::ShutdownWrite | TransportAction::Close));
}

/// The last frame of what waits, whose first frame has begun to leave.
fn read_all_but(end: &mut End) -> sockless_tests::wire::Read {
    let bytes = end.drain();
    let len = if end.peer.masks { 10 } else { 14 };
    let ping = read_all(&bytes[bytes.len() - len..]);
    ping.into_iter().next().expect("the ping")
}

fn pinging() -> Config {
    Config::default().ping_interval(10 * SECOND).ping_timeout(3 * SECOND)
}

fn at(seconds: u32) -> Instant {
    Instant::EPOCH + seconds * SECOND
}

fn reason(code: u16, text: &'static str) -> CloseReason {
    CloseReason::new(sockless_core::CloseCode::new(code).expect("it may travel"), text)
}

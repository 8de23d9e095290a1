//! RFC 6455 §5.5.1, §7: both closing handshakes, and what becomes of the transport.

use std::time::Duration;

use sockless_core::{
    Cause, Chunk, CloseCode, CloseReason, Closed, Config, Event, Instant, Party, ProtocolError,
    Role, SendError, Timeout, TransportAction,
};
use sockless_tests::end::{BOTH, End};
use sockless_tests::pair::{Pair, Weather};
use sockless_tests::wire::{CLOSE, TEXT_BEGINS, close_body};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_close_frame_is_answered_with_its_own_code_and_text() {
    for role in BOTH {
        let mut end = End::new(role, Config::default());
        let events = end.receive(end.peer.close(3210, "so long"));
        let reason = reason(3210, "so long");
        let closed = clean(Party::Peer, Cause::ClosingHandshake, &reason, &reason);
        assert_eq!(events, [Event::PeerClosed(reason), Event::Closed(closed)]);
        let sent = end.sent();
        assert_eq!((sent.len(), sent[0].first), (1, CLOSE));
        assert_eq!(sent[0].payload, close_body(3210, "so long"));
        assert_transport_ends(end);
    }
}

#[test]
fn a_close_frame_without_a_code_is_answered_without_one() {
    for role in BOTH {
        let mut end = End::new(role, Config::default());
        let events = end.receive(end.peer.frame(CLOSE, ""));
        let none = CloseReason::EMPTY;
        let closed = clean(Party::Peer, Cause::ClosingHandshake, &none, &none);
        assert_eq!(events, [Event::PeerClosed(none), Event::Closed(closed)]);
        assert_eq!(end.sent()[0].payload, b"");
        assert_transport_ends(end);
    }
}

#[test]
fn input_after_a_close_frame_is_ignored() {
    for role in BOTH {
        let mut end = End::new(role, Config::default());
        let late = [end.peer.text("late"), vec![0xFF; 20]].concat();
        let events = end.receive([end.peer.close(1000, ""), late].concat());
        assert_eq!(events.len(), 2);
        end.assert_silent();
    }
}

#[test]
fn our_close_is_answered_by_the_peer() {
    for role in BOTH {
        let mut end = End::new(role, Config::default());
        end.close((CloseCode::GOING_AWAY, "bye"));
        assert!(!end.connection.is_open());
        assert_eq!(end.connection.transport_action(), TransportAction::KeepOpen);
        let sent = end.sent();
        assert_eq!((sent.len(), &sent[0].payload), (1, &close_body(1001, "bye")));

        // Until the peer's Close frame comes, its messages do; nothing is said to them.
        let bytes = [end.peer.text("still"), end.peer.ping("?"), end.peer.pong("!")].concat();
        let reported =
            [Event::Message("still".into()), Event::Ping("?".into()), Event::Pong("!".into())];
        assert_eq!(end.receive(bytes), reported);
        assert_eq!(end.connection.send("late", end.now), Err(SendError::Closing));
        end.close((CloseCode::NORMAL, "twice"));
        assert_eq!(end.sent(), []);

        let events = end.receive(end.peer.close(4000, "ok"));
        let (ours, theirs) = (reason(1001, "bye"), reason(4000, "ok"));
        let closed = clean(Party::Local, Cause::ClosingHandshake, &ours, &theirs);
        assert!(closed.is_clean());
        end.assert_over(&events, &closed);
        assert_transport_ends(end);
    }
}

#[test]
fn close_frames_that_cross_are_answers() {
    let [config, other] = [Config::default(), Config::default()];
    let mut pair = Pair::new([config, other], Weather::FINE, 1);
    for (side, code) in [(0, 4001), (1, 4002)] {
        pair.ends[side].close(reason(code, ""));
    }
    pair.run();
    for (side, ours, theirs) in [(0, 4001, 4002), (1, 4002, 4001)] {
        let (ours, theirs) = (reason(ours, ""), reason(theirs, ""));
        let expected = clean(Party::Local, Cause::ClosingHandshake, &ours, &theirs);
        assert_eq!(pair.closed(side), &expected);
        assert_eq!(pair.events[side].len(), 1);
    }
    assert_eq!(pair.now, Instant::EPOCH, "nothing was waited for");
}

#[test]
fn a_closing_handshake_runs_from_either_end() {
    for side in [0, 1] {
        let configs = [Config::default(), Config::default()];
        let mut pair = Pair::new(configs, Weather { delay: SECOND, ..Weather::FINE }, 5);
        assert_eq!(pair.ends[side].connection.send("last", pair.ends[side].now), Ok(()));
        pair.ends[side].close(reason(1000, "done"));
        pair.run();
        let reason = reason(1000, "done");
        let of = |by| clean(by, Cause::ClosingHandshake, &reason, &reason);
        assert_eq!(pair.closed(side), &of(Party::Local));
        let reported = [
            Event::Message("last".into()),
            Event::PeerClosed(reason.clone()),
            Event::Closed(of(Party::Peer)),
        ];
        assert_eq!(pair.events[1 - side], reported);
        for end in &pair.ends {
            assert_eq!(end.connection.transport_action(), TransportAction::Close);
        }
    }
}

#[test]
fn codes_from_the_wire_are_taken_or_refused() {
    for role in BOTH {
        for code in (0..=5000).chain([u16::MAX]) {
            let mut end = End::new(role, Config::default());
            let events = end.receive(end.peer.close(code, ""));
            if matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                assert_eq!(events[0], Event::PeerClosed(reason(code, "")));
                assert_eq!(end.sent()[0].payload, code.to_be_bytes());
            } else {
                let error = ProtocolError::CloseCodeInvalid(code);
                // The whole of it for some, since it takes long.
                if code % 500 == 5 {
                    end.assert_fails_with(1002, error, &events);
                }
                let Some(Event::Closed(closed)) = events.last() else {
                    panic!("{code} was taken");
                };
                assert_eq!(closed.cause(), &Cause::Protocol(error));
                assert_eq!(closed.received(), None);
            }
        }
    }
}

#[test]
fn codes_are_sent_as_they_are() {
    for role in BOTH {
        for code in (0..=5000).filter_map(CloseCode::new) {
            let mut end = End::new(role, Config::default());
            end.close((code, "why"));
            assert_eq!(end.sent()[0].payload, close_body(code.get(), "why"));
        }
    }
}

#[test]
fn half_a_code_fails() {
    for role in BOTH {
        let mut end = End::new(role, Config::default());
        let events = end.receive(end.peer.frame(CLOSE, [3]));
        end.assert_fails_with(1002, ProtocolError::CloseTruncated, &events);
    }
}

#[test]
fn a_reason_that_is_not_utf8_fails() {
    for role in BOTH {
        for text in [&b"\xff"[..], b"cut \xe2\x82", b"\xed\xa0\x80"] {
            let mut end = End::new(role, Config::default());
            let body = [&1000_u16.to_be_bytes(), text].concat();
            let events = end.receive(end.peer.frame(CLOSE, body));
            end.assert_fails_with(1007, ProtocolError::CloseReasonInvalid, &events);
        }
    }
}

#[test]
fn the_longest_reason_goes_both_ways() {
    for role in BOTH {
        let text = "ü".repeat(61) + "!";
        let mut end = End::new(role, Config::default());
        let events = end.receive(end.peer.close(1000, &text));
        assert_eq!(events[0], Event::PeerClosed(reason(1000, &text)));
        assert_eq!(end.sent()[0].payload.len(), 125);
        let mut end = End::new(role, Config::default());
        end.close((CloseCode::NORMAL, "ü".repeat(100)));
        assert_eq!(end.sent()[0].payload, close_body(1000, &"ü".repeat(61)));
    }
}

#[test]
fn our_answer_waits_until_our_message_ends() {
    for role in BOTH {
        let mut end = End::new(role, Config::default());
        assert_eq!(end.connection.send_chunk(chunk("one", false), end.now), Ok(()));
        let bytes = [end.peer.close(1000, "enough"), end.peer.text("late")].concat();
        let reason = reason(1000, "enough");
        assert_eq!(end.receive(bytes), [Event::PeerClosed(reason.clone())]);
        assert_eq!(end.inbound.len(), 0);
        assert_eq!(end.connection.transport_action(), TransportAction::KeepOpen);
        assert_eq!(end.connection.send("whole", end.now), Err(SendError::Closing));
        assert_eq!(end.connection.ping("?", end.now), Err(SendError::Closing));
        let other = Chunk { data: vec![1].into(), last: true };
        assert_eq!(end.connection.send_chunk(other, end.now), Err(SendError::MessageUnfinished));

        assert_eq!(end.connection.send_chunk(chunk("two", false), end.now), Ok(()));
        assert_eq!(end.poll(), []);
        assert_eq!(end.connection.send_chunk(chunk("three", true), end.now), Ok(()));
        assert_eq!(
            end.connection.send_chunk(chunk("four", true), end.now),
            Err(SendError::Closing)
        );
        let closed = clean(Party::Peer, Cause::ClosingHandshake, &reason, &reason);
        assert_eq!(end.poll(), [Event::Closed(closed)]);
        let firsts: Vec<u8> = end.sent().iter().map(|frame| frame.first).collect();
        assert_eq!(firsts, [0x01, 0x00, 0x80, 0x88]);
        assert_transport_ends(end);
    }
}

#[test]
fn our_answer_does_not_wait_longer_than_the_closing_timeout() {
    for role in BOTH {
        let mut end = End::new(role, Config::default().closing_timeout(3 * SECOND));
        assert_eq!(end.connection.send_chunk(chunk("one", false), end.now), Ok(()));
        assert_eq!(end.receive(end.peer.close(1000, "")).len(), 1);
        assert_eq!(end.connection.poll_timeout(), Some(Instant::EPOCH + 3 * SECOND));
        assert_eq!(end.wait(2 * SECOND), []);
        let reason = reason(1000, "");
        let closed = clean(Party::Peer, Cause::ClosingHandshake, &reason, &reason);
        assert_eq!(end.wait(SECOND), [Event::Closed(closed)]);
        assert_eq!(end.sent().last().map(|frame| frame.first), Some(CLOSE));
        assert_eq!(end.connection.send_chunk(chunk("two", true), end.now), Err(SendError::Closing));
        assert_transport_ends(end);
    }
}

#[test]
fn the_end_of_the_transport_ends_the_wait_for_our_message() {
    for role in BOTH {
        for early in [false, true] {
            let mut end = End::new(role, Config::default());
            assert_eq!(end.connection.send_chunk(chunk("one", false), end.now), Ok(()));
            let close = end.peer.close(1000, "");
            let mut events = Vec::new();
            if early {
                end.connection.handle_eof(end.now);
            }
            events.extend(end.receive(close));
            if !early {
                events.extend(end.eof());
            }
            let reason = reason(1000, "");
            let closed = clean(Party::Peer, Cause::ClosingHandshake, &reason, &reason);
            assert_eq!(events, [Event::PeerClosed(reason), Event::Closed(closed)]);
            assert_eq!(end.connection.transport_action(), TransportAction::Close);
            assert_eq!(end.sent().last().map(|frame| frame.first), Some(CLOSE));
        }
    }
}

#[test]
fn a_message_in_chunks_cannot_go_on_after_our_close() {
    for role in BOTH {
        let mut end = End::new(role, Config::default());
        assert_eq!(end.connection.send_chunk(chunk("one", false), end.now), Ok(()));
        end.close(reason(1011, "cannot go on"));
        assert_eq!(end.connection.send_chunk(chunk("two", true), end.now), Err(SendError::Closing));
        let events = end.receive(end.peer.close(1011, ""));
        let ours = reason(1011, "cannot go on");
        let closed = clean(Party::Local, Cause::ClosingHandshake, &ours, &reason(1011, ""));
        end.assert_over(&events, &closed);
    }
}

#[test]
fn an_end_without_a_close_frame_is_reported() {
    for role in BOTH {
        for bytes in
            [vec![], vec![0x81], End::new(role, Config::default()).peer.header(TEXT_BEGINS, 9)]
        {
            let mut end = End::new(role, Config::default());
            assert_eq!(end.receive(bytes), []);
            let events = end.eof();
            end.assert_over(&events, &Closed::new(Party::Peer, Cause::Eof, None, None));
            assert_eq!(end.connection.transport_action(), TransportAction::Close);
        }
    }
}

#[test]
fn events_in_the_read_buffer_come_before_the_end() {
    for role in BOTH {
        let mut end = End::new(role, Config::default());
        end.connection.handle_eof(end.now);
        let bytes = [end.peer.text("one"), end.peer.ping(""), end.peer.header(0x82, 5)].concat();
        let events = end.receive(bytes);
        let closed = Closed::new(Party::Peer, Cause::Eof, None, None);
        let reported =
            [Event::Message("one".into()), Event::Ping("".into()), Event::Closed(closed)];
        assert_eq!(events, reported);
    }
}

#[test]
fn an_end_while_we_close_is_reported() {
    for role in BOTH {
        let mut end = End::new(role, Config::default());
        end.close(reason(1000, ""));
        let events = end.eof();
        let closed = Closed::new(Party::Local, Cause::Eof, Some(reason(1000, "")), None);
        end.assert_over(&events, &closed);
        assert_eq!(end.connection.transport_action(), TransportAction::Close);
    }
}

#[test]
fn an_end_that_is_known_spares_waiting_for_it() {
    for role in BOTH {
        let mut end = End::new(role, Config::default());
        end.connection.handle_eof(end.now);
        assert_eq!(end.receive(end.peer.close(1000, "")).len(), 2);
        assert_eq!(end.connection.transport_action(), TransportAction::Close);
        let mut end = End::new(role, Config::default());
        end.connection.handle_eof(end.now);
        assert_eq!(end.receive([0xFF; 2]).len(), 1);
        assert_eq!(end.connection.transport_action(), TransportAction::Close);
    }
}

#[test]
fn a_peer_that_breaks_a_rule_while_we_close_is_sent_nothing_further() {
    for role in BOTH {
        let mut end = End::new(role, Config::default());
        end.close(reason(1000, ""));
        let events = end.receive(end.peer.frame(0x83, ""));
        let cause = Cause::Protocol(ProtocolError::OpcodeReserved(3));
        let closed = Closed::new(Party::Local, cause, Some(reason(1000, "")), None);
        end.assert_over(&events, &closed);
        assert_eq!(end.sent().len(), 1);
        assert_eq!(end.connection.transport_action(), TransportAction::ShutdownWrite);
    }
}

#[test]
fn a_failed_transport_ends_at_once() {
    for role in BOTH {
        let broken = || Cause::Transport("connection reset".into());
        let mut end = End::new(role, Config::default());
        assert_eq!(end.connection.send("lost", end.now), Ok(()));
        end.connection.handle_transport_error("connection reset", end.now);
        let events = end.poll();
        end.assert_over(&events, &Closed::new(Party::Peer, broken(), None, None));
        assert!(end.drain().is_empty());
        assert_eq!(end.connection.transport_action(), TransportAction::Close);

        let mut end = End::new(role, Config::default());
        end.close(reason(1000, ""));
        end.connection.handle_transport_error("connection reset", end.now);
        let closed = Closed::new(Party::Local, broken(), Some(reason(1000, "")), None);
        let events = end.poll();
        end.assert_over(&events, &closed);
    }
}

#[test]
fn an_abort_ends_at_once() {
    for role in BOTH {
        let mut end = End::new(role, Config::default());
        assert_eq!(end.connection.send("lost", end.now), Ok(()));
        end.connection.abort(end.now);
        let events = end.poll();
        end.assert_over(&events, &Closed::new(Party::Local, Cause::Aborted, None, None));
        assert!(end.drain().is_empty());
        assert_eq!(end.connection.transport_action(), TransportAction::Close);
        assert_eq!(end.connection.poll_timeout(), None);
    }
}

#[test]
fn an_abort_while_our_answer_waits_reports_the_received_reason() {
    for role in BOTH {
        let mut end = End::new(role, Config::default());
        assert_eq!(end.connection.send_chunk(chunk("one", false), end.now), Ok(()));
        assert_eq!(end.receive(end.peer.close(1000, "")).len(), 1);
        end.connection.abort(end.now);
        let received = Some(reason(1000, ""));
        let events = end.poll();
        end.assert_over(&events, &Closed::new(Party::Local, Cause::Aborted, None, received));
    }
}

#[test]
fn a_peer_that_does_not_answer_times_out() {
    for role in BOTH {
        let mut end = End::new(role, Config::default().closing_timeout(3 * SECOND));
        end.close(reason(1000, ""));
        // It has the whole time from when our Close frame has left, and again from what it sends: it may
        // not have come to the frame yet.
        assert_eq!(end.wait(2 * SECOND), []);
        assert_eq!(end.sent().len(), 1);
        assert_eq!(end.connection.poll_timeout(), Some(Instant::EPOCH + 5 * SECOND));
        assert_eq!(end.wait(2 * SECOND), []);
        assert_eq!(end.receive(end.peer.text("not yet")).len(), 1);
        assert_eq!(end.connection.poll_timeout(), Some(Instant::EPOCH + 7 * SECOND));
        let cause = Cause::Timeout(Timeout::Closing);
        let closed = Closed::new(Party::Local, cause, Some(reason(1000, "")), None);
        let events = end.wait(3 * SECOND);
        end.assert_over(&events, &closed);
        // It may still be reading: a reset would take from it what it has not read.
        assert_eq!(end.connection.transport_action(), TransportAction::ShutdownWrite);
        assert_eq!(end.wait(2 * SECOND), []);
        assert_eq!(end.receive(end.peer.text("still not")), []);
        assert_eq!(end.wait(2 * SECOND), []);
        assert_eq!(end.connection.transport_action(), TransportAction::ShutdownWrite);
        assert_eq!(end.wait(SECOND), []);
        assert_eq!(end.connection.transport_action(), TransportAction::Close);
        assert!(end.drain().is_empty());
    }
}

#[test]
fn a_peer_that_sends_and_never_answers_times_out_in_the_end() {
    for role in BOTH {
        let mut end = End::new(role, Config::default().closing_timeout(3 * SECOND));
        end.close(reason(1000, ""));
        assert_eq!(end.sent().len(), 1);
        while end.connection.transport_action() != TransportAction::Close {
            assert!(end.now <= Instant::EPOCH + 36 * SECOND, "the connection never ends");
            end.receive(end.peer.ping("?"));
            end.wait(SECOND);
        }
        assert_eq!(end.now, Instant::EPOCH + 36 * SECOND);
        assert_eq!(end.connection.poll_timeout(), None);
    }
}

#[test]
fn a_peer_that_takes_bytes_is_given_the_time_to_take_all_of_them() {
    for role in BOTH {
        let mut end = End::new(role, Config::default().closing_timeout(3 * SECOND));
        assert_eq!(end.connection.send(vec![7; 1 << 20], end.now), Ok(()));
        end.close(reason(1000, ""));
        let mut taken = 0;
        while end.connection.outbound().has_remaining() {
            let len = end.connection.outbound().remaining().min(30 << 10);
            end.connection.outbound().advance(len);
            end.connection.handle_blocked(end.now);
            taken += len;
            // Then it has the closing timeout to answer.
            let rest = if end.connection.outbound().has_remaining() { 20 } else { 2 };
            assert_eq!(end.wait(rest * SECOND), []);
            assert_eq!(
                end.connection.transport_action(),
                TransportAction::KeepOpen,
                "{taken} bytes were taken"
            );
        }
        let events = end.receive(end.peer.close(1000, ""));
        let sent = reason(1000, "");
        let closed = clean(Party::Local, Cause::ClosingHandshake, &sent, &sent);
        assert_eq!(events, [Event::Closed(closed)]);
    }
}

#[test]
fn a_close_frame_that_could_not_be_written_is_not_one_that_was_not_answered() {
    for role in BOTH {
        let config = Config::default().closing_timeout(3 * SECOND).write_timeout(10 * SECOND);
        let mut end = End::new(role, config);
        end.close(reason(1000, ""));
        end.connection.handle_blocked(end.now);
        assert_eq!(end.connection.poll_timeout(), Some(Instant::EPOCH + 10 * SECOND));
        let cause = Cause::Timeout(Timeout::Write);
        let closed = Closed::new(Party::Local, cause, Some(reason(1000, "")), None);
        let events = end.wait(10 * SECOND);
        end.assert_over(&events, &closed);
        assert_eq!(end.connection.transport_action(), TransportAction::Close);
        assert!(end.drain().is_empty(), "what the peer did not take is dropped");
    }
}

#[test]
fn a_transport_that_does_not_end_is_dropped() {
    for role in BOTH {
        // After a failure both ends linger, so that a reset does not eat what was said.
        let mut end = End::new(role, Config::default().closing_timeout(3 * SECOND));
        assert_eq!(end.receive([0xFF; 2]).len(), 1);
        assert_eq!(end.sent().len(), 1);
        assert_eq!(end.wait(2 * SECOND), []);
        // That it talks does not help: it broke the protocol.
        assert_eq!(end.receive([0xFF; 2]), []);
        assert_eq!(end.connection.transport_action(), TransportAction::ShutdownWrite);
        assert_eq!(end.wait(SECOND), []);
        assert_eq!(end.connection.transport_action(), TransportAction::Close);
        assert_eq!((end.drain(), end.connection.poll_timeout()), (vec![], None));
    }
    let mut client = End::new(Role::Client, Config::default().closing_timeout(3 * SECOND));
    assert_eq!(client.receive(client.peer.close(1000, "")).len(), 2);
    assert_eq!(client.sent().len(), 1);
    assert_eq!(client.wait(2 * SECOND), []);
    assert_eq!(client.connection.transport_action(), TransportAction::KeepOpen);
    assert_eq!(client.wait(SECOND), []);
    assert_eq!(client.connection.transport_action(), TransportAction::Close);
}

#[test]
fn a_server_drops_what_its_peer_never_reads() {
    let config = Config::default().closing_timeout(3 * SECOND).write_timeout(10 * SECOND);
    let mut server = End::new(Role::Server, config);
    assert_eq!(server.receive(server.peer.close(1000, "")).len(), 2);
    assert_eq!(server.connection.transport_action(), TransportAction::Close);
    assert_eq!(server.connection.poll_timeout(), Some(Instant::EPOCH + 10 * SECOND));
    assert_eq!(server.wait(10 * SECOND), []);
    assert_eq!((server.drain(), server.connection.poll_timeout()), (vec![], None));
}

/// The server drops the transport, the client waits for that (RFC 6455 §7.1.1).
fn assert_transport_ends(mut end: End) {
    end.drain();
    match end.connection.role() {
        Role::Server => {
            assert_eq!(end.connection.transport_action(), TransportAction::Close);
            assert_eq!(end.connection.poll_timeout(), None);
        }
        Role::Client => {
            assert_eq!(end.connection.transport_action(), TransportAction::KeepOpen);
            assert!(end.connection.poll_timeout().is_some());
            assert_eq!(end.eof(), []);
            assert_eq!(end.connection.transport_action(), TransportAction::Close);
            assert_eq!(end.connection.poll_timeout(), None);
        }
    }
    end.assert_silent();
}

fn reason(code: u16, text: &str) -> CloseReason {
    CloseReason::new(CloseCode::new(code).expect("it may travel"), text.to_owned())
}

fn clean(by: Party, cause: Cause, sent: &CloseReason, received: &CloseReason) -> Closed {
    Closed::new(by, cause, Some(sent.clone()), Some(received.clone()))
}

fn chunk(text: &'static str, last: bool) -> Chunk {
    Chunk { data: text.into(), last }
}

/// Each byte is progress, but a closing handshake is not kept up by one now and then.
#[test]
fn a_peer_that_takes_less_than_a_kibibyte_per_second_is_given_up() {
    for role in BOTH {
        let mut end = End::new(role, Config::default());
        assert_eq!(end.connection.send(vec![7; 16 << 20], end.now), Ok(()));
        end.close(reason(1000, ""));
        let began = end.now;
        while end.connection.outbound().has_remaining() {
            end.connection.outbound().advance(1);
            end.connection.handle_blocked(end.now);
            end.wait(50 * SECOND);
            assert!(end.now <= began + 400 * SECOND, "{:?}", end.now);
        }
        assert_eq!(end.connection.transport_action(), TransportAction::Close);
    }
}

/// As TLS holds them: the peer cannot have seen our Close frame.
#[test]
fn the_closing_timeout_does_not_begin_while_the_transport_holds_bytes() {
    for role in BOTH {
        let config = Config::default().closing_timeout(3 * SECOND).write_timeout(10 * SECOND);
        let mut end = End::new(role, config);
        end.close(reason(1000, ""));
        assert!(!end.drain().is_empty());
        end.connection.handle_flushed(false, end.now);
        assert_eq!(end.connection.poll_timeout(), Some(end.now + 10 * SECOND));
        assert_eq!(end.wait(9 * SECOND), []);
        end.connection.handle_flushed(true, end.now);
        assert_eq!(end.connection.poll_timeout(), Some(end.now + 3 * SECOND));
        assert_eq!(end.connection.transport_action(), TransportAction::KeepOpen);
    }
}

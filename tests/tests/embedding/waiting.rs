//! Messages that wait: replaced, passed, cancelled, and sent in the end.

use sockless_core::{
    Broadcast, Chunk, CloseCode, Config, Deflate, Message, OutgoingMessage, Priority, Role,
    SendError,
};
use sockless_tests::end::{BOTH, End};
use sockless_tests::wire::CLOSE;

/// The payloads of the messages that are sent, and of a Close frame nothing.
fn sent(end: &mut End) -> Vec<String> {
    let frames = end.sent().into_iter().filter(|frame| frame.first != CLOSE);
    frames.map(|frame| String::from_utf8(frame.payload).unwrap()).collect()
}

fn send(end: &mut End, message: impl Into<OutgoingMessage>) {
    end.connection.send(message, end.now).unwrap();
}

/// A transport that has taken nothing, behind so many bytes that everything waits.
fn full(role: Role, config: Config) -> End {
    let mut end = End::new(role, config);
    send(&mut end, "x".repeat(20_000));
    end
}

fn text(text: &'static str) -> Message {
    Message::from(text)
}

#[test]
fn only_the_latest_of_a_key_is_sent_in_the_place_of_the_first() {
    for role in BOTH {
        let mut end = full(role, Config::default());
        send(&mut end, text("a 1").latest(1));
        send(&mut end, text("b 1").latest(2));
        send(&mut end, "between");
        for number in 2..1000 {
            send(&mut end, Message::from(format!("a {number}")).latest(1));
        }
        assert_eq!(end.connection.waiting_messages(), 3);
        assert_eq!(sent(&mut end)[1..], ["a 999", "b 1", "between"]);
        assert_eq!(end.connection.waiting_messages(), 0);
        // What was sent is replaced no longer.
        send(&mut end, text("a again").latest(1));
        assert_eq!(sent(&mut end), ["a again"]);
    }
}

#[test]
fn the_urgent_pass_the_bulk_and_those_of_one_priority_keep_their_order() {
    let mut end = full(Role::Server, Config::default());
    for (message, priority) in [
        ("bulk 1", Priority::Bulk),
        ("normal 1", Priority::Normal),
        ("urgent 1", Priority::Urgent),
        ("bulk 2", Priority::Bulk),
        ("urgent 2", Priority::Urgent),
    ] {
        send(&mut end, text(message).priority(priority));
    }
    send(&mut end, "normal 2");
    let order = ["urgent 1", "urgent 2", "normal 1", "normal 2", "bulk 1", "bulk 2"];
    assert_eq!(sent(&mut end)[1..], order);
}

#[test]
fn a_replacement_of_another_priority_takes_a_new_place() {
    let mut end = full(Role::Server, Config::default());
    send(&mut end, text("old").latest(1).priority(Priority::Bulk));
    send(&mut end, "between");
    send(&mut end, text("new").priority(Priority::Urgent).latest(1));
    assert_eq!(sent(&mut end)[1..], ["new", "between"]);
}

#[test]
fn what_waits_can_be_cancelled_and_what_has_left_cannot() {
    let mut end = full(Role::Server, Config::default());
    send(&mut end, text("kept").latest(1));
    send(&mut end, text("cancelled").latest(2));
    assert!(end.connection.is_waiting(2));
    assert_eq!(end.connection.cancel(2).unwrap().message(), &text("cancelled"));
    assert!(!end.connection.is_waiting(2) && end.connection.cancel(2).is_none());
    assert_eq!(sent(&mut end)[1..], ["kept"]);
    assert!(end.connection.cancel(1).is_none());
}

#[test]
fn what_waits_counts_for_the_bound_of_the_queue_however_short_it_is() {
    for len in [0, 100] {
        let mut end = full(Role::Server, Config::default().high_water(64 << 10));
        let mut count = 0;
        while end.connection.is_writable() {
            send(&mut end, Message::from(vec![0; len]).priority(Priority::Bulk));
            count += 1;
            assert!(count < 1000, "the queue has no bound");
        }
        assert!(end.connection.held_bytes() > 60 << 10);
        assert_eq!(end.sent().len(), count + 1);
        assert!(end.connection.is_writable() && end.connection.held_bytes() == 0);
    }
}

#[test]
fn a_message_in_chunks_is_not_interrupted() {
    let mut end = End::new(Role::Server, Config::default());
    let chunk = |data, last| Chunk { data: text(data), last };
    end.connection.send_chunk(chunk("one ", false), end.now).unwrap();
    send(&mut end, text("urgent").priority(Priority::Urgent));
    assert_eq!(end.connection.send("plain", end.now), Err(SendError::MessageUnfinished));
    assert_eq!(sent(&mut end), ["one "]);
    assert!(!end.connection.wants_write());
    end.connection.send_chunk(chunk("two", true), end.now).unwrap();
    assert_eq!(sent(&mut end), ["two", "urgent"]);
}

#[test]
fn what_was_sent_before_the_end_is_sent_whichever_side_closes() {
    for role in BOTH {
        for by_peer in [false, true] {
            let mut end = full(role, Config::default());
            send(&mut end, text("bulk").priority(Priority::Bulk));
            send(&mut end, text("latest").latest(1));
            if by_peer {
                end.receive(end.peer.close(1000, ""));
            } else {
                end.close(CloseCode::NORMAL);
            }
            let frames = end.sent();
            let payloads: Vec<_> = frames[1..3].iter().map(|frame| &frame.payload[..]).collect();
            assert_eq!(payloads, [b"latest".as_slice(), b"bulk"]);
            assert_eq!((frames[3].first, frames.len()), (CLOSE, 4));
        }
        let mut end = full(role, Config::default());
        send(&mut end, text("bulk").priority(Priority::Bulk));
        end.connection.outbound().advance(1);
        end.connection.fail(CloseCode::INTERNAL_ERROR, end.now);
        assert_eq!(end.connection.waiting_messages(), 0, "a failure drops it");
    }
}

#[test]
fn a_caller_that_wants_to_know_when_all_is_sent_encodes_it() {
    let mut end = full(Role::Server, Config::default());
    send(&mut end, text("1").latest(1));
    let before = end.connection.outbound().queued();
    end.connection.encode_waiting();
    assert_eq!(end.connection.outbound().queued(), before + 3);
    send(&mut end, text("2").latest(1));
    assert_eq!(sent(&mut end)[1..], ["1", "2"]);
}

#[test]
fn options_combine_and_broadcasts_have_a_place_of_their_own() {
    let config = Config::default().extension(Deflate::default());
    let mut end = End::new(Role::Server, config);
    send(&mut end, vec![0; 1 << 20]);
    send(&mut end, Message::from("z".repeat(100)).uncompressed().latest(1));
    let news = Broadcast::new(text("news"));
    send(&mut end, OutgoingMessage::from(&news).priority(Priority::Urgent));
    let frames = end.sent();
    assert_eq!(frames.len(), 3);
    assert_eq!((frames[2].first, frames[2].payload.len()), (0x81, 100), "it is not compressed");
    assert!(frames[1].payload.len() < 10);
    let placed = text("x").latest(3).priority(Priority::Bulk);
    assert_eq!(placed.key(), Some(3));
    assert_ne!(placed, OutgoingMessage::from("x"));
    assert_eq!(placed.into_message(), text("x"));
}

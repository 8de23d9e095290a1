//! A recording repeats what a connection did, whatever that was.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use proptest::collection::vec;
use proptest::prelude::*;
use sockless_core::record::{Recorder, Recording, ReplayError};
use sockless_core::{
    Chunk, CloseCode, CloseReason, Config, Event, Instant, Message, Negotiated, Output, Priority,
    Seed, TransportAction,
};
use sockless_tests::operations::Operation;

use crate::connections::{ending, operation};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn random_operations_are_replayed_exactly(
        operations in vec((0..2_usize, prop_oneof![9 => operation(), 1 => ending()]), 0..30),
        cut in 1..500_usize,
        calls in calls(),
    ) {
        let mut pair = Pair::new(false);
        pair.calls = calls;
        pair.operate_all(operations, cut);
        for end in pair.ends {
            let recording = saved(&end.recorder);
            let replayed = recording.replay(Negotiated::default(), &[config()]).unwrap();
            prop_assert_eq!(replayed.events(), &end.events[..]);
            // What was never sent follows what was.
            prop_assert!(replayed.sent().starts_with(&end.sent));
        }
    }

    #[test]
    fn redacted_recordings_take_the_same_course(
        operations in vec((0..2_usize, prop_oneof![9 => operation(), 1 => ending()]), 0..30),
        cut in 1..500_usize,
        calls in calls(),
    ) {
        let mut pair = Pair::new(true);
        pair.calls = calls;
        pair.operate_all(operations, cut);
        for end in pair.ends {
            let recording = saved(&end.recorder);
            let replayed = recording.replay(Negotiated::default(), &[config()]).unwrap();
            prop_assert_eq!(replayed.events().len(), end.events.len());
            for (redacted, event) in replayed.events().iter().zip(&end.events) {
                if let (Event::Message(redacted), Event::Message(message)) = (redacted, event) {
                    prop_assert_eq!(redacted.len(), message.len());
                    prop_assert_eq!(redacted.is_text(), message.is_text());
                    let is_redacted = |byte: &u8| matches!(byte, 0 | b'x' | 0x80..);
                    prop_assert!(redacted.as_bytes().iter().all(is_redacted));
                }
            }
        }
    }
}

/// A recording as text, read again.
fn saved(recorder: &Recorder) -> Recording {
    let recording = recorder.recording();
    let read: Recording = recording.to_string().parse().unwrap();
    assert_eq!(read, recording);
    assert!(!read.is_cut());
    read
}

fn config() -> Arc<Config> {
    let config = Config::default().ping_interval(Duration::from_secs(5));
    Arc::new(config.recv_chunk_len(100).max_send_frame_len(70).high_water(300))
}

/// The calls by which a turn is taken.
#[derive(Clone, Copy, Debug)]
enum Calls {
    /// The steps, one by one.
    Steps,
    /// `poll_output`; what it writes is taken at once.
    Outputs,
    /// `poll_output`; what it writes is popped, and reported in the next turn.
    Owned,
}

fn calls() -> impl Strategy<Value = Calls> {
    prop_oneof![Just(Calls::Steps), Just(Calls::Outputs), Just(Calls::Owned)]
}

/// Two recorded ends.
struct Pair {
    ends: [End; 2],
    now: Instant,
    calls: Calls,
}

struct End {
    recorder: Recorder,
    inbound: BytesMut,
    events: Vec<Event>,
    sent: Vec<u8>,
    reading: bool,
    /// The number of bytes that were popped and not reported sent.
    in_flight: usize,
}

impl Pair {
    fn new(redact: bool) -> Self {
        let now = Instant::EPOCH;
        let client = Recorder::client(Negotiated::default(), Seed::new([3; 32]), config(), now);
        let server = Recorder::server(Negotiated::default(), config(), now);
        let ends = [client, server].map(|recorder| End {
            recorder: if redact { recorder.redact() } else { recorder },
            inbound: BytesMut::new(),
            events: Vec::new(),
            sent: Vec::new(),
            reading: true,
            in_flight: 0,
        });
        Self { ends, now, calls: Calls::Steps }
    }

    fn operate_all(&mut self, operations: Vec<(usize, Operation)>, cut: usize) {
        for (side, operation) in operations {
            self.operate(side, operation, cut);
        }
        self.turn(cut);
        self.ends[0].recorder.close(CloseReason::EMPTY, self.now);
        for _ in 0..5 {
            self.turn(cut);
            self.now = self.now + Duration::from_secs(4);
        }
    }

    fn operate(&mut self, side: usize, operation: Operation, cut: usize) {
        let (now, end) = (self.now, &mut self.ends[side]);
        let recorder = &mut end.recorder;
        // Some operations come after the end, and are errors then.
        match operation {
            Operation::SendText(text) => {
                let (key, message) = (text.len() as u64 % 5, Message::from(text));
                let message = match key {
                    4 => message.latest(key),
                    1 => message.priority(Priority::Urgent),
                    2 => message.latest(0).priority(Priority::Bulk),
                    3 => message.uncompressed(),
                    _ => message.into(),
                };
                let _ = recorder.send(message, now);
            }
            Operation::SendBinary(bytes) => drop(recorder.send(bytes, now)),
            Operation::SendChunks(parts) => {
                let last = parts.len() - 1;
                for (index, part) in parts.into_iter().enumerate() {
                    let chunk = Chunk { data: part.into(), last: index == last };
                    let _ = recorder.send_chunk(chunk, now);
                }
            }
            Operation::BeginMessage => {
                let chunk = Chunk { data: "begun".into(), last: false };
                let _ = recorder.send_chunk(chunk, now);
            }
            Operation::Ping(payload) => drop(recorder.ping(payload, now)),
            Operation::Close(code) => {
                let code = CloseCode::new(code).unwrap_or(CloseCode::NORMAL);
                recorder.close((code, "a reason"), now);
            }
            Operation::Abort => recorder.abort(now),
            Operation::BreakTransport => recorder.handle_transport_error("broken", now),
            Operation::SetReading(reading) => {
                end.reading = reading;
                match self.calls {
                    Calls::Steps => recorder.set_reading(reading, now),
                    Calls::Outputs | Calls::Owned => recorder.set_paused(!reading, now),
                }
            }
            Operation::Turn => self.turn(cut),
            Operation::Wait(millis) => {
                self.now = now + Duration::from_millis(millis.into());
                self.turn(cut);
            }
        }
    }

    /// Writes at most `cut` bytes of each end at a time, and delivers and polls what it reads.
    fn turn(&mut self, cut: usize) {
        match self.calls {
            Calls::Steps => self.take_steps(cut),
            Calls::Outputs | Calls::Owned => self.poll_outputs(cut),
        }
    }

    fn poll_outputs(&mut self, cut: usize) {
        let (now, is_owned) = (self.now, matches!(self.calls, Calls::Owned));
        for side in [0, 1] {
            let [client, server] = &mut self.ends;
            let (end, peer) = if side == 0 { (client, server) } else { (server, client) };
            let in_flight = std::mem::take(&mut end.in_flight);
            end.recorder.outbound(now).sent(in_flight);
            loop {
                match end.recorder.poll_output(&mut end.inbound, now) {
                    Output::Event(event) => end.events.push(event),
                    Output::Write(mut outbound) => {
                        let bytes = match is_owned {
                            true => outbound.pop().unwrap_or_default(),
                            false => outbound.copy_to_bytes(cut.min(outbound.remaining())),
                        };
                        end.in_flight += if is_owned { bytes.len() } else { 0 };
                        end.sent.extend_from_slice(&bytes);
                        peer.inbound.extend_from_slice(&bytes);
                    }
                    Output::ShutdownWrite => peer.recorder.handle_eof(now),
                    Output::Wait(_) => break,
                    Output::Close => {
                        peer.recorder.handle_eof(now);
                        break;
                    }
                }
            }
        }
    }

    fn take_steps(&mut self, cut: usize) {
        let now = self.now;
        for side in [0, 1] {
            let [client, server] = &mut self.ends;
            let (end, peer) = if side == 0 { (client, server) } else { (server, client) };
            let mut outbound = end.recorder.outbound(now);
            let len = cut.min(outbound.remaining());
            let bytes = outbound.copy_to_bytes(len);
            end.sent.extend_from_slice(&bytes);
            peer.inbound.extend_from_slice(&bytes);
            end.recorder.handle_blocked(now);
            if end.recorder.transport_action() == TransportAction::Close {
                peer.recorder.handle_eof(now);
            }
            for end in [end, peer] {
                end.recorder.handle_timeout(now);
                while end.reading
                    && let Some(event) = end.recorder.poll_event(&mut end.inbound, now)
                {
                    end.events.push(event);
                }
            }
        }
    }
}

#[test]
fn a_replay_reports_the_first_call_that_differs() {
    let mut pair = Pair::new(false);
    pair.operate_all(vec![(1, Operation::SendText("hello".into())), (1, Operation::Turn)], 500);
    let text = saved(&pair.ends[1].recorder).to_string();
    // Another version of the library had queued one byte more.
    let changed = text.replacen("ok 7 ", "ok 8 ", 1);
    assert_ne!(text, changed);
    let recording: Recording = changed.parse().unwrap();
    let error = recording.replay(Negotiated::default(), &[config()]).unwrap_err();
    let ReplayError::Differs(difference) = &error else { panic!("{error}") };
    assert_eq!(difference.line(), 4);
    assert_eq!(difference.input(), "0 send 1 text x68656c6c6f");
    assert!(difference.recorded().starts_with("ok 8 "));
    assert!(difference.replayed().starts_with("ok 7 "));
}

#[test]
fn other_settings_and_malformed_lines_are_errors() {
    let mut pair = Pair::new(false);
    let changed = Arc::new(Config::default());
    pair.ends[0].recorder.set_config(changed.clone(), pair.now);
    let recording = saved(&pair.ends[0].recorder);
    let replay = |configs: &[Arc<Config>]| recording.replay(Negotiated::default(), configs);
    assert_eq!(replay(&[config(), changed.clone()]).unwrap().calls(), 1);
    assert_eq!(replay(&[changed]).unwrap_err(), ReplayError::OtherSettings { line: 3 });
    assert_eq!(replay(&[config()]).unwrap_err(), ReplayError::OtherSettings { line: 5 });

    assert!("sockless-recording 2\n".parse::<Recording>().is_err());
    let text = recording.to_string();
    for len in (0..text.len()).step_by(7) {
        // Whatever is missing, nothing panics.
        if let Ok(cut) = text[..len].parse::<Recording>() {
            let _ = cut.replay(Negotiated::default(), &[config()]);
        }
    }
}

#[test]
fn a_recording_is_bounded_and_its_beginning_is_replayed() {
    let now = Instant::EPOCH;
    let mut server = Recorder::server(Negotiated::default(), config(), now).max_len(4000);
    for _ in 0..1000 {
        server.send("hello", now).unwrap();
        let mut outbound = server.outbound(now);
        outbound.advance(outbound.remaining());
    }
    let recording = server.into_recording();
    assert!(recording.is_cut());
    assert!(recording.to_string().len() < 4200, "{}", recording.to_string().len());
    let replayed = recording.replay(Negotiated::default(), &[config()]).unwrap();
    assert!(replayed.calls() > 10);
    assert!(replayed.sent().starts_with(b"\x81\x05hello\x81\x05hello"));
}

/// A call of each method that the turns do not need.
#[test]
fn all_methods_are_replayed() {
    let now = Instant::EPOCH;
    let mut server = Recorder::server(Negotiated::default(), config(), now);
    let mut inbound = BytesMut::new();
    server.send(Message::from(vec![7; 20_000]), now).unwrap();
    server.send(Message::from("x = 1").latest(1), now).unwrap();
    server.send(Message::from("x = 2").latest(1), now).unwrap();
    server.send(Message::from("a draft").latest(2).priority(Priority::Urgent), now).unwrap();
    assert_eq!(server.cancel(2, now).unwrap().message(), &Message::from("a draft"));
    assert_eq!(server.cancel(2, now), None);
    assert!(server.is_waiting(1));
    server.encode_waiting(now);
    assert!(!server.is_waiting(1));
    server.set_paused(true, now);
    assert!(matches!(server.poll_output(&mut inbound, now), Output::Write(_)));
    let Output::Wait(wait) = server.poll_output(&mut inbound, now) else { panic!() };
    assert!(!wait.read && wait.write);
    server.set_paused(false, now);
    server.fail((CloseCode::POLICY_VIOLATION, "a reason"), now);
    server.handle_flushed(false, now);
    server.handle_flushed(true, now);

    let recording = saved(&server);
    let replayed = recording.replay(Negotiated::default(), &[config()]).unwrap();
    assert_eq!(replayed.sent(), b"\x88\x0a\x03\xf0a reason");
    for call in ["cancel 2 = ok", "encode", "paused 1", "fail 1008", "flushed 0"] {
        assert!(recording.to_string().contains(call), "{call}");
    }
}

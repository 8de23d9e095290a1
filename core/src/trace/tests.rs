use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use std::sync::Mutex;

use bytes::BytesMut;

use super::*;
use crate::close::CloseCode;
use crate::config::Config;
use crate::connection::{Connection, Negotiated};
use crate::frame::Frame;
use crate::message::{Chunk, Message};
use crate::raw::RawConnection;
use crate::seed::Seed;

const NOW: Instant = Instant::EPOCH;

type Lines = Arc<Mutex<Vec<String>>>;

/// A trace, and the lines that it writes.
fn trace(
    change: impl FnOnce(
        JsonTrace<Box<dyn FnMut(&str) + Send>>,
    ) -> JsonTrace<Box<dyn FnMut(&str) + Send>>,
) -> (Option<Box<dyn Observer>>, Lines) {
    let lines = Lines::default();
    let write = {
        let lines = lines.clone();
        move |line: &str| lines.lock().unwrap().push(line.strip_suffix('\n').unwrap().into())
    };
    let trace = JsonTrace::new(Role::Server, Box::new(write) as Box<dyn FnMut(&str) + Send>);
    (Some(Box::new(change(trace))), lines)
}

fn ends() -> (Connection, Connection) {
    let config = Arc::new(Config::default());
    let client = Connection::client(Negotiated::default(), Seed::new([7; 32]), config.clone(), NOW);
    (client, Connection::server(Negotiated::default(), config, NOW))
}

fn sent(connection: &mut Connection) -> BytesMut {
    let mut outbound = connection.outbound();
    BytesMut::from(&outbound.copy_to_bytes(outbound.remaining())[..])
}

/// The events in `lines`: name and data, without the first line.
fn events(lines: &Lines) -> Vec<String> {
    let lines = lines.lock().unwrap();
    let event = |line: &String| {
        let event = line.split_once("websocket:").expect("an event").1;
        event.strip_suffix("}}").expect("an end").replacen(r#"","data":{"#, " ", 1)
    };
    lines.iter().skip(1).map(event).collect()
}

/// The record of a session of a server with a client that sends these bytes in chunks.
fn recorded(payloads: Payloads, bytes: &[u8], chunk: usize) -> Vec<String> {
    let (observer, lines) = trace(|trace| trace.payloads(payloads));
    let (_, mut server) = ends();
    server.set_observer(observer);
    let mut inbound = BytesMut::new();
    for chunk in bytes.chunks(chunk) {
        inbound.extend_from_slice(chunk);
        while server.poll_event(&mut inbound, NOW).is_some() {}
    }
    server.handle_eof(NOW);
    while server.poll_event(&mut inbound, NOW).is_some() {}
    events(&lines)
}

/// A message, fragments around a ping, binary, and a Close frame.
fn session() -> BytesMut {
    let (mut client, _) = ends();
    client.send("a \"quoted\"\n", NOW).unwrap();
    client.send_chunk(Chunk { data: "fra".into(), last: false }, NOW).unwrap();
    client.ping("?", NOW).unwrap();
    client.send_chunk(Chunk { data: "gment".into(), last: true }, NOW).unwrap();
    client.send(Message::from(alloc::vec![0xFF; 200]), NOW).unwrap();
    client.close((CloseCode::NORMAL, "private"), NOW);
    sent(&mut client)
}

#[test]
fn payloads_and_reasons_are_left_out_by_default() {
    let expected = [
        r#"frame_parsed "opcode":"text","fin":true,"rsv":0,"length":11"#,
        r#"frame_parsed "opcode":"text","fin":false,"rsv":0,"length":3"#,
        r#"frame_parsed "opcode":"ping","fin":true,"rsv":0,"length":1"#,
        r#"frame_created "opcode":"pong","fin":true,"rsv":0,"length":1"#,
        r#"frame_parsed "opcode":"continuation","fin":true,"rsv":0,"length":5"#,
        r#"frame_parsed "opcode":"binary","fin":true,"rsv":0,"length":200"#,
        r#"frame_parsed "opcode":"close","fin":true,"rsv":0,"length":9"#,
        r#"state_updated "new":"closing","by":"peer""#,
        r#"frame_created "opcode":"close","fin":true,"rsv":0,"length":9"#,
        r#"state_updated "new":"closed","by":"peer","cause":"closing_handshake","sent_code":1000,"received_code":1000"#,
    ];
    for chunk in [1, 3, 7, 1000] {
        assert_eq!(recorded(Payloads::Redacted, &session(), chunk), expected, "by {chunk}");
    }
}

#[test]
fn payloads_are_recorded_on_request_up_to_their_limit_in_any_chunks() {
    let hex = "ff".repeat(16);
    let binary = alloc::format!(
        r#"frame_parsed "opcode":"binary","fin":true,"rsv":0,"length":200,"hex":"{hex}","truncated":true"#
    );
    let expected = [
        r#"frame_parsed "opcode":"text","fin":true,"rsv":0,"length":11,"text":"a \"quoted\"\u000a""#,
        r#"frame_parsed "opcode":"text","fin":false,"rsv":0,"length":3,"text":"fra""#,
        r#"frame_parsed "opcode":"ping","fin":true,"rsv":0,"length":1,"text":"?""#,
        r#"frame_created "opcode":"pong","fin":true,"rsv":0,"length":1,"text":"?""#,
        r#"frame_parsed "opcode":"continuation","fin":true,"rsv":0,"length":5,"text":"gment""#,
        &binary,
    ];
    for chunk in [1, 3, 7, 1000] {
        let recorded = recorded(Payloads::UpTo(16), &session(), chunk);
        assert_eq!(recorded[..6], expected, "by {chunk}");
        assert!(recorded[9].contains(r#""sent_reason":"private""#), "{}", recorded[9]);
    }
    // The limit may cut a character, which is left out.
    let (mut client, _) = ends();
    client.send("ab€", NOW).unwrap();
    let cut = recorded(Payloads::UpTo(4), &sent(&mut client), 1000);
    assert!(cut[0].ends_with(r#""length":5,"text":"ab","truncated":true"#), "{}", cut[0]);
}

#[test]
fn a_frame_that_is_cut_off_is_recorded_before_the_end() {
    let bytes = session();
    let recorded = recorded(Payloads::UpTo(100), &bytes[..10], 4);
    assert_eq!(
        recorded,
        [
            r#"state_updated "new":"closing","by":"peer""#,
            r#"frame_parsed "opcode":"text","fin":true,"rsv":0,"length":11,"text":"a \"q","truncated":true"#,
            r#"state_updated "new":"closed","by":"peer","cause":"eof""#,
        ]
        .map(String::from)
    );
}

#[test]
fn a_breach_is_recorded_with_its_rule() {
    let recorded = recorded(Payloads::Redacted, &[0x81, 0x00], 2);
    assert_eq!(recorded.len(), 3);
    assert!(recorded[0].starts_with(r#"frame_created "opcode":"close","fin":true,"rsv":0,"#));
    assert_eq!(recorded[1], r#"state_updated "new":"closing","by":"local""#);
    assert!(recorded[2].contains(r#""cause":"protocol","detail":"the peer broke RFC 6455 5.1"#));
}

#[test]
fn the_trace_has_a_greatest_length_and_lines_are_valid() {
    let (observer, lines) = trace(|trace| trace.group("a\"\u{2028}").max_len(500));
    let (mut client, _) = ends();
    client.set_observer(observer);
    let at = NOW + core::time::Duration::from_nanos(1_250_000_001);
    for _ in 0..100 {
        client.send("x", at).unwrap();
    }
    let lines = lines.lock().unwrap();
    let len: usize = lines[..lines.len() - 1].iter().map(|line| line.len() + 1).sum();
    assert!(len <= 500 && lines.len() < 10);
    let start = r#"{"time":1250.000001,"group":"a\"\u2028","name":"websocket:"#;
    assert!(lines[1].starts_with(start), "{}", lines[1]);
    let last = lines.last().unwrap();
    assert_eq!(last, &alloc::format!(r#"{start}trace_truncated","data":{{}}}}"#));
}

#[test]
fn frames_that_are_put_back_count_once_and_a_copy_is_not_observed() {
    let (observer, lines) = trace(|trace| trace);
    let mut server = RawConnection::server(Arc::new(Config::default()));
    server.set_observer(observer);
    let (mut inbound, bytes) = (session(), session());
    let mut taken: Vec<Frame> = Vec::new();
    while let Some(Ok(frame)) = server.poll_frame(&mut inbound, NOW) {
        taken.push(frame);
    }
    let stats = server.stats();
    assert_eq!((stats.received.frames(), stats.received.bytes), (6, bytes.len() as u64));
    assert_eq!(stats.round_trip, None);
    server.put_back(taken, &mut inbound);
    assert_eq!(server.stats().received, crate::stats::Traffic::default());
    let before = events(&lines).len();
    let mut copy = server.clone();
    while copy.poll_frame(&mut inbound.clone(), NOW).is_some_and(|frame| frame.is_err()) {}
    assert_eq!(events(&lines).len(), before);
}

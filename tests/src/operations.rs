//! Two ends that do random things to each other.

use std::time::Duration;

use sockless_core::{Chunk, CloseCode, CloseReason, Config, Message, SendError};

use crate::pair::{Pair, Weather};

/// The next operation of one end.
#[derive(Clone, Debug)]
pub enum Operation {
    /// It sends a text message.
    SendText(String),
    /// It sends a binary message.
    SendBinary(Vec<u8>),
    /// It sends a binary message in chunks.
    SendChunks(Vec<Vec<u8>>),
    /// It begins a message in chunks and never ends it.
    BeginMessage,
    /// It sends a ping.
    Ping(Vec<u8>),
    /// It closes with this code, if it may travel, and without one if not.
    Close(u16),
    /// It aborts.
    Abort,
    /// Its transport fails.
    BreakTransport,
    /// It reads, or stops reading.
    SetReading(bool),
    /// Both ends do all that can be done now.
    Turn,
    /// So many milliseconds pass.
    Wait(u16),
}

/// On links that do not break, ends that do nothing to end the connection receive all that was sent, in
/// order, and close cleanly.
pub fn assert_all_arrives(
    configs: [Config; 2],
    weather: Weather,
    seed: u64,
    operations: Vec<(usize, Operation)>,
) {
    // Links may be as slow as they are.
    let configs = configs.map(|config| config.message_rate(None).write_timeout(None));
    let mut pair = Pair::new(configs, weather, seed);
    let sent = operate_all(&mut pair, operations);
    pair.ends[0].close(CloseReason::EMPTY);
    pair.run();
    for (side, sent) in sent.iter().enumerate() {
        assert_eq!(&pair.received(1 - side), sent);
        assert!(pair.closed(side).is_clean(), "{:?}", pair.closed(side));
    }
}

/// Whatever happens, both ends receive the beginning of what was sent, in order, and end; unless
/// nothing ends them.
pub fn assert_a_prefix_arrives(
    configs: [Config; 2],
    weather: Weather,
    seed: u64,
    operations: Vec<(usize, Operation)>,
) {
    let mut pair = Pair::new(configs, weather, seed);
    let sent = operate_all(&mut pair, operations);
    for end in &mut pair.ends {
        // Ends that do not read are never done.
        end.connection.set_reading(true, end.now);
    }
    pair.turn();
    pair.ends[0].close(CloseReason::EMPTY);
    pair.run();
    for (side, sent) in sent.iter().enumerate() {
        assert!(sent.starts_with(&pair.received(1 - side)));
        pair.closed(side);
    }
}

/// Does everything; what each end has sent.
fn operate_all(pair: &mut Pair, operations: Vec<(usize, Operation)>) -> [Vec<Message>; 2] {
    let mut sent = [Vec::new(), Vec::new()];
    for (side, operation) in operations {
        operate(pair, side, operation, &mut sent[side]);
    }
    sent
}

fn operate(pair: &mut Pair, side: usize, operation: Operation, sent: &mut Vec<Message>) {
    let now = pair.now;
    let connection = &mut pair.ends[side].connection;
    match operation {
        Operation::SendText(text) => send(pair, side, text.into(), sent),
        Operation::SendBinary(bytes) => send(pair, side, bytes.into(), sent),
        Operation::SendChunks(parts) => {
            let Some(last) = parts.len().checked_sub(1) else {
                return;
            };
            let results: Vec<_> = parts
                .iter()
                .enumerate()
                .map(|(i, part)| {
                    let data = part.clone().into();
                    connection.send_chunk(Chunk { data, last: i == last }, now)
                })
                .collect();
            if results.iter().all(Result::is_ok) {
                sent.push(parts.concat().into());
            }
        }
        Operation::BeginMessage => {
            // Text, so that no other chunk can be taken for a part of it.
            let _ = connection.send_chunk(Chunk { data: "begun".into(), last: false }, now);
        }
        Operation::Ping(mut payload) => {
            payload.truncate(125);
            assert_eq!(connection.ping(payload, now).is_ok(), connection.is_open());
        }
        Operation::Close(code) => {
            let reason = CloseCode::new(code).map_or(CloseReason::EMPTY, CloseReason::from);
            connection.close(reason, now);
        }
        Operation::Abort => connection.abort(now),
        Operation::BreakTransport => connection.handle_transport_error("broken", now),
        Operation::SetReading(reading) => connection.set_reading(reading, now),
        Operation::Turn => pair.turn(),
        Operation::Wait(millis) => pair.advance(Duration::from_millis(millis.into())),
    }
}

fn send(pair: &mut Pair, side: usize, message: Message, sent: &mut Vec<Message>) {
    match pair.ends[side].connection.send(message.clone(), pair.ends[side].now) {
        Ok(()) => sent.push(message),
        Err(SendError::Closing | SendError::MessageUnfinished) => {}
        Err(error) => panic!("{error}"),
    }
}

//! Reads operations out of a fuzz target's bytes, and the properties that the targets check.

use std::time::Duration;

use arbitrary::Arbitrary;
use sockless_core::frames::FrameRules;
use sockless_core::{Config, Role, Rsv};
use sockless_tests::frames::assert_any_chunking_of_frames;
use sockless_tests::heads::assert_any_chunking_of_a_head;
use sockless_tests::laws::{assert_any_chunking, assert_layers_agree};
use sockless_tests::pair::Weather;
use sockless_tests::operations::{Operation, assert_a_prefix_arrives};
use sockless_tests::session::Setup;

mod deflate;

pub use deflate::{deflate, frames};

/// Eight bytes of settings, then what the peer sends; zero is the default of each setting.
///
/// 0: bit 0, our end has closed; bit 1, it is sending a message in chunks. 1: `recv_chunk_len`. 2: `max_message_len`. 3:
/// `max_frame_len`. 4: `max_fragments`. 5: `high_water`. 6 and 7: the lengths of the chunks.
pub fn session(role: Role, data: &[u8]) {
    let Some((&[flags, settings @ ..], bytes)) = data.split_first_chunk::<8>() else {
        return;
    };
    let [recv_chunk_len, message, frame, fragments, water, chunk, other_chunk] = settings;
    let usual = Setup::default();
    let setup = Setup {
        recv_chunk_len: or(recv_chunk_len, usual.recv_chunk_len).max(4),
        max_message_len: or(message, usual.max_message_len),
        max_frame_len: or(frame, usual.max_frame_len),
        max_fragments: or(fragments, usual.max_fragments),
        high_water: or(water, usual.high_water),
        closes: flags & 1 != 0,
        sends_chunk: flags & 2 != 0,
    };
    let chunks = [chunk.max(1).into(), other_chunk.max(1).into()];
    assert_any_chunking(role, &setup, bytes, &chunks);
    assert_layers_agree(role, &setup, bytes);
}

/// Two bytes of settings, then a head: 0: bit 0, it is a response; the rest, its greatest length in steps of 16 bytes, or
/// the default. 1: the length of the chunks.
pub fn head(data: &[u8]) {
    let Some((&[kind, chunk], bytes)) = data.split_first_chunk() else {
        return;
    };
    let role = if kind & 1 == 0 { Role::Server } else { Role::Client };
    let steps = usize::from(kind >> 1);
    let max = if steps == 0 { Config::default().get_max_head_len() } else { steps * 16 };
    assert_any_chunking_of_a_head(role, max, bytes, chunk.into());
}

/// Four bytes of settings, then frames: 0: the rules, a bit for each exception, and the sender. 1: the greatest length of a
/// payload, or no limit. 2 and 3: the lengths of the chunks.
pub fn frame_parts(data: &[u8]) {
    let Some((&[flags, max, chunk, other_chunk], bytes)) = data.split_first_chunk() else {
        return;
    };
    let rules = FrameRules::STRICT
        .accept_reserved(flags & 1 != 0)
        .accept_any_control(flags & 2 != 0)
        .accept_any_length(flags & 4 != 0)
        .accept_rsv(if flags & 8 != 0 { Rsv::RSV1 } else { Rsv::NONE })
        .max_frame_len(or(max, u64::MAX));
    let rules = match flags >> 4 & 3 {
        1 => rules.sender(Role::Client),
        2 => rules.sender(Role::Server),
        _ => rules,
    };
    assert_any_chunking_of_frames(rules, bytes, &[chunk.max(1).into(), other_chunk.max(1).into()]);
}

/// A session of two ends.
#[derive(Arbitrary, Debug)]
pub struct Session {
    seed: u64,
    chunk: u8,
    delay: u16,
    cut: Option<u16>,
    recv_chunk_len: u8,
    max_send_frame_len: u8,
    operations: Vec<(bool, Step)>,
}

/// [`Operation`], which knows nothing of fuzzers.
#[derive(Arbitrary, Debug)]
enum Step {
    Abort,
    BeginMessage,
    BreakTransport,
    Close(u16),
    Ping(Vec<u8>),
    SendBinary(Vec<u8>),
    SendChunks(Vec<Vec<u8>>),
    SendText(String),
    SetReading(bool),
    Turn,
    Wait(u16),
}

/// Whatever two ends do, they receive in order what was sent, and end.
pub fn pair(session: Session) {
    let config = Config::default()
        .recv_chunk_len(or(session.recv_chunk_len, usize::MAX))
        .max_send_frame_len(or(session.max_send_frame_len, usize::MAX))
        .ping_interval(Duration::from_secs(30))
        .idle_timeout(Duration::from_secs(100));
    let weather = Weather {
        chunk: usize::from(session.chunk) + 1,
        delay: Duration::from_millis(session.delay.into()),
        cut: session.cut.map(|cut| u64::from(cut) + 1),
    };
    let operations = session.operations.into_iter();
    let operations = operations.map(|(server, step)| (usize::from(server), step.into())).collect();
    assert_a_prefix_arrives([config.clone(), config], weather, session.seed, operations);
}

impl From<Step> for Operation {
    fn from(step: Step) -> Self {
        match step {
            Step::Abort => Self::Abort,
            Step::BeginMessage => Self::BeginMessage,
            Step::BreakTransport => Self::BreakTransport,
            Step::Close(code) => Self::Close(code),
            Step::Ping(payload) => Self::Ping(payload),
            Step::SendBinary(bytes) => Self::SendBinary(bytes),
            Step::SendChunks(parts) => Self::SendChunks(parts),
            Step::SendText(text) => Self::SendText(text),
            Step::SetReading(reading) => Self::SetReading(reading),
            Step::Turn => Self::Turn,
            Step::Wait(millis) => Self::Wait(millis),
        }
    }
}

fn or<T: From<u8>>(setting: u8, usual: T) -> T {
    if setting == 0 { usual } else { setting.into() }
}

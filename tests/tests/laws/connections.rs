//! Laws over random sessions, from sound to malicious, for both roles.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use sockless_core::frames::FrameRules;
use sockless_core::{Config, Role, Rsv};
use sockless_tests::end::{BOTH, End, peer_of};
use sockless_tests::frames::assert_any_chunking_of_frames;
use sockless_tests::laws::{assert_any_chunking, assert_layers_agree};
use sockless_tests::operations::{Operation, assert_a_prefix_arrives, assert_all_arrives};
use sockless_tests::pair::Weather;
use sockless_tests::session::{self, Part, Setup};
use sockless_tests::wire::{
    BINARY, BINARY_BEGINS, CLOSE, PING, PONG, TEXT, TEXT_BEGINS, close_body,
};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn bytes_cut_anywhere_mean_the_same(
        role in role(),
        setup in setup(),
        parts in vec(part(), 0..8),
        keep in 0.0..1.1_f64,
        chunks in vec(1..40_usize, 1..6),
    ) {
        let bytes = cut(session::bytes(&parts, peer_of(role)), keep);
        assert_any_chunking(role, &setup, &bytes, &chunks);
        assert_any_chunking(role, &setup, &bytes, &[1]);
    }

    #[test]
    fn frames_joined_are_messages(
        role in role(),
        setup in setup(),
        parts in vec(part(), 0..8),
        keep in 0.0..1.1_f64,
    ) {
        let bytes = cut(session::bytes(&parts, peer_of(role)), keep);
        assert_layers_agree(role, &setup, &bytes);
    }

    #[test]
    fn frames_in_chunks_are_those_of_a_connection(
        role in role(),
        rules in rules(),
        parts in vec(part(), 0..8),
        keep in 0.0..1.1_f64,
        chunks in vec(1..40_usize, 1..6),
    ) {
        let bytes = cut(session::bytes(&parts, peer_of(role)), keep);
        assert_any_chunking_of_frames(rules, &bytes, &chunks);
    }

    #[test]
    fn messages_arrive_in_the_order_in_which_they_were_sent(
        seed: u64,
        operations in vec((0..2_usize, operation()), 0..40),
        chunk in 1..5000_usize,
        delay in 0..2000_u64,
        recv_chunk_len in 4..200_usize,
        max_send_frame_len in 1..200_usize,
    ) {
        let config = Config::default().recv_chunk_len(recv_chunk_len).max_send_frame_len(max_send_frame_len);
        let weather = Weather { chunk, delay: Duration::from_millis(delay), cut: None };
        assert_all_arrives([config.clone(), config], weather, seed, operations);
    }

    #[test]
    fn a_cut_loses_the_end_only(
        seed: u64,
        operations in vec((0..2_usize, prop_oneof![9 => operation(), 1 => ending()]), 0..40),
        chunk in 1..500_usize,
        cut in 1..20_000_u64,
    ) {
        let config = Config::default().ping_interval(Duration::from_secs(1));
        let weather = Weather { chunk, delay: Duration::from_millis(50), cut: Some(cut) };
        assert_a_prefix_arrives([config.clone(), config], weather, seed, operations);
    }
}

/// The generators reach what they are for.
#[test]
fn the_generators_reach_every_kind_of_end() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let mut reached = std::collections::BTreeMap::<String, u32>::new();
    for case in 0..6000 {
        let mut draw = |role| {
            let parts = vec(part(), 0..8).new_tree(&mut runner).expect("parts").current();
            let setup = setup().new_tree(&mut runner).expect("setup").current();
            (session::bytes(&parts, peer_of(role)), setup)
        };
        let role = BOTH[case % 2];
        let (bytes, setup) = draw(role);
        let mut end = End::new(role, setup.config());
        let mut events = end.receive(&bytes);
        events.extend(end.eof());
        for event in events {
            let reported = format!("{event:?}");
            let name: Vec<&str> = match &event {
                sockless_core::Event::Closed(closed) => {
                    let cause = format!("{:?}", closed.cause());
                    let cause = cause.split([' ', '{']).next().unwrap_or_default().to_owned();
                    *reached.entry(cause.replace(char::is_numeric, "")).or_default() += 1;
                    continue;
                }
                _ => reported.split('(').take(2).collect(),
            };
            *reached.entry(name[0].to_owned()).or_default() += 1;
        }
    }
    let kinds = [
        "Message",
        "Chunk",
        "Ping",
        "Pong",
        "PeerClosed",
        "Eof",
        "ClosingHandshake",
        "Protocol(CloseTruncated)",
        "Protocol(CloseCodeInvalid())",
        "Protocol(CloseReasonInvalid)",
        "Protocol(ContinuationUnexpected)",
        "Protocol(ControlFragmented)",
        "Protocol(ControlTooLong)",
        "Protocol(FrameTooLong",
        "Protocol(LengthInvalid)",
        "Protocol(LengthNotMinimal)",
        "Protocol(MaskMissing)",
        "Protocol(MaskUnexpected)",
        "Protocol(MessageTooLong",
        "Protocol(MessageUnfinished)",
        "Protocol(OpcodeReserved())",
        "Protocol(ReservedBitSet)",
        "Protocol(TextInvalid)",
        "Protocol(TooManyFragments",
    ];
    for kind in kinds {
        assert!(reached.get(kind).is_some_and(|&count| count >= 5), "{kind}: {reached:#?}");
    }
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Client), Just(Role::Server)]
}

fn rules() -> impl Strategy<Value = FrameRules> {
    let sender = prop_oneof![Just(None), Just(Some(Role::Client)), Just(Some(Role::Server))];
    (any::<[bool; 4]>(), sender, prop_oneof![3 => Just(u64::MAX), 1 => 0..300_u64]).prop_map(
        |([reserved, control, length, rsv], sender, max)| {
            let rules = FrameRules::STRICT
                .accept_rsv(if rsv { Rsv::RSV1 } else { Rsv::NONE })
                .accept_reserved(reserved)
                .accept_any_control(control)
                .accept_any_length(length)
                .max_frame_len(max);
            sender.map_or(rules, |sender| rules.sender(sender))
        },
    )
}

fn setup() -> impl Strategy<Value = Setup> {
    let usual = Setup::default();
    (
        prop_oneof![Just(usual.recv_chunk_len), 4..80_usize],
        prop_oneof![3 => Just(usual.max_message_len), 1 => 0..300_u64],
        prop_oneof![3 => Just(usual.max_frame_len), 1 => 0..200_u64],
        prop_oneof![3 => Just(usual.max_fragments), 1 => 0..5_u32],
        prop_oneof![3 => Just(usual.high_water), 1 => 1..100_usize],
        proptest::bool::weighted(0.2),
        proptest::bool::weighted(0.2),
    )
        .prop_map(
            |(
                recv_chunk_len,
                max_message_len,
                max_frame_len,
                max_fragments,
                high_water,
                closes,
                sends_chunk,
            )| Setup {
                recv_chunk_len,
                max_message_len,
                max_frame_len,
                max_fragments,
                high_water,
                closes,
                sends_chunk,
            },
        )
}

fn part() -> impl Strategy<Value = Part> {
    prop_oneof![
        8 => (fragmented_text(), vec(control(), 0..3)).prop_map(|(fragments, between)| {
            Part::Message { begins: TEXT_BEGINS, fragments, between }
        }),
        5 => (vec(payload(), 1..5), vec(control(), 0..3)).prop_map(|(fragments, between)| {
            Part::Message { begins: BINARY_BEGINS, fragments, between }
        }),
        8 => (prop_oneof![Just(TEXT), Just(BINARY)], text().prop_map(String::into_bytes))
            .prop_map(|(first, payload)| frame(first, payload)),
        5 => control().prop_map(|(first, payload)| frame(first, payload)),
        3 => (any::<u16>(), "[a-zäö€]{0,50}").prop_map(|(code, text)| {
            frame(CLOSE, close_body(code % 5200, &text))
        }),
        1 => Just(frame(CLOSE, Vec::new())),
        1 => vec(any::<u8>(), 0..4).prop_map(|payload| frame(CLOSE, payload)),
        1 => vec(128..=255_u8, 1..9).prop_map(|tail| frame(CLOSE, [&[3, 232][..], &tail].concat())),
        2 => (any::<u8>(), payload(), proptest::bool::weighted(0.3)).prop_map(
            |(first, payload, mask_wrong)| Part::Frame { first, payload, mask_wrong }
        ),
        1 => (0x00..=0x0A_u8, payload()).prop_map(|(first, payload)| frame(first, payload)),
        1 => (prop_oneof![Just(TEXT), Just(0x80_u8)], payload())
            .prop_map(|(first, payload)| frame(first, payload)),
        2 => claim(),
        1 => vec(any::<u8>(), 1..40).prop_map(Part::Garbage),
    ]
}

fn frame(first: u8, payload: Vec<u8>) -> Part {
    Part::Frame { first, payload, mask_wrong: false }
}

fn claim() -> impl Strategy<Value = Part> {
    let len = prop_oneof![
        any::<u64>(),
        0..300_u64,
        Just(0xFFFF),
        Just(0x1_0000),
        Just(u64::from(u32::MAX)),
        Just(u64::MAX >> 1),
        Just(1 << 63),
    ];
    let first = prop_oneof![Just(TEXT), Just(BINARY), Just(PING), any::<u8>()];
    (first, len, prop_oneof![Just(0), Just(2), Just(8)]).prop_map(|(first, len, width)| {
        let len = if width == 0 { len % 126 } else { len };
        Part::Claim { first, len, width }
    })
}

fn control() -> impl Strategy<Value = (u8, Vec<u8>)> {
    (
        prop_oneof![Just(PING), Just(PONG)],
        prop_oneof![3 => vec(any::<u8>(), 0..20), 1 => vec(any::<u8>(), 100..130)],
    )
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => vec(any::<u8>(), 0..30),
        1 => vec(any::<u8>(), 0..300),
        1 => (0..9000_usize).prop_map(|len| vec![b'x'; len]),
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-cäß€𐍈]{0,20}", 1 => "[a-cäß€𐍈]{0,200}", 1 => "\\PC{0,20}"]
}

/// Text in fragments that are cut anywhere, and sometimes have a bad byte in them.
fn fragmented_text() -> impl Strategy<Value = Vec<Vec<u8>>> {
    (
        text(),
        vec(0.0..1.0_f64, 0..4),
        proptest::option::weighted(0.15, any::<(prop::sample::Index, u8)>()),
    )
        .prop_map(|(text, cuts, bad)| {
            let mut bytes = text.into_bytes();
            if let Some((at, byte)) = bad
                && !bytes.is_empty()
            {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let mut cuts: Vec<usize> =
                cuts.iter().map(|part| (part * bytes.len() as f64) as usize).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            cuts.windows(2).map(|ends| bytes[ends[0]..ends[1]].to_vec()).collect()
        })
}

fn cut(mut bytes: Vec<u8>, keep: f64) -> Vec<u8> {
    bytes.truncate((bytes.len() as f64 * keep) as usize);
    bytes
}

pub(crate) fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        2 => text().prop_map(Operation::SendText),
        2 => payload().prop_map(Operation::SendBinary),
        1 => vec(payload(), 1..4).prop_map(Operation::SendChunks),
        1 => vec(any::<u8>(), 0..125).prop_map(Operation::Ping),
        3 => Just(Operation::Turn),
        2 => any::<u16>().prop_map(Operation::Wait),
    ]
}

/// An operation that ends a connection sooner or later.
pub(crate) fn ending() -> impl Strategy<Value = Operation> {
    prop_oneof![
        Just(Operation::Abort),
        Just(Operation::BreakTransport),
        Just(Operation::BeginMessage),
        any::<u16>().prop_map(Operation::Close),
        any::<bool>().prop_map(Operation::SetReading),
    ]
}

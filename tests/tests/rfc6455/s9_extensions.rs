//! Extensions of one's own: one that claims a bit and changes payloads, one that only observes; their
//! order, and messages for many peers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use sockless_core::extension::{
    ChunkInfo, Codec, CodecError, Decoded, Direction, Encoded, Extension, Params,
};
use sockless_core::{
    Broadcast, Cause, Chunk, CloseCode, Config, Deflate, Event, FrameHead, Instant, Message,
    Opcode, Role, Rsv, SendError,
};
use sockless_tests::end::{BOTH, End};
use sockless_tests::pair::{Pair, Weather};
use sockless_tests::wire::{BINARY, CLOSE, TEXT};

/// Adds a number to each byte that it sends, so that the order of two extensions is visible.
#[derive(Debug)]
struct Add {
    rsv: Rsv,
    number: u8,
    encoded: Arc<AtomicUsize>,
}

/// Multiplies instead, by an odd number.
#[derive(Debug)]
struct Multiply;

#[derive(Debug)]
struct Bytewise {
    rsv: Rsv,
    encode: fn(u8, u8) -> u8,
    decode: fn(u8, u8) -> u8,
    number: u8,
    encoded: Arc<AtomicUsize>,
}

impl Add {
    fn new(number: u8) -> Self {
        Self { rsv: Rsv::RSV2, number, encoded: Arc::default() }
    }

    fn codec(&self) -> Box<dyn Codec> {
        Box::new(Bytewise {
            rsv: self.rsv,
            encode: u8::wrapping_add,
            decode: u8::wrapping_sub,
            number: self.number,
            encoded: self.encoded.clone(),
        })
    }
}

impl Extension for Add {
    fn name(&self) -> &'static str {
        "x-add"
    }
    fn rsv(&self) -> Rsv {
        self.rsv
    }
    fn answer(&self, offer: &Params) -> Option<(Params, Box<dyn Codec>)> {
        Some((offer.clone(), self.codec()))
    }
    fn confirm(&self, _answer: &Params) -> Option<Box<dyn Codec>> {
        Some(self.codec())
    }
}

impl Extension for Multiply {
    fn name(&self) -> &'static str {
        "x-multiply"
    }
    fn rsv(&self) -> Rsv {
        Rsv::RSV3
    }
    fn answer(&self, offer: &Params) -> Option<(Params, Box<dyn Codec>)> {
        Some((offer.clone(), self.confirm(offer)?))
    }
    fn confirm(&self, _answer: &Params) -> Option<Box<dyn Codec>> {
        Some(Box::new(Bytewise {
            rsv: Rsv::RSV3,
            // 3 times 171 is 1 modulo 256.
            encode: |byte, _| byte.wrapping_mul(3),
            decode: |byte, _| byte.wrapping_mul(171),
            number: 3,
            encoded: Arc::default(),
        }))
    }
}

impl Codec for Bytewise {
    fn encode(&mut self, _part: ChunkInfo, payload: Bytes) -> Result<Encoded, CodecError> {
        if payload.starts_with(b"refuse") {
            return Err(CodecError::new(CloseCode::NORMAL, "it is refused"));
        }
        self.encoded.fetch_add(1, Ordering::Relaxed);
        let payload = payload.iter().map(|&byte| (self.encode)(byte, self.number)).collect();
        Ok(Encoded { rsv: self.rsv, payload })
    }

    fn decode(&mut self, input: &[u8], _: bool, out: &mut [u8]) -> Result<Decoded, CodecError> {
        // Slowly, so that all that calls it must go on calling.
        let len = input.len().min(out.len()).min(3);
        for (out, &byte) in out.iter_mut().zip(&input[..len]) {
            *out = (self.decode)(byte, self.number);
        }
        Ok(Decoded { read: len, written: len, done: len == input.len() })
    }

    fn fingerprint(&self) -> Option<u64> {
        Some(u64::from(self.number))
    }
}

/// Writes down the headers of all frames.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<(Direction, Opcode, u64)>>>);

impl Extension for Log {
    fn name(&self) -> &'static str {
        "x-log"
    }
    fn answer(&self, offer: &Params) -> Option<(Params, Box<dyn Codec>)> {
        Some((offer.clone(), Box::new(self.clone())))
    }
    fn confirm(&self, _answer: &Params) -> Option<Box<dyn Codec>> {
        Some(Box::new(self.clone()))
    }
}

impl Codec for Log {
    fn observe(&mut self, direction: Direction, head: &FrameHead) {
        self.0.lock().unwrap().push((direction, head.opcode, head.len));
    }
    fn fingerprint(&self) -> Option<u64> {
        Some(0)
    }
}

#[test]
fn payloads_pass_extensions_in_order_when_sent_and_in_reverse_when_received() {
    for role in BOTH {
        let mut end = End::new(role, Config::default().extension(Add::new(1)).extension(Multiply));
        end.connection.send(vec![0, 10], end.now).unwrap();
        let frame = end.sent().remove(0);
        // First plus 1, then times 3; with both bits.
        assert_eq!((frame.first, &frame.payload[..]), (BINARY | 0x30, &[3, 33][..]));
        let wire = end.peer.frame(BINARY | 0x30, [3, 33]);
        assert_eq!(end.receive(wire), [Event::Message(vec![0, 10].into())]);
        // A message passes those whose bits it has.
        let wire = [end.peer.frame(BINARY | 0x20, [1]), end.peer.frame(BINARY | 0x10, [3])];
        let events = [vec![0], vec![1]].map(|bytes| Event::Message(bytes.into()));
        assert_eq!(end.receive(wire.concat()), events);
        assert_eq!(end.receive(end.peer.binary([7])), [Event::Message(vec![7].into())]);
    }
}

#[test]
fn they_work_with_deflate_in_any_order_and_any_chunks() {
    let message = "to be carried over ".repeat(300);
    for recv_chunk_len in [usize::MAX, 1000] {
        for max_send_frame_len in [usize::MAX, 77] {
            let deflate = || Deflate::default().min_len(0);
            for config in [
                Config::default().extension(deflate()).extension(Add::new(9)).extension(Multiply),
                Config::default().extension(Multiply).extension(Add::new(9)).extension(deflate()),
            ] {
                let config =
                    config.recv_chunk_len(recv_chunk_len).max_send_frame_len(max_send_frame_len);
                let weather = Weather { chunk: 50, delay: Duration::ZERO, cut: None };
                let mut pair = Pair::new([config.clone(), config], weather, 7);
                for side in [0, 1] {
                    let connection = &mut pair.ends[side].connection;
                    connection.send(message.clone(), Instant::EPOCH).unwrap();
                    for last in [false, true] {
                        let data = message.clone().into();
                        connection.send_chunk(Chunk { data, last }, Instant::EPOCH).unwrap();
                    }
                }
                pair.run();
                for side in [0, 1] {
                    let expected = [message.clone(), message.repeat(2)];
                    assert_eq!(pair.received(side), expected);
                }
            }
        }
    }
}

/// Gives each byte thrice, and keeps for later what there is no room for.
#[derive(Debug, Default)]
struct Thrice {
    kept: Vec<u8>,
}

impl Extension for Thrice {
    fn name(&self) -> &'static str {
        "x-thrice"
    }
    fn rsv(&self) -> Rsv {
        Rsv::RSV2
    }
    fn answer(&self, offer: &Params) -> Option<(Params, Box<dyn Codec>)> {
        Some((offer.clone(), Box::new(Self::default())))
    }
    fn confirm(&self, _answer: &Params) -> Option<Box<dyn Codec>> {
        Some(Box::new(Self::default()))
    }
}

impl Codec for Thrice {
    fn decode(&mut self, input: &[u8], _: bool, out: &mut [u8]) -> Result<Decoded, CodecError> {
        self.kept.extend(input.iter().flat_map(|&byte| [byte; 3]));
        let len = self.kept.len().min(out.len());
        out[..len].copy_from_slice(&self.kept[..len]);
        self.kept.drain(..len);
        Ok(Decoded { read: input.len(), written: len, done: self.kept.is_empty() })
    }
}

#[test]
fn output_of_one_extension_precedes_the_error_of_another() {
    // RFC 7692 §7.2.3.2, and a block of no type after it.
    let payload =
        [&[0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00][..], &[0, 0, 0xFF, 0xFF, 7]].concat();
    for role in BOTH {
        let config = Config::default().extension(Thrice::default()).extension(Deflate::default());
        let config = config.recv_chunk_len(4);
        let mut end = End::new(role, config.clone());
        let wire = end.peer.frame(BINARY | 0x60, &payload);
        let events = end.receive(&wire);
        let chunks = |events: &[Event]| {
            let chunk = |event: &Event| match event {
                Event::Chunk(Chunk { data: Message::Binary(bytes), .. }) => Some(bytes.clone()),
                _ => None,
            };
            events.iter().map_while(chunk).collect::<Vec<_>>().concat()
        };
        assert_eq!(chunks(&events), b"HHHeeellllll", "{events:?}");
        let mut bytewise = End::new(role, config);
        assert_eq!(
            events,
            wire.chunks(1).flat_map(|one| bytewise.receive(one)).collect::<Vec<_>>()
        );
    }
}

#[test]
fn an_observer_sees_every_frame_and_changes_none() {
    use Direction::{Incoming, Outgoing};
    for role in BOTH {
        let log = Log::default();
        let mut end = End::new(role, Config::default().extension(log.clone()));
        let wire = [end.peer.text("hello"), end.peer.ping("?")].concat();
        end.receive(wire);
        end.connection.send(Broadcast::new("to all"), end.now).unwrap();
        end.close(CloseCode::NORMAL);
        let sent: Vec<u8> = end.sent().iter().map(|frame| frame.first).collect();
        assert_eq!(sent, [0x8A, TEXT, CLOSE]);
        assert_eq!(
            *log.0.lock().unwrap(),
            [
                (Incoming, Opcode::Text, 5),
                (Incoming, Opcode::Ping, 1),
                (Outgoing, Opcode::Pong, 1),
                (Outgoing, Opcode::Text, 6),
                (Outgoing, Opcode::Close, 2),
            ]
        );
    }
}

#[test]
#[should_panic = "both use a reserved bit"]
fn a_bit_has_one_owner() {
    let _ = Config::default().extension(Multiply).extension(Add { rsv: Rsv::RSV3, ..Add::new(1) });
}

#[test]
fn one_of_the_same_name_takes_the_place_of_the_other() {
    let config = Config::default().extension(Add::new(1)).extension(Add::new(2));
    assert_eq!(config.get_extensions().iter().count(), 1);
    assert!(config.no_extensions().get_extensions().is_empty());
}

#[test]
fn one_that_cannot_encode_ends_the_connection_with_1011() {
    for role in BOTH {
        let mut end = End::new(role, Config::default().extension(Add::new(1)));
        let error = CodecError::new(CloseCode::NORMAL, "it is refused");
        let refused = SendError::CodecFailed { name: "x-add", error };
        assert_eq!(end.connection.send("refuse this", end.now), Err(refused));
        let frames = end.sent();
        assert_eq!((frames.len(), frames[0].first), (1, CLOSE));
        assert_eq!(frames[0].payload, 1011_u16.to_be_bytes());
        assert_eq!(end.connection.send("more", end.now), Err(SendError::Closing));
        let events = end.receive(end.peer.close(1011, ""));
        assert!(matches!(events.last(), Some(Event::Closed(closed)) if closed.is_clean()));
    }
}

#[test]
fn a_codec_without_progress_is_not_called_without_end() {
    #[derive(Debug)]
    struct Stuck;
    impl Codec for Stuck {
        fn decode(&mut self, _: &[u8], _: bool, _: &mut [u8]) -> Result<Decoded, CodecError> {
            Ok(Decoded { read: 0, written: 0, done: false })
        }
    }
    impl Extension for Stuck {
        fn name(&self) -> &'static str {
            "x-stuck"
        }
        fn rsv(&self) -> Rsv {
            Rsv::RSV1
        }
        fn answer(&self, offer: &Params) -> Option<(Params, Box<dyn Codec>)> {
            Some((offer.clone(), Box::new(Self)))
        }
        fn confirm(&self, _answer: &Params) -> Option<Box<dyn Codec>> {
            Some(Box::new(Self))
        }
    }
    for role in BOTH {
        let mut end = End::new(role, Config::default().extension(Stuck));
        let events = end.receive(end.peer.frame(BINARY | 0x40, "x"));
        let [Event::Closed(closed)] = &events[..] else { panic!("{events:?}") };
        assert!(matches!(closed.cause(), Cause::Protocol(_)));
    }
}

#[test]
fn a_broadcast_is_encoded_once_and_not_copied() {
    let counted = Add::new(5);
    let encoded = counted.encoded.clone();
    let config = Config::default().extension(counted);
    let news = Broadcast::new(vec![1; 1000]);
    let mut places = Vec::new();
    let mut peers: Vec<_> = (0..20).map(|_| End::new(Role::Server, config.clone())).collect();
    for peer in &mut peers {
        peer.connection.send(&news, peer.now).unwrap();
        places.push(peer.connection.outbound().chunk().as_ptr());
    }
    assert_eq!(encoded.load(Ordering::Relaxed), 1);
    assert!(places.windows(2).all(|pair| pair[0] == pair[1]), "one block for all");
    for peer in &mut peers {
        let frames = peer.sent();
        assert_eq!((frames.len(), frames[0].first), (1, BINARY | 0x20));
        assert_eq!(frames[0].payload, [6; 1000]);
    }
}

#[test]
fn a_broadcast_is_encoded_for_each_way_that_peers_agreed_on() {
    let text = "the same for everybody, ".repeat(50);
    let forgets = Deflate::default();
    let small = Deflate::default().server_max_window_bits(9);
    let remembers = Deflate::default().server_no_context_takeover(false);
    let news = Broadcast::new(text.clone());
    for (role, config) in BOTH.into_iter().flat_map(|role| {
        [
            Config::default(),
            Config::default().extension(forgets.clone()),
            Config::default().extension(small.clone()),
            Config::default().extension(remembers.clone()),
            Config::default().extension(forgets.clone()).max_send_frame_len(10),
            Config::default().extension(Multiply),
        ]
        .map(|config| (role, config))
    }) {
        // Twice, since what is remembered makes a difference.
        let weather = Weather { chunk: 1000, delay: Duration::ZERO, cut: None };
        let mut pair = Pair::new([config.clone(), config], weather, 1);
        let side = usize::from(role == Role::Server);
        for _ in 0..2 {
            pair.ends[side].connection.send(&news, pair.ends[side].now).unwrap();
        }
        pair.ends[side].connection.send(Message::from("after"), pair.ends[side].now).unwrap();
        pair.run();
        let expected = [text.clone().into(), text.clone().into(), Message::from("after")];
        assert_eq!(pair.received(1 - side), expected);
    }
}

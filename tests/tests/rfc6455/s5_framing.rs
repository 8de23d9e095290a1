//! RFC 6455 §5.1, §5.2, §5.3, §5.7: headers and masks.

use sockless_core::{Config, Event, Masking, Message, ProtocolError, Role};
use sockless_tests::end::{BOTH, End};
use sockless_tests::wire::{BINARY, PING, TEXT, Writer, read_all};

#[test]
fn the_examples_of_the_rfc_are_understood() {
    // RFC 6455 §5.7.
    let hello = vec![Event::Message("Hello".into())];
    let mut client = End::new(Role::Client, Config::default());
    assert_eq!(client.receive(b"\x81\x05Hello"), hello);
    assert_eq!(client.receive(b"\x01\x03Hel\x80\x02lo"), hello);
    assert_eq!(client.receive(b"\x89\x05Hello"), [Event::Ping("Hello".into())]);
    let long = [&[0x82, 0x7E, 0x01, 0x00][..], &[7; 256]].concat();
    assert_eq!(client.receive(long), [Event::Message(vec![7; 256].into())]);
    let longer = [&[0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0][..], &[7; 65_536]].concat();
    assert_eq!(client.receive(longer), [Event::Message(vec![7; 65_536].into())]);

    let mut server = End::new(Role::Server, Config::default());
    let masked = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    assert_eq!(server.receive(masked), hello);
    let pong = b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    assert_eq!(server.receive(pong), [Event::Pong("Hello".into())]);
}

#[test]
fn payloads_of_every_length_at_an_edge_arrive_and_leave() {
    for role in BOTH {
        for len in [0, 1, 125, 126, 127, 4095, 4096, 4097, 65_535, 65_536, 70_000] {
            let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let mut end = End::new(role, Config::default());
            let reported = end.receive(end.peer.binary(&payload));
            assert_eq!(reported, [Event::Message(payload.clone().into())]);

            assert_eq!(end.connection.send(payload.clone(), end.now), Ok(()));
            let sent = end.sent();
            assert_eq!((sent.len(), sent[0].first, &sent[0].payload), (1, BINARY, &payload));
            let text = "ä".repeat(len / 2);
            assert_eq!(end.connection.send(text.clone(), end.now), Ok(()));
            let sent = end.sent();
            assert_eq!(
                (sent.len(), sent[0].first, &sent[0].payload[..]),
                (1, TEXT, text.as_bytes())
            );
        }
    }
}

#[test]
fn payloads_are_unmasked_at_every_phase() {
    let payload: Vec<u8> = (0..70).collect();
    for chunk in 1..payload.len() {
        let mut server = End::new(Role::Server, Config::default());
        let mut events = Vec::new();
        for bytes in server.peer.binary(&payload).chunks(chunk) {
            events.extend(server.receive(bytes));
        }
        assert_eq!(events, [Event::Message(payload.clone().into())], "chunks of {chunk}");
    }
}

#[test]
fn each_frame_of_a_client_has_a_key_of_its_own() {
    let mut client = End::new(Role::Client, Config::default());
    for _ in 0..1000 {
        assert_eq!(client.connection.send("same", client.now), Ok(()));
    }
    let mut keys: Vec<_> = client.sent().into_iter().filter_map(|frame| frame.key).collect();
    assert_eq!(keys.len(), 1000);
    keys.sort_unstable();
    keys.dedup();
    assert!(keys.len() > 990, "{} of 1000 keys differ", keys.len());
}

#[test]
fn a_payload_that_is_shared_is_not_masked_in_place() {
    for len in [100, 10_000] {
        let payload = bytes::Bytes::from(vec![7; len]);
        let mut client = End::new(Role::Client, Config::default());
        assert_eq!(client.connection.send(payload.clone(), client.now), Ok(()));
        assert_eq!(payload, vec![7; len]);
        assert_eq!(client.sent()[0].payload, vec![7; len]);
    }
}

#[test]
fn a_frame_without_its_mask_fails() {
    for first in [TEXT, BINARY, PING, 0x88, 0x8A] {
        let mut server = End::new(Role::Server, Config::default());
        let events = server.receive(Writer { masks: false }.frame(first, "payload"));
        assert_eq!(events.len(), 1);
        server.assert_fails_with(1002, ProtocolError::MaskMissing, &events);
    }
}

#[test]
fn a_frame_with_a_mask_that_it_must_not_have_fails() {
    for first in [TEXT, BINARY, PING, 0x88, 0x8A] {
        let mut client = End::new(Role::Client, Config::default());
        let events = client.receive(Writer { masks: true }.frame(first, "payload"));
        assert_eq!(events.len(), 1);
        client.assert_fails_with(1002, ProtocolError::MaskUnexpected, &events);
    }
}

#[test]
fn masks_are_optional_when_a_switch_allows_it() {
    for role in BOTH {
        let mut end = End::new(role, Config::default().accept_any_masking(true));
        for masks in [true, false, true] {
            let peer = Writer { masks };
            assert_eq!(end.receive(peer.text("ä€")), [Event::Message("ä€".into())]);
            let bytes = peer.fragments(0x01, &["ä", "€"]);
            assert_eq!(end.receive(bytes), [Event::Message("ä€".into())]);
            assert_eq!(end.receive(peer.ping("?")), [Event::Ping("?".into())]);
        }
    }
}

#[test]
fn masking_can_be_configured() {
    for role in BOTH {
        for (masking, masks) in
            [(Masking::All, true), (Masking::Clients, role == Role::Client), (Masking::None, false)]
        {
            let mut end = End::new(role, Config::default());
            end.connection.set_config(Config::default().masking(masking).into(), end.now);
            assert_eq!(end.connection.send(vec![7; 5000], end.now), Ok(()));
            assert_eq!(end.connection.ping("?", end.now), Ok(()));
            let sent = read_all(&end.drain());
            assert_eq!(sent.len(), 2);
            assert_eq!(sent[0].payload, vec![7; 5000]);
            assert!(sent.iter().all(|frame| frame.key.is_some() == masks));
        }
    }
}

#[test]
fn reserved_bits_fail() {
    for role in BOTH {
        for bits in 1..8_u8 {
            for first in [TEXT, BINARY, PING, 0x02] {
                let mut end = End::new(role, Config::default());
                let events = end.receive(end.peer.frame(first | bits << 4, "payload"));
                end.assert_fails_with(1002, ProtocolError::ReservedBitSet, &events);
            }
        }
    }
}

#[test]
fn reserved_opcodes_fail_before_their_payload() {
    for role in BOTH {
        for opcode in [3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF] {
            let mut end = End::new(role, Config::default());
            // Two bytes are enough to know.
            let events = end.receive([0x80 | opcode, 0x7F]);
            end.assert_fails_with(1002, ProtocolError::OpcodeReserved(opcode), &events);
        }
    }
}

#[test]
fn lengths_that_are_not_minimal_fail() {
    for role in BOTH {
        for (len, width) in [(0, 2), (125, 2), (0, 8), (125, 8), (126, 8), (0xFFFF, 8)] {
            let mut end = End::new(role, Config::default());
            let events = end.receive(end.peer.header_of_width(BINARY, len, width));
            end.assert_fails_with(1002, ProtocolError::LengthNotMinimal, &events);
        }
    }
}

#[test]
fn lengths_with_the_top_bit_set_fail() {
    for role in BOTH {
        for len in [1 << 63, (1 << 63) + 5, u64::MAX] {
            let mut end = End::new(role, Config::default());
            let events = end.receive(end.peer.header(BINARY, len));
            end.assert_fails_with(1002, ProtocolError::LengthInvalid, &events);
        }
    }
}

#[test]
fn every_pair_of_first_bytes_gets_a_verdict() {
    for role in BOTH {
        for tail in [[0; 40], [0xFF; 40]] {
            for pair in 0..=u16::MAX {
                let mut end = End::new(role, Config::default());
                let mut events = end.receive(pair.to_be_bytes());
                events.extend(end.receive(tail));
                let failed = !end.connection.is_open();
                events.extend(end.eof());
                let ends = events.iter().filter(|event| matches!(event, Event::Closed(_)));
                assert_eq!(ends.count(), 1, "{pair:#06x}");

                let [first, second] = pair.to_be_bytes();
                let reserved = matches!(first & 0x0F, 3..=7 | 11..=15) || first & 0x70 != 0;
                let masked = second & 0x80 != 0;
                if reserved || masked != (role == Role::Server) {
                    assert!(failed, "{pair:#06x} is not for a {role:?}");
                }
            }
        }
    }
}

#[test]
fn a_header_is_waited_for_byte_by_byte() {
    for role in BOTH {
        for len in [5, 200, 70_000] {
            let mut end = End::new(role, Config::default());
            for byte in end.peer.header(BINARY, len) {
                assert_eq!(end.receive([byte]), []);
            }
            assert_eq!(end.connection.bytes_needed(&end.inbound), len);
            end.inbound.extend_from_slice(&[0; 3]);
            assert_eq!(end.connection.bytes_needed(&end.inbound), len - 3);
        }
    }
}

#[test]
fn messages_of_both_kinds_go_both_ways() {
    for role in BOTH {
        let mut end = End::new(role, Config::default());
        let bytes = [end.peer.text("grüß"), end.peer.binary([0, 255]), end.peer.text("")].concat();
        let expected: [Message; 3] = ["grüß".into(), vec![0, 255].into(), "".into()];
        assert_eq!(end.receive(bytes), expected.map(Event::Message));
    }
}

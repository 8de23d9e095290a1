//! Bytes by chance, and bytes that are almost right, into all that strangers feed.

use bytes::{BufMut, BytesMut};

use super::body::{Body, MAX_BODY_LEN};
use super::proxy::{Proxy, ProxyRules};
use super::target::Target;

/// A stream of bytes out of a number (SplitMix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        ((word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB) >> 32) as usize % bound
    }

    /// Chunks of `words`, and now and then a byte of any kind.
    fn bytes(&mut self, words: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..self.below(12) {
            match self.below(5) {
                0 => bytes.push(self.below(256) as u8),
                _ => bytes.extend_from_slice(words[self.below(words.len())]),
            }
        }
        bytes
    }
}

/// Feeds `bytes` whole and one by one, and compares what becomes of them.
fn any_chunking<V: PartialEq + std::fmt::Debug>(
    bytes: &[u8],
    judge: impl Fn(&mut dyn Iterator<Item = &[u8]>) -> V,
) {
    let whole = judge(&mut std::iter::once(bytes));
    assert_eq!(whole, judge(&mut bytes.chunks(1)), "{}", bytes.escape_ascii());
}

#[test]
fn proxies_may_say_anything() {
    let http: [&[u8]; 9] = [
        b"HTTP/1.1 ",
        b"200 OK",
        b"407 X",
        b"100 C",
        b"\r\n",
        b"\r\n\r\n",
        b"A: b",
        b"HTTP/2",
        b"\n",
    ];
    let socks: [&[u8]; 9] =
        [&[5], &[0], &[5, 0], &[5, 2], &[1, 0], &[5, 0, 0, 1], &[0; 6], &[3, 2, 65, 66], &[255]];
    for (url, words) in [
        ("http://p", http),
        ("socks5h://p", socks),
        ("socks5h://u:p@p", socks),
        ("socks5h://p", http),
    ] {
        let proxy = Proxy::new(url).unwrap();
        let target = Target::parse("ws://example.com/").unwrap();
        let mut chance = Chance(1);
        for _ in 0..20_000 {
            let bytes = chance.bytes(&words);
            any_chunking(&bytes, |chunks| {
                let mut tunnel = proxy.tunnel(&target, None).unwrap();
                let mut inbound = BytesMut::new();
                for chunk in chunks {
                    inbound.put_slice(chunk);
                    match tunnel.poll(&mut inbound) {
                        // Whether more came with it is a matter of the cut.
                        Some(Ok(()) | Err(super::ProxyError::Invalid(_))) => return None,
                        Some(Err(error)) => return Some(error),
                        None => {}
                    }
                }
                None
            });
        }
    }
}

#[test]
fn bodies_may_be_anything() {
    let words: [&[u8]; 8] = [
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b"0\r\n",
        b"\r\n",
        b"ffffffffffffffff\r\n",
        b"3;x\r\n",
        b"abc",
        b"T: x\r\n",
    ];
    for header in ["transfer-encoding: chunked", "content-length: 7", "x: y"] {
        let (name, value) = header.split_once(": ").unwrap();
        let response = http::Response::builder().header(name, value).body(()).unwrap();
        let mut chance = Chance(2);
        for _ in 0..20_000 {
            let bytes = chance.bytes(&words);
            any_chunking(&bytes, |chunks| {
                let mut body = Body::of(&response);
                let mut inbound = BytesMut::new();
                for chunk in chunks {
                    inbound.put_slice(chunk);
                    if body.poll(&mut inbound) {
                        break;
                    }
                }
                body.handle_eof();
                let (received, complete) = body.into_parts();
                assert!(received.len() <= MAX_BODY_LEN);
                (received, complete)
            });
        }
    }
}

#[test]
fn urls_and_locations_may_be_anything() {
    let words: [&[u8]; 16] = [
        b"ws://", b"wss:", b"//", b"/", b"..", b".", b"?", b"#", b"@", b":", b"%", b"%41", b"[",
        b"]", b"::1", b"host",
    ];
    let base = Target::parse("wss://u:p@example.com/a/b").unwrap();
    let mut chance = Chance(3);
    for _ in 0..50_000 {
        let text = String::from_utf8_lossy(&chance.bytes(&words)).into_owned();
        for target in [Target::parse(&text), base.join(&text)].into_iter().flatten() {
            assert!(!target.host.is_empty(), "{text}");
            let again =
                Target::parse(&target.uri.to_string()).expect("what was parsed can be parsed");
            assert_eq!(
                (again.host, again.port, again.secure),
                (target.host, target.port, target.secure)
            );
            assert!(again.credentials.is_none(), "{text}");
        }
        if let Ok(proxy) = Proxy::new(&text) {
            let _ = ProxyRules::from(proxy).except(&text).choose(true, &text, 1);
        }
    }
}

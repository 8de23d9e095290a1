//! Random bytes, and bytes that are almost valid, as input of everything that parses a peer's
//! bytes.

use bytes::{BufMut, BytesMut};

use super::body::{Body, MAX_BODY_LEN};
use super::proxy::{Proxy, ProxyRules};
use super::target::Target;

/// Random input, repeatable by its seed.
struct Input(fastrand::Rng);

impl Input {
    fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    /// Returns a sequence of `words`, with an arbitrary byte here and there.
    fn bytes(&mut self, words: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..self.0.usize(..12) {
            match self.0.usize(..5) {
                0 => bytes.push(self.0.u8(..)),
                _ => bytes.extend_from_slice(words[self.0.usize(..words.len())]),
            }
        }
        bytes
    }
}

/// Feeds `bytes` at once and one by one, and compares the results.
fn any_chunking<V: PartialEq + std::fmt::Debug>(
    bytes: &[u8],
    judge: impl Fn(&mut dyn Iterator<Item = &[u8]>) -> V,
) {
    let whole = judge(&mut std::iter::once(bytes));
    assert_eq!(whole, judge(&mut bytes.chunks(1)), "{}", bytes.escape_ascii());
}

#[test]
fn arbitrary_bytes_of_a_proxy_are_handled() {
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
        let mut input = Input::new(1);
        for _ in 0..20_000 {
            let bytes = input.bytes(&words);
            any_chunking(&bytes, |chunks| {
                let mut tunnel = proxy.tunnel(&target, None).unwrap();
                let mut inbound = BytesMut::new();
                for chunk in chunks {
                    inbound.put_slice(chunk);
                    match tunnel.poll(&mut inbound) {
                        // Both depend on the cut: bytes after the confirmation are an error.
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
fn arbitrary_bodies_are_handled() {
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
        let mut input = Input::new(2);
        for _ in 0..20_000 {
            let bytes = input.bytes(&words);
            any_chunking(&bytes, |chunks| {
                let mut body = Body::new(&response);
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
fn arbitrary_urls_and_locations_are_handled() {
    let words: [&[u8]; 16] = [
        b"ws://", b"wss:", b"//", b"/", b"..", b".", b"?", b"#", b"@", b":", b"%", b"%41", b"[",
        b"]", b"::1", b"host",
    ];
    let base = Target::parse("wss://u:p@example.com/a/b").unwrap();
    let mut input = Input::new(3);
    for _ in 0..50_000 {
        let text = String::from_utf8_lossy(&input.bytes(&words)).into_owned();
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

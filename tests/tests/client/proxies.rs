//! Through proxies, and what those may do instead of opening the way.

use std::collections::BTreeMap;

use sockless_core::Instant;
use sockless_driver::{ConnectError, ConnectStep, Proxy, ProxyError, ProxyRules};
use sockless_sim::{Lookup, Sim, SimIo};

use crate::support::{DEADLINE, answer, assert_echoes, script, serve_echo};

fn proxy(url: &str) -> Proxy {
    Proxy::new(url).unwrap()
}

/// Carries bytes between the two, each way until it ends.
fn splice(sim: &Sim, one: SimIo, other: SimIo) {
    let (one, other) = (std::sync::Arc::new(one), std::sync::Arc::new(other));
    for (from, to) in [(one.clone(), other.clone()), (other, one)] {
        sim.spawn(async move {
            while let Ok(bytes) = from.read_some().await {
                if bytes.is_empty() || to.write_all(&bytes).await.is_err() {
                    break;
                }
            }
            let _ = to.shutdown().await;
        });
    }
}

/// An HTTP proxy at `proxy:3128` that wants `ada` and `secret`.
pub(crate) fn serve_http_proxy(sim: &Sim) {
    let (sim, mut listener) = (sim.clone(), sim.listen("proxy:3128"));
    sim.clone().spawn(async move {
        loop {
            let client = listener.accept().await;
            let head = client.read_until(b"\r\n\r\n").await.unwrap();
            let head = std::str::from_utf8(&head).unwrap();
            if !head.contains("\r\nProxy-Authorization: Basic YWRhOnNlY3JldA==\r\n") {
                client.write_all(b"HTTP/1.1 407 Who are you?\r\n\r\n").await.unwrap();
                continue;
            }
            let authority = head.strip_prefix("CONNECT ").unwrap().split(' ').next().unwrap();
            let server = sim.dial(authority).await.unwrap();
            client.write_all(b"HTTP/1.1 200 Established\r\nVia: x\r\n\r\n").await.unwrap();
            splice(&sim, client, server);
        }
    });
}

/// A SOCKS proxy at `socks:1080` that connects to the names and addresses in `known` only.
fn serve_socks_proxy(sim: &Sim, known: &'static [(&'static [u8], &'static str)]) {
    let (sim, mut listener) = (sim.clone(), sim.listen("socks:1080"));
    sim.clone().spawn(async move {
        loop {
            let client = listener.accept().await;
            let methods = client.read_exact(2).await.unwrap()[1];
            client.read_exact(methods.into()).await.unwrap();
            client.write_all(&[5, 0]).await.unwrap();
            let kind = client.read_exact(4).await.unwrap()[3];
            let len = match kind {
                1 => 4,
                3 => client.read_exact(1).await.unwrap()[0].into(),
                _ => 16,
            };
            let address = client.read_exact(len).await.unwrap();
            client.read_exact(2).await.unwrap();
            match known.iter().find(|(known, _)| *known == address) {
                Some((_, name)) => {
                    let server = sim.dial(name).await.unwrap();
                    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
                    splice(&sim, client, server);
                }
                None => client.write_all(&[5, 4, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap(),
            }
        }
    });
}

#[test]
fn an_http_proxy_opens_the_way_to_who_may_pass() {
    Sim::check(0..10, |sim| async move {
        serve_http_proxy(&sim);
        serve_echo(&sim, "server:8080");
        // The result of looking it up does not matter: the proxy resolves it.
        sim.set_lookup("server", Lookup::Hangs);
        let connecting = sim.connect("ws://server:8080/");
        let connecting = connecting.proxy(proxy("http://ada:secret@proxy:3128"));
        let connected = connecting.open().await.unwrap();
        assert_eq!(connected.destination().proxy(), Some("http://proxy:3128"));
        assert_echoes(&mut connected.spawn()).await;

        for (user, due) in [
            ("", ProxyError::AuthenticationRequired),
            ("ada:wrong@", ProxyError::CredentialsRejected),
        ] {
            let through = proxy(&format!("http://{user}proxy:3128"));
            let error = sim.connect("ws://server:8080/").proxy(through).await.unwrap_err();
            let ConnectError::Proxy { error: reported, .. } = &error else { panic!("{error}") };
            assert_eq!(*reported, due);
            let text = error.to_string();
            assert!(
                text.starts_with("cannot reach server:8080 through http://proxy:3128 ("),
                "{text}"
            );
            assert!(!format!("{error:?}{text}").contains("wrong"), "{error:?}");
        }
    });
}

#[test]
fn a_socks_proxy_gets_the_name_or_an_address() {
    Sim::check(0..10, |sim| async move {
        serve_socks_proxy(&sim, &[(b"server", "server:81"), (&[192, 0, 2, 9], "server:81")]);
        serve_echo(&sim, "server:81");
        let dead = "2001:db8::1".parse().unwrap();
        sim.set_lookup("server", Lookup::Addrs(vec![dead, "192.0.2.9".parse().unwrap()]));
        for scheme in ["socks5", "socks5h"] {
            let through = proxy(&format!("{scheme}://socks"));
            assert_echoes(&mut sim.connect("ws://server:81/").proxy(through).await.unwrap()).await;
        }
        sim.set_lookup("server", Lookup::Addrs(vec![dead]));
        let connecting = sim.connect("ws://server:81/").proxy(proxy("socks5://socks"));
        let error = connecting.await.unwrap_err();
        let reported =
            matches!(error, ConnectError::Proxy { error: ProxyError::SocksRejected(4), .. });
        assert!(reported && error.is_transient(), "{error}");
        // An address needs no lookup.
        let connecting = sim.connect("ws://192.0.2.9:81/").proxy(proxy("socks5h://socks"));
        assert_echoes(&mut connecting.await.unwrap()).await;
    });
}

#[test]
fn each_bad_answer_of_a_proxy_is_named() {
    let cases: [(&str, &[u8], &str); 9] = [
        ("http", b"HTTP/1.1 403 Forbidden\r\n\r\n", "answered CONNECT with 403"),
        (
            "http",
            b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 101",
            "more than the confirmation of the tunnel",
        ),
        ("http", b"HTTP/1.1 2", "ended the transport"),
        ("http", b"SSH-2.0\r\n\r\n", "it is not HTTP/1.1"),
        ("http", &[b'H'; 3], "it is not HTTP/1.1"),
        ("http", b"", "ended the transport"),
        ("http", b"HTTP/1.1 200 OK\r\nbad\r\n\r\n", "malformed"),
        ("http", b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "folded values are obsolete"),
        ("http", b"HTTP/1.1 200 OK\r\n\tc\r\n\r\n", "folded values are obsolete"),
    ];
    for (scheme, bytes, reported) in cases {
        Sim::check(0..3, |sim| async move {
            answer(&sim, "proxy", bytes, true);
            let through = proxy(&format!("{scheme}://proxy"));
            let error = sim.connect("ws://server/").proxy(through).await.unwrap_err();
            let is_proxys = matches!(error, ConnectError::Proxy { .. });
            assert!(is_proxys && error.to_string().contains(reported), "{bytes:?}: {error}");
            assert_eq!(sim.now(), Instant::EPOCH);
        });
    }
    let socks: [(&[u8], &str); 4] = [
        (&[5, 0xFF], "requires authentication, but its URL has no credentials"),
        (&[5, 0, 5, 2], "2, not allowed by its rules"),
        (b"HTTP/1.1 400", "it is not SOCKS 5"),
        (&[5, 0], "ended the transport"),
    ];
    for (bytes, reported) in socks {
        Sim::check(0..3, |sim| async move {
            script(&sim, "proxy", move |io| async move {
                io.read_exact(3).await.unwrap();
                io.write_all(bytes).await.unwrap();
                io.shutdown().await.unwrap();
                io
            });
            let through = proxy("socks5h://proxy:80");
            let error = sim.connect("ws://server/").proxy(through).await.unwrap_err();
            let is_proxys = matches!(error, ConnectError::Proxy { .. });
            assert!(is_proxys && error.to_string().contains(reported), "{bytes:?}: {error}");
        });
    }
}

#[test]
fn a_silent_or_missing_proxy_is_distinguished_from_the_server() {
    Sim::check(0..3, |sim| async move {
        serve_echo(&sim, "server");
        let lost = sim.connect("ws://server/").proxy(proxy("http://nobody")).await.unwrap_err();
        assert!(matches!(&lost, ConnectError::Resolve { name, .. } if name == "nobody"), "{lost}");
        script(&sim, "proxy", async |io| io);
        let closed = sim.connect("ws://server/").proxy(proxy("http://proxy:81")).await.unwrap_err();
        assert!(matches!(closed, ConnectError::Dial { .. }), "{closed}");
        for scheme in ["http", "socks5h"] {
            let begun = sim.now();
            let through = proxy(&format!("{scheme}://proxy:80"));
            let silent = sim.connect("ws://server/").proxy(through).await.unwrap_err();
            let reported = matches!(silent, ConnectError::Timeout { step: ConnectStep::Proxy, .. });
            assert!(
                reported && silent.to_string().contains("proxy for a tunnel to server:80"),
                "{silent}"
            );
            assert_eq!(sim.now(), begun + DEADLINE.since_epoch());
        }
    });
}

#[test]
fn rules_choose_by_server() {
    Sim::check(0..3, |sim| async move {
        serve_echo(&sim, "direct.internal");
        answer(&sim, "proxy", "HTTP/1.1 403 Forbidden\r\n\r\n", true);
        let vars = [("HTTP_PROXY", "http://proxy"), ("NO_PROXY", ".internal")];
        let vars = BTreeMap::from(vars.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let rules = ProxyRules::from_vars(&vars);
        let connecting = sim.connect("ws://direct.internal/").proxy(rules.clone());
        assert_echoes(&mut connecting.await.unwrap()).await;
        let error = sim.connect("ws://elsewhere/").proxy(rules).await.unwrap_err();
        assert!(matches!(error, ConnectError::Proxy { .. }), "{error}");
    });
}

#[test]
fn a_variable_without_a_proxy_concerns_only_its_servers() {
    Sim::check(0..3, |sim| async move {
        serve_echo(&sim, "server");
        let vars = [("https_proxy", "ftp://user:secret@proxy")];
        let vars = BTreeMap::from(vars.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let rules = ProxyRules::from_vars(&vars);
        let connecting = sim.connect("ws://server/").proxy(rules.clone());
        assert_echoes(&mut connecting.await.unwrap()).await;
        let error = sim.connect("wss://server/").proxy(rules).await.unwrap_err();
        assert!(matches!(error, ConnectError::ProxyUrlInvalid(_)), "{error}");
        assert!(error.to_string().contains("https_proxy"), "{error}");
    });
}

/// A proxy's explanation is for people: it may be the only hint at the setting to change.
#[test]
fn a_proxys_refusal_comes_with_its_headers_and_its_body() {
    let cases = [
        ("403 Forbidden", "Content-Length: 16\r\n\r\nblocked\x1b[2J\u{9b}no more", true, 0),
        ("502 Bad Gateway", "\r\nuntil the end", true, 0),
        ("407 Who are you?", "Transfer-Encoding: chunked\r\n\r\n3\r\nwho\r\n0\r\n\r\n", false, 0),
        ("403 Forbidden", "\r\nno end", false, 1),
        ("403 Forbidden", "Content-Length: 99\r\n\r\ncut", false, 1),
    ];
    for (status, rest, ends, seconds) in cases {
        Sim::check(0..3, |sim| async move {
            let text = format!("HTTP/1.1 {status}\r\nProxy-Authenticate: Digest\r\n{rest}");
            answer(&sim, "proxy", text, ends);
            let error = sim.connect("ws://server/").proxy(proxy("http://proxy"));
            let error = error.await.unwrap_err();
            let ConnectError::Proxy { response: Some(response), .. } = &error else {
                panic!("{error}");
            };
            assert!(status.starts_with(response.status().as_str()), "{error}");
            assert_eq!(response.headers()["proxy-authenticate"], "Digest");
            let body = rest.split_once("\r\n\r\n").map_or(rest, |(_, body)| body).trim_start();
            let body = if body.contains("who") { "who" } else { body };
            let body = &body.as_bytes()[..body.len().min(16)];
            assert_eq!(&response.body()[..], body);
            let shown = error.to_string();
            let words: String = body.iter().map(|&b| char::from(b)).take(5).collect();
            assert!(shown.contains(&words) && !shown.contains(char::is_control), "{shown:?}");
            assert_eq!(sim.now(), Instant::EPOCH + seconds * crate::support::SECOND);
        });
    }
}

/// A page as long as proxies make them is not all of a line for the log.
#[test]
fn the_beginning_of_a_proxys_page_is_shown() {
    Sim::check(0..3, |sim| async move {
        let text = format!("HTTP/1.1 403 Forbidden\r\n\r\n{}", "page ".repeat(20_000));
        answer(&sim, "proxy", text, true);
        let error = sim.connect("ws://server/").proxy(proxy("http://proxy")).await.unwrap_err();
        let ConnectError::Proxy { response: Some(response), .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(response.body().len(), 64 << 10);
        let shown = error.to_string();
        assert!(shown.len() < 500 && shown.contains(": \"page page "), "{shown}");
    });
}

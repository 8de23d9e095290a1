//! Redirects: which are followed, with what, and which are not.

use std::sync::{Arc, Mutex};

use http::{HeaderValue, StatusCode};
use sockless_driver::{ConnectError, RedirectError};
use sockless_sim::Sim;

use crate::support::{answer, assert_echoes, error, script, serve_echo};

fn redirect(status: u16, location: &str) -> String {
    format!("HTTP/1.1 {status} Elsewhere\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n")
}

fn sensitive(value: &'static str) -> HeaderValue {
    let mut value = HeaderValue::from_static(value);
    value.set_sensitive(true);
    value
}

#[test]
fn by_default_a_redirect_is_an_answer_as_any_other() {
    Sim::check(0..3, |sim| async move {
        answer(&sim, "server", redirect(302, "ws://other/"), false);
        let error = error(&sim, "ws://server/").await;
        let ConnectError::Rejected { response, .. } = error else { panic!("{error}") };
        assert_eq!(response.status(), StatusCode::FOUND);
        assert_eq!(response.headers()["location"], "ws://other/");
    });
}

#[test]
fn each_kind_of_redirect_is_followed_wherever_it_leads() {
    for status in [301, 302, 303, 307, 308] {
        Sim::check(0..3, |sim| async move {
            serve_echo(&sim, "server:81");
            for (index, location) in
                ["ws://server:81/echo", "http://server:81/echo#f", "//server:81/echo"]
                    .iter()
                    .enumerate()
            {
                let name = format!("from{index}");
                answer(&sim, &name, redirect(status, location), false);
                let connecting = sim.connect(&format!("ws://{name}/")).redirects(1);
                let connected = connecting.open().await.unwrap();
                assert_eq!(
                    (connected.destination().host(), connected.destination().port()),
                    ("server", 81)
                );
                let mut session = connected.spawn();
                assert_eq!(session.request().uri().path(), "/echo");
                assert_echoes(&mut session).await;
            }
        });
    }
}

#[test]
fn a_redirect_leads_to_a_host_beyond_ascii() {
    Sim::check(0..3, |sim| async move {
        serve_echo(&sim, "xn--bcher-kva");
        answer(&sim, "server", redirect(302, "ws://B\u{fc}cher/"), false);
        let connected = sim.connect("ws://server/").redirects(1).open().await.unwrap();
        assert_eq!(connected.destination().host(), "xn--bcher-kva");
        assert_echoes(&mut connected.spawn()).await;
    });
}

/// Connects with credentials and secrets, over a relative redirect, then to another origin.
#[test]
fn secrets_stay_with_their_origin() {
    Sim::check(0..3, |sim| async move {
        let heads = Arc::new(Mutex::new(Vec::new()));
        for (name, location) in [("one", "/b?c"), ("two", "../x"), ("three", "")] {
            let (heads, host) = (Arc::clone(&heads), name);
            script(&sim, name, move |io| {
                let heads = Arc::clone(&heads);
                async move {
                    let head = io.read_until(b"\r\n\r\n").await.unwrap();
                    let head = String::from_utf8(head.to_vec()).unwrap();
                    let first = !head.contains("GET /b");
                    let location = match host {
                        "one" if !first => "http://eve:x@two/a/b",
                        "two" if first => location,
                        "two" => "ws://three/",
                        _ => location,
                    };
                    heads.lock().unwrap().push(head);
                    let refusal = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n".to_owned();
                    let text = if host == "three" { refusal } else { redirect(307, location) };
                    io.write_all(text.as_bytes()).await.unwrap();
                    io
                }
            });
        }
        // one/a → one/b?c (the same origin) → two/a/b → two/x → ...
        let connecting = sim
            .connect("ws://ada:pw@one/a")
            .header("Cookie", "k=v")
            .header("X-Token", sensitive("token"))
            .header("X-Both", sensitive("token"))
            .header("X-Both", "open")
            .header("X-Kept", "yes")
            .header("Authorization-Like", "kept")
            .redirects(3);
        let error = connecting.await.unwrap_err();
        assert!(
            matches!(error, ConnectError::Redirect { .. } | ConnectError::Rejected { .. }),
            "{error}"
        );
        let heads = heads.lock().unwrap();
        assert!(heads.len() >= 3, "{heads:?}");
        for (index, head) in heads.iter().enumerate() {
            let own = head.contains("Host: one\r\n");
            assert_eq!(own, index < 2, "{head}");
            assert_eq!(head.contains("Authorization: Basic YWRhOnB3\r\n"), own, "{head}");
            assert_eq!(head.contains("Cookie: k=v\r\n"), own, "{head}");
            assert_eq!(head.matches("token").count(), if own { 2 } else { 0 }, "{head}");
            assert!(head.contains("X-Both: open\r\n"), "{head}");
            let kept = head.find("X-Kept: yes\r\nAuthorization-Like: kept\r\n");
            assert!(kept.is_some(), "{head}");
            assert!(!head.contains("ZXZl"), "credentials of a Location are not used: {head}");
        }
        assert!(heads[1].starts_with("GET /b?c "), "{}", heads[1]);
    });
}

#[test]
fn loops_and_long_ways_end_with_their_error() {
    Sim::check(0..3, |sim| async move {
        answer(&sim, "self", redirect(302, "/"), false);
        answer(&sim, "one", redirect(302, "ws://two/?token=secret"), false);
        answer(&sim, "two", redirect(302, "ws://one/"), false);
        for host in ["self", "one"] {
            let error = sim.connect(&format!("ws://{host}/")).redirects(9).await.unwrap_err();
            let reported =
                matches!(error, ConnectError::Redirect { error: RedirectError::Loop { .. }, .. });
            assert!(reported && !error.is_transient(), "{error}");
        }
        let error = sim.connect("ws://two/").redirects(1).await.unwrap_err();
        let ConnectError::Redirect { destination, error: reason } = &error else {
            panic!("{error}")
        };
        let to = "ws://two:80/".to_owned();
        assert_eq!((destination.host(), reason), ("one", &RedirectError::TooMany { max: 1, to }));
        assert!(!error.to_string().contains("secret"), "{error}");
    });
}

/// However many redirects the program allows.
#[test]
fn there_is_a_limit_to_all_redirects() {
    Sim::check(0..3, |sim| async move {
        for index in 0..30 {
            let next = redirect(302, &format!("ws://server{}/", index + 1));
            answer(&sim, &format!("server{index}"), next, false);
        }
        for (allowed, due) in [(u32::MAX, 20), (21, 20), (20, 20), (19, 19)] {
            let error = sim.connect("ws://server0/").redirects(allowed).await.unwrap_err();
            let ConnectError::Redirect { destination, error: reason } = &error else {
                panic!("{error}")
            };
            let to = format!("ws://server{}:80/", due + 1);
            assert_eq!(reason, &RedirectError::TooMany { max: due, to });
            assert_eq!(destination.host(), format!("server{due}"));
        }
    });
}

/// A terminal obeys ESC, and CSI as one character, which http takes for text.
#[test]
fn a_location_is_shown_without_control_characters() {
    Sim::check(0..3, |sim| async move {
        answer(&sim, "server", redirect(302, "ws://other/\u{9b}31m\u{85}"), false);
        answer(&sim, "other", redirect(302, "/\u{9b}2J\u{202e}"), false);
        for redirects in [1, 2] {
            let error = sim.connect("ws://server/").redirects(redirects).await.unwrap_err();
            for shown in [error.to_string(), format!("{error:?}")] {
                let clean = !shown.contains(|c: char| c.is_control() || c == '\u{202e}');
                // A URL that was resolved is percent-encoded, any other text is escaped.
                let is_shown = shown.contains(r"\u{9b}") || shown.contains("%C2%9B");
                assert!(clean && is_shown, "{shown:?}");
            }
        }
    });
}

#[test]
fn what_is_no_way_to_a_websocket_is_not_followed() {
    Sim::check(0..3, |sim| async move {
        for (index, location) in
            ["ftp://other/", "ws://", "/a b", "mailto:x", "ws://\u{378}/"].iter().enumerate()
        {
            let name = format!("server{index}");
            answer(&sim, &name, redirect(301, location), false);
            let error = sim.connect(&format!("ws://{name}/")).redirects(5).await.unwrap_err();
            let reported = matches!(
                error,
                ConnectError::Redirect { error: RedirectError::LocationInvalid(_), .. }
            );
            assert!(reported, "{location}: {error}");
        }
        for (name, text) in [
            ("none", "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n".to_owned()),
            ("choices", redirect(300, "/x")),
            ("same", redirect(304, "/x")),
        ] {
            answer(&sim, name, text, false);
            let error = sim.connect(&format!("ws://{name}/")).redirects(5).await.unwrap_err();
            assert!(matches!(error, ConnectError::Rejected { .. }), "{error}");
        }
    });
}

/// All redirects share the deadline.
#[test]
fn a_redirect_to_a_silent_server_ends_at_the_deadline() {
    Sim::check(0..3, |sim| async move {
        answer(&sim, "server", redirect(302, "ws://silent/"), false);
        script(&sim, "silent", async |io| io);
        let error = sim.connect("ws://server/").redirects(1).await.unwrap_err();
        let ConnectError::Timeout { destination, .. } = &error else { panic!("{error}") };
        assert_eq!((destination.host(), sim.now()), ("silent", crate::support::DEADLINE));
    });
}

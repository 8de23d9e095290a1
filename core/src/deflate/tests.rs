use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::*;

/// The answer of a server with these settings to one offer, if it accepts the offer.
fn answer(server: &Deflate, offer: &str) -> Option<String> {
    let offers = Params::parse_list([format!("{NAME}{offer}").as_bytes()]).expect("an offer");
    Some(server.answer(&offers[0])?.0.to_string()[NAME.len()..].to_string())
}

/// A server without requirements of its own.
fn open() -> Deflate {
    Deflate::default().server_no_context_takeover(false).client_no_context_takeover(false)
}

#[test]
fn a_server_combines_the_offer_with_its_own_settings() {
    let default = Deflate::default();
    let small = open().server_max_window_bits(10).client_max_window_bits(9);
    for (server, offer, expected) in [
        (&open(), "", ""),
        (&open(), "; client_max_window_bits", ""),
        (&open(), "; client_max_window_bits=15", "; client_max_window_bits=15"),
        (&open(), "; client_max_window_bits=10", "; client_max_window_bits=10"),
        (&open(), "; server_max_window_bits=\"8\"", "; server_max_window_bits=8"),
        (&open(), "; server_max_window_bits=15", "; server_max_window_bits=15"),
        (&open(), "; server_no_context_takeover", "; server_no_context_takeover"),
        (&open(), "; client_no_context_takeover", "; client_no_context_takeover"),
        (&default, "", "; server_no_context_takeover; client_no_context_takeover"),
        (&small, "", "; server_max_window_bits=10"),
        (&small, "; server_max_window_bits=9", "; server_max_window_bits=9"),
        (&small, "; server_max_window_bits=12", "; server_max_window_bits=10"),
        (
            &small,
            "; client_max_window_bits",
            "; server_max_window_bits=10; client_max_window_bits=9",
        ),
        (
            &small,
            "; client_max_window_bits=8",
            "; server_max_window_bits=10; client_max_window_bits=8",
        ),
    ] {
        assert_eq!(answer(server, offer).as_deref(), Some(expected), "{offer:?}");
    }
}

#[test]
fn a_server_for_any_client_forgets_and_lets_the_client_remember() {
    let parsed = "permessage-deflate; server_no_context_takeover".parse().expect("settings");
    for server in [Deflate::for_any_client(), parsed] {
        for offer in ["", "; client_max_window_bits", "; server_no_context_takeover"] {
            assert_eq!(answer(&server, offer), Some("; server_no_context_takeover".to_string()));
        }
        // A client that offers to forget is held to it (RFC 7692 §7.1.1.2).
        let forgetful = "; server_no_context_takeover; client_no_context_takeover";
        assert_eq!(answer(&server, "; client_no_context_takeover"), Some(forgetful.to_string()));
    }
}

#[test]
fn an_invalid_offer_is_declined() {
    for offer in [
        "; unknown",
        "; server_no_context_takeover=1",
        "; client_no_context_takeover=true",
        "; server_max_window_bits",
        "; server_max_window_bits=7",
        "; server_max_window_bits=16",
        "; server_max_window_bits=08",
        "; server_max_window_bits=+9",
        "; server_max_window_bits=x",
        "; client_max_window_bits=7",
        "; client_max_window_bits=99999999999999999999",
        "; server_no_context_takeover; server_no_context_takeover",
        "; client_max_window_bits; client_max_window_bits=9",
        "; server_max_window_bits=9; server_max_window_bits=9",
    ] {
        assert_eq!(answer(&open(), offer), None, "{offer:?}");
    }
}

/// True if a client with these settings accepts an answer.
fn accepts(client: &Deflate, answer: &str) -> bool {
    let answers = Params::parse_list([format!("{NAME}{answer}").as_bytes()]).expect("an answer");
    client.confirm(&answers[0]).is_some()
}

#[test]
fn a_client_accepts_exactly_the_answers_that_fit_its_offer() {
    let asking = open().server_max_window_bits(10).client_max_window_bits(10);
    let default = Deflate::default();
    for (client, answer, expected) in [
        (&open(), "", true),
        (&open(), "; server_no_context_takeover; client_no_context_takeover", true),
        // A server may limit its own window without being asked (RFC 7692 §7.1.2.1).
        (&open(), "; server_max_window_bits=8", true),
        (&open(), "; client_max_window_bits=8", true),
        (&open(), "; client_max_window_bits", false),
        (&open(), "; server_max_window_bits", false),
        (&open(), "; unknown", false),
        (&open(), "; server_max_window_bits=7", false),
        (&asking, "", false),
        (&asking, "; server_max_window_bits=11", false),
        (&asking, "; server_max_window_bits=10", true),
        (&asking, "; server_max_window_bits=9; client_max_window_bits=10", true),
        (&asking, "; server_max_window_bits=9; client_max_window_bits=11", false),
        (&default, "", true),
        (&default, "; server_no_context_takeover", true),
    ] {
        assert_eq!(accepts(client, answer), expected, "{answer:?}");
    }
}

#[test]
fn a_server_cannot_request_what_was_not_offered() {
    let plain = open().edit_offers(|offers| *offers = vec![Params::new(NAME)]);
    assert!(accepts(&plain, ""));
    assert!(!accepts(&plain, "; client_max_window_bits=12"));
}

#[test]
fn offers_follow_the_settings_and_edits_run_in_order() {
    let shown =
        |deflate: Deflate| deflate.offers().iter().map(Params::to_string).collect::<Vec<_>>();
    assert_eq!(
        shown(Deflate::default()),
        [
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
          client_max_window_bits",
            "permessage-deflate; client_no_context_takeover; client_max_window_bits"
        ]
    );
    let small = open().server_max_window_bits(9).client_max_window_bits(12);
    assert_eq!(
        shown(small.clone()),
        ["permessage-deflate; server_max_window_bits=9; client_max_window_bits=12"]
    );
    let edited = small
        .edit_offers(|offers| offers.push(Params::new(NAME)))
        .edit_offers(|offers| offers.push(Params::new(NAME).flag(format!("x{}", offers.len()))));
    assert_eq!(shown(edited)[1..], ["permessage-deflate", "permessage-deflate; x2"]);
}

#[test]
fn a_client_accepts_each_answer_to_its_own_offer() {
    for server in [Deflate::default(), open(), open().server_max_window_bits(9)] {
        for client in [Deflate::default(), open(), open().client_max_window_bits(8)] {
            let offers = client.offers();
            let (answer, _) = server.answer(&offers[0]).expect("an answer");
            assert!(client.confirm(&answer).is_some(), "{answer}");
        }
    }
}

#[test]
fn settings_are_parsed_from_an_element_of_the_header() {
    for text in [
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
         server_max_window_bits=9; client_max_window_bits=12",
        "permessage-deflate; client_max_window_bits",
    ] {
        let deflate: Deflate = text.parse().expect("settings");
        assert_eq!(deflate.offers()[0].to_string(), text);
    }
    for text in ["", "deflate", "permessage-deflate; x", "permessage-deflate, permessage-deflate"] {
        assert!(text.parse::<Deflate>().is_err(), "{text:?}");
    }
}

//! RFC 7692 §5, §7.1: negotiation in real handshakes, from a route's settings to its handler.

use sockless_core::extension::Params;
use sockless_core::{Config, Deflate};
use sockless_driver::Session;
use sockless_routing::{Router, websocket};
use sockless_sim::{Conversation, Sim};
use sockless_tests::handlers::echo;

use crate::support::taking_over;

#[test]
fn each_route_negotiates_by_its_own_settings() {
    Sim::check(0..5, |sim| async move {
        let with = |deflate: Deflate| move |config: Config| config.extension(deflate.clone());
        let router = Router::new()
            .websockets(offering(everything()))
            .route("/", websocket(echo))
            .route("/none", websocket(echo).configure(Config::no_extensions))
            .route(
                "/window",
                websocket(echo).configure(with(everything().server_max_window_bits(9))),
            )
            .route(
                "/server",
                websocket(echo).configure(with(everything().server_no_context_takeover(true))),
            )
            .route(
                "/client",
                websocket(echo).configure(with(everything().client_no_context_takeover(true))),
            );
        let app = sim.app(router);
        for (path, expected) in [
            ("/", "permessage-deflate"),
            ("/none", ""),
            ("/window", "permessage-deflate; server_max_window_bits=9"),
            ("/server", "permessage-deflate; server_no_context_takeover"),
            ("/client", "permessage-deflate; client_no_context_takeover"),
        ] {
            let mut client = app.open(path).config(offering(everything())).await;
            assert_eq!(agreed(&client), expected, "{path}");
            three_times(&mut client).await;
        }
    });
}

#[test]
fn an_offer_that_cannot_be_met_is_declined_and_the_session_opens_without_it() {
    Sim::check(0..3, |sim| async move {
        let router = Router::new().websockets(offering(everything())).route("/", websocket(echo));
        let app = sim.app(router);
        for bad in ["server_max_window_bits=99", "server_no_context_takeover=1", "x-unknown"] {
            let edited = everything().edit_offers(move |offers| {
                let name = Params::new("permessage-deflate");
                *offers = match bad.split_once('=') {
                    Some((param, value)) => vec![name.with(param, value)],
                    None => vec![name.flag(bad)],
                };
            });
            let mut client = app.open("/").config(offering(edited)).await;
            assert_eq!(agreed(&client), "", "{bad}");
            three_times(&mut client).await;
        }
    });
}

#[test]
fn the_second_offer_is_taken_where_the_first_is_unknown() {
    Sim::check(0..5, |sim| async move {
        let edited = everything()
            .edit_offers(|offers| offers.clear())
            .edit_offers(|offers| offers.push(Params::new("permessage-deflate").flag("x-first")))
            .edit_offers(|offers| offers.push(Params::new("permessage-deflate")));
        let router = Router::new().websockets(offering(everything())).route("/", websocket(echo));
        let mut client = sim.app(router).open("/").config(offering(edited)).await;
        assert_eq!(agreed(&client), "permessage-deflate");
        three_times(&mut client).await;
    });
}

#[test]
fn a_handler_sees_the_agreed_extensions_in_its_request() {
    Sim::check(0..5, |sim| async move {
        let agreed = "permessage-deflate; server_no_context_takeover";
        for (client, expected) in
            [(Config::default(), None), (offering(everything()), Some(agreed))]
        {
            let handler = move |session: Session| async move {
                let first = session.request().extensions().first();
                assert_eq!(first.map(ToString::to_string).as_deref(), expected);
                assert!(first.is_none_or(|first| first.name() == "permessage-deflate"));
            };
            let server = offering(everything().server_no_context_takeover(true));
            let router = Router::new().websockets(server).route("/", websocket(handler));
            sim.app(router).open("/").config(client).await.expect_closed(1000).await;
        }
    });
}

/// Compresses everything, and keeps the context on both sides.
fn everything() -> Deflate {
    taking_over((true, true)).min_len(0)
}

fn offering(deflate: Deflate) -> Config {
    Config::default().extension(deflate)
}

/// The extensions in the 101.
fn agreed(conversation: &Conversation) -> &str {
    let header = conversation.response().headers().get("sec-websocket-extensions");
    header.map_or("", |header| header.to_str().unwrap())
}

async fn three_times(client: &mut Conversation) {
    for _ in 0..3 {
        client.send("the same thing ".repeat(20)).await;
        client.expect("the same thing ".repeat(20)).await;
    }
}

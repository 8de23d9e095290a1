//! `WebSocketDeflateTest` and `WebSocketExtensionHeaderTest`: extensions from a route's settings to a
//! handler, over real handshakes. What the wire says in detail is in `tests/deflate` and `extensions.rs`.

use sockless_core::extension::Params;
use sockless_core::{Config, Deflate, Frame, Message, Opcode, Rsv};
use sockless_driver::{RawSession, Session};
use sockless_routing::{Router, websocket, websocket_raw};
use sockless_sim::{App, Conversation, Sim};

use crate::support::{SECOND, at_root, echo, expect_close};

/// Settings that take everything over and compress everything.
fn takeover() -> Deflate {
    Deflate::default()
        .min_len(0)
        .server_no_context_takeover(false)
        .client_no_context_takeover(false)
}

fn with(deflate: Deflate) -> Config {
    Config::default().extension(deflate)
}

/// An echo for those who offer what it has.
fn app(sim: &Sim, server: Deflate) -> App {
    sim.app(Router::new().websockets(with(server)).route("/", websocket(echo)))
}

async fn open(app: &App, client: Deflate) -> Conversation {
    app.open("/").config(with(client)).await
}

/// What the 101 says.
fn agreed(conversation: &Conversation) -> &str {
    let header = conversation.response().headers().get("sec-websocket-extensions");
    header.map_or("", |header| header.to_str().unwrap())
}

#[test]
fn deflate_inflate_empty() {
    Sim::check(0..5, |sim| async move {
        let mut echo = open(&app(&sim, takeover()), takeover()).await;
        echo.send("").await;
        echo.expect("").await;
    });
}

#[test]
fn deflate_inflate_for_random_data() {
    Sim::check(0..3, |sim| async move {
        let mut chance = fastrand::Rng::with_seed(7);
        let mut echo = open(&app(&sim, takeover()), takeover()).await;
        for size in 0..1000 {
            let bytes: Vec<u8> = std::iter::repeat_with(|| chance.u8(..4)).take(size).collect();
            echo.send(bytes.clone()).await;
            echo.expect(bytes).await;
        }
    });
}

#[test]
fn client_accepts_server_no_context_takeover() {
    Sim::check(0..5, |sim| async move {
        let app = app(&sim, takeover().server_no_context_takeover(true));
        let mut echo = open(&app, takeover()).await;
        assert_eq!(agreed(&echo), "permessage-deflate; server_no_context_takeover");
        three_times(&mut echo).await;
    });
}

#[test]
fn client_accepts_client_no_context_takeover() {
    Sim::check(0..5, |sim| async move {
        let app = app(&sim, takeover().client_no_context_takeover(true));
        let mut echo = open(&app, takeover()).await;
        assert_eq!(agreed(&echo), "permessage-deflate; client_no_context_takeover");
        three_times(&mut echo).await;
    });
}

async fn three_times(echo: &mut Conversation) {
    for _ in 0..3 {
        echo.send("the same thing ".repeat(20)).await;
        echo.expect("the same thing ".repeat(20)).await;
    }
}

#[test]
fn manual_config() {
    Sim::check(0..5, |sim| async move {
        let edited = takeover()
            .edit_offers(|offers| offers.clear())
            .edit_offers(|offers| offers.push(Params::new("permessage-deflate").flag("x-first")))
            .edit_offers(|offers| offers.push(Params::new("permessage-deflate")));
        // The server does not know the first, and takes the second.
        let mut echo = open(&app(&sim, takeover()), edited).await;
        assert_eq!(agreed(&echo), "permessage-deflate");
        three_times(&mut echo).await;
    });
}

#[test]
fn max_inflate_size() {
    Sim::check(0..3, |sim| async move {
        let config = with(takeover()).max_message_len(1 << 20);
        let router = Router::new().websockets(config).route("/", websocket(echo));
        let mut bomber = open(&sim.app(router), takeover()).await;
        bomber.send(vec![0; 32 << 20]).await;
        let closed = bomber.expect_closed(1009).await;
        let text = closed.received().unwrap().text().to_string();
        assert!(text.contains("max_message_len = 1048576"), "{text}");
    });
}

#[test]
fn without_an_offer_there_are_no_extensions() {
    Sim::check(0..5, |sim| async move {
        let handler = async |session: Session| assert!(session.request().extensions().is_empty());
        let config = with(takeover());
        let app = sim.app(Router::new().websockets(config).route("/", websocket(handler)));
        let mut conversation = app.open("/").await;
        assert_eq!(agreed(&conversation), "");
        conversation.expect_closed(1000).await;
    });
}

#[test]
fn extensions_are_on_the_call_of_both_ends() {
    Sim::check(0..5, |sim| async move {
        let handler = async |session: Session| {
            let expected = "permessage-deflate; server_no_context_takeover";
            assert_eq!(session.request().extensions()[0].to_string(), expected);
            assert_eq!(session.request().extensions()[0].name(), "permessage-deflate");
        };
        let server = with(takeover().server_no_context_takeover(true));
        let app = sim.app(Router::new().websockets(server).route("/", websocket(handler)));
        open(&app, takeover()).await.expect_closed(1000).await;
    });
}

#[test]
fn a_route_may_have_its_own_or_none() {
    Sim::check(0..5, |sim| async move {
        let smaller = |config: Config| config.extension(takeover().server_max_window_bits(9));
        let router = Router::new()
            .websockets(with(takeover()))
            .route("/", websocket(echo))
            .route("/none", websocket(echo).configure(Config::no_extensions))
            .route("/smaller", websocket(echo).configure(smaller));
        let app = sim.app(router);
        for (path, expected) in [
            ("/", "permessage-deflate"),
            ("/none", ""),
            ("/smaller", "permessage-deflate; server_max_window_bits=9"),
        ] {
            let mut echo = app.open(path).config(with(takeover())).await;
            assert_eq!(agreed(&echo), expected, "{path}");
            three_times(&mut echo).await;
        }
    });
}

#[test]
fn bad_offers_are_declined() {
    Sim::check(0..3, |sim| async move {
        let app = app(&sim, takeover());
        for bad in ["server_max_window_bits=99", "server_no_context_takeover=1", "x-unknown"] {
            let edited = takeover().edit_offers(move |offers| {
                let name = Params::new("permessage-deflate");
                *offers = match bad.split_once('=') {
                    Some((param, value)) => vec![name.with(param, value)],
                    None => vec![name.flag(bad)],
                };
            });
            let mut echo = open(&app, edited).await;
            assert_eq!(agreed(&echo), "", "{bad}");
            three_times(&mut echo).await;
        }
    });
}

#[test]
fn raw_sessions_agree_to_nothing_unless_they_are_asked_to() {
    Sim::check(0..5, |sim| async move {
        let handler = async |mut session: RawSession| {
            let frame = session.recv().await.unwrap();
            assert_eq!((frame.rsv, frame.opcode), (Rsv::RSV1, Opcode::Text));
            // It is handed on as it came.
            session.send(frame).await.unwrap();
        };
        let router = Router::new()
            .websockets(with(takeover()))
            .route("/", websocket_raw(handler))
            .route("/asked", websocket_raw(handler).negotiate_extensions());
        let app = sim.app(router);
        assert_eq!(agreed(&app.open("/").config(with(takeover())).await), "");
        let mut asked = app.open("/asked").config(with(takeover())).await;
        assert_eq!(agreed(&asked), "permessage-deflate");
        asked.send("hello ".repeat(50)).await;
        asked.expect("hello ".repeat(50)).await;
    });
}

#[test]
fn a_raw_session_that_becomes_one_of_messages_works_its_extensions() {
    Sim::check(0..10, |sim| async move {
        let handler = async |session: RawSession| {
            let mut session = session.into_session();
            let message: Message = session.recv().await.unwrap();
            session.send(message).await.unwrap();
        };
        let router = Router::new()
            .websockets(with(takeover()))
            .route("/", websocket_raw(handler).negotiate_extensions());
        let mut client = open(&sim.app(router), takeover()).await;
        client.send("hello ".repeat(50)).await;
        client.expect("hello ".repeat(50)).await;
        client.expect_closed(1000).await;
    });
}

#[test]
fn a_bit_that_nobody_owns_fails() {
    Sim::check(0..5, |sim| async move {
        let mut client = sim.app(at_root(websocket(echo))).open("/").raw().await;
        let frame = Frame { rsv: Rsv::RSV1, ..Frame::new(Opcode::Text, "x".into()) };
        client.send(frame).await;
        expect_close(&mut client, 1002).await;
    });
}

#[test]
fn parse_extensions() {
    let parsed = Params::parse_list([&b"superspeed, colormode; depth=16"[..]]).unwrap();
    assert_eq!(parsed.iter().map(Params::name).collect::<Vec<_>>(), ["superspeed", "colormode"]);
    assert_eq!(parsed[1].iter().collect::<Vec<_>>(), [("depth", Some("16"))]);
}

/// Not Ktor's: a handler's own clock.
#[test]
fn a_handler_keeps_time_on_the_clock_of_its_runtime() {
    Sim::check(0..10, |sim| async move {
        let handler = async |session: Session| {
            let began = session.now();
            for second in 1..=3_u32 {
                session.sleep(SECOND).await;
                let elapsed = session.now().saturating_since(began);
                session.send(format!("{second}: {}", elapsed >= SECOND * second)).await.unwrap();
            }
        };
        let mut client = sim.app(at_root(websocket(handler))).open("/").await;
        for second in 1..=3 {
            client.expect(format!("{second}: true")).await;
        }
    });
}

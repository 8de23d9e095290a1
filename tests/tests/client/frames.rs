//! Clients that receive and send frames, and proxies made of them.

use std::sync::Arc;

use smol::channel::unbounded;
use sockless_core::extension::Params;
use sockless_core::handshake::{UpgradeRequest, extension_answers};
use sockless_core::{
    Cause, CloseCode, Config, Deflate, Frame, Message, Opcode, ProtocolError, Rsv,
};
use sockless_driver::{Answer, BoxFuture, RawSession, Request, Service, Upgrade, pipe_raw};
use sockless_routing::{websocket, websocket_raw};
use sockless_sim::Sim;
use sockless_tests::handlers::{at_root, echo, observed_raw};

use crate::support::SECOND;

fn text(text: &'static str) -> Frame {
    Frame::new(Opcode::Text, text.into())
}

/// A server of frames that sends each one back.
async fn reflect(mut session: RawSession) {
    while let Ok(frame) = session.recv().await {
        session.send(frame).await.unwrap();
    }
}

#[test]
fn a_client_of_frames_answers_nothing_automatically() {
    Sim::check(0..20, |sim| async move {
        sim.spawn(sim.serve("server", at_root(websocket_raw(reflect))));
        let mut client = sim.connect("ws://server/").open().await.unwrap().raw();
        let frames = [
            Frame::new(Opcode::Ping, "are you there?".into()),
            Frame { fin: false, ..text("in ") },
            Frame::new(Opcode::Pong, "between".into()),
            Frame::new(Opcode::Continuation, "two".into()),
            Frame::new(Opcode::Close, b"\x0F\xA1bye".to_vec().into()),
        ];
        for frame in &frames {
            client.send(frame.clone()).await.unwrap();
            assert_eq!(client.recv().await.unwrap(), *frame);
        }
        assert!(sim.timeout(SECOND, client.recv()).await.is_none(), "nothing more is sent");
    });
}

#[test]
fn the_result_of_a_block_of_frames_is_returned_after_its_frames_were_sent() {
    Sim::check(0..20, |sim| async move {
        let (route, ends) = observed_raw(async |mut session: RawSession| {
            let frame = session.recv().await.unwrap();
            assert_eq!(frame, text("the last one"));
            session.recv().await.unwrap_err()
        });
        sim.spawn(sim.serve("server", at_root(route)));
        let connection = sim.connect("ws://server/").open().await.unwrap();
        let returned = connection.run_raw(async |session: RawSession| {
            session.send(text("the last one")).await.unwrap();
            7
        });
        assert_eq!(returned.await, 7);
        assert_eq!(ends.recv().await.unwrap().cause(), &Cause::Eof, "there was no Close frame");
    });
}

#[test]
fn a_client_of_frames_becomes_one_of_messages_with_its_extensions() {
    Sim::check(0..20, |sim| async move {
        let config = Config::default().extension(Deflate::default());
        let echo = websocket(echo).config(config.clone());
        sim.spawn(sim.serve("server", at_root(echo)));
        let connection = sim.connect("ws://server/").config(config).open().await.unwrap();
        let mut client = connection.raw();
        let extensions: Vec<_> = client.request().extensions().iter().map(Params::name).collect();
        assert_eq!(extensions, ["permessage-deflate"]);
        client.send(Frame::new(Opcode::Text, "plain ".repeat(100).into())).await.unwrap();
        let encoded = client.recv().await.unwrap();
        assert_eq!((encoded.opcode, encoded.rsv), (Opcode::Text, Rsv::RSV1));

        let mut client = client.into_session();
        let long = "again ".repeat(100);
        client.send(long.clone()).await.unwrap();
        assert_eq!(client.recv().await.unwrap(), long);
    });
}

/// Passes everything on to `ws://behind`, the negotiation of extensions included.
struct Proxy(Sim);

impl Service for Proxy {
    fn call(&self, request: Request) -> BoxFuture<'_, Answer> {
        Box::pin(async move {
            let mut upgrade = UpgradeRequest::from_request(request.as_http()).unwrap();
            let offers = upgrade.extensions().to_vec();
            let server = self.0.connect("ws://behind/").pass_extensions(offers);
            let server = server.open().await.unwrap();
            upgrade.pass_extensions(extension_answers(server.response()).unwrap());
            let server = server.raw();
            let pipe = async |client: RawSession| {
                pipe_raw(client, server).await;
            };
            Answer::Upgrade(Upgrade::raw(request, upgrade, self.config(), pipe))
        })
    }

    fn config(&self) -> Arc<Config> {
        Arc::default()
    }
}

#[test]
fn a_proxy_passes_compression_that_it_does_not_have() {
    Sim::check(0..20, |sim| async move {
        let remembering = Deflate::default().server_no_context_takeover(false);
        let config = Config::default().extension(remembering);
        sim.spawn(sim.serve("behind", at_root(websocket(echo).config(config))));
        sim.spawn(sim.serve("proxy", Proxy(sim.clone())));
        let config = Config::default().extension(Deflate::default());
        let mut client = sim.connect("ws://proxy/").config(config).await.unwrap();
        client.start_counting();
        let agreed: Vec<_> = client.request().extensions().iter().map(Params::name).collect();
        assert_eq!(agreed, ["permessage-deflate"]);
        for message in [Message::from("tide ".repeat(5_000)), Message::from(vec![7; 70_000])] {
            client.send(message.clone()).await.unwrap();
            assert_eq!(client.recv().await.unwrap(), message);
        }
        let stats = client.stats();
        assert!(stats.received.bytes < 5_000, "they were compressed: {stats:?}");
        client.close(CloseCode::NORMAL);
        assert!(client.closed().await.is_clean());
    });
}

#[test]
fn a_proxy_passes_extensions_that_it_does_not_know() {
    Sim::check(0..20, |sim| async move {
        let (asked, offers) = unbounded();
        let behind = AcceptsAnything(asked);
        sim.spawn(sim.serve("behind", behind));
        sim.spawn(sim.serve("proxy", Proxy(sim.clone())));
        let offer = Params::new("x-new").with("level", "9");
        let connect = sim.connect("ws://proxy/").pass_extensions(vec![offer.clone()]);
        let connection = connect.open().await.unwrap();
        assert_eq!(connection.response().headers()["sec-websocket-extensions"], "x-new; level=9");
        assert_eq!(offers.recv().await.unwrap(), [offer]);
        let mut client = connection.raw();
        for rsv in [Rsv::RSV1, Rsv::RSV2, Rsv::RSV3] {
            let frame = Frame { rsv, ..text("encoded") };
            client.send(frame.clone()).await.unwrap();
            assert_eq!(client.recv().await.unwrap(), frame);
        }
    });
}

#[test]
fn a_session_of_messages_ends_at_a_message_of_an_extension_that_was_passed_on() {
    Sim::check(0..20, |sim| async move {
        sim.spawn(sim.serve("behind", AcceptsAnything(unbounded().0)));
        let connect = sim.connect("ws://behind/").pass_extensions(vec![Params::new("x-new")]);
        let mut client = connect.await.unwrap();
        client.send("plain").await.unwrap();
        assert_eq!(client.recv().await.unwrap(), "plain");
        client.send("encode").await.unwrap();
        let closed = client.recv().await.unwrap_err();
        assert!(
            matches!(closed.cause(), Cause::Protocol(ProtocolError::ReservedBitSet)),
            "{closed}"
        );
    });
}

/// Answers every offer with itself, and sends frames back; the text `encode` with a reserved bit.
struct AcceptsAnything(smol::channel::Sender<Vec<Params>>);

impl Service for AcceptsAnything {
    fn call(&self, request: Request) -> BoxFuture<'_, Answer> {
        let mut upgrade = UpgradeRequest::from_request(request.as_http()).unwrap();
        let offers = upgrade.extensions().to_vec();
        let _ = self.0.try_send(offers.clone());
        upgrade.pass_extensions(offers);
        let handler = async |mut session: RawSession| {
            while let Ok(mut frame) = session.recv().await {
                if frame.payload == "encode" {
                    frame.rsv = Rsv::RSV1;
                }
                session.send(frame).await.unwrap();
            }
        };
        let answer = Answer::Upgrade(Upgrade::raw(request, upgrade, self.config(), handler));
        Box::pin(async { answer })
    }

    fn config(&self) -> Arc<Config> {
        Arc::default()
    }
}

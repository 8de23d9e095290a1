//! Sessions that pass everything on to each other, as a proxy has them.

use smol::channel::{Receiver, Sender, unbounded};
use sockless_core::{CloseCode, Closed, Config, Frame, Message, Opcode};
use sockless_driver::{RawSession, Session, pipe, pipe_raw};
use sockless_routing::{Router, websocket, websocket_raw};
use sockless_sim::{App, Sim};

use sockless_tests::handlers::echo;
use sockless_tests::opened::SECOND;

type Ends = (Closed, Closed);

/// An application in front of the server `behind`, and the ends of its pipes.
fn proxy(sim: &Sim, behind: Router, config: Config) -> (App, Receiver<Ends>) {
    sim.spawn(sim.serve("behind", behind));
    let (ended, ends) = unbounded();
    let dialler = sim.clone();
    let handler = move |client: Session| {
        let (dialler, ended, config) =
            (dialler.clone(), ended.clone(), Config::clone(&client.config()));
        async move {
            let server = dialler.connect("ws://behind/").config(config).await.unwrap();
            let _ = ended.send(pipe(client, server).await).await;
        }
    };
    (sim.app(Router::new().websockets(config).route("/", websocket(handler))), ends)
}

#[test]
fn messages_of_every_length_and_kind_pass_both_ways() {
    Sim::check(0..20, |sim| async move {
        let config = Config::default().recv_chunk_len(1_000).max_message_len(1 << 20);
        let behind = Router::new().websockets(config.clone()).route("/", websocket(echo));
        let (app, ends) = proxy(&sim, behind, config);
        let mut client = app.open("/").await;
        for len in [0, 1, 999, 1_000, 1_001, 5_000, 300_000] {
            let bytes = vec![7; len];
            client.send(bytes.clone()).await;
            client.expect(Message::from(bytes)).await;
            let text = "ä".repeat(len / 2);
            client.send(text.clone()).await;
            client.expect(Message::from(text)).await;
        }
        client.close((CloseCode::new(4001).unwrap(), "enough"));
        let (of_client, of_server) = ends.recv().await.unwrap();
        for closed in [&of_client, &of_server] {
            assert!(closed.is_clean(), "{closed}");
        }
        assert_eq!(of_client.received().unwrap().text(), "enough");
        assert_eq!(of_server.sent().unwrap().text(), "enough");
        assert_eq!(of_server.sent().unwrap().code(), CloseCode::new(4001));
    });
}

#[test]
fn the_server_behind_closes_the_client() {
    Sim::check(0..20, |sim| async move {
        let closes = async |mut session: Session| {
            session.recv().await?;
            session.close((CloseCode::new(4002).unwrap(), "no more"));
            session.closed().await;
            Ok::<_, Closed>(())
        };
        let (app, ends) =
            proxy(&sim, Router::new().route("/", websocket(closes)), Config::default());
        let mut client = app.open("/").await;
        client.send("go").await;
        let closed = client.expect_closed(4002).await;
        assert_eq!(closed.received().unwrap().text(), "no more");
        ends.recv().await.unwrap();
    });
}

#[test]
fn a_server_behind_that_vanishes_closes_the_client_with_1001() {
    Sim::check(0..20, |sim| async move {
        let vanishes = async |mut session: Session| {
            session.recv().await?;
            session.terminate();
            Ok::<_, Closed>(())
        };
        let (app, ends) =
            proxy(&sim, Router::new().route("/", websocket(vanishes)), Config::default());
        let mut client = app.open("/").await;
        client.send("go").await;
        client.expect_closed(1001).await;
        let (of_client, of_server) = ends.recv().await.unwrap();
        assert!(of_client.is_clean() && !of_server.is_clean(), "{of_client}; {of_server}");
    });
}

/// The client cannot send more than the queues and the links hold while the server does not receive.
#[test]
fn a_server_behind_that_does_not_receive_stops_the_client() {
    Sim::check(0..5, |sim| async move {
        let waiting = sim.clone();
        let deaf = move |mut session: Session| {
            let waiting = waiting.clone();
            async move {
                waiting.sleep(SECOND * 30).await;
                let mut received = 0;
                while let Ok(message) = session.recv().await {
                    received += message.len();
                    if received == 200 * 10_000 {
                        session.send("all of it").await?;
                    }
                }
                Ok::<_, Closed>(())
            }
        };
        let (app, _ends) =
            proxy(&sim, Router::new().route("/", websocket(deaf)), Config::default());
        let mut client = app.open("/").await;
        for _ in 0..200 {
            client.send(vec![7; 10_000]).await;
        }
        client.expect("all of it").await;
        assert!(sim.now().since_epoch() >= SECOND * 30);
    });
}

/// Two clients whose sessions of frames are joined.
fn switchboard(sim: &Sim) -> App {
    let (waiting, next): (Sender<RawSession>, Receiver<RawSession>) = unbounded();
    let handler = move |session: RawSession| {
        let (waiting, next) = (waiting.clone(), next.clone());
        async move {
            match next.try_recv() {
                Ok(other) => {
                    pipe_raw(other, session).await;
                }
                // A handler that returns would end its session.
                Err(_) => {
                    waiting.send(session).await.unwrap();
                    std::future::pending::<()>().await;
                }
            }
        }
    };
    sim.app(Router::new().route("/", websocket_raw(handler)))
}

#[test]
fn frames_pass_as_they_are() {
    Sim::check(0..20, |sim| async move {
        let app = switchboard(&sim);
        let mut one = app.open("/").raw().await;
        let mut other = app.open("/").raw().await;
        let frames = [
            Frame::new(Opcode::Ping, "are you there".into()),
            Frame { fin: false, ..Frame::new(Opcode::Text, "in ".into()) },
            Frame::new(Opcode::Pong, "between".into()),
            Frame::new(Opcode::Continuation, "two".into()),
            Frame::new(Opcode::Binary, vec![7; 70_000].into()),
        ];
        for frame in &frames {
            one.send(frame.clone()).await;
            other.expect(frame.clone()).await;
            other.send(frame.clone()).await;
            one.expect(frame.clone()).await;
        }
        let close = Frame::new(Opcode::Close, b"\x0F\xA1bye".to_vec().into());
        one.send(close.clone()).await;
        other.expect(close.clone()).await;
        other.send(close.clone()).await;
        one.expect(close).await;
    });
}

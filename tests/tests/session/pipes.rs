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

/// How much the sender of this direction gets rid of while the receiver waits for 30 s: what the queues
/// and the links hold, and not all of it.
const MOST_HELD: usize = 1_000_000;
const MESSAGE: usize = 10_000;
const MESSAGES: usize = 200;

/// Sends much to a peer that does not receive for 30 s. Returns the bytes that were sent by then.
async fn send_much(sim: &Sim, session: &Session) -> usize {
    let mut before = 0;
    for _ in 0..MESSAGES {
        session.send(vec![7; MESSAGE]).await.unwrap();
        if sim.now().since_epoch() < SECOND * 30 {
            before += MESSAGE;
        }
    }
    session.flush().await.unwrap();
    before
}

async fn receive_late(sim: &Sim, session: &mut Session) {
    sim.sleep(SECOND * 30).await;
    for _ in 0..MESSAGES {
        assert_eq!(session.recv().await.unwrap().len(), MESSAGE);
    }
}

/// A proxy of messages or of frames in front of the server `behind`.
fn proxy_of(sim: &Sim, of_frames: bool, behind: Router) {
    sim.spawn(sim.serve("behind", behind));
    let dialler = sim.clone();
    let route = if of_frames {
        websocket_raw(move |client: RawSession| {
            let connect = dialler.connect("ws://behind/");
            async move {
                pipe_raw(client, connect.open().await.unwrap().raw()).await;
            }
        })
    } else {
        websocket(move |client: Session| {
            let connect = dialler.connect("ws://behind/");
            async move {
                pipe(client, connect.await.unwrap()).await;
            }
        })
    };
    sim.spawn(sim.serve("proxy", Router::new().route("/", route)));
}

#[test]
fn an_end_that_does_not_receive_stops_the_other() {
    for (of_frames, to_client) in [(false, false), (false, true), (true, false), (true, true)] {
        Sim::check(0..5, |sim| async move {
            let (held, sent) = smol::channel::bounded(1);
            let there = sim.clone();
            let server = move |mut session: Session| {
                let (sim, held) = (there.clone(), held.clone());
                async move {
                    if to_client {
                        held.send(send_much(&sim, &session).await).await.unwrap();
                    } else {
                        receive_late(&sim, &mut session).await;
                    }
                    session.closed().await;
                }
            };
            proxy_of(&sim, of_frames, Router::new().route("/", websocket(server)));
            let mut client = sim.connect("ws://proxy/").await.unwrap();
            let before = if to_client {
                receive_late(&sim, &mut client).await;
                sent.recv().await.unwrap()
            } else {
                send_much(&sim, &client).await
            };
            assert!((1..MOST_HELD).contains(&before), "{before} bytes, frames: {of_frames}");
            client.close(CloseCode::NORMAL);
            client.closed().await;
        });
    }
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

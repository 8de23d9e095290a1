//! Ping and pong by hand: a session of frames, with a `Pinger` beside it.
//!
//! `cargo run -p sockless-examples --example raw_ping`, then open `ws://127.0.0.1:8080/`.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use sockless::driver::Runtime;
use sockless::proto::{PingAction, Pinger};
use sockless::tokio::TokioRuntime;
use sockless::{BoxError, Closed, Config, Frame, Opcode, RawSession, Router, websocket_raw};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    sockless::serve("127.0.0.1:8080", router(Arc::new(TokioRuntime))).await
}

fn router(clock: Arc<dyn Runtime>) -> Router {
    let seconds = Duration::from_secs;
    Router::new()
        .websockets(Config::default().ping_interval(seconds(30)).ping_timeout(seconds(15)))
        .route("/", websocket_raw(move |session| ping_pong(session, clock.clone())))
}

/// Answers pings, sends its own, and returns when the client closes or its pong is late. In a session
/// of frames, no Close frame is sent but the one below.
async fn ping_pong(mut session: RawSession, clock: Arc<dyn Runtime>) -> Result<(), BoxError> {
    let mut pinger = Pinger::new(&session.config(), clock.now());
    loop {
        match recv_or_due(&mut session, &pinger, &*clock).await? {
            Some(frame) => {
                pinger.handle_received();
                match frame.opcode {
                    Opcode::Ping => session.send(Frame::new(Opcode::Pong, frame.payload)).await?,
                    Opcode::Pong => pinger.handle_pong(&frame.payload, clock.now()),
                    Opcode::Close => return Ok(session.send(frame).await?),
                    Opcode::Text | Opcode::Binary | Opcode::Continuation => {}
                }
            }
            None => match pinger.handle_timeout(clock.now()) {
                Some(PingAction::Ping(payload)) => {
                    session.send(Frame::new(Opcode::Ping, payload)).await?;
                }
                Some(PingAction::Disconnect) => return Ok(()),
                None => {}
            },
        }
    }
}

/// The next frame, or `None` when the pinger's deadline comes first.
async fn recv_or_due(
    session: &mut RawSession,
    pinger: &Pinger,
    clock: &dyn Runtime,
) -> Result<Option<Frame>, Closed> {
    let mut timer = pinger.poll_timeout().map(|due| clock.timer(due));
    let mut receiving = pin!(session.recv());
    poll_fn(|cx| match receiving.as_mut().poll(cx) {
        Poll::Ready(received) => Poll::Ready(received.map(Some)),
        Poll::Pending => match &mut timer {
            Some(timer) => timer.poll_expired(cx).map(|()| Ok(None)),
            None => Poll::Pending,
        },
    })
    .await
}

#[cfg(test)]
mod tests {
    use sockless::proto::Instant;
    use sockless::sim::Sim;

    use super::*;

    #[test]
    fn a_ping_comes_back_as_a_pong() {
        Sim::check(0..20, |sim| async move {
            let mut client = sim.app(router(sim.runtime())).open("/").raw().await;
            client.send(Frame::new(Opcode::Ping, "are you there?".into())).await;
            client.expect(Frame::new(Opcode::Pong, "are you there?".into())).await;
            client.send(Frame::new(Opcode::Close, b"\x03\xE8bye"[..].into())).await;
            client.expect(Frame::new(Opcode::Close, b"\x03\xE8bye"[..].into())).await;
            client.expect_end().await;
        });
    }

    #[test]
    fn a_client_that_answers_pings_may_be_silent_otherwise() {
        Sim::check(0..20, |sim| async move {
            let app = sim.app(router(sim.runtime()));
            let mut client = app.open("/").await;
            sim.sleep(Duration::from_secs(100)).await;
            for number in 1..=3_u64 {
                assert_eq!(client.recv_ping().await, &number.to_be_bytes()[..]);
            }
            assert_eq!(app.connections(), 1);
        });
    }

    #[test]
    fn a_client_that_answers_no_ping_times_out() {
        Sim::check(0..20, |sim| async move {
            let mut client = sim.app(router(sim.runtime())).open("/").raw().await;
            assert_eq!(client.recv().await.opcode, Opcode::Ping);
            client.expect_end().await;
            assert_eq!(sim.now(), Instant::from_epoch(Duration::from_secs(45)));
        });
    }
}

//! A session of messages on top of one of frames.

use std::sync::{Arc, Mutex};

use sockless_core::{Cause, Closed, Config, Message, ProtocolError, Timeout};
use sockless_driver::{RawSession, Session};
use sockless_routing::{Router, websocket_raw};
use sockless_sim::Sim;
use sockless_tests::wire::{ENDS, GOES_ON, TEXT_BEGINS, Writer};

use sockless_tests::opened::{Peer, SECOND, receive_all};

type Received = Arc<Mutex<Option<(Vec<Message>, Closed)>>>;

/// A server that takes one frame, waits for a second, and goes on with messages; the peer sends `frames`
/// meanwhile, and `later` after that.
async fn raise(
    sim: &Sim,
    config: Config,
    begun: Vec<u8>,
    later: Vec<u8>,
) -> (Vec<Message>, Closed) {
    let (clock, received) = (sim.clone(), Received::default());
    let slot = Arc::clone(&received);
    let handler = move |mut raw: RawSession| {
        let (clock, slot) = (clock.clone(), Arc::clone(&slot));
        async move {
            raw.recv().await?;
            clock.sleep(SECOND).await;
            let mut session: Session = raw.into_session();
            *slot.lock().unwrap() = Some(receive_all(&mut session).await);
            Ok::<_, Closed>(())
        }
    };
    let app = sim.app(Router::new().websockets(config).route("/", websocket_raw(handler)));
    let peer = Peer::of_a_server(app.dial()).await;
    peer.text("raw").await;
    peer.send(begun).await;
    sim.sleep(SECOND * 2).await;
    // It may be over already.
    let _ = peer.io.write_all(&later).await;
    sim.sleep(SECOND * 60).await;
    let _ = peer.io.shutdown().await;
    sim.sleep(SECOND * 60).await;
    let received = received.lock().unwrap().take();
    received.expect("the session ended")
}

const PEER: Writer = Writer { masks: true };

#[test]
fn a_frame_half_received_goes_on_as_a_message() {
    Sim::check(0..20, |sim| async move {
        let wire = [PEER.frame(TEXT_BEGINS, "hello"), PEER.ping("?"), PEER.frame(ENDS, "!")];
        let wire = wire.concat();
        let (begun, later) = wire.split_at(sim.draw(1..wire.len() as u64) as usize);
        let later = [later, &PEER.close(1000, "")].concat();
        let (messages, closed) = raise(&sim, Config::default(), begun.to_vec(), later).await;
        assert_eq!(messages, [Message::from("hello!")]);
        assert!(closed.is_clean(), "{closed}");
    });
}

#[test]
fn a_stray_continuation_half_received_ends_the_session() {
    Sim::check(0..5, |sim| async move {
        let frame = PEER.frame(GOES_ON, "stray");
        let (begun, later) = frame.split_at(8);
        let (messages, closed) =
            raise(&sim, Config::default(), begun.to_vec(), later.to_vec()).await;
        assert_eq!(messages, [""; 0]);
        assert_eq!(closed.cause(), &Cause::Protocol(ProtocolError::ContinuationUnexpected));
    });
}

#[test]
fn a_frame_half_received_takes_time_like_a_message() {
    Sim::check(0..5, |sim| async move {
        let config = Config::default().message_timeout(SECOND * 10);
        let begun = PEER.frame(TEXT_BEGINS, "half")[..8].to_vec();
        let (messages, closed) = raise(&sim, config, begun, Vec::new()).await;
        assert_eq!(messages, [""; 0]);
        assert_eq!(closed.cause(), &Cause::Timeout(Timeout::Message));
    });
}

#[test]
fn over_frames_that_have_failed_the_session_ends_with_what_was_broken() {
    Sim::check(0..5, |sim| async move {
        let begun = PEER.frame(0x83, "reserved");
        let (messages, closed) = raise(&sim, Config::default(), begun, PEER.text("late")).await;
        assert_eq!(messages, [""; 0]);
        assert_eq!(closed.cause(), &Cause::Protocol(ProtocolError::OpcodeReserved(3)));
    });
}

//! The ways in which a peer leaves, and what its session makes of it.
//!
//! The handlers await the end of their session, and receive nothing: once more than `read_ahead` has come,
//! the session does not read.

use std::time::Duration;

use futures_util::future::join_all;
use sockless_core::{Cause, Closed, Config, Party};
use sockless_driver::Session;
use sockless_routing::{Router, WebSocketRoute};
use sockless_tests::wire::{CLOSE, Writer};

use crate::on::Runtime;
use crate::support::{Place, Visitor, Way, descriptors, received, soon, within};
use crate::support::{run_aside, until_descriptors_are};
use sockless_tests::handlers::{codes, observed};

const CLIENT: Writer = Writer { masks: true };

/// More than a session reads ahead and the kernel's receive buffer hold together, so that what comes
/// behind it waits in the peer's own queue.
const MUCH: usize = 300;

/// More than anything on the way holds, windows and send buffers included: the peer has to wait, and
/// what there is room for has been sent when it does.
const TOO_MUCH: usize = 8_000;

/// More than a session reads ahead, less than that and the kernel's receive buffer hold.
const SOME: usize = 90;

/// `count` messages of 1000 bytes.
fn messages(count: usize) -> Vec<u8> {
    CLIENT.binary(vec![7; 1000]).repeat(count)
}

/// All that a peer may be waited for.
fn hasty() -> Config {
    let second = Duration::from_secs(1);
    Config::default()
        .opening_timeout(2 * second)
        .closing_timeout(second)
        .ping_interval(second)
        .ping_timeout(second)
        .write_timeout(second)
        .stall_timeout(2 * second)
        .message_timeout(2 * second)
}

async fn await_the_end(session: Session) -> Closed {
    session.closed().await
}

fn router(route: WebSocketRoute, config: Config) -> Router {
    Router::new().websockets(config).route("/", route)
}

/// Opens a place of each way, has a visitor of each send `count` messages and then do what `leave` does,
/// all at once, and gives how each session ended; the descriptors are back by then.
async fn leave<R, F>(ways: &[Way], config: Config, count: usize, leave: F) -> Vec<(Way, Closed)>
where
    R: Runtime,
    F: AsyncFnOnce(Visitor) -> Option<Visitor> + Copy,
{
    let mut places = Vec::new();
    for &way in ways {
        let (route, ended) = observed(await_the_end);
        let place = Place::<R>::open(way, router(route, config.clone())).await;
        // Descriptors that are opened once, such as the runtime's own, exist when it has left.
        greet::<R>(&place).await;
        received::<R, _>("the first visitor's end", &ended).await;
        places.push((way, place, ended));
    }
    let before = settled::<R>().await;
    let bytes = messages(count);
    let ends = join_all(places.iter().map(async |(way, place, ended)| {
        let mut visitor = place.visit().await;
        // As much as there is room for.
        let sending = within::<R, _>(Duration::from_millis(500), visitor.write(&bytes)).await;
        if let Some(sent) = sending {
            sent.unwrap();
        }
        let stays = leave(visitor).await;
        let closed = received::<R, _>(&format!("the end of a session over {way:?}"), ended).await;
        drop(stays);
        (*way, closed)
    }));
    let ends = ends.await;
    until_descriptors_are::<R>(before).await;
    ends
}

/// A visitor that closes at once, as the protocol has it.
async fn greet<R: Runtime>(place: &Place<R>) {
    let mut visitor = place.visit().await;
    visitor.write(&CLIENT.close(1000, "")).await.unwrap();
    let answer = soon::<R, _>("the answer to a Close frame", visitor.read(100)).await.unwrap();
    assert_eq!(answer[0], CLOSE);
    visitor.shut_down().await;
    soon::<R, _>("the end after a Close frame", visitor.read_to_end()).await;
}

/// The number of descriptors once those of the last visitor are gone.
async fn settled<R: Runtime>() -> usize {
    let runtime = R::driver();
    let (mut count, mut same) = (descriptors(), 0);
    while same < 20 {
        let mut timer = runtime.timer(runtime.now() + Duration::from_millis(10));
        std::future::poll_fn(|cx| timer.poll_expired(cx)).await;
        let now = descriptors();
        (same, count) = if now == count { (same + 1, count) } else { (0, now) };
    }
    count
}

/// The scenario that all others are compared with.
pub(crate) async fn a_peer_that_closes_leaves_no_descriptor<R: Runtime>(ways: &[Way]) {
    let leaves = async |mut visitor: Visitor| {
        visitor.write(&CLIENT.close(1000, "")).await.unwrap();
        visitor.shut_down().await;
        Some(visitor)
    };
    for (way, closed) in leave::<R, _>(ways, hasty(), 0, leaves).await {
        assert_eq!(codes(&closed), (Some(1000), Some(1000)), "{way:?}");
    }
}

/// The bytes behind the kernel's buffers arrive after the session has timed out and its transport was read.
pub(crate) async fn a_peer_that_ends_behind_what_is_unread_is_noticed<R: Runtime>(ways: &[Way]) {
    let leaves = async |mut visitor: Visitor| {
        visitor.shut_down().await;
        Some(visitor)
    };
    leave::<R, _>(ways, hasty(), MUCH, leaves).await;
}

pub(crate) async fn a_peer_that_resets_behind_what_is_unread_is_noticed<R: Runtime>(ways: &[Way]) {
    let leaves = async |visitor: Visitor| {
        visitor.reset();
        None
    };
    leave::<R, _>(ways, hasty(), TOO_MUCH, leaves).await;
}

/// Its Close frame cannot be seen, and it waits for the answer: the stall is what ends it.
pub(crate) async fn a_peer_that_closes_behind_what_is_unread_is_answered<R: Runtime>(ways: &[Way]) {
    let leaves = async |mut visitor: Visitor| {
        run_aside::<R>(async move {
            // It may have to wait for room.
            let _ = visitor.write(&CLIENT.close(1000, "")).await;
            visitor.read_to_end().await;
        });
        None
    };
    leave::<R, _>(ways, hasty(), MUCH, leaves).await;
}

/// With settings that were not touched: it is the transport that is seen to have ended.
pub(crate) async fn a_peer_that_ends_is_noticed_by_default<R: Runtime>(ways: &[Way]) {
    let leaves = async |mut visitor: Visitor| {
        visitor.shut_down().await;
        Some(visitor)
    };
    for (way, closed) in leave::<R, _>(ways, Config::default(), SOME, leaves).await {
        assert_eq!(closed.by(), Party::Peer, "{way:?}: {closed}");
        let is_end = matches!(closed.cause(), Cause::Eof | Cause::Transport(_));
        assert!(is_end, "{way:?}: {closed}");
    }
}

pub(crate) async fn a_peer_that_resets_is_noticed_by_default<R: Runtime>(ways: &[Way]) {
    let leaves = async |visitor: Visitor| {
        visitor.reset();
        None
    };
    for (way, closed) in leave::<R, _>(ways, Config::default(), TOO_MUCH, leaves).await {
        assert_eq!(closed.by(), Party::Peer, "{way:?}: {closed}");
    }
}

pub(crate) async fn a_connection_of_http2_that_is_lost_is_noticed_by_default<R: Runtime>(
    ways: &[Way],
) {
    let leaves = async |visitor: Visitor| {
        visitor.cut();
        Some(visitor)
    };
    for (way, closed) in leave::<R, _>(ways, Config::default(), TOO_MUCH, leaves).await {
        assert_eq!(closed.by(), Party::Peer, "{way:?}: {closed}");
    }
}

pub(crate) async fn a_full_server_lets_the_next_one_in_when_the_others_have_left<R: Runtime>(
    ways: &[Way],
) {
    for &way in ways {
        let (route, ended) = observed(await_the_end);
        let router = router(route, Config::default());
        let place = Place::<R>::open_with(way, router, |server| server.max_connections(3)).await;
        for _ in 0..3 {
            let mut visitor = place.visit().await;
            visitor.write(&messages(70)).await.unwrap();
            drop(visitor);
        }
        let fourth = soon::<R, _>("a place for the fourth", place.visit()).await;
        for _ in 0..3 {
            received::<R, _>("the end of one of the three", &ended).await;
        }
        drop(fourth);
    }
}

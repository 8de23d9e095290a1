//! Wake-ups: a task that waits for a condition is woken when the condition holds, by the driver alone.
//! Nothing else happens meanwhile: no timer is set, and nothing is sent in the other direction.

use std::pin::{Pin, pin};
use std::time::Duration;

use futures_util::{Sink, future::poll_fn};
use sockless_core::{Config, Frame, Message, Opcode, Role};
use sockless_driver::{RawSession, Sender, Session};
use sockless_sim::{JoinHandle, Link, Sim};
use sockless_tests::end::BOTH;
use sockless_tests::wire::{BINARY, BINARY_BEGINS, CLOSE, TEXT};
use tokio::sync::oneshot;

use crate::world::{Driven, Runs};
use sockless_tests::opened::{Peer, open_over};

const SEEDS: u64 = 60;

/// The length of the messages that the session sends, of which its queue holds a few.
const LEN: usize = 500;

fn config() -> Config {
    Config::default().high_water(4 * LEN).write_timeout(None).message_rate(None)
}

/// A session that is out of its handler's hands, and its peer. The handler waits until `hold` is dropped.
struct Given<S> {
    session: S,
    peer: Peer,
    link: Link,
    hold: oneshot::Sender<()>,
}

impl<S> Given<S> {
    /// Parts the session from its peer, for another task.
    fn take(self) -> (S, Given<()>) {
        let Self { session, peer, link, hold } = self;
        (session, Given { session: (), peer, link, hold })
    }

    /// How long a message of a few hundred bytes takes at most to arrive once it was written: a latency for
    /// each time that the receiver's buffer fills up.
    fn latency(&self) -> Duration {
        let buffer = self.link.receive_buffer.unwrap_or(self.link.capacity);
        (2 + 400 / buffer as u32) * (self.link.latency + self.link.jitter)
    }

    /// Every wait has ended by now.
    async fn has_woken<T>(&self, sim: &Sim, waiting: JoinHandle<T>) -> T {
        sim.settle().await;
        let woken = sim.timeout(Duration::ZERO, waiting).await;
        woken.unwrap_or_else(|| panic!("not woken over {:?}", self.link))
    }
}

/// Runs a law for sessions of either side over links of all kinds.
#[track_caller]
fn law<F, Fut>(scenario: F)
where
    F: Fn(Sim, Given<Session>) -> Fut,
    Fut: Future<Output = ()>,
{
    for role in BOTH {
        println!("the session is a {role:?}'s");
        Sim::check(0..SEEDS, |sim| async {
            let given = give(&sim, role).await;
            scenario(sim, given).await;
        });
    }
}

/// Runs a law for sessions of frames of either side.
#[track_caller]
fn raw_law<F, Fut>(scenario: F)
where
    F: Fn(Sim, Given<RawSession>) -> Fut,
    Fut: Future<Output = ()>,
{
    for role in BOTH {
        println!("the session is a {role:?}'s");
        Sim::check(0..SEEDS, |sim| async {
            let given = give_raw(&sim, role).await;
            scenario(sim, given).await;
        });
    }
}

async fn give(sim: &Sim, role: Role) -> Given<Session> {
    let link = some_link(sim);
    let (give, given) = oneshot::channel();
    let (hold, held) = oneshot::channel::<()>();
    let handler = |session| async move {
        let _ = give.send(session);
        let _ = held.await;
    };
    let tested = open_over(sim, role, &link, config(), handler).await;
    let session = given.await.unwrap();
    sim.settle().await;
    Given { session, peer: tested.peer, link, hold }
}

async fn give_raw(sim: &Sim, role: Role) -> Given<RawSession> {
    let link = some_link(sim);
    let (give, given) = oneshot::channel();
    let (hold, held) = oneshot::channel::<()>();
    let handler = |session: RawSession| async move {
        let _ = give.send(session);
        let _ = held.await;
    };
    let (near, far) = sim.pipe_over(&link);
    let runs = Runs::frames(role, handler);
    let driven = Driven::open(sim, Box::new(near), far, config(), runs).await;
    let session = given.await.unwrap();
    sim.settle().await;
    Given { session, peer: driven.peer, link, hold }
}

/// A link of some kind, through which the opening handshake comes in time.
fn some_link(sim: &Sim) -> Link {
    let mut link = if sim.draw(0..2) == 0 { Link::tcp() } else { Link::default() };
    link = match sim.draw(0..3) {
        0 => link.capacity(64 + sim.draw(0..2_000) as usize),
        1 => link.buffers(1 + sim.draw(0..500) as usize, 64 + sim.draw(0..2_000) as usize),
        _ => link,
    };
    if sim.draw(0..2) == 0 {
        link = link.short_reads(1 + sim.draw(0..1_000) as usize);
    }
    if sim.draw(0..2) == 0 {
        link = link.short_writes(1 + sim.draw(0..1_000) as usize);
    }
    let latency = Duration::from_millis(sim.draw(0..50));
    let jitter = Duration::from_millis(sim.draw(0..20));
    link.latency(latency).jitter(jitter).held_until_flush(sim.draw(0..3) == 0)
}

/// Lets the waiter begin to wait, in a task of its own.
async fn begin<T: Send + 'static>(
    sim: &Sim,
    waiter: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    let waiting = sim.spawn(waiter);
    sim.sleep(Duration::from_millis(sim.draw(0..200))).await;
    waiting
}

/// A wait for `bytes` ends one latency after they were written.
async fn is_woken_by<S, T>(sim: &Sim, given: Given<S>, waiting: JoinHandle<T>, bytes: Vec<u8>) {
    given.peer.send(bytes).await;
    sim.sleep(given.latency()).await;
    let _session = given.has_woken(sim, waiting).await;
    drop(given.hold);
}

/// A wait for room ends when the peer has read everything before it.
async fn is_woken_by_room<S, T>(sim: &Sim, given: Given<S>, waiting: JoinHandle<T>) {
    let pause = given.latency() + Duration::from_millis(1);
    while let Some(read) = sim.timeout(pause, given.peer.io.read_some()).await {
        assert_ne!(read.unwrap(), "", "the session is open");
    }
    let _session = given.has_woken(sim, waiting).await;
    drop(given.hold);
}

/// More than any queue and any link takes whose peer does not read.
fn many(link: &Link) -> usize {
    (link.capacity + 8 * LEN) / LEN + 1
}

fn message() -> Message {
    Message::from(vec![7; LEN])
}

#[test]
fn a_receiver_is_woken_when_a_message_has_come() {
    law(|sim, given| async move {
        let (mut session, given) = given.take();
        let waiting = begin(&sim, async move { session.recv().await.map(|_| session) }).await;
        let bytes = given.peer.write.frame(TEXT, [b'x'; 300]);
        is_woken_by(&sim, given, waiting, bytes).await;
    });
}

#[test]
fn a_reader_is_woken_when_a_chunk_has_come() {
    law(|sim, given| async move {
        let (mut session, given) = given.take();
        let waiting = begin(&sim, async move {
            let mut reader = session.reader().await?;
            reader.chunk().await?;
            reader.chunk().await?;
            drop(reader);
            Ok::<_, sockless_core::Closed>(session)
        })
        .await;
        given.peer.send(given.peer.write.frame(BINARY_BEGINS, [7; 100])).await;
        sim.sleep(Duration::from_millis(200)).await;
        let bytes = given.peer.write.frame(0x80, [7; 200]);
        is_woken_by(&sim, given, waiting, bytes).await;
    });
}

#[test]
fn a_sender_is_woken_when_there_is_room() {
    law(|sim, given| async move {
        let many = many(&given.link);
        let (session, given) = given.take();
        let waiting = begin(&sim, async move {
            for _ in 0..many {
                session.send(message()).await?;
            }
            Ok::<_, sockless_core::Closed>(session)
        })
        .await;
        is_woken_by_room(&sim, given, waiting).await;
    });
}

#[test]
fn a_sink_is_woken_when_there_is_room() {
    law(|sim, given| async move {
        let many = many(&given.link);
        let (session, given) = given.take();
        let waiting = begin(&sim, async move {
            let mut sink = session.sink();
            for _ in 0..many {
                poll_fn(|cx| Pin::new(&mut sink).poll_ready(cx)).await?;
                Pin::new(&mut sink).start_send(message())?;
            }
            Ok::<_, sockless_core::Closed>(session)
        })
        .await;
        is_woken_by_room(&sim, given, waiting).await;
    });
}

#[test]
fn a_writer_is_woken_when_there_is_room() {
    law(|sim, given| async move {
        let many = many(&given.link);
        let (session, given) = given.take();
        let waiting = begin(&sim, async move {
            let mut writer = session.writer().await.unwrap();
            for _ in 0..many {
                writer.write(message()).await.unwrap();
            }
            writer.finish(message()).await.unwrap();
            session
        })
        .await;
        is_woken_by_room(&sim, given, waiting).await;
    });
}

#[test]
fn a_flush_is_woken_when_all_bytes_are_written() {
    law(|sim, given| async move {
        let len = given.link.capacity + 8 * LEN;
        let (session, given) = given.take();
        let waiting = begin(&sim, async move {
            session.send(Message::from(vec![7; len])).await?;
            session.flush().await.map(|()| session)
        })
        .await;
        is_woken_by_room(&sim, given, waiting).await;
    });
}

/// Has one task write a message in parts, and another wait for its end; the other is woken at once.
async fn is_woken_by_the_end_of_a_writer<F, Fut>(sim: Sim, given: Given<Session>, waiter: F)
where
    F: FnOnce(Sender) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let (tell, reported) = oneshot::channel::<()>();
    let (writes, waits) = (given.session.sender(), given.session.sender());
    let writing = begin(&sim, async move {
        let mut writer = writes.writer().await.unwrap();
        writer.write("begun, ").await.unwrap();
        reported.await.unwrap();
        writer.finish("ended").await.unwrap();
    })
    .await;
    let waiting = begin(&sim, waiter(waits)).await;
    tell.send(()).unwrap();
    writing.await;
    given.has_woken(&sim, waiting).await;
    drop(given.hold);
}

#[test]
fn a_second_writer_is_woken_when_the_first_has_finished() {
    law(|sim, given| {
        is_woken_by_the_end_of_a_writer(sim, given, |sender| async move {
            drop(sender.writer().await.unwrap());
        })
    });
}

#[test]
fn a_sender_is_woken_when_a_writer_has_finished() {
    law(|sim, given| {
        is_woken_by_the_end_of_a_writer(sim, given, |sender| async move {
            sender.send("next").await.unwrap();
        })
    });
}

#[test]
fn a_sink_is_woken_when_a_writer_has_finished() {
    law(|sim, given| {
        is_woken_by_the_end_of_a_writer(sim, given, |sender| async move {
            let mut sink = sender.sink::<Message>();
            let ready = poll_fn(|cx| Pin::new(&mut sink).poll_ready(cx));
            pin!(ready).await.unwrap();
        })
    });
}

#[test]
fn a_task_that_waits_for_the_end_is_woken_when_it_comes() {
    law(|sim, given| async move {
        let (session, given) = given.take();
        let waiting = begin(&sim, async move { (session.closed().await, session) }).await;
        given.peer.close(1000).await;
        assert_eq!(given.peer.frame().await.first, CLOSE);
        given.peer.io.shutdown().await.unwrap();
        is_woken_by(&sim, given, waiting, Vec::new()).await;
    });
}

#[test]
fn a_task_that_waits_for_a_pong_is_woken_when_it_comes() {
    law(|sim, given| async move {
        let (session, given) = given.take();
        let waiting = begin(&sim, async move {
            session.ping("?").unwrap().await.unwrap();
            session
        })
        .await;
        let bytes = given.peer.write.pong("?");
        is_woken_by(&sim, given, waiting, bytes).await;
    });
}

#[test]
fn a_task_that_watches_pongs_is_woken_when_one_comes() {
    law(|sim, given| async move {
        let (session, given) = given.take();
        let waiting = begin(&sim, async move {
            session.pongs().recv().await.unwrap();
            session
        })
        .await;
        let bytes = given.peer.write.pong("unsolicited");
        is_woken_by(&sim, given, waiting, bytes).await;
    });
}

#[test]
fn a_receiver_of_frames_is_woken_when_one_has_come() {
    raw_law(|sim, given| async move {
        let (mut session, given) = given.take();
        let waiting = begin(&sim, async move { session.recv().await.map(|_| session) }).await;
        let bytes = given.peer.write.frame(BINARY, [7; 300]);
        is_woken_by(&sim, given, waiting, bytes).await;
    });
}

#[test]
fn a_sender_of_frames_is_woken_when_there_is_room() {
    raw_law(|sim, given| async move {
        let many = many(&given.link);
        let (session, given) = given.take();
        let waiting = begin(&sim, async move {
            for _ in 0..many {
                session.send(Frame::new(Opcode::Binary, vec![7; LEN].into())).await.unwrap();
            }
            session
        })
        .await;
        is_woken_by_room(&sim, given, waiting).await;
    });
}

#[test]
fn a_flush_of_frames_is_woken_when_all_are_written() {
    raw_law(|sim, given| async move {
        let len = given.link.capacity + 8 * LEN;
        let (session, given) = given.take();
        let waiting = begin(&sim, async move {
            session.send(Frame::new(Opcode::Binary, vec![7; len].into())).await.unwrap();
            session.flush().await.map(|()| session)
        })
        .await;
        is_woken_by_room(&sim, given, waiting).await;
    });
}

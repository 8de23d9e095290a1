//! Pipes like TCP connections: buffers at both ends, resets, and noticing the end without reading.

use std::future::{pending, poll_fn};
use std::io::{ErrorKind, IoSlice};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;
use std::time::Duration;

use sockless_core::Instant;
use sockless_driver::{Ending, Io};
use sockless_sim::{JoinHandle, Link, Sim, SimIo, WireDirection, poll_at_most};

const MS: Duration = Duration::from_millis(1);

fn kind<T: std::fmt::Debug>(result: std::io::Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

async fn ending(io: &mut SimIo) -> Ending {
    poll_fn(|cx| Poll::Ready(io.poll_ending(cx))).await
}

/// Waits for the end of the stream without reading, and returns when it arrived.
fn watch(sim: &Sim, mut io: SimIo) -> JoinHandle<(Duration, SimIo)> {
    let clock = sim.clone();
    sim.spawn(async move {
        poll_fn(|cx| match io.poll_ending(cx) {
            Ending::Ended => Poll::Ready(()),
            Ending::Watched => Poll::Pending,
            ending => panic!("{ending:?}"),
        })
        .await;
        (clock.now().since_epoch(), io)
    })
}

#[test]
fn a_sender_fills_the_receivers_buffer_and_then_its_own() {
    let sim = Sim::new(1);
    sim.run(async {
        let (mut here, there) = sim.pipe_over(&Link::default().buffers(3, 5));
        let slices = [IoSlice::new(b"0123456789")];
        assert_eq!(poll_fn(|cx| here.poll_write(cx, &slices)).await.unwrap(), 8);
        assert!(poll_at_most(1, here.write_all(b"8")).await.is_none());
        assert_eq!(there.read_some().await.unwrap(), "01234", "what is in its buffer");
        assert_eq!(there.read_some().await.unwrap(), "567", "now there is room for the rest");
        here.write_all(b"89").await.unwrap();
        assert_eq!(there.read_some().await.unwrap(), "89");
    });
}

#[test]
fn waiting_bytes_are_sent_when_the_receiver_has_room() {
    let sim = Sim::new(1);
    sim.run(async {
        let link = Link::default().buffers(8, 4).latency(10 * MS);
        let (here, there) = sim.pipe_over(&link);
        here.write_all(b"01234567").await.unwrap();
        sim.sleep(50 * MS).await;
        assert_eq!(there.read_exact(4).await.unwrap(), "0123");
        assert_eq!(there.read_exact(4).await.unwrap(), "4567");
        assert_eq!(sim.now(), Instant::EPOCH + 60 * MS);
    });
}

#[test]
fn a_read_of_some_bytes_leaves_the_others_in_the_receivers_buffer() {
    let sim = Sim::new(1);
    sim.run(async {
        let (here, there) = sim.pipe_over(&Link::default().buffers(1, 4));
        here.write_all(b"01234").await.unwrap();
        assert_eq!(there.read_up_to(1).await.unwrap(), "0");
        assert!(poll_at_most(1, here.write_all(b"56")).await.is_none(), "room for one only");
        assert_eq!(there.read_exact(2).await.unwrap(), "12");
        assert_eq!(there.read_up_to(100).await.unwrap(), "345");
    });
}

#[test]
fn a_reader_is_woken_when_bytes_arrive_and_not_before() {
    let sim = Sim::new(1);
    sim.run(async {
        let (here, there) = sim.pipe_over(&Link::default().latency(30 * MS));
        let reading = sim.spawn(poll_at_most_twice(there));
        sim.settle().await;
        here.write_all(b"x").await.unwrap();
        assert_eq!(reading.await, Some(1), "once when it began, once when there was something");
    });
}

async fn poll_at_most_twice(io: SimIo) -> Option<usize> {
    let read = poll_at_most(2, io.read_some()).await?;
    Some(read.unwrap().len())
}

#[test]
fn an_end_dropped_with_bytes_unread_resets_its_peer() {
    let sim = Sim::new(1);
    sim.run(async {
        let (here, there) = sim.pipe_over(&Link::tcp().latency(10 * MS));
        there.write_all(b"never read").await.unwrap();
        here.write_all(b"never arrives in time").await.unwrap();
        sim.sleep(20 * MS).await;
        drop(here);
        sim.sleep(9 * MS).await;
        assert_eq!(there.read_up_to(5).await.unwrap(), "never", "it is on its way");
        there.write_all(b"into the void").await.unwrap();
        sim.sleep(MS).await;
        assert_eq!(kind(there.read_some().await), ErrorKind::ConnectionReset);
        assert_eq!(kind(there.write_all(b"x").await), ErrorKind::ConnectionReset);
    });
}

#[test]
fn an_end_dropped_with_all_read_ends_after_what_it_wrote() {
    let sim = Sim::new(1);
    sim.run(async {
        let (here, there) = sim.pipe_over(&Link::tcp().buffers(8, 2).latency(10 * MS));
        there.write_all(b"read").await.unwrap();
        assert_eq!(here.read_exact(4).await.unwrap(), "read");
        here.write_all(b"goodbye").await.unwrap();
        drop(here);
        assert_eq!(there.read_to_end().await.unwrap(), "goodbye");
    });
}

#[test]
fn bytes_that_reach_a_dropped_end_are_answered_with_a_reset() {
    let sim = Sim::new(1);
    sim.run(async {
        let (here, there) = sim.pipe_over(&Link::tcp().latency(10 * MS));
        here.write_all(b"unread by then").await.unwrap();
        drop(here);
        sim.sleep(15 * MS).await;
        there.write_all(b"too late").await.unwrap();
        sim.sleep(19 * MS).await;
        there.write_all(b"still open").await.unwrap();
        sim.sleep(MS).await;
        assert_eq!(kind(there.write_all(b"x").await), ErrorKind::ConnectionReset);
        assert_eq!(kind(there.read_some().await), ErrorKind::ConnectionReset);
    });
}

#[test]
fn bytes_in_flight_to_an_end_that_is_dropped_are_answered_with_a_reset() {
    let sim = Sim::new(1);
    sim.run(async {
        let (here, there) = sim.pipe_over(&Link::tcp().latency(10 * MS));
        there.write_all(b"in flight").await.unwrap();
        sim.sleep(5 * MS).await;
        drop(here);
        assert_eq!(there.read_some().await.unwrap(), "", "the end is faster");
        assert_eq!(sim.now(), Instant::EPOCH + 15 * MS);
        sim.sleep(5 * MS).await;
        assert_eq!(kind(there.read_some().await), ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_reset_wakes_waiting_tasks_when_it_arrives() {
    Sim::check(0..10, |sim| async move {
        let (here, there) = sim.pipe_over(&Link::tcp().buffers(1, 1).latency(10 * MS));
        let wire = here.wire();
        let writer = std::sync::Arc::new(there);
        let reader = std::sync::Arc::clone(&writer);
        let writing = sim.spawn(async move { writer.write_all(b"xyz").await });
        let reading = sim.spawn(async move { reader.read_some().await });
        sim.settle().await;
        wire.reset();
        assert_eq!(kind(here.read_some().await), ErrorKind::ConnectionReset, "it knows at once");
        assert_eq!(kind(writing.await), ErrorKind::ConnectionReset);
        assert_eq!(kind(reading.await), ErrorKind::ConnectionReset);
        assert_eq!(sim.now(), Instant::EPOCH + 10 * MS);
    });
}

#[test]
fn the_end_is_noticed_after_unread_bytes_once_it_has_arrived() {
    let sim = Sim::new(1);
    sim.run(async {
        let (here, there) = sim.pipe_over(&Link::tcp().latency(10 * MS));
        here.write_all(b"unread").await.unwrap();
        sim.sleep(5 * MS).await;
        here.shutdown().await.unwrap();
        let (at, there) = watch(&sim, there).await;
        assert_eq!(at, 15 * MS);
        assert_eq!(there.read_to_end().await.unwrap(), "unread");
    });
}

#[test]
fn the_end_is_not_noticed_until_the_bytes_before_it_have_room() {
    let sim = Sim::new(1);
    sim.run(async {
        let (here, mut there) = sim.pipe_over(&Link::tcp().buffers(100, 4).latency(10 * MS));
        here.write_all(b"012345").await.unwrap();
        drop(here);
        sim.sleep(100 * MS).await;
        assert_eq!(ending(&mut there).await, Ending::Watched);
        assert_eq!(there.read_exact(2).await.unwrap(), "01");
        let (at, there) = watch(&sim, there).await;
        assert_eq!(at, 110 * MS);
        assert_eq!(there.read_to_end().await.unwrap(), "2345");
    });
}

#[test]
fn a_reset_is_noticed_without_reading() {
    let sim = Sim::new(1);
    sim.run(async {
        let (here, there) = sim.pipe_over(&Link::tcp().latency(10 * MS));
        here.write_all(b"lost").await.unwrap();
        let watching = watch(&sim, there);
        sim.sleep(20 * MS).await;
        here.wire().reset();
        let (at, there) = watching.await;
        assert_eq!(at, 30 * MS);
        assert_eq!(kind(there.read_some().await), ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_reset_of_the_stream_is_an_error_behind_the_bytes_that_were_sent() {
    for is_unknown in [false, true] {
        let sim = Sim::new(1);
        sim.run(async {
            let link = Link::tcp().latency(10 * MS).ending_unknown(is_unknown);
            let (here, mut there) = sim.pipe_over(&link);
            here.write_all(b"sent").await.unwrap();
            here.wire().reset_stream();
            assert_eq!(kind(here.write_all(b"late").await), ErrorKind::ConnectionReset);
            drop(here);
            sim.sleep(9 * MS).await;
            assert_ne!(ending(&mut there).await, Ending::Ended);
            there.write_all(b"not known yet").await.unwrap();
            sim.sleep(MS).await;
            assert_eq!(ending(&mut there).await, Ending::Ended);
            assert_eq!(kind(there.write_all(b"known").await), ErrorKind::Other);
            assert_eq!(kind(poll_fn(|cx| there.poll_flush(cx)).await), ErrorKind::Other);
            // What was written is lost, and no reset of the connection answers it.
            sim.sleep(100 * MS).await;
            assert_eq!(there.read_exact(4).await.unwrap(), "sent");
            for _ in 0..2 {
                assert_eq!(kind(there.read_some().await), ErrorKind::Other);
            }
        });
    }
}

#[test]
fn a_reset_of_the_stream_ends_every_wait() {
    let sim = Sim::new(1);
    sim.run(async {
        let (here, there) = sim.pipe_over(&Link::tcp().buffers(2, 2).latency(10 * MS));
        let watching = watch(&sim, there);
        sim.settle().await;
        here.wire().reset_stream();
        let (at, there) = watching.await;
        assert_eq!((at, kind(there.read_some().await)), (10 * MS, ErrorKind::Other));

        let (here, there) = sim.pipe_over(&Link::tcp().buffers(2, 2).latency(10 * MS));
        let writing = sim.spawn(async move { there.write_all(b"many bytes").await });
        sim.settle().await;
        here.wire().reset_stream();
        assert_eq!(kind(writing.await), ErrorKind::Other);
        assert_eq!(sim.now().since_epoch(), 20 * MS);
    });
}

#[test]
fn bytes_do_not_wake_a_task_that_waits_for_the_end() {
    let sim = Sim::new(1);
    sim.run(async {
        let (here, mut there) = sim.pipe();
        let watching = sim.spawn(async move {
            let wait = poll_fn(|cx| match there.poll_ending(cx) {
                Ending::Ended => Poll::Ready(()),
                _ => Poll::Pending,
            });
            poll_at_most(2, wait).await
        });
        for _ in 0..3 {
            sim.settle().await;
            here.write_all(b"no end").await.unwrap();
        }
        sim.settle().await;
        drop(here);
        assert_eq!(watching.await, Some(()));
    });
}

#[test]
fn if_the_end_is_unknown_only_reading_notices_it() {
    let sim = Sim::new(1);
    sim.run(async {
        let (here, mut there) = sim.pipe_over(&Link::tcp().ending_unknown(true));
        assert_eq!(ending(&mut there).await, Ending::Unknown);
        drop(here);
        assert_eq!(ending(&mut there).await, Ending::Unknown);
        assert_eq!(there.read_some().await.unwrap(), "");
    });
}

#[test]
fn a_cut_is_noticed_without_reading() {
    let sim = Sim::new(1);
    sim.run(async {
        let (here, there) = sim.pipe();
        let watching = watch(&sim, there);
        sim.settle().await;
        here.wire().cut();
        watching.await;
    });
}

#[test]
fn ends_that_have_vanished_notice_nothing_of_each_other() {
    let sim = Sim::new(1);
    sim.run(async {
        let (here, mut there) = sim.pipe_over(&Link::tcp().buffers(3, 3).latency(10 * MS));
        here.write_all(b"one").await.unwrap();
        sim.sleep(10 * MS).await;
        here.write_all(b"two").await.unwrap();
        sim.sleep(5 * MS).await;
        there.wire().vanish();
        here.wire().reset();
        drop(here);
        sim.sleep(3600 * 1000 * MS).await;
        assert_eq!(ending(&mut there).await, Ending::Watched);
        assert_eq!(there.read_some().await.unwrap(), "one", "which had arrived");
        there.write_all(b"buffer").await.unwrap();
        assert!(
            sim.timeout(MS, there.write_all(b"!")).await.is_none(),
            "the bytes are not acknowledged"
        );
        assert!(sim.timeout(MS, there.read_some()).await.is_none());
    });
}

#[test]
fn the_clock_does_not_advance_when_the_ends_have_vanished() {
    let sim = Sim::new(1);
    let deadlock = catch_unwind(AssertUnwindSafe(|| {
        sim.run(async {
            let (here, there) = sim.pipe_over(&Link::tcp().latency(MS));
            there.write_all(b"in flight").await.unwrap();
            assert!(poll_at_most(1, here.read_some()).await.is_none());
            drop(there);
            here.wire().vanish();
            pending::<()>().await;
        });
    }));
    assert!(deadlock.is_err());
    assert_eq!(sim.now(), Instant::EPOCH);
}

#[test]
fn a_stall_delays_a_reset_too() {
    let sim = Sim::new(1);
    sim.run(async {
        let (here, there) = sim.pipe_over(&Link::tcp());
        let wire = there.wire();
        wire.stall(WireDirection::Inbound);
        here.wire().reset();
        let watching = watch(&sim, there);
        sim.sleep(MS).await;
        wire.resume(WireDirection::Inbound);
        assert_eq!(watching.await.0, MS);
    });
}

#[test]
fn resets_repeat_with_their_seed() {
    let run = |seed| {
        let sim = Sim::new(seed);
        sim.run(async {
            let (here, there) = sim.pipe_over(&Link::tcp().jitter(20 * MS).short_reads(3));
            here.write_all(b"0123456789").await.unwrap();
            there.write_all(b"abc").await.unwrap();
            sim.sleep(20 * MS).await;
            drop(here);
            while there.read_some().await.is_ok() {}
        });
        (sim.now(), sim.fingerprint())
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

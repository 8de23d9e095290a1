//! Pipes: order, capacity, latency, short reads and writes, and the end of the stream.

use std::future::poll_fn;
use std::io::{ErrorKind, IoSlice};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::BytesMut;
use sockless_core::Instant;
use sockless_driver::Io;
use sockless_sim::{Link, Sim, SimIo, WireDirection, poll_at_most};

const MS: Duration = Duration::from_millis(1);

async fn read(io: &mut SimIo, len: usize) -> std::io::Result<BytesMut> {
    let mut buffer = BytesMut::with_capacity(len);
    poll_fn(|cx| io.poll_read(cx, &mut buffer)).await?;
    Ok(buffer)
}

async fn write(io: &mut SimIo, slices: &[&[u8]]) -> std::io::Result<usize> {
    let slices: Vec<_> = slices.iter().map(|slice| IoSlice::new(slice)).collect();
    poll_fn(|cx| io.poll_write(cx, &slices)).await
}

fn kind<T: std::fmt::Debug>(result: std::io::Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

#[test]
fn bytes_arrive_in_order_in_both_directions() {
    Sim::check(0..10, |sim| async move {
        let (here, there) = sim.pipe();
        here.write_all(b"one ").await.unwrap();
        here.write_all(b"two").await.unwrap();
        there.write_all(b"three").await.unwrap();
        assert_eq!(there.read_some().await.unwrap(), "one two");
        assert_eq!(here.read_some().await.unwrap(), "three");
    });
}

#[test]
fn a_read_waits_for_a_write() {
    let sim = Sim::new(1);
    sim.run(async {
        let (here, there) = sim.pipe();
        let reading = sim.spawn(async move { there.read_some().await });
        sim.settle().await;
        here.write_all(b"late").await.unwrap();
        assert_eq!(reading.await.unwrap(), "late");
    });
}

#[test]
fn a_read_fills_the_spare_capacity_and_keeps_the_bytes_before_it() {
    let sim = Sim::new(1);
    sim.run(async {
        let (here, mut there) = sim.pipe();
        here.write_all(b"0123456789").await.unwrap();
        let mut buffer = BytesMut::with_capacity(8);
        buffer.extend_from_slice(b"abc");
        let capacity = buffer.capacity();
        let len = poll_fn(|cx| there.poll_read(cx, &mut buffer)).await.unwrap();
        assert_eq!((len, &buffer[..], buffer.capacity()), (5, &b"abc01234"[..], capacity));
    });
}

#[test]
#[should_panic(
    expected = "seed 4: main panicked at +0ns: assertion `left != right` failed: a read \
                           needs a buffer with spare capacity"
)]
fn a_read_into_a_full_buffer_is_a_fault_of_the_caller() {
    let sim = Sim::new(4);
    sim.run(async {
        let (mut here, _there) = sim.pipe();
        let _ = read(&mut here, 0).await;
    });
}

#[test]
fn one_vectored_write_counts_as_one() {
    let sim = Sim::new(1);
    sim.run(async {
        let (mut here, there) = sim.pipe();
        let wire = here.wire();
        assert_eq!(write(&mut here, &[b"head", b"", b"payload"]).await.unwrap(), 11);
        let stats = wire.stats();
        assert_eq!((stats.writes, stats.bytes_written), (1, 11));
        assert_eq!((stats.largest_write, stats.most_slices), (11, 2));
        assert_eq!(write(&mut here, &[]).await.unwrap(), 0);
        assert_eq!(wire.stats(), stats, "nothing is not a write");
        assert_eq!(write(&mut here, &[b"!"]).await.unwrap(), 1);
        let stats = wire.stats();
        assert_eq!((stats.writes, stats.bytes_written), (2, 12));
        assert_eq!((stats.largest_write, stats.most_slices), (11, 2), "of the largest write");

        assert_eq!(there.read_some().await.unwrap(), "headpayload!");
        let stats = there.wire().stats();
        assert_eq!((stats.reads, stats.bytes_read, stats.writes), (1, 12, 0));
    });
}

#[test]
fn a_write_takes_what_fits_and_then_waits() {
    let sim = Sim::new(1);
    sim.run(async {
        let (mut here, mut there) = sim.pipe_over(&Link::default().capacity(10));
        assert_eq!(write(&mut here, &[b"0123456", b"789abc"]).await.unwrap(), 10);
        let wire = here.wire();
        let writing = sim.spawn(async move { write(&mut here, &[b"abc"]).await });
        sim.settle().await;
        assert_eq!(wire.stats().bytes_written, 10);
        assert_eq!(read(&mut there, 2).await.unwrap(), "01");
        assert_eq!(writing.await.unwrap(), 2);
        assert_eq!(there.read_some().await.unwrap(), "23456789ab");
    });
}

#[test]
fn the_default_capacity_is_64_kib() {
    let sim = Sim::new(1);
    sim.run(async {
        let (mut here, _there) = sim.pipe();
        assert_eq!(write(&mut here, &[&[0; 100_000]]).await.unwrap(), 65_536);
        assert_eq!(poll_at_most(1, here.write_all(b"x")).await.map(kind), None);
    });
}

#[test]
fn latency_passes_in_virtual_time() {
    Sim::check(0..10, |sim| async move {
        let (here, there) = sim.pipe_over(&Link::default().latency(30 * MS));
        here.write_all(b"first").await.unwrap();
        sim.sleep(10 * MS).await;
        here.write_all(b"second").await.unwrap();
        assert_eq!(there.read_some().await.unwrap(), "first");
        assert_eq!(sim.now(), Instant::EPOCH + 30 * MS);
        assert_eq!(there.read_some().await.unwrap(), "second");
        assert_eq!(sim.now(), Instant::EPOCH + 40 * MS);
        here.shutdown().await.unwrap();
        assert_eq!(there.read_some().await.unwrap(), "");
        assert_eq!(sim.now(), Instant::EPOCH + 70 * MS, "the end travels too");
    });
}

#[test]
fn latency_applies_to_a_waiting_reader() {
    let sim = Sim::new(1);
    sim.run(async {
        let (here, there) = sim.pipe_over(&Link::default().latency(30 * MS));
        let reading = sim.spawn(async move { there.read_some().await });
        sim.sleep(5 * MS).await;
        here.write_all(b"x").await.unwrap();
        assert_eq!(reading.await.unwrap(), "x");
        assert_eq!(sim.now(), Instant::EPOCH + 35 * MS);
    });
}

#[test]
fn bytes_in_flight_count_towards_the_capacity() {
    let sim = Sim::new(1);
    sim.run(async {
        let link = Link::default().latency(30 * MS).capacity(4);
        let (here, there) = sim.pipe_over(&link);
        let writing = sim.spawn(async move { here.write_all(b"01234567").await });
        assert_eq!(there.read_to_end().await.unwrap(), "01234567");
        writing.await.unwrap();
        assert_eq!(sim.now(), Instant::EPOCH + 60 * MS);
    });
}

#[test]
fn jitter_is_drawn_from_the_seed_and_keeps_the_order() {
    let arrivals = |seed| {
        let sim = Sim::new(seed);
        sim.run(async {
            let (here, there) = sim.pipe_over(&Link::default().latency(10 * MS).jitter(10 * MS));
            let clock = sim.clone();
            sim.spawn(async move {
                for byte in 0..100 {
                    here.write_all(&[byte]).await.unwrap();
                    clock.sleep(MS).await;
                }
            });
            let mut arrivals = Vec::new();
            for byte in 0..100 {
                assert_eq!(there.read_exact(1).await.unwrap()[0], byte);
                let sent = Instant::EPOCH + u32::from(byte) * MS;
                let late = sim.now().saturating_since(sent);
                assert!((10 * MS..=20 * MS).contains(&late), "{byte} took {late:?}");
                arrivals.push(late);
            }
            arrivals
        })
    };
    assert_eq!(arrivals(1), arrivals(1));
    assert_ne!(arrivals(1), arrivals(2));
}

#[test]
fn the_seed_decides_the_lengths_of_short_reads() {
    let cuts = |seed| {
        let sim = Sim::new(seed);
        sim.run(async {
            let (here, mut there) = sim.pipe_over(&Link::default().short_reads(5));
            here.write_all(&[7; 200]).await.unwrap();
            drop(here);
            let mut cuts = Vec::new();
            loop {
                match read(&mut there, 100).await.unwrap().len() {
                    0 => return cuts,
                    len => cuts.push(len),
                }
            }
        })
    };
    assert_eq!(cuts(1), cuts(1));
    assert_ne!(cuts(1), cuts(2));
    assert_eq!(cuts(1).iter().sum::<usize>(), 200);
    assert_eq!(cuts(1).iter().max(), Some(&5));
    assert_eq!(cuts(1).iter().min(), Some(&1));
}

#[test]
fn the_seed_decides_the_lengths_of_short_writes() {
    let sim = Sim::new(1);
    sim.run(async {
        let (mut here, there) = sim.pipe_over(&Link::default().short_writes(3));
        let mut lens = Vec::new();
        for _ in 0..50 {
            lens.push(write(&mut here, &[b"ab", b"cd"]).await.unwrap());
        }
        assert_eq!(lens.iter().max(), Some(&3));
        assert_eq!(lens.iter().min(), Some(&1));
        assert_eq!(there.read_some().await.unwrap().len(), lens.iter().sum::<usize>());
        here.write_all(b"whole").await.unwrap();
        assert_eq!(there.read_some().await.unwrap(), "whole");
    });
}

#[test]
fn short_reads_and_writes_sometimes_return_pending_first() {
    let sim = Sim::new(1);
    sim.run(async {
        let (mut here, mut there) = sim.pipe_over(&Link::default().short_reads(1).short_writes(1));
        let mut waits = [0; 2];
        for _ in 0..400 {
            while poll_at_most(1, write(&mut here, &[b"x"])).await.is_none() {
                waits[0] += 1;
            }
            while poll_at_most(1, read(&mut there, 8)).await.is_none() {
                waits[1] += 1;
            }
        }
        assert!(waits.iter().all(|waits| (100..180).contains(waits)), "{waits:?}");
    });
}

#[test]
fn held_bytes_are_sent_by_a_flush() {
    let sim = Sim::new(1);
    sim.run(async {
        let (mut here, there) = sim.pipe_over(&Link::default().held_until_flush(true));
        write(&mut here, &[b"held"]).await.unwrap();
        assert!(sim.timeout(MS, there.read_some()).await.is_none());
        poll_fn(|cx| here.poll_flush(cx)).await.unwrap();
        assert_eq!(there.read_some().await.unwrap(), "held");
        write(&mut here, &[b"last"]).await.unwrap();
        poll_fn(|cx| here.poll_shutdown(cx)).await.unwrap();
        assert_eq!(there.read_to_end().await.unwrap(), "last", "a shutdown flushes");
        there.write_all(b"!").await.unwrap();
        assert_eq!(here.read_some().await.unwrap(), "!", "and so does write_all");
    });
}

#[test]
fn held_bytes_are_sent_when_the_pipe_is_full() {
    let sim = Sim::new(1);
    sim.run(async {
        let link = Link::default().held_until_flush(true).capacity(4);
        let (here, there) = sim.pipe_over(&link);
        sim.spawn(async move { here.write_all(b"0123456789").await });
        assert_eq!(there.read_to_end().await.unwrap(), "0123456789");
    });
}

#[test]
fn held_bytes_are_lost_when_the_end_is_dropped() {
    let sim = Sim::new(1);
    sim.run(async {
        let (mut here, there) = sim.pipe_over(&Link::default().held_until_flush(true));
        here.write_all(b"flushed").await.unwrap();
        write(&mut here, &[b"lost"]).await.unwrap();
        drop(here);
        assert_eq!(there.read_to_end().await.unwrap(), "flushed");
    });
}

#[test]
fn a_shutdown_ends_one_direction_after_its_bytes() {
    let sim = Sim::new(1);
    sim.run(async {
        let (mut here, mut there) = sim.pipe();
        here.write_all(b"last").await.unwrap();
        poll_fn(|cx| here.poll_shutdown(cx)).await.unwrap();
        here.shutdown().await.unwrap();
        assert_eq!(kind(here.write_all(b"more").await), ErrorKind::BrokenPipe);
        assert_eq!(read(&mut there, 10).await.unwrap(), "last");
        assert_eq!(read(&mut there, 10).await.unwrap(), "");
        assert_eq!(read(&mut there, 10).await.unwrap(), "");
        there.write_all(b"answer").await.unwrap();
        assert_eq!(here.read_some().await.unwrap(), "answer");
    });
}

#[test]
fn a_shutdown_wakes_the_reader() {
    let sim = Sim::new(1);
    sim.run(async {
        let (here, there) = sim.pipe();
        let reading = sim.spawn(async move { there.read_to_end().await });
        sim.settle().await;
        here.shutdown().await.unwrap();
        assert_eq!(reading.await.unwrap(), "");
    });
}

#[test]
fn dropping_an_end_ends_its_stream_and_breaks_the_writes_of_its_peer() {
    let sim = Sim::new(1);
    sim.run(async {
        let (here, there) = sim.pipe_over(&Link::default().latency(MS));
        here.write_all(b"goodbye").await.unwrap();
        drop(here);
        assert_eq!(there.read_to_end().await.unwrap(), "goodbye");
        assert_eq!(kind(there.write_all(b"x").await), ErrorKind::BrokenPipe);
        there.shutdown().await.unwrap();
    });
}

#[test]
fn dropping_an_end_wakes_a_waiting_writer() {
    let sim = Sim::new(1);
    sim.run(async {
        let (here, there) = sim.pipe_over(&Link::default().capacity(1));
        let writing = sim.spawn(async move { here.write_all(b"xyz").await });
        sim.settle().await;
        drop(there);
        assert_eq!(kind(writing.await), ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_link_may_differ_by_direction() {
    let sim = Sim::new(1);
    sim.run(async {
        let (here, there) = sim.pipe();
        here.wire().set_link(WireDirection::Outbound, Link::default().latency(MS));
        there.write_all(b"fast").await.unwrap();
        here.write_all(b"slow").await.unwrap();
        assert_eq!(here.read_some().await.unwrap(), "fast");
        assert_eq!(sim.now(), Instant::EPOCH);
        assert_eq!(there.read_some().await.unwrap(), "slow");
        assert_eq!(sim.now(), Instant::EPOCH + MS);
    });
}

/// A waker may own anything, including an end of the pipe.
#[test]
fn a_waker_that_owns_an_end_of_the_pipe_may_be_dropped_at_any_time() {
    struct Owner(#[expect(dead_code, reason = "it is there to be dropped")] SimIo);
    impl Wake for Owner {
        fn wake(self: Arc<Self>) {}
    }
    let sim = Sim::new(1);
    let (here, mut there) = sim.pipe_over(&Link::default().latency(MS));
    let owner = Waker::from(Arc::new(Owner(here)));
    let mut buffer = BytesMut::with_capacity(8);
    let mut cx = Context::from_waker(&owner);
    assert!(there.poll_read(&mut cx, &mut buffer).is_pending());
    drop(owner);
    // Replacing the waker drops `here`, which wakes its replacement.
    let mut cx = Context::from_waker(Waker::noop());
    assert!(there.poll_read(&mut cx, &mut buffer).is_pending());
    sim.run(async { assert_eq!(there.read_some().await.unwrap(), "") });
    assert!(matches!(
        there.poll_write(&mut Context::from_waker(Waker::noop()), &[IoSlice::new(b"x")]),
        Poll::Ready(Err(error)) if error.kind() == ErrorKind::BrokenPipe
    ));
}

//! Faults on a wire, as both ends notice them.

use std::future::{pending, poll_fn};
use std::io::{ErrorKind, IoSlice};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use sockless_core::Instant;
use sockless_driver::Io;
use sockless_sim::{Link, Sim, SimIo, WireDirection, poll_at_most};

const MS: Duration = Duration::from_millis(1);

fn kind<T: std::fmt::Debug>(result: std::io::Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

#[test]
fn after_a_cut_every_operation_of_both_ends_is_reset() {
    let sim = Sim::new(1);
    sim.run(async {
        let (mut here, mut there) = sim.pipe();
        here.write_all(b"lost").await.unwrap();
        there.wire().cut();
        for end in [&mut here, &mut there] {
            assert_eq!(kind(end.read_some().await), ErrorKind::ConnectionReset);
            assert_eq!(kind(end.write_all(b"x").await), ErrorKind::ConnectionReset);
            assert_eq!(kind(poll_fn(|cx| end.poll_flush(cx)).await), ErrorKind::ConnectionReset);
            assert_eq!(kind(poll_fn(|cx| end.poll_shutdown(cx)).await), ErrorKind::ConnectionReset);
        }
        drop(here);
        assert_eq!(kind(there.read_some().await), ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_cut_wakes_waiting_tasks() {
    Sim::check(0..10, |sim| async move {
        let (here, there) = sim.pipe_over(&Link::default().capacity(1));
        let wire = here.wire();
        let peer = Arc::new(there);
        let writer = Arc::clone(&peer);
        let reading = sim.spawn(async move { peer.read_some().await });
        let writing = sim.spawn(async move { writer.write_all(b"xyz").await });
        sim.settle().await;
        wire.cut();
        assert_eq!(kind(reading.await), ErrorKind::ConnectionReset);
        assert_eq!(kind(writing.await), ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_cut_does_not_wait_for_bytes_in_flight() {
    let sim = Sim::new(1);
    sim.run(async {
        let (here, there) = sim.pipe_over(&Link::default().latency(MS));
        here.write_all(b"in flight").await.unwrap();
        let wire = there.wire();
        let reading = sim.spawn(async move { there.read_some().await });
        sim.settle().await;
        wire.cut();
        assert_eq!(kind(reading.await), ErrorKind::ConnectionReset);
        assert_eq!(sim.now(), Instant::EPOCH);
    });
}

#[test]
fn an_end_ends_one_direction_only() {
    let sim = Sim::new(1);
    sim.run(async {
        let (here, there) = sim.pipe();
        here.write_all(b"delivered").await.unwrap();
        here.wire().end(WireDirection::Outbound);
        assert_eq!(there.read_to_end().await.unwrap(), "delivered");
        assert_eq!(kind(here.write_all(b"x").await), ErrorKind::BrokenPipe);
        there.write_all(b"still here").await.unwrap();
        assert_eq!(here.read_some().await.unwrap(), "still here");
        here.wire().end(WireDirection::Inbound);
        assert_eq!(here.read_some().await.unwrap(), "");
        assert_eq!(kind(there.write_all(b"x").await), ErrorKind::BrokenPipe);
    });
}

#[test]
fn an_end_wakes_a_waiting_writer() {
    let sim = Sim::new(1);
    sim.run(async {
        let (here, there) = sim.pipe_over(&Link::default().capacity(1));
        let wire = here.wire();
        let writing = sim.spawn(async move { here.write_all(b"xyz").await });
        sim.settle().await;
        wire.end(WireDirection::Outbound);
        assert_eq!(kind(writing.await), ErrorKind::BrokenPipe);
        assert_eq!(there.read_to_end().await.unwrap(), "x");
    });
}

#[test]
fn a_stalled_direction_passes_nothing_until_it_is_resumed() {
    let sim = Sim::new(1);
    sim.run(async {
        let (mut here, there) = sim.pipe_over(&Link::default().capacity(4));
        let wire = here.wire();
        here.write_all(b"ab").await.unwrap();
        wire.stall(WireDirection::Outbound);
        let slices = [IoSlice::new(b"cdef")];
        assert_eq!(poll_fn(|cx| here.poll_write(cx, &slices)).await.unwrap(), 2);
        assert!(sim.timeout(MS, here.write_all(b"e")).await.is_none(), "the writer fills up");
        assert!(sim.timeout(MS, there.read_some()).await.is_none(), "not even what came before");
        let reading = sim.spawn(async move { there.read_exact(4).await });
        sim.sleep(MS).await;
        wire.resume(WireDirection::Outbound);
        assert_eq!(reading.await.unwrap(), "abcd");
    });
}

#[test]
fn a_stall_does_not_affect_the_other_direction() {
    let sim = Sim::new(1);
    sim.run(async {
        let (here, there) = sim.pipe();
        here.wire().stall(WireDirection::Outbound);
        there.write_all(b"through").await.unwrap();
        assert_eq!(here.read_some().await.unwrap(), "through");
        here.wire().resume(WireDirection::Outbound);
        here.wire().stall(WireDirection::Inbound);
        here.write_all(b"through").await.unwrap();
        assert_eq!(there.read_some().await.unwrap(), "through");
        there.write_all(b"stuck").await.unwrap();
        assert!(sim.timeout(MS, here.read_some()).await.is_none());
    });
}

#[test]
fn during_a_stall_a_writer_does_not_notice_that_its_peer_is_gone() {
    let sim = Sim::new(1);
    sim.run(async {
        let (here, there) = sim.pipe_over(&Link::default().capacity(4));
        let wire = here.wire();
        wire.stall(WireDirection::Inbound);
        wire.stall(WireDirection::Outbound);
        drop(there);
        assert!(sim.timeout(MS, here.read_some()).await.is_none());
        here.write_all(b"void").await.unwrap();
        let writing = sim.spawn(async move { here.write_all(b"x").await });
        sim.sleep(MS).await;
        wire.resume(WireDirection::Outbound);
        assert_eq!(kind(writing.await), ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_slower_link_delays_later_writes_only() {
    let sim = Sim::new(1);
    sim.run(async {
        let (here, there) = sim.pipe();
        here.write_all(b"before").await.unwrap();
        let wire = here.wire();
        wire.set_link(WireDirection::Outbound, Link::default().latency(10 * MS));
        here.write_all(b"after").await.unwrap();
        assert_eq!(there.read_some().await.unwrap(), "before");
        assert_eq!(sim.now(), Instant::EPOCH);
        wire.set_link(WireDirection::Outbound, Link::default());
        here.write_all(b", in order").await.unwrap();
        assert_eq!(there.read_some().await.unwrap(), "after, in order");
        assert_eq!(sim.now(), Instant::EPOCH + 10 * MS);
    });
}

#[test]
fn the_end_does_not_overtake_bytes_in_flight() {
    let sim = Sim::new(1);
    sim.run(async {
        let (here, there) = sim.pipe_over(&Link::default().latency(10 * MS));
        here.write_all(b"slow").await.unwrap();
        here.wire().set_link(WireDirection::Outbound, Link::default());
        here.shutdown().await.unwrap();
        assert_eq!(there.read_to_end().await.unwrap(), "slow");
        assert_eq!(sim.now(), Instant::EPOCH + 10 * MS);
    });
}

#[test]
fn lost_bytes_do_not_advance_the_clock() {
    type Ends = (Option<SimIo>, SimIo);
    let dropped: fn(Ends) -> Ends = |(_, there)| (None, there);
    let cut: fn(Ends) -> Ends = |(here, there)| {
        there.wire().cut();
        (here, there)
    };
    for lose in [dropped, cut] {
        let sim = Sim::new(1);
        let deadlock = catch_unwind(AssertUnwindSafe(|| {
            sim.run(async {
                let (here, there) = sim.pipe_over(&Link::default().latency(MS));
                there.write_all(b"in flight").await.unwrap();
                assert!(poll_at_most(1, here.read_some()).await.is_none());
                let _left = lose((Some(here), there));
                pending::<()>().await;
            });
        }));
        assert!(deadlock.is_err());
        assert_eq!(sim.now(), Instant::EPOCH);
    }
}

#[test]
fn more_capacity_wakes_a_waiting_writer() {
    let sim = Sim::new(1);
    sim.run(async {
        let (here, _there) = sim.pipe_over(&Link::default().capacity(1));
        let wire = here.wire();
        let writing = sim.spawn(async move { here.write_all(b"0123456789").await });
        sim.settle().await;
        wire.set_link(WireDirection::Outbound, Link::default());
        writing.await.unwrap();
    });
}

#[test]
fn a_wire_outlives_its_ends() {
    let sim = Sim::new(1);
    sim.run(async {
        let (here, there) = sim.pipe();
        let wire = here.wire();
        here.write_all(b"bytes").await.unwrap();
        drop((here, there));
        assert_eq!(wire.stats().bytes_written, 5);
        wire.stall(WireDirection::Inbound);
        wire.resume(WireDirection::Inbound);
        wire.end(WireDirection::Outbound);
        wire.cut();
    });
}

//! The `async` methods of [`SimIo`].

use std::future::poll_fn;
use std::io::ErrorKind;
use std::sync::Arc;

use bytes::BytesMut;
use sockless_driver::Io;
use sockless_sim::{Link, Sim, SimIo, poll_at_most};

async fn read(io: &mut SimIo, len: usize) -> BytesMut {
    let mut buffer = BytesMut::with_capacity(len);
    poll_fn(|cx| io.poll_read(cx, &mut buffer)).await.unwrap();
    buffer
}

fn kind<T: std::fmt::Debug>(result: std::io::Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

#[test]
fn each_read_method_returns_its_part_of_the_stream() {
    Sim::check(0..30, |sim| async move {
        let (here, there) = sim.pipe_over(&Link::default().short_reads(3).short_writes(4));
        sim.spawn(
            async move { here.write_all(b"HTTP/1.1 101\r\nA: b\r\n\r\n\x81\x02hi rest").await },
        );
        let head = there.read_until(b"\r\n\r\n").await.unwrap();
        assert_eq!(head, "HTTP/1.1 101\r\nA: b\r\n\r\n");
        assert_eq!(there.read_exact(0).await.unwrap(), "");
        assert_eq!(there.read_exact(4).await.unwrap()[..], b"\x81\x02hi"[..]);
        assert_eq!(there.read_to_end().await.unwrap(), " rest");
        assert_eq!(kind(there.read_exact(1).await), ErrorKind::UnexpectedEof);
        assert_eq!(kind(there.read_until(b"x").await), ErrorKind::UnexpectedEof);
        assert_eq!(there.read_some().await.unwrap(), "");
    });
}

#[test]
fn a_delimiter_is_found_across_reads() {
    Sim::check(0..30, |sim| async move {
        let (here, there) = sim.pipe_over(&Link::default().short_reads(1));
        here.write_all(b"\r\r\n\r\r\n\r\nend").await.unwrap();
        assert_eq!(there.read_until(b"\r\n\r\n").await.unwrap(), "\r\r\n\r\r\n\r\n");
        assert_eq!(there.read_until(b"d").await.unwrap(), "end");
    });
}

#[test]
fn a_read_dropped_at_any_await_loses_nothing() {
    Sim::check(0..20, |sim| async move {
        let (here, mut there) = sim.pipe_over(&Link::default().short_reads(2));
        here.write_all(b"0123456789|abcdefghij").await.unwrap();
        drop(here);
        for polls in 0..4 {
            let _ = poll_at_most(polls, there.read_exact(100)).await;
            let _ = poll_at_most(polls, there.read_until(b"none")).await;
            let _ = poll_at_most(polls, there.read_exact(50)).await;
        }
        // `poll_read` returns bytes that a read method left.
        assert_eq!(read(&mut there, 1).await, "0");
        assert_eq!(there.read_until(b"|").await.unwrap(), "123456789|");
        assert_eq!(there.read_to_end().await.unwrap(), "abcdefghij");
    });
}

#[test]
fn one_task_may_read_while_another_writes() {
    Sim::check(0..10, |sim| async move {
        let link = Link::default().capacity(16).short_reads(5);
        let (here, there) = sim.pipe_over(&link);
        sim.spawn(async move {
            while let Ok(bytes) = there.read_some().await {
                if bytes.is_empty() {
                    break;
                }
                there.write_all(&bytes).await.unwrap();
            }
        });
        let here = Arc::new(here);
        let writer = Arc::clone(&here);
        sim.spawn(async move {
            writer.write_all(&[5; 1000]).await.unwrap();
            writer.shutdown().await.unwrap();
        });
        assert_eq!(here.read_to_end().await.unwrap(), &[5; 1000][..]);
    });
}

#[test]
fn a_hundred_thousand_messages_are_echoed_within_the_maximum_of_polls() {
    let sim = Sim::new(1);
    sim.run(async {
        let (here, there) = sim.pipe();
        sim.spawn(async move {
            while let Ok(message) = there.read_exact(16).await {
                there.write_all(&message).await.unwrap();
            }
        });
        for number in 0..100_000_u128 {
            here.write_all(&number.to_be_bytes()).await.unwrap();
            assert_eq!(here.read_exact(16).await.unwrap()[..], number.to_be_bytes());
        }
    });
}

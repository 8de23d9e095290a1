//! The ways in which a peer can end.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use sockless_sim::{Sim, poll_at_most};
use sockless_tests::wire::{BINARY, BINARY_BEGINS, CLOSE, PING, PONG, Read, TEXT};

use crate::cell::{Cell, End, MESSAGE, Settings};
use crate::expected::{PATIENCE, STANDSTILL};
use crate::world::MACHINE;
use sockless_tests::opened::{HOUR, Peer, SECOND};

/// Sends messages that may never be read, and lets them arrive.
pub(crate) async fn prelude(sim: &Sim, cell: Cell, peer: &Peer) {
    let message = peer.write.frame(TEXT, [b'x'; MESSAGE]);
    for _ in 0..cell.messages() {
        peer.send(&message).await;
    }
    sim.sleep(Duration::from_millis(100)).await;
}

/// Ends as the cell says. The peer is there as long as this runs, and what `over` waits for has not come.
pub(crate) async fn end(
    sim: Sim,
    cell: Cell,
    peer: Peer,
    over: impl Future<Output = ()>,
) -> Option<Frames> {
    match cell.end {
        End::Fin => {
            let _ = peer.io.shutdown().await;
            over.await;
        }
        End::Rst => peer.io.wire().reset(),
        End::StreamReset => peer.io.wire().reset_stream(),
        End::Vanish => {
            peer.io.wire().vanish();
            over.await;
        }
        End::CloseAndWait => {
            peer.close(1000).await;
            sim.timeout(PATIENCE, read_to_close(&peer)).await;
            read_what_came(&peer).await;
        }
        End::CloseAndDrop => {
            if !cell.sends() {
                read_what_came(&peer).await;
            }
            peer.close(1000).await;
        }
        End::Standstill => {
            // By then short deadlines have sent a ping, whose pong arrives when no one can read it.
            sim.timeout(SECOND - Duration::from_millis(95), answer(&peer)).await;
            sim.machine(MACHINE).pause();
            sim.timeout(STANDSTILL, answer(&peer)).await;
            sim.machine(MACHINE).resume();
            peer.close(1000).await;
            sim.timeout(PATIENCE, read_to_close(&peer)).await;
            read_what_came(&peer).await;
        }
        End::NeverReads => over.await,
        End::Answers => return Some(read_at_rate(&sim, &peer, 1 << 16, Duration::ZERO).await.0),
        End::ReadsSlowly | End::ReadsBehind => {
            return Some(read_at_rate(&sim, &peer, 1 << 10, SECOND / 8).await.0);
        }
        End::Drips => drip(&sim, cell, &peer).await,
        End::Unfinished => {
            peer.send(peer.write.frame(BINARY_BEGINS, [7; 10])).await;
            over.await;
        }
    }
    None
}

/// Answers pings until the end.
async fn answer(peer: &Peer) {
    while let Ok(frame) = peer.try_frame().await {
        if frame.first == PING {
            peer.send(peer.write.frame(PONG, &frame.payload)).await;
        }
    }
}

/// Reads frames up to a Close frame or the end.
async fn read_to_close(peer: &Peer) {
    while let Ok(frame) = peer.try_frame().await
        && frame.first != CLOSE
    {}
}

/// Leaves nothing unread that has arrived, so that dropping the end is no reset.
async fn read_what_came(peer: &Peer) {
    while let Some(Ok(bytes)) = poll_at_most(1, peer.io.read_some()).await
        && !bytes.is_empty()
    {}
}

/// Sends a byte of a message that claims a mebibyte now and then, as long as it can.
async fn drip(sim: &Sim, cell: Cell, peer: &Peer) {
    let interval = match cell.settings {
        Settings::Default => 4 * SECOND,
        Settings::Short => SECOND / 4,
    };
    let head = peer.write.header(BINARY, 1 << 20);
    let drips = head.into_iter().chain(std::iter::repeat(7));
    let until = sim.now() + HOUR;
    for byte in drips {
        if peer.io.write_all(&[byte]).await.is_err() || sim.now() > until {
            break;
        }
        sim.sleep(interval).await;
    }
}

/// Frames as they are put together out of what is read in parts.
#[derive(Default)]
pub(crate) struct Frames {
    unparsed: BytesMut,
    /// The bytes of payload of all messages.
    pub(crate) payload: usize,
    /// The number of frames that ended a message.
    pub(crate) messages: usize,
    pub(crate) close: Option<Read>,
    /// The number of bytes after the Close frame.
    pub(crate) after_close: usize,
}

impl Frames {
    /// Takes what was read; the pongs and the Close frame that answer it.
    pub(crate) fn add(&mut self, bytes: &[u8]) -> Vec<Read> {
        let mut answers = Vec::new();
        self.unparsed.extend_from_slice(bytes);
        while let Some(len) = frame_len(&self.unparsed) {
            let frame = self.unparsed.split_to(len);
            if self.close.is_some() {
                self.after_close += len;
                continue;
            }
            let frame = sockless_tests::wire::read_all(&frame).remove(0);
            match frame.first {
                CLOSE => {
                    answers.push(frame.clone());
                    self.close = Some(frame);
                }
                PING => answers.push(Read { first: PONG, ..frame }),
                PONG => {}
                first => {
                    self.payload += frame.payload.len();
                    self.messages += usize::from(first >> 7);
                }
            }
        }
        answers
    }
}

/// The length of the first frame, if it is complete.
fn frame_len(bytes: &[u8]) -> Option<usize> {
    let second = *bytes.get(1)?;
    let width = match second & 0x7F {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let len = match width {
        0 => usize::from(second & 0x7F),
        _ => bytes.get(2..2 + width)?.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)),
    };
    let key_len = if second & 0x80 == 0 { 0 } else { 4 };
    let len = 2 + width + key_len + len;
    (bytes.len() >= len).then_some(len)
}

/// Reads `bytes` each `interval` up to the end, and answers pings and the Close frame; what came, and how
/// it ended.
pub(crate) async fn read_at_rate(
    sim: &Sim,
    peer: &Peer,
    bytes: usize,
    interval: Duration,
) -> (Frames, io::Result<()>) {
    let mut frames = Frames::default();
    loop {
        let read = match peer.io.read_up_to(bytes).await {
            Ok(read) if read.is_empty() => return (frames, Ok(())),
            Ok(read) => read,
            Err(error) => return (frames, Err(error)),
        };
        for answer in frames.add(&read) {
            // A session that no longer waits for it is judged by its report.
            let _ = peer.io.write_all(&peer.write.frame(answer.first, &answer.payload)).await;
        }
        sim.sleep(interval).await;
    }
}

//! Counters of a connection: [`Stats`].

use core::time::Duration;

use crate::frame::Opcode;

/// The counters of a connection, as [`Connection::stats`](crate::Connection::stats) returns them.
///
/// The frames and the received bytes count from [`Connection::start_counting`](crate::Connection::start_counting), or from
/// when an observer was set, and are 0 before. The others need no start. A connection of messages that was put on
/// frames goes on with the counters of those.
///
/// ```
/// use sockless_core::{Connection, Instant, Negotiated};
///
/// let now = Instant::EPOCH;
/// let mut server = Connection::server(Negotiated::default(), Default::default(), now);
/// server.start_counting();
/// server.send("hello", now)?;
/// assert_eq!(server.stats().queued_bytes, 7);
///
/// let mut outbound = server.outbound();
/// outbound.advance(outbound.remaining());
/// let stats = server.stats();
/// assert_eq!((stats.sent.text_frames, stats.sent.bytes, stats.queued_bytes), (1, 7, 0));
/// # Ok::<(), sockless_core::SendError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// The frames that were queued, and the bytes that the transport has taken.
    pub sent: Traffic,
    /// The frames whose headers were taken out of the read buffer, and the bytes that were.
    pub received: Traffic,
    /// The number of bytes that wait to be sent.
    pub queued_bytes: usize,
    /// The number of bytes that are held for this connection alone, of an unfinished message and of what is queued.
    pub held_bytes: usize,
    /// The round-trip time of the last ping of [`Config::ping_interval`](crate::Config::ping_interval) that was
    /// answered; `None` for a connection of frames.
    pub round_trip: Option<Duration>,
    /// The number of round trips of such pings that were measured.
    pub round_trips: u64,
}

/// The traffic of a connection in one direction, as part of [`Stats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// The number of bytes on the wire: of frames with their headers, and of the head of the handshake if this
    /// connection sent one.
    pub bytes: u64,
    /// The number of text messages' first frames.
    pub text_frames: u64,
    /// The number of binary messages' first frames.
    pub binary_frames: u64,
    /// The number of fragments after the first of a message.
    pub continuation_frames: u64,
    /// The number of pings.
    pub ping_frames: u64,
    /// The number of pongs.
    pub pong_frames: u64,
    /// The number of Close frames.
    pub close_frames: u64,
    /// The length of the messages that extensions encoded or decoded, as it was on the wire.
    pub encoded_bytes: u64,
    /// The length of the same messages for the application.
    pub decoded_bytes: u64,
}

impl Traffic {
    /// Returns the number of frames of all kinds.
    pub const fn frames(&self) -> u64 {
        self.text_frames
            + self.binary_frames
            + self.continuation_frames
            + self.ping_frames
            + self.pong_frames
            + self.close_frames
    }

    /// Returns the length of messages on the wire as a part of their length for the application, such as 0.25;
    /// `None` until an extension has encoded or decoded one. Messages that no extension changed do not count.
    pub fn compression_ratio(&self) -> Option<f64> {
        (self.decoded_bytes > 0).then(|| self.encoded_bytes as f64 / self.decoded_bytes as f64)
    }
}

/// The counters of one direction.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    frames: [u64; 6],
    pub(crate) bytes: u64,
    encoded: u64,
    decoded: u64,
}

impl Tally {
    pub(crate) fn note_frame(&mut self, opcode: Opcode) {
        self.frames[index(opcode)] += 1;
    }

    /// Takes back a frame that is put back into the read buffer.
    pub(crate) fn take_back(&mut self, opcode: Opcode, len: u64) {
        let count = &mut self.frames[index(opcode)];
        *count = count.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(len);
    }

    /// Records that an extension has turned `decoded` bytes into `encoded`, or the reverse.
    pub(crate) fn note_coded(&mut self, encoded: usize, decoded: usize) {
        self.encoded += encoded as u64;
        self.decoded += decoded as u64;
    }

    /// The counters as they are published, with the number of bytes on the wire.
    pub(crate) fn traffic(&self, bytes: u64) -> Traffic {
        let count = |opcode| self.frames[index(opcode)];
        Traffic {
            bytes,
            text_frames: count(Opcode::Text),
            binary_frames: count(Opcode::Binary),
            continuation_frames: count(Opcode::Continuation),
            ping_frames: count(Opcode::Ping),
            pong_frames: count(Opcode::Pong),
            close_frames: count(Opcode::Close),
            encoded_bytes: self.encoded,
            decoded_bytes: self.decoded,
        }
    }
}

/// In the order of the variants, so that it costs nothing.
const fn index(opcode: Opcode) -> usize {
    match opcode {
        Opcode::Close => 0,
        Opcode::Continuation => 1,
        Opcode::Binary => 2,
        Opcode::Ping => 3,
        Opcode::Pong => 4,
        Opcode::Text => 5,
    }
}

#[cfg(test)]
mod tests {
    use alloc::sync::Arc;

    use bytes::BytesMut;

    use crate::config::Config;
    use crate::connection::{Connection, Negotiated};
    use crate::message::{Chunk, Message};
    use crate::outgoing::Broadcast;
    use crate::seed::Seed;
    use crate::stats::Traffic;
    use crate::time::Instant;

    const NOW: Instant = Instant::EPOCH;

    fn pass(from: &mut Connection, to: &mut Connection, chunk: usize) {
        let mut inbound = BytesMut::new();
        while from.outbound().has_remaining() {
            let len = from.outbound().chunk().len().min(chunk);
            let bytes = from.outbound().copy_to_bytes(len);
            inbound.extend_from_slice(&bytes);
            while to.poll_event(&mut inbound, NOW).is_some() {}
        }
        assert!(inbound.is_empty());
    }

    fn ends(negotiated: [Negotiated; 2]) -> (Connection, Connection) {
        let [ours, theirs] = negotiated;
        let config = Arc::new(Config::default().max_send_frame_len(1000));
        let mut client = Connection::client(ours, Seed::new([7; 32]), config.clone(), NOW);
        let mut server = Connection::server(theirs, config, NOW);
        client.start_counting();
        server.start_counting();
        (client, server)
    }

    #[test]
    fn each_kind_counts_once_at_both_ends_however_it_is_cut() {
        for chunk in [1, 5, 100, 100_000] {
            let (mut client, mut server) = ends(Default::default());
            for _ in 0..3 {
                client.send("text", NOW).unwrap();
            }
            client.send(Message::from(alloc::vec![1; 2500]), NOW).unwrap();
            client.send_chunk(Chunk { data: "a".into(), last: false }, NOW).unwrap();
            client.ping("?", NOW).unwrap();
            client.send_chunk(Chunk { data: "b".into(), last: true }, NOW).unwrap();
            let queued = client.stats().queued_bytes;
            pass(&mut client, &mut server, chunk);
            let (sent, received) = (client.stats().sent, server.stats().received);
            assert_eq!(sent, received, "chunks of {chunk}");
            assert_eq!((sent.bytes, client.stats().queued_bytes), (queued as u64, 0));
            let expected = Traffic {
                bytes: sent.bytes,
                text_frames: 4,
                binary_frames: 1,
                continuation_frames: 3,
                ping_frames: 1,
                ..Traffic::default()
            };
            assert_eq!((sent, sent.frames()), (expected, 9));
            assert_eq!(sent.compression_ratio(), None);

            server.send(Broadcast::new("for all"), NOW).unwrap();
            client.close(crate::close::CloseCode::NORMAL, NOW);
            pass(&mut server, &mut client, chunk);
            pass(&mut client, &mut server, chunk);
            pass(&mut server, &mut client, chunk);
            let (sent, received) = (server.stats().sent, client.stats().received);
            assert_eq!(sent, received);
            assert_eq!((sent.text_frames, sent.pong_frames, sent.close_frames), (1, 1, 1));
        }
    }

    #[cfg(feature = "deflate")]
    #[test]
    fn messages_that_are_compressed_have_a_ratio() {
        use crate::extension::Params;
        use crate::role::Role;

        let known = Config::default().extension(crate::Deflate::default());
        let of = |role| {
            let answer = Params::new("permessage-deflate");
            let extensions = known.get_extensions().agreed([answer].into(), role).unwrap();
            Negotiated { extensions, ..Negotiated::default() }
        };
        for chunk in [1, 50, 100_000] {
            let (mut client, mut server) = ends([of(Role::Client), of(Role::Server)]);
            client.send("short", NOW).unwrap();
            client.send("again and ".repeat(500), NOW).unwrap();
            pass(&mut client, &mut server, chunk);
            let (sent, received) = (client.stats().sent, server.stats().received);
            assert_eq!(sent, received);
            assert_eq!(sent.decoded_bytes, 5000);
            assert!(sent.compression_ratio().is_some_and(|ratio| ratio > 0.0 && ratio < 0.1));
        }
    }
}

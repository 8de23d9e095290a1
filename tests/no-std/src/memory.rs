//! A message does not fit into the memory of the board: an orderly end, and no abort.

use alloc::sync::Arc;

use bytes::BytesMut;
use sockless_core::handshake::{HeadError, ServerHandshake};
use sockless_core::{
    Cause, Chunk, CloseCode, Config, Connection, Event, Instant, Message, Negotiated,
    ProtocolError, Seed,
};

use crate::MEMORY;
use crate::talk::wire;

/// Twice, since the first must give back what it held.
pub fn a_message_that_does_not_fit_ends_the_connection() -> Option<()> {
    for is_text in [true, false] {
        let now = Instant::EPOCH;
        let config = Arc::new(Config::default().max_message_len(MEMORY as u64 * 2));
        let mut client =
            Connection::client(Negotiated::default(), Seed::new([7; 32]), config.clone(), now);
        let mut server = Connection::server(Negotiated::default(), config, now);
        let chunk = if is_text {
            Message::from(core::str::from_utf8(&[b'a'; 4000]).ok()?)
        } else {
            Message::from(&[0; 4000][..])
        };
        let closed = (0..MEMORY / 4000).find_map(|_| {
            client.send_chunk(Chunk { data: chunk.clone(), last: false }, now).ok()?;
            server.poll_event(&mut wire(&mut client), now)
        });
        let Event::Closed(closed) = closed? else { return None };
        let Cause::Protocol(ProtocolError::OutOfMemory { .. }) = closed.cause() else {
            return None;
        };
        let sent = closed.sent().and_then(|reason| reason.code());
        (sent == Some(CloseCode::MESSAGE_TOO_BIG)).then_some(())?;
        // The peer receives the Close frame.
        let received = client.poll_event(&mut wire(&mut server), now)?;
        let Event::PeerClosed(_) = received else { return None };
    }
    Some(())
}

pub fn a_head_that_does_not_fit_is_answered() -> Option<()> {
    let config = Arc::new(Config::default().max_head_len(MEMORY));
    let mut handshake = ServerHandshake::new(config, Instant::EPOCH);
    let mut inbound = BytesMut::with_capacity(MEMORY * 3 / 5);
    inbound.extend_from_slice(b"GET / HTTP/1.1\r\nHost: a\r\nCookie: ");
    inbound.resize(MEMORY * 3 / 5 - 4, b'a');
    inbound.extend_from_slice(b"\r\n\r\n");
    let error = handshake.poll_head(&mut inbound)?.err()?;
    let answer = error.encoded_response()?;
    (error == HeadError::OutOfMemory && answer.starts_with(b"HTTP/1.1 503 ")).then_some(())
}

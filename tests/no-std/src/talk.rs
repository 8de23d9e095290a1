//! Two connections that talk in memory.

use alloc::sync::Arc;
use core::time::Duration;

use bytes::BytesMut;
use sockless_core::handshake::ClientHandshake;
use sockless_core::{
    Broadcast, CloseCode, Config, Connection, Event, Instant, Message, Negotiated, Seed,
};

use crate::board::Board;

/// The bytes that a connection has to send.
pub fn wire(connection: &mut Connection) -> BytesMut {
    let mut outbound = connection.outbound();
    let waiting = outbound.remaining();
    BytesMut::from(&outbound.copy_to_bytes(waiting)[..])
}

pub fn two_ends_talk() -> Option<()> {
    let config = Arc::new(Config::default().ping_interval(Duration::from_secs(1)));
    let now = Instant::EPOCH;
    let mut client =
        Connection::client(Negotiated::default(), Seed::new([7; 32]), config.clone(), now);
    let mut server = Connection::server(Negotiated::default(), config, now);

    client.send("grüß dich", now).ok()?;
    let mut inbound = wire(&mut client);
    let Event::Message(message) = server.poll_event(&mut inbound, now)? else { return None };
    (message == "grüß dich").then_some(())?;
    server.send(message, now).ok()?;
    server.close(CloseCode::NORMAL, now);

    let mut inbound = wire(&mut server);
    let Event::Message(_) = client.poll_event(&mut inbound, now)? else { return None };
    let Event::PeerClosed(_) = client.poll_event(&mut inbound, now)? else { return None };
    let Event::Closed(_) = client.poll_event(&mut inbound, now)? else { return None };
    Some(())
}

/// The second connection is sent the memory of the first.
pub fn a_broadcast_is_shared() -> Option<()> {
    let now = Instant::EPOCH;
    let server = || Connection::server(Negotiated::default(), Arc::default(), now);
    let (mut one, mut two) = (server(), server());
    let news = Broadcast::new(alloc::vec![7; 20_000]);
    one.send(&news, now).ok()?;
    two.send(&news, now).ok()?;
    let (one, two) = (one.outbound(), two.outbound());
    let (one, two) = (one.chunk(), two.chunk());
    (one.as_ptr() == two.as_ptr() && one.len() == two.len()).then_some(())
}

/// The entropy is what the caller supplies: 32 bytes, for the nonce of the key and for the masking keys.
pub fn a_client_opens() -> Option<()> {
    let (config, now) = (Arc::new(Config::default()), Instant::EPOCH);
    let headers: [(&str, &[u8]); 1] = [("Sec-WebSocket-Protocol", b"telemetry")];
    let client = ClientHandshake::with_headers(
        "board.local",
        "/ws",
        &headers,
        Seed::new([9; 32]),
        config,
        now,
    );
    let mut client = client.ok()?;
    let mut board = Board::new(now);
    let waiting = client.outbound().remaining();
    let request = client.outbound().copy_to_bytes(waiting);
    let mut answer = BytesMut::from(&board.receive(&request, now)[..]);
    let (mut client, head) = client.poll_head(&mut answer, now)?.ok()?;
    (head.status() == 101 && client.subprotocol() == Some("telemetry")).then_some(())?;
    client.send("on", now).ok()?;
    let mut answer = BytesMut::from(&board.receive(&wire(&mut client), now)[..]);
    let event = client.poll_event(&mut answer, now)?;
    (event == Event::Message(Message::from("led on"))).then_some(())
}

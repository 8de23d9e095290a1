//! A passive observer: prints the messages of a captured connection, given the bytes of both directions.
//!
//! `cargo run -p sockless-examples --example observer -- client.bin server.bin`, with what the client and the server sent,
//! from the opening handshake on.

use bytes::BytesMut;
use sockless_core::extension::MessageCodec;
use sockless_core::handshake::{ResponseReader, ServerHandshake};
use sockless_core::{
    Cause, Config, Deflate, Escaped, Instant, Negotiated, Opcode, Output, RawConnection, Role, Seed,
};

type BoxError = Box<dyn std::error::Error>;

fn main() -> Result<(), BoxError> {
    let usage = "expected two files: the bytes of the client, and those of the server";
    let mut files = std::env::args().skip(1);
    let mut next = || -> Result<_, BoxError> { Ok(std::fs::read(files.next().ok_or(usage)?)?) };
    observe(&next()?, &next()?, |sender, message| println!("{sender:?}: {message}"))
}

/// Passes each message and control frame to `print`: first those of the client, then those of the server.
fn observe(
    client: &[u8],
    server: &[u8],
    mut print: impl FnMut(Role, String),
) -> Result<(), BoxError> {
    let (mut client, mut server) = (BytesMut::from(client), BytesMut::from(server));
    let (known, now) = (Config::default().extension(Deflate::default()), Instant::EPOCH);
    let request = ServerHandshake::new(known.clone().into(), now).poll_request(&mut client);
    let response = ResponseReader::new(&known, now).poll_response(&mut server);
    let request = request.ok_or("the request is incomplete")??;
    let response = response.ok_or("the response is incomplete")??;
    let config = std::sync::Arc::new(known);
    // What one end sends is read and decoded as the other end does.
    let ends = [
        (Role::Client, RawConnection::server(config.clone()), client),
        (Role::Server, RawConnection::client(Seed::new([0; 32]), config.clone()), server),
    ];
    for (sender, receiver, inbound) in ends {
        let known = config.get_extensions();
        let agreed = Negotiated::from_exchange(&request, &response, known, receiver.role())?;
        let codec = MessageCodec::new(agreed.extensions, 1 << 20);
        read_messages(receiver, codec, inbound, |message| print(sender, message))?;
    }
    Ok(())
}

/// Reads what was captured to its end. Nothing is sent, and no time passes.
fn read_messages(
    mut receiver: RawConnection,
    mut codec: MessageCodec,
    mut inbound: BytesMut,
    mut print: impl FnMut(String),
) -> Result<(), BoxError> {
    let now = Instant::EPOCH;
    receiver.accept_rsv(codec.rsv());
    receiver.handle_eof(now);
    let (mut kind, mut message) = (Opcode::Continuation, BytesMut::new());
    loop {
        let frame = match receiver.poll_output(&mut inbound, now) {
            Output::Event(Ok(frame)) => frame,
            Output::Event(Err(closed)) => match closed.cause() {
                Cause::Eof => return Ok(()),
                _ => return Err(closed.to_string().into()),
            },
            // A turn is over, and there is more.
            _ => continue,
        };
        if frame.opcode.is_control() {
            print(shown(frame.opcode, &frame.payload));
            continue;
        }
        if frame.opcode != Opcode::Continuation {
            codec.begin(frame.rsv)?;
            (kind, message) = (frame.opcode, BytesMut::new());
        }
        codec.decode(&frame.payload, frame.fin, &mut message)?;
        if frame.fin {
            print(shown(kind, &message));
        }
    }
}

/// A message or control frame on one line.
fn shown(opcode: Opcode, payload: &[u8]) -> String {
    match (opcode, payload.split_first_chunk()) {
        (Opcode::Close, Some((code, text))) => {
            let text = String::from_utf8_lossy(text);
            format!("Close {} {}", u16::from_be_bytes(*code), Escaped(text))
        }
        (Opcode::Binary, _) => format!("Binary, {} bytes", payload.len()),
        _ => format!("{opcode:?} {}", Escaped(String::from_utf8_lossy(payload))),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::BufMut;
    use sockless_core::handshake::{ClientHandshake, UpgradeRequest};
    use sockless_core::{CloseCode, Connection, Message, Seed};

    use super::*;

    const NOW: Instant = Instant::EPOCH;

    /// Both directions of a session whose ends agreed on what `config` offers.
    fn captured(config: Config) -> (BytesMut, BytesMut) {
        let config = Arc::new(config);
        let (mut client_sent, mut server_sent) = (BytesMut::new(), BytesMut::new());
        let request = http::Request::get("ws://a/").body(()).unwrap();
        let mut client =
            ClientHandshake::new(request, Seed::new([7; 32]), config.clone(), NOW).unwrap();
        client_sent.put(client.outbound());

        let mut server = ServerHandshake::new(config.clone(), NOW);
        let request = server.poll_request(&mut client_sent.clone()).unwrap().unwrap();
        let mut upgrade = UpgradeRequest::from_request(&request).unwrap();
        upgrade.select_extensions(config.get_extensions());
        let (response, negotiated) = upgrade.accept();
        let mut server = server.accept(&response, negotiated, config, NOW);
        server_sent.put(server.outbound());
        let (mut client, _) = client.poll_response(&mut server_sent.clone(), NOW).unwrap().unwrap();

        let mut talk = |client: &mut Connection, server: &mut Connection| {
            client_sent.put(client.outbound());
            server_sent.put(server.outbound());
        };
        client.ping("?", NOW).unwrap();
        for _ in 0..2 {
            client.send("again and again ".repeat(5), NOW).unwrap();
            server.send("and back again ".repeat(5), NOW).unwrap();
            server.send(Message::from(vec![7; 300]), NOW).unwrap();
        }
        talk(&mut client, &mut server);
        client.close((CloseCode::NORMAL, "bye\n"), NOW);
        talk(&mut client, &mut server);
        (client_sent, server_sent)
    }

    fn printed(client: &[u8], server: &[u8]) -> Result<Vec<(Role, String)>, BoxError> {
        let mut printed = Vec::new();
        observe(client, server, |sender, message| printed.push((sender, message)))?;
        Ok(printed)
    }

    #[test]
    fn both_directions_are_printed_with_and_without_compression() {
        let there = format!("Text {}", "again and again ".repeat(5));
        let back = format!("Text {}", "and back again ".repeat(5));
        let by_client = ["Ping ?", &there, &there, "Close 1000 bye\\n"];
        let by_server = [&back, "Binary, 300 bytes", &back, "Binary, 300 bytes"];
        let with_takeover =
            Deflate::default().server_no_context_takeover(false).client_no_context_takeover(false);
        for config in [
            Config::default(),
            Config::default().extension(Deflate::default()).max_send_frame_len(9),
            Config::default().extension(with_takeover),
        ] {
            let (client, server) = captured(config);
            let expected = by_client.iter().map(|text| (Role::Client, (*text).to_owned()));
            let expected: Vec<_> = expected
                .chain(by_server.iter().map(|text| (Role::Server, (*text).to_owned())))
                .collect();
            assert_eq!(printed(&client, &server).unwrap(), expected);
        }
    }

    #[test]
    fn what_was_cut_off_is_left_out_and_what_is_broken_an_error() {
        let (client, server) = captured(Config::default().extension(Deflate::default()));
        let whole = printed(&client, &server).unwrap();
        let cut = printed(&client[..client.len() - 1], &server).unwrap();
        assert_eq!(cut.len(), whole.len() - 1);
        assert!(printed(&client[..50], &server).is_err(), "an incomplete request");
        assert!(printed(&client, &[&server[..], &[0xFF; 10]].concat()).is_err());
    }
}

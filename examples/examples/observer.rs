//! A passive observer: prints the messages of a captured connection, given the bytes of both directions.
//!
//! `cargo run -p sockless-examples --example observer -- client.bin server.bin`, with what the client and the server sent,
//! from the opening handshake on.

use std::error::Error;
use std::sync::Arc;

use bytes::BytesMut;
use sockless_core::handshake::{ResponseReader, ServerHandshake};
use sockless_core::{
    Cause, Config, Connection, Deflate, Escaped, Event, Instant, Negotiated, Output, Role, Seed,
};

type Observed = Result<(), Box<dyn Error>>;

fn main() -> Observed {
    let usage = "expected two files: the bytes of the client, and those of the server";
    let files = std::env::args().skip(1).map(std::fs::read).collect::<Result<Vec<_>, _>>()?;
    let [client, server] = &files[..] else { return Err(usage.into()) };
    observe(client, server, |sender, event| println!("{sender:?}: {}", shown(event)))
}

/// Passes each message and control frame to `print`: first those of the client, then those of the server.
fn observe(client: &[u8], server: &[u8], mut print: impl FnMut(Role, &Event)) -> Observed {
    let (mut client, mut server) = (BytesMut::from(client), BytesMut::from(server));
    let config = Config::default().extension(Deflate::default()).max_message_len(1 << 30).into();
    let now = Instant::EPOCH;
    let request = ServerHandshake::new(Arc::clone(&config), now).poll_request(&mut client);
    let response = ResponseReader::new(&config, now).poll_response(&mut server);
    let request = request.ok_or("the request is incomplete")??;
    let response = response.ok_or("the response is incomplete")??;
    let agreed =
        |role| Negotiated::from_exchange(&request, &response, config.get_extensions(), role);
    // What one end sends is read as the other end reads it.
    let as_server = Connection::server(agreed(Role::Server)?, config.clone(), now);
    let seed = Seed::new([0; 32]);
    let as_client = Connection::client(agreed(Role::Client)?, seed, config.clone(), now);
    read_messages(as_server, client, |event| print(Role::Client, event))?;
    read_messages(as_client, server, |event| print(Role::Server, event))
}

/// Reads what was captured to its end. The replies are dropped, and no time passes.
fn read_messages(
    mut receiver: Connection,
    mut inbound: BytesMut,
    mut print: impl FnMut(&Event),
) -> Observed {
    receiver.handle_eof(Instant::EPOCH);
    loop {
        match receiver.poll_output(&mut inbound, Instant::EPOCH) {
            Output::Event(Event::Closed(closed)) => match closed.cause() {
                Cause::ClosingHandshake | Cause::Eof => return Ok(()),
                _ => return Err(closed.to_string().into()),
            },
            Output::Event(event) => print(&event),
            Output::Write(mut replies) => replies.advance(replies.remaining()),
            // A turn is over, and there is more.
            _ => {}
        }
    }
}

/// An event on one line.
fn shown(event: &Event) -> String {
    let control = |payload| Escaped(String::from_utf8_lossy(payload).into_owned());
    match event {
        Event::Message(message) => message.to_string(),
        Event::PeerClosed(reason) => format!("Close: {reason}"),
        Event::Ping(payload) => format!("Ping: {}", control(payload)),
        Event::Pong(payload) => format!("Pong: {}", control(payload)),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use bytes::BufMut;
    use sockless_core::handshake::{ClientHandshake, UpgradeRequest};
    use sockless_core::{CloseCode, Message};

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

    fn printed(client: &[u8], server: &[u8]) -> Result<Vec<(Role, String)>, Box<dyn Error>> {
        let mut printed = Vec::new();
        observe(client, server, |sender, event| printed.push((sender, shown(event))))?;
        Ok(printed)
    }

    #[test]
    fn both_directions_are_printed_with_and_without_compression() {
        let there = "again and again ".repeat(5);
        let back = "and back again ".repeat(5);
        let by_client = ["Ping: ?", &there, &there, "Close: 1000 bye\\n"];
        let by_server =
            [&back, "binary message of 300 bytes", &back, "binary message of 300 bytes"];
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

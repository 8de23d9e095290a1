//! Raw clients, offers that are passed on, and handshakes between others.

use alloc::vec;
use alloc::vec::Vec;

use bytes::BufMut;

use super::*;
use crate::extension::{ChunkInfo, Codec, CodecError, Encoded, Extension, Params};
use crate::frame::Rsv;
use crate::role::Role;

/// An extension with RSV2, whose codecs send the role that they have.
#[derive(Debug)]
struct Marker;

#[derive(Debug)]
struct Marking(&'static str);

impl Extension for Marker {
    fn name(&self) -> &'static str {
        "x-marker"
    }
    fn rsv(&self) -> Rsv {
        Rsv::RSV2
    }
    fn answer(&self, _: &Params) -> Option<(Params, alloc::boxed::Box<dyn Codec>)> {
        Some((Params::new("x-marker"), alloc::boxed::Box::new(Marking("server"))))
    }
    fn confirm(&self, _: &Params) -> Option<alloc::boxed::Box<dyn Codec>> {
        Some(alloc::boxed::Box::new(Marking("client")))
    }
    fn codec(&self, answer: &Params, role: Role) -> Option<alloc::boxed::Box<dyn Codec>> {
        let name = if role == Role::Client { "client" } else { "server" };
        (!answer.contains("unknown")).then(|| alloc::boxed::Box::new(Marking(name)) as _)
    }
}

impl Codec for Marking {
    fn encode(&mut self, _: ChunkInfo, _: bytes::Bytes) -> Result<Encoded, CodecError> {
        Ok(Encoded { rsv: Rsv::RSV2, payload: self.0.into() })
    }
}

fn marked() -> Arc<Config> {
    Arc::new(Config::default().extension(Marker))
}

/// The request of `client`, and the right answer to it with these lines added.
fn exchange(client: &mut ClientHandshake, lines: &str) -> (Request<()>, String) {
    let mut outbound = client.outbound();
    let request = read(outbound.copy_to_bytes(outbound.remaining())).expect("a verdict");
    (request.expect("a request"), answer().replace("Sec-WebSocket-Protocol: chat\r\n", lines))
}

fn start(offers: Option<Vec<Params>>, config: Arc<Config>) -> ClientHandshake {
    let request = Request::get("ws://a/").body(()).expect("a request");
    let (seed, now) = (Seed::new([7; 32]), Instant::EPOCH);
    let client = match offers {
        None => ClientHandshake::new(request, seed, config, now),
        Some(offers) => ClientHandshake::with_offers(request, offers, seed, config, now),
    };
    client.expect("a client")
}

#[test]
fn a_raw_client_has_the_bits_that_were_agreed_on_and_leaves_the_frames() {
    for (lines, rsv) in [("", Rsv::NONE), ("Sec-WebSocket-Extensions: x-marker\r\n", Rsv::RSV2)] {
        let mut client = start(None, marked());
        let (_, answer) = exchange(&mut client, lines);
        let mut inbound = BytesMut::from(&*answer);
        inbound.put(&b"\x89\x01?"[..]);
        let opened = client.poll_raw_response(&mut inbound).expect("a verdict").expect("an answer");
        let mut raw = opened.connection;
        assert_eq!((raw.role(), raw.rsv()), (Role::Client, rsv));
        assert_eq!(opened.negotiated.extensions.len(), usize::from(rsv != Rsv::NONE));
        assert_eq!(opened.response.status(), 101);
        let frame =
            raw.poll_frame(&mut inbound, Instant::EPOCH).expect("a frame").expect("a frame");
        assert_eq!(frame.payload, "?");
        assert!(client.poll_raw_response(&mut inbound).is_none());
    }
}

#[test]
fn offers_are_passed_on_in_place_of_those_of_the_settings() {
    let offers = vec![Params::new("x-new").with("level", "9"), Params::new("x-new")];
    let answers = "Sec-WebSocket-Extensions: x-new; level=5\r\n";

    let mut client = start(Some(offers.clone()), marked());
    let (request, answer) = exchange(&mut client, answers);
    assert_eq!(UpgradeRequest::from_request(&request).expect("an upgrade").extensions(), offers);
    let opened = client.poll_raw_response(&mut BytesMut::from(&*answer));
    let opened = opened.expect("a verdict").expect("an answer");
    assert_eq!(opened.connection.rsv(), Rsv::RSV1.union(Rsv::RSV2).union(Rsv::RSV3));
    assert_eq!(
        extension_answers(&opened.response),
        Some(vec![Params::new("x-new").with("level", "5")])
    );

    // Without a codec, no messages can be received.
    let mut client = start(Some(offers.clone()), marked());
    let answer = exchange(&mut client, answers).1;
    let error = receive(&mut client, answer).expect("a verdict").expect_err("no codec");
    assert!(
        matches!(error, HandshakeError::ExtensionUnknown(params) if params == "x-new; level=5")
    );

    // An extension of the settings was not offered.
    let mut client = start(Some(offers.clone()), marked());
    let answer = exchange(&mut client, "Sec-WebSocket-Extensions: x-marker\r\n").1;
    let error = client.poll_raw_response(&mut BytesMut::from(&*answer)).expect("a verdict");
    assert!(matches!(error, Err(HandshakeError::ExtensionNotOffered(_))));

    // Without an answer there is nothing to accept bits for.
    let mut client = start(Some(offers), marked());
    let answer = exchange(&mut client, "").1;
    let opened = client.poll_raw_response(&mut BytesMut::from(&*answer)).expect("a verdict");
    assert_eq!(opened.expect("an answer").connection.rsv(), Rsv::NONE);
}

#[test]
fn answers_are_passed_on_until_others_are_selected() {
    let upgrade = |select: bool| {
        let request = EXAMPLE.replace("\r\n\r\n", "\r\nSec-WebSocket-Extensions: x-marker\r\n\r\n");
        let request = read(request).expect("a verdict").expect("a request");
        let mut upgrade = UpgradeRequest::from_request(&request).expect("an upgrade");
        upgrade.pass_extensions(vec![Params::new("x-other").flag("a")]);
        if select {
            upgrade.select_extensions(marked().get_extensions());
        }
        let (response, negotiated) = upgrade.accept();
        (response.headers()["sec-websocket-extensions"].clone(), negotiated.extensions.len())
    };
    assert_eq!(upgrade(false), (HeaderValue::from_static("x-other; a"), 0));
    assert_eq!(upgrade(true), (HeaderValue::from_static("x-marker"), 1));
}

/// What an observer makes of the exchange of the RFC, with these changes to its answer.
fn observed(from: &str, to: &str, role: Role) -> Result<crate::Negotiated, HandshakeError> {
    let offer = "\r\nSec-WebSocket-Extensions: x-marker, x-other\r\n\r\n";
    let request = read(EXAMPLE.replace("\r\n\r\n", offer)).expect("a verdict").expect("a request");
    assert!(ANSWER.contains(from));
    let mut inbound = BytesMut::from(&*ANSWER.replace(from, to));
    let mut reader = ResponseReader::new(&config(), Instant::EPOCH);
    let response = reader.poll_response(&mut inbound).expect("a verdict").expect("a response");
    assert!(inbound.is_empty() && reader.poll_timeout().is_none());
    crate::Negotiated::from_exchange(&request, &response, marked().get_extensions(), role)
}

#[test]
fn an_exchange_of_others_gives_the_codecs_of_either_role() {
    let agrees = "\r\nSec-WebSocket-Extensions: x-marker\r\n\r\n";
    for (role, marks) in [(Role::Client, "client"), (Role::Server, "server")] {
        let negotiated = observed("\r\n\r\n", agrees, role).expect("an agreement");
        assert_eq!(negotiated.subprotocol.as_deref(), Some("chat"));
        let mut codec = crate::extension::MessageCodec::new(negotiated.extensions, 100);
        assert_eq!(codec.encode("x").expect("a payload").payload, marks);
    }
}

#[test]
fn an_exchange_of_others_is_checked() {
    use HandshakeError as E;
    let with = |params: &str| format!("\r\nSec-WebSocket-Extensions: {params}\r\n\r\n");
    for (from, to, expected) in [
        ("=\r\n", "\r\n", E::AcceptMismatch),
        ("Upgrade: websocket", "Upgrade: other", E::UpgradeMissing),
        ("Protocol: chat", "Protocol: other", E::SubprotocolNotOffered("other".into())),
        ("\r\n\r\n", &*with("x-third"), E::ExtensionNotOffered("x-third".into())),
        ("\r\n\r\n", &*with("x-other"), E::ExtensionUnknown("x-other".into())),
        ("\r\n\r\n", &*with("x-marker; unknown"), E::ExtensionUnknown("x-marker; unknown".into())),
        ("\r\n\r\n", &*with("x-marker, x-marker"), E::ExtensionUnknown("x-marker".into())),
        ("\r\n\r\n", &*with("x;;"), E::ExtensionsInvalid),
    ] {
        let error = observed(from, to, Role::Server).expect_err(to);
        assert_eq!(format!("{error:?}"), format!("{expected:?}"));
    }
    let refused = observed("101 Switching Protocols", "200 OK", Role::Server);
    assert!(matches!(refused, Err(E::Rejected(response)) if response.status() == 200));
}

#[test]
fn over_http_2_there_is_no_key() {
    let request = Request::builder()
        .method("CONNECT")
        .uri("https://a/")
        .version(http::Version::HTTP_2)
        .header("Sec-WebSocket-Protocol", "chat")
        .body(())
        .expect("a request");
    let answer = |status: u16| {
        let response = Response::builder().status(status).version(http::Version::HTTP_2);
        response.header("Sec-WebSocket-Protocol", "chat").body(()).expect("a response")
    };
    let observed = |status| {
        let known = config();
        let known = known.get_extensions();
        crate::Negotiated::from_exchange(&request, &answer(status), known, Role::Server)
    };
    assert_eq!(observed(200).expect("an agreement").subprotocol.as_deref(), Some("chat"));
    assert!(matches!(observed(403), Err(HandshakeError::Rejected(_))));
}

//! A packed request returns the same values as before, and can be restored.

use std::net::{SocketAddrV4, SocketAddrV6};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use sockless_core::handshake::{ServerHandshake, UpgradeRequest, is_upgrade_request};

use super::*;
use crate::request::{Contents, Request};

type Fields = Vec<(String, Vec<u8>, bool)>;

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_packed_request_returns_the_same_values(
        method in prop_oneof!["GET|CONNECT|OPTIONS", "[a-zA-Z0-9!#$%&'*+.^_`|~-]{1,30}"],
        uri in uri(),
        version in 0..VERSIONS.len(),
        fields in vec((name(), value(), any::<bool>()), 0..20),
        params in vec(("[a-z]{0,3}", "[a-zé/ ]{0,9}"), 0..4),
        subprotocol in option::of("[a-z.0-9]{1,20}"),
        addrs in (option::of(addr()), option::of(addr())),
        received_at in (any::<u64>(), 0..1_000_000_000_u32),
    ) {
        let mut request = Request::new(request(&method, uri, VERSIONS[version], fields))
            .with_addrs(addrs.0, addrs.1)
            .with_received_at(Instant::from_epoch(Duration::new(received_at.0, received_at.1)));
        for (name, value) in params {
            request.push_param(name, value);
        }
        request.set_subprotocol(subprotocol.map(Into::into));
        request.insert("state");

        let before = values(&request);
        let head = request.as_http().clone();
        request.pack();
        prop_assert!(matches!(request.contents, Contents::Packed(_)));
        prop_assert_eq!(&values(&request), &before);
        prop_assert_eq!((request.peer_addr(), request.local_addr()), addrs);
        prop_assert_eq!(request.get::<&str>(), Some(&"state"));
        assert_same(request.as_http(), &head);

        // What is added afterwards is kept beside it, and packed again.
        request.push_param("é", "last");
        prop_assert_eq!(request.param_str("é"), Some("last"));
        request.insert("other");
        prop_assert_eq!(request.as_http().extensions().get(), Some(&"other"));
        request.insert("state");
        request.pack();
        prop_assert!(matches!(request.contents, Contents::Packed(_)) && request.more.is_none());
        prop_assert_eq!(request.params().last(), Some(("é", "last")));

        // Another address restores it.
        let mut request = request.with_addrs(addrs.0, addrs.1);
        prop_assert!(matches!(request.contents, Contents::Whole(_)));
        request.more.as_mut().unwrap().params.pop();
        prop_assert_eq!(&values(&request), &before);
        assert_same(request.as_http(), &head);
    }
}

/// The parts of the target are short enough for the parser of `Uri`, but the whole is not.
#[test]
fn a_request_that_could_not_be_restored_is_not_packed() {
    let path = format!("/{}", "a".repeat(65_530));
    let uri = Uri::builder().scheme("http").authority("example.com").path_and_query(&path);
    let mut request = Request::new(http::Request::get(uri.build().unwrap()).body(()).unwrap());
    request.pack();
    assert!(matches!(request.contents, Contents::Whole(_)));
    assert_eq!(request.path(), path);
}

#[test]
fn a_packed_request_keeps_its_permits() {
    let mut request = Request::new(http::Request::new(()));
    request.hold(7);
    request.pack();
    assert!(matches!(request.contents, Contents::Packed(_)));
    assert_eq!(request.take_permits().len(), 1);
}

#[test]
fn a_packed_request_stays_packed_when_it_is_logged() {
    let mut request = Request::new(http::Request::get("/7").header("a", "b").body(()).unwrap());
    let before = format!("{request:?}");
    request.pack();
    assert_eq!(format!("{request:?}"), before);
    let Contents::Packed(packed) = &request.contents else { panic!() };
    assert!(packed.request.get().is_none());
    request.headers();
    let Contents::Packed(packed) = &request.contents else { panic!() };
    assert!(packed.request.get().is_some());
}

#[test]
fn known_names_are_valid_header_names() {
    for name in KNOWN_NAMES {
        assert_eq!(HeaderName::from_static(name).as_str(), name);
    }
}

/// A request that is read in place is the one that the types of `http` hold.
#[test]
fn a_received_request_is_the_one_that_was_parsed() {
    for head in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /chat?room=1 HTTP/1.1\r\nHOST: a:80\r\nX-A: é\r\nx-a:2\r\nCookie: a=b\r\ncOOKIE: c=d\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Upgrade\r\nUpgrade: h2c ,WebSocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Proxy-Authorization: x\r\nAuthorization: y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
        "POST /x HTTP/1.0\r\nContent-Length: 0\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://b:81/x?y HTTP/1.1\r\nHost: a\r\n\r\n",
        "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let handshake = || ServerHandshake::new(Default::default(), Instant::EPOCH);
        let wire = || bytes::BytesMut::from(head);
        let parsed = handshake().poll_request(&mut wire()).unwrap().unwrap();
        let addr = Some("127.0.0.1:1".parse().unwrap());
        let read = |head: &BorrowedRequest<'_>| Request::received(head, addr, None, Instant::EPOCH);
        let received = handshake().poll_borrowed(&mut wire(), read).unwrap().unwrap().unwrap();
        let whole = Request::new(parsed).with_addrs(addr, None);

        assert_eq!(received.is_upgrade(), is_upgrade_request(whole.as_http()), "{head}");
        let verdict = UpgradeRequest::from_request(whole.as_http()).map(drop);
        assert_eq!(received.upgrade().map(drop), verdict, "{head}");
        assert_eq!(values(&received), values(&whole), "{head}");
        assert_eq!(received.has_header("COOKIE"), whole.has_header("cookie"), "{head}");
        assert_eq!(received.peer_addr(), addr);
        assert_same(received.as_http(), whole.as_http());
        assert_eq!(format!("{received:?}"), format!("{whole:?}"));
    }
}

#[test]
fn a_known_name_is_found_in_any_case() {
    for (index, name) in KNOWN_NAMES.iter().enumerate() {
        assert_eq!((known(name), known(&name.to_ascii_uppercase())), (Some(index), Some(index)));
        assert_eq!(known(&name[1..]), None);
    }
    assert_eq!((known(""), known(&"x".repeat(100))), (None, None));
}

fn request(method: &str, uri: Uri, version: Version, fields: Fields) -> http::Request<()> {
    let mut request = http::Request::new(());
    *request.method_mut() = method.parse().unwrap();
    *request.uri_mut() = uri;
    *request.version_mut() = version;
    for (name, value, is_sensitive) in fields {
        let mut value = HeaderValue::from_bytes(&value).unwrap();
        value.set_sensitive(is_sensitive);
        request.headers_mut().append(name.parse::<HeaderName>().unwrap(), value);
    }
    request
}

/// The values of all methods that do not unpack the request.
fn values(request: &Request) -> Vec<String> {
    let names = KNOWN_NAMES.iter().map(|name| (*name).to_owned());
    let names = names.chain(["x-a", "X-A", "x-b", "Origin", "not a name"].map(str::to_owned));
    let mut values: Vec<_> = names.map(|name| format!("{:?}", request.header(name))).collect();
    values.push(format!("{} {:?}", request.path(), request.query()));
    values.push(format!("{:?} {:?}", request.authority(), request.is_secure()));
    values.push(format!("{:?}", request.params().collect::<Vec<_>>()));
    values.push(format!("{:?} {:?}", request.param_str("a"), request.param_str("")));
    values.push(format!("{:?} {:?}", request.received_at(), request.subprotocol()));
    values
}

fn assert_same(request: &http::Request<()>, expected: &http::Request<()>) {
    assert_eq!(request.method(), expected.method());
    assert_eq!(request.uri(), expected.uri());
    assert_eq!(request.uri().to_string(), expected.uri().to_string());
    assert_eq!(request.version(), expected.version());
    assert_eq!(request.headers(), expected.headers());
    assert!(fields(request).eq(fields(expected)), "their order, and the sensitive ones");
    let state = http::Request::extensions(request).get::<&str>();
    assert_eq!(state, expected.extensions().get());
}

fn fields(request: &http::Request<()>) -> impl Iterator<Item = (&HeaderName, &[u8], bool)> {
    request.headers().iter().map(|(name, value)| (name, value.as_bytes(), value.is_sensitive()))
}

fn uri() -> impl Strategy<Value = Uri> {
    let path = "/[a-zA-Z0-9%._~!$&'()*+,;=:@/é-]{0,20}(\\?[a-zA-Z0-9%._~!$&'()*+,;=:@/?-]{0,20})?";
    let host = "([a-z]{1,8}@)?([a-z0-9.-]{1,20}|\\[::1\\])(:[0-9]{1,4})?";
    let scheme = "https?|wss?|[a-z][a-z0-9+.-]{0,7}";
    let absolute = (scheme, host, option::of(path), option::of("\\?[a-z]{0,3}"));
    let absolute = absolute.prop_map(|(scheme, host, path, query)| {
        let query = query.filter(|_| path.is_none()).unwrap_or_default();
        format!("{scheme}://{host}{}{query}", path.unwrap_or_default())
    });
    let text = prop_oneof![4 => path, 2 => absolute, 1 => host, 1 => Just("*".to_owned())];
    text.prop_filter_map("no target", |text| text.parse().ok())
}

fn name() -> impl Strategy<Value = String> {
    let known = prop::sample::select(&KNOWN_NAMES[..]).prop_map(str::to_owned);
    prop_oneof![known, "x-[ab]", "[a-z0-9!#$%&'*+.^_`|~-]{1,20}"]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![4 => 0x20..=0x7E_u8, 1 => Just(b'\t'), 1 => 0x80..=0xFF_u8];
    prop_oneof![9 => vec(byte, 0..100), 1 => Just(vec![b'x'; 9_000])]
}

fn addr() -> impl Strategy<Value = SocketAddr> {
    let v4 = (any::<[u8; 4]>(), any::<u16>())
        .prop_map(|(ip, port)| SocketAddrV4::new(ip.into(), port).into());
    let v6 = (any::<[u8; 16]>(), any::<u16>(), any::<u32>(), any::<u32>())
        .prop_map(|(ip, port, flow, scope)| SocketAddrV6::new(ip.into(), port, flow, scope).into());
    prop_oneof![v4, v6]
}

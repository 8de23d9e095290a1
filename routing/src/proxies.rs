//! The proxies that are trusted, and the headers that are read from them: [`TrustedProxies`].

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytestring::ByteString;
use http::header::{FORWARDED, HeaderName};
use ipnet::{IpNet, Ipv4Net};
use sockless_driver::{Forwarded, HostPort, Request};
use thiserror::Error;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The trusted proxies in front of a server and the headers in which they report the client's
/// address, for [`Router::trust`](crate::Router::trust).
///
/// Every client can send such headers. They are read only if the connection comes from a trusted
/// address, and a list is read from its end, to which the nearest proxy added an item, up to the
/// first address that is not trusted. That address is the client's; a client can forge the items
/// before it.
///
/// Select only headers that every one of the proxies sets or removes. If a proxy passes a header on
/// unchanged, the client controls it.
///
/// `X-Forwarded-Host` and `X-Forwarded-Proto` may be lists too, such as `https, http`. The item
/// used is the one as far from the end as the client's address is in `X-Forwarded-For`: it was
/// added by the farthest trusted proxy. From a shorter list the first item is used, since many
/// proxies replace these headers. If `X-Forwarded-For` is not [read](Self::x_forwarded_for), the
/// last item is used, which the nearest proxy added. That may be the `http` between two proxies, so
/// read both headers.
///
/// ```
/// use sockless::{Router, TrustedProxies};
///
/// let proxies = TrustedProxies::new(["127.0.0.1", "::1", "10.0.0.0/8"])
///     .x_forwarded_for()
///     .x_forwarded_proto();
/// let router = Router::new().trust(proxies);
/// ```
#[derive(Clone, Debug)]
#[must_use = "trusted proxies have no effect until they are passed to `Router::trust`"]
pub struct TrustedProxies {
    networks: Arc<[IpNet]>,
    unix: bool,
    forwarded: bool,
    x_for: bool,
    x_host: bool,
    x_proto: bool,
    named: Option<HeaderName>,
}

impl TrustedProxies {
    /// Trusts these addresses and networks, such as `10.0.0.0/8`. No header is read until one is
    /// selected. `unix:` trusts peers without an address: see [`unix`](Self::unix).
    ///
    /// The host bits of a network are ignored: `10.1.2.3/8` is `10.0.0.0/8`. IPv4-mapped addresses
    /// equal their IPv4 addresses: `::ffff:10.0.0.1` is `10.0.0.1`.
    ///
    /// # Panics
    ///
    /// Panics if [`try_new`](Self::try_new) returns an error.
    #[track_caller]
    pub fn new(proxies: impl IntoIterator<Item: AsRef<str>>) -> Self {
        match Self::try_new(proxies) {
            Ok(proxies) => proxies,
            Err(error) => panic!("{error}"),
        }
    }

    /// Like [`new`](Self::new), for addresses that are only known at run time.
    ///
    /// # Errors
    ///
    /// Returns an error if an item is neither an address nor a network nor `unix:`.
    pub fn try_new(
        proxies: impl IntoIterator<Item: AsRef<str>>,
    ) -> Result<Self, ParseTrustedProxyError> {
        let (mut networks, mut unix) = (Vec::new(), false);
        for proxy in proxies {
            match proxy.as_ref() {
                "unix:" => unix = true,
                network => networks.push(parse_network(network)?),
            }
        }
        let networks = networks.into();
        Ok(Self {
            networks,
            unix,
            forwarded: false,
            x_for: false,
            x_host: false,
            x_proto: false,
            named: None,
        })
    }

    /// Trusts peers without an IP address, such as those of a Unix socket. No header is read until
    /// one is selected. To trust addresses as well, pass `unix:` to [`new`](Self::new).
    ///
    /// Every process that may connect to the socket is trusted, so restrict its permissions. Do not
    /// use this in an HTTP server over TCP that does not pass on addresses (`Mount` of
    /// `sockless-hyper` without `peer_addr`): there, no client has an address.
    ///
    /// ```
    /// use sockless::{Router, TrustedProxies};
    ///
    /// let router = Router::new().trust(TrustedProxies::unix().x_forwarded_for());
    /// ```
    pub fn unix() -> Self {
        Self::new(["unix:"])
    }

    /// Reads the client's address, host and scheme from `Forwarded` (RFC 7239). The other headers
    /// are then ignored.
    pub fn forwarded(mut self) -> Self {
        self.forwarded = true;
        self
    }

    /// Reads the client's address from `X-Forwarded-For`.
    pub fn x_forwarded_for(mut self) -> Self {
        self.x_for = true;
        self
    }

    /// Reads the client's address from the header `name`, which has one address, in place of
    /// `X-Forwarded-For`: `X-Real-IP` of nginx, or the header of a content delivery network, such
    /// as `CF-Connecting-IP`, `True-Client-IP` or `Fly-Client-IP`.
    ///
    /// A header that occurs more than once, or is not an address, hides the client: limits count
    /// all such clients as one. Without the header, the client is the proxy itself.
    ///
    /// ```
    /// use sockless::http::HeaderName;
    /// use sockless::{Router, TrustedProxies};
    ///
    /// let nginx = TrustedProxies::new(["10.0.0.0/8"])
    ///     .client_header(HeaderName::from_static("x-real-ip"));
    /// let router = Router::new().trust(nginx);
    /// ```
    pub fn client_header(mut self, name: HeaderName) -> Self {
        self.named = Some(name);
        self
    }

    /// Reads the host of the URL that the client opened from `X-Forwarded-Host`.
    pub fn x_forwarded_host(mut self) -> Self {
        self.x_host = true;
        self
    }

    /// Reads from `X-Forwarded-Proto` whether the client used TLS.
    pub fn x_forwarded_proto(mut self) -> Self {
        self.x_proto = true;
        self
    }

    /// Returns what trusted proxies report about the client of `request`; `None` if its peer is not
    /// trusted or reports nothing. A router does this; a server without one passes the result to
    /// [`Request::set_forwarded`].
    pub fn forwarded_for(&self, request: &Request) -> Option<Forwarded> {
        let peer = request.peer_addr().map(|addr| addr.ip());
        if !peer.map_or(self.unix, |peer| self.trusts(peer)) {
            return None;
        }
        if self.forwarded {
            return self.read_forwarded(request, peer);
        }
        let Farthest { client, hidden, hops } = match (&self.named, self.x_for) {
            (Some(name), _) => named(request, name, peer),
            (None, true) => self.farthest(peer, items(request, &X_FORWARDED_FOR).map(Node::parse)),
            (None, false) => Farthest { client: peer, hidden: false, hops: 1 },
        };
        let nth = |read, name| if read { nth_last(items(request, name), hops) } else { None };
        let forwarded = Forwarded {
            client: client.map(|client| client.to_canonical()),
            hidden,
            host: nth(self.x_host, &X_FORWARDED_HOST).and_then(parse_host),
            secure: nth(self.x_proto, &X_FORWARDED_PROTO).and_then(parse_proto),
        };
        Some(forwarded)
    }

    /// RFC 7239: each proxy adds an element about the node from which it received the request.
    fn read_forwarded(&self, request: &Request, peer: Option<IpAddr>) -> Option<Forwarded> {
        let mut elements = Vec::new();
        for line in request.headers().get_all(FORWARDED) {
            // The items of a malformed line cannot be separated, so it counts as one hidden node.
            let line = line.to_str().ok().and_then(parse_forwarded);
            let malformed = || vec![Element { client: Node::Hidden, ..Element::default() }];
            elements.extend(line.unwrap_or_else(malformed));
        }
        let nodes = elements.iter().rev().map(|element| element.client);
        let Farthest { client, hidden, hops } = self.farthest(peer, nodes);
        let element = nth_last(elements.iter().rev(), hops)?;
        Some(Forwarded {
            client: client.map(|client| client.to_canonical()),
            hidden,
            host: element.host.clone(),
            secure: element.secure,
        })
    }

    /// Follows `nodes` from `peer`, which is trusted, the nearest first, to the first that is not
    /// trusted.
    fn farthest(&self, peer: Option<IpAddr>, nodes: impl Iterator<Item = Node>) -> Farthest {
        let mut farthest = Farthest { client: peer, hidden: false, hops: 1 };
        for (index, node) in nodes.enumerate() {
            let hops = index + 1;
            farthest = Farthest { client: node.address(), hidden: node == Node::Hidden, hops };
            if !node.address().is_some_and(|node| self.trusts(node)) {
                break;
            }
        }
        farthest
    }

    fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&address))
    }
}

/// The client whose address is the only item of the header `name`.
fn named(request: &Request, name: &HeaderName, peer: Option<IpAddr>) -> Farthest {
    let mut values = request.headers().get_all(name).iter();
    let client = match (values.next(), values.next()) {
        (None, _) => return Farthest { client: peer, hidden: false, hops: 1 },
        (Some(value), None) => {
            value.to_str().ok().and_then(|text| Node::parse(text.trim()).address())
        }
        (Some(_), Some(_)) => None,
    };
    Farthest { client, hidden: client.is_none(), hops: 1 }
}

/// The first node on the way to the client that is not trusted.
struct Farthest {
    client: Option<IpAddr>,
    hidden: bool,
    /// Its distance from the server, counted from 1.
    hops: usize,
}

/// The node from which a proxy received the request, as the proxy reports it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Node {
    Address(IpAddr),
    /// The text is not an address: it is obfuscated or malformed.
    Hidden,
    /// Not reported.
    #[default]
    Absent,
}

impl Node {
    fn parse(text: &str) -> Self {
        parse_node(text).map_or(Self::Hidden, Self::Address)
    }

    fn address(self) -> Option<IpAddr> {
        match self {
            Self::Address(address) => Some(address),
            Self::Hidden | Self::Absent => None,
        }
    }
}

/// An item of a list of proxies is neither an address, nor a network, nor `unix:`, from
/// [`TrustedProxies::try_new`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "invalid proxy address {0:?}: expected an address or a network, such as 127.0.0.1, ::1, 10.0.0.0/8 or unix:"
)]
pub struct ParseTrustedProxyError(String);

/// Parses an address or a network. Host bits are ignored, and IPv4-mapped addresses become IPv4
/// addresses.
fn parse_network(text: &str) -> Result<IpNet, ParseTrustedProxyError> {
    let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
    let network = text.parse::<IpNet>().ok().or_else(address);
    let network = network.and_then(|network| match network.addr().to_canonical() {
        IpAddr::V4(base) if network.max_prefix_len() == 128 => {
            let len = network.prefix_len().checked_sub(96)?;
            Ipv4Net::new(base, len).ok().map(IpNet::V4)
        }
        _ => Some(network),
    });
    network.ok_or_else(|| ParseTrustedProxyError(text.to_owned()))
}

/// Returns the items of a header that is a list, from all its lines, the last first.
fn items<'c>(request: &'c Request, name: &HeaderName) -> impl Iterator<Item = &'c str> {
    let lines = request.headers().get_all(name).iter().rev();
    // Items are decoded one by one: invalid bytes of the client must not hide the proxy's item.
    let items = lines.flat_map(|line| line.as_bytes().rsplit(|&byte| byte == b','));
    let items = items.map(|item| str::from_utf8(item).unwrap_or("?").trim());
    items.filter(|item| !item.is_empty())
}

/// Returns the `n`th of `items`, which are in reverse order, counted from 1. If there are fewer,
/// returns the first of the list, since a proxy may replace such a header instead of adding to it.
fn nth_last<T>(items: impl Iterator<Item = T>, n: usize) -> Option<T> {
    items.take(n).last()
}

/// Parses the address of a node, with or without a port.
fn parse_node(text: &str) -> Option<IpAddr> {
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|addr| addr.ip());
    text.parse().ok().or_else(with_port).or_else(bare)
}

fn parse_host(text: &str) -> Option<ByteString> {
    HostPort::parse(text).map(|_| text.into())
}

fn parse_proto(text: &str) -> Option<bool> {
    let is = |name: &str| text.eq_ignore_ascii_case(name);
    match (is("https") || is("wss"), is("http") || is("ws")) {
        (false, false) => None,
        (secure, _) => Some(secure),
    }
}

/// An element of `Forwarded`, which one proxy added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Element {
    client: Node,
    host: Option<ByteString>,
    secure: Option<bool>,
}

/// Parses a line of `Forwarded` (RFC 7239 §4); `None` if it is malformed.
fn parse_forwarded(line: &str) -> Option<Vec<Element>> {
    let mut elements = vec![Element::default()];
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let element = elements.last_mut()?;
        rest = match rest.as_bytes()[0] {
            b',' => {
                elements.push(Element::default());
                &rest[1..]
            }
            b';' => &rest[1..],
            _ => {
                let (name, value) = rest.split_once('=')?;
                let (value, behind) = parse_value(value)?;
                match name {
                    n if n.contains([',', ';', '"']) => return None,
                    n if n.eq_ignore_ascii_case("for") => element.client = Node::parse(&value),
                    n if n.eq_ignore_ascii_case("host") => element.host = parse_host(&value),
                    n if n.eq_ignore_ascii_case("proto") => element.secure = parse_proto(&value),
                    _ => {}
                }
                behind
            }
        }
        .trim_start();
    }
    Some(elements)
}

/// Parses a token or a quoted string (RFC 9110 §5.6). Returns its value and the text from the next
/// separator on.
fn parse_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ';']).unwrap_or(text.len());
        let value = text[..end].trim_end();
        return (!value.contains('"')).then(|| (value.to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((index, char)) = chars.next() {
        match char {
            '"' => {
                let behind = quoted[index + 1..].trim_start();
                let ends = behind.is_empty() || behind.starts_with([',', ';']);
                return ends.then_some((value, behind));
            }
            '\\' => value.push(chars.next()?.1),
            char => value.push(char),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_contains_the_addresses_with_its_prefix() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.1.2", "11.0.0.0"),
            ("10.1.2.3/8", "10.9.9.9", "9.1.2.3"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("10.0.0.0/8", "::ffff:10.0.0.1", "::10.0.0.1"),
            ("fd00::/8", "fdff::1", "fe00::1"),
            ("::1", "::1", "::2"),
            ("::ffff:10.0.0.0/104", "10.1.2.3", "11.0.0.0"),
            ("::/0", "ffff::", "1.2.3.4"),
        ] {
            let proxies = TrustedProxies::new([network]);
            assert!(proxies.trusts(inside.parse().unwrap()), "{inside} in {network:?}");
            assert!(!proxies.trusts(outside.parse().unwrap()), "{outside} in {network:?}");
        }
    }

    #[test]
    fn an_invalid_proxy_address_is_rejected() {
        for text in ["", "localhost", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/-1", "1.2.3"]
        {
            let error = TrustedProxies::try_new(["::1", text]).unwrap_err();
            assert!(
                error.to_string().starts_with(&format!("invalid proxy address {text:?}")),
                "{error}"
            );
        }
    }

    #[test]
    fn an_address_may_have_a_port_and_brackets() {
        for text in ["192.0.2.7", "192.0.2.7:80", "::1", "[::1]", "[::1]:80"] {
            assert!(parse_node(text).is_some(), "{text}");
        }
        for text in ["", "unknown", "_hidden", "192.0.2.7:x", "[192.0.2.7]:80:80", "example.com"] {
            assert_eq!(parse_node(text), None, "{text}");
        }
    }

    #[test]
    fn forwarded_is_parsed_as_in_rfc_7239() {
        let element = |client: &str, host: Option<&str>, secure| Element {
            client: Node::parse(client),
            host: host.map(Into::into),
            secure,
        };
        for (line, expected) in [
            ("for=192.0.2.43", vec![element("192.0.2.43", None, None)]),
            (r#"For="[2001:db8:cafe::17]:4711""#, vec![element("2001:db8:cafe::17", None, None)]),
            (
                "for=192.0.2.60;proto=http;by=203.0.113.43",
                vec![element("192.0.2.60", None, Some(false))],
            ),
            (
                "for=192.0.2.43, for=198.51.100.17;HOST=a.example ; proto=https",
                vec![
                    element("192.0.2.43", None, None),
                    element("198.51.100.17", Some("a.example"), Some(true)),
                ],
            ),
            (r#"for="_a,b;c\"d", for=unknown"#, vec![element("", None, None); 2]),
        ] {
            assert_eq!(parse_forwarded(line).as_ref(), Some(&expected), "{line}");
        }
        for line in [
            r#"for=""#,
            r#"for="a" b"#,
            r#"for="a\"#,
            "for",
            r#"for=a"b"#,
            "x, for=::1",
            "x;for=::1",
        ] {
            assert_eq!(parse_forwarded(line), None, "{line}");
        }
    }
}

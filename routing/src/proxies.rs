//! Which proxies are believed, and about what: [`TrustedProxies`].

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

/// The proxies before a server whose word on the client is taken, for
/// [`Router::trust`](crate::Router::trust).
///
/// Whoever connects can send any header. So a header counts only if it comes from an address that is
/// trusted, and is read from its end, where the nearest proxy added to it, back to the first
/// address that is not trusted: that is the client, and what stands before is the client's own
/// invention.
///
/// Name those headers that each of the proxies sets or removes; in one that a proxy passes on
/// untouched, the client speaks.
///
/// `X-Forwarded-Host` and `X-Forwarded-Proto` may be lists too, such as `https, http`. Of these the item is
/// taken that stands as far from the end as the client's address does in `X-Forwarded-For`: what the
/// farthest trusted proxy saw. A list that is shorter gives its first item, since many proxies set these
/// headers anew. Where `X-Forwarded-For` is not [read](Self::x_forwarded_for), the last item is taken, the
/// nearest proxy's own: that may be the `http` between two proxies, so read both.
///
/// ```
/// use sockless_routing::{Router, TrustedProxies};
///
/// let proxies = TrustedProxies::new(["127.0.0.1", "::1", "10.0.0.0/8"])
///     .x_forwarded_for()
///     .x_forwarded_proto();
/// let router = Router::new().trust(proxies);
/// ```
#[derive(Clone, Debug)]
#[must_use = "it does nothing until a router has it"]
pub struct TrustedProxies {
    networks: Arc<[IpNet]>,
    unix: bool,
    forwarded: bool,
    x_for: bool,
    x_host: bool,
    x_proto: bool,
}

impl TrustedProxies {
    /// Trusts these addresses, and all of networks such as `10.0.0.0/8`; about nothing, until a
    /// header is named. `unix:` stands for peers without an address: see [`unix`](Self::unix).
    ///
    /// Of `10.1.2.3/8`, the bits behind the prefix are ignored. IPv4 addresses match however they are
    /// written: `::ffff:10.0.0.1` is `10.0.0.1`.
    ///
    /// # Panics
    ///
    /// When one is neither: see [`try_new`](Self::try_new).
    #[track_caller]
    pub fn new(proxies: impl IntoIterator<Item: AsRef<str>>) -> Self {
        match Self::try_new(proxies) {
            Ok(proxies) => proxies,
            Err(error) => panic!("{error}"),
        }
    }

    /// As [`new`](Self::new), for addresses that are not known when the program is compiled.
    ///
    /// # Errors
    ///
    /// When one is neither an address nor a network.
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
        Ok(Self { networks, unix, forwarded: false, x_for: false, x_host: false, x_proto: false })
    }

    /// Trusts peers that have no IP address, as those of a Unix socket; about nothing, until a header is
    /// named. With addresses besides, name it `unix:` in [`new`](Self::new).
    ///
    /// Every program that may connect to the socket is believed, so its permissions decide. Do not use it in an HTTP
    /// server over TCP that passes on no addresses (`Mount` of `sockless-hyper` without `peer_addr`):
    /// there every client has none.
    ///
    /// ```
    /// use sockless_routing::{Router, TrustedProxies};
    ///
    /// let router = Router::new().trust(TrustedProxies::unix().x_forwarded_for());
    /// ```
    pub fn unix() -> Self {
        Self::new(["unix:"])
    }

    /// Reads the client's address, host and scheme from `Forwarded` (RFC 7239), and from no other
    /// header.
    pub fn forwarded(mut self) -> Self {
        self.forwarded = true;
        self
    }

    /// Reads the client's address from `X-Forwarded-For`.
    pub fn x_forwarded_for(mut self) -> Self {
        self.x_for = true;
        self
    }

    /// Reads the host that the client asked for from `X-Forwarded-Host`.
    pub fn x_forwarded_host(mut self) -> Self {
        self.x_host = true;
        self
    }

    /// Reads whether the client came over TLS from `X-Forwarded-Proto`.
    pub fn x_forwarded_proto(mut self) -> Self {
        self.x_proto = true;
        self
    }

    /// What `request` says of its client, as far as that is to be believed; `None` when it is nothing.
    pub(crate) fn hear(&self, request: &Request) -> Option<Forwarded> {
        let peer = request.peer_addr().map(|addr| addr.ip());
        if !peer.map_or(self.unix, |peer| self.trusts(peer)) {
            return None;
        }
        if self.forwarded {
            return self.hear_forwarded(request, peer);
        }
        let Farthest { client, hidden, hops } = match self.x_for {
            true => self.farthest(peer, items(request, &X_FORWARDED_FOR).map(Node::parse)),
            false => Farthest { client: peer, hidden: false, hops: 1 },
        };
        let nth = |read, name| if read { nth_last(items(request, name), hops) } else { None };
        let heard = Forwarded {
            client: client.map(|client| client.to_canonical()),
            hidden,
            host: nth(self.x_host, &X_FORWARDED_HOST).and_then(parse_host),
            secure: nth(self.x_proto, &X_FORWARDED_PROTO).and_then(parse_proto),
        };
        Some(heard)
    }

    /// RFC 7239: each proxy adds an element on whom it got the request from, and how.
    fn hear_forwarded(&self, request: &Request, peer: Option<IpAddr>) -> Option<Forwarded> {
        let mut elements = Vec::new();
        for line in request.headers().get_all(FORWARDED) {
            // After a line that cannot be read nothing can be told apart.
            let line = line.to_str().ok().and_then(parse_forwarded);
            let unreadable = || vec![Element { client: Node::Hidden, ..Element::default() }];
            elements.extend(line.unwrap_or_else(unreadable));
        }
        let nodes = elements.iter().rev().map(|element| element.client);
        let Farthest { client, hidden, hops } = self.farthest(peer, nodes);
        let told = nth_last(elements.iter().rev(), hops)?;
        Some(Forwarded {
            client: client.map(|client| client.to_canonical()),
            hidden,
            host: told.host.clone(),
            secure: told.secure,
        })
    }

    /// Walks from `peer`, which is trusted, through `nodes`, the nearest first, to the first that is
    /// not.
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

/// The first node on the way back to the client that is not trusted.
struct Farthest {
    client: Option<IpAddr>,
    hidden: bool,
    /// Its number, counted from 1.
    hops: usize,
}

/// What a proxy says of the node that it got the request from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Node {
    Address(IpAddr),
    /// Something that is not an address: it hides, or cannot be read.
    Hidden,
    /// Nothing.
    #[default]
    Unsaid,
}

impl Node {
    fn parse(text: &str) -> Self {
        parse_node(text).map_or(Self::Hidden, Self::Address)
    }

    fn address(self) -> Option<IpAddr> {
        match self {
            Self::Address(address) => Some(address),
            Self::Hidden | Self::Unsaid => None,
        }
    }
}

/// A text that names neither an address nor a network was put into a list of proxies.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is neither an address nor a network: write 127.0.0.1, ::1, 10.0.0.0/8 or unix:")]
pub struct ParseTrustedProxyError(String);

/// Reads an address or a network. Bits behind the prefix are ignored, and IPv4 addresses that are written
/// as IPv6 ones are read as what they are.
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

/// The items of a header that is a list, over all its lines, the last first.
fn items<'c>(request: &'c Request, name: &HeaderName) -> impl Iterator<Item = &'c str> {
    let lines = request.headers().get_all(name).iter().rev();
    // Each by itself: what a client wrote in the same line before must not hide the proxy's own item.
    let items = lines.flat_map(|line| line.as_bytes().rsplit(|&byte| byte == b','));
    let items = items.map(|item| str::from_utf8(item).unwrap_or("?").trim());
    items.filter(|item| !item.is_empty())
}

/// The `n`th of what comes last first, counted from 1; the farthest when there are fewer, since a
/// proxy may set such a header anew instead of adding to it.
fn nth_last<T>(items: impl Iterator<Item = T>, n: usize) -> Option<T> {
    items.take(n).last()
}

/// The address of a client or a proxy, with or without a port; `None` when it hides.
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

/// What one proxy says of the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Element {
    client: Node,
    host: Option<ByteString>,
    secure: Option<bool>,
}

/// The elements of a line of `Forwarded` (RFC 7239 §4); `None` when it is malformed.
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

/// A token or a quoted string (RFC 9110 §5.6), and what follows up to and with the next separator.
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
    fn a_network_is_all_addresses_of_one_beginning() {
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
    fn what_is_no_network_is_refused() {
        for text in ["", "localhost", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/-1", "1.2.3"]
        {
            let error = TrustedProxies::try_new(["::1", text]).unwrap_err();
            assert!(error.to_string().starts_with(&format!("{text:?} is neither")), "{error}");
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
    fn forwarded_is_read_as_its_rfc_writes_it() {
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

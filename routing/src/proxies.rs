//! Which proxies are believed, and about what: [`TrustedProxies`].

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use bytestring::ByteString;
use http::header::{FORWARDED, HeaderName};
use sockless_driver::{Authority, Call, Forwarded};
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
    networks: Arc<[Network]>,
    forwarded: bool,
    x_for: bool,
    x_host: bool,
    x_proto: bool,
}

impl TrustedProxies {
    /// Trusts these addresses, and all of networks such as `10.0.0.0/8`; about nothing, until a
    /// header is named.
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
    pub fn try_new(proxies: impl IntoIterator<Item: AsRef<str>>) -> Result<Self, ProxyInvalid> {
        let networks: Result<_, _> = proxies.into_iter().map(|p| p.as_ref().parse()).collect();
        let networks = networks?;
        Ok(Self { networks, forwarded: false, x_for: false, x_host: false, x_proto: false })
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

    /// What `call` says of its client, as far as that is to be believed; `None` when it is nothing.
    pub(crate) fn hear(&self, call: &Call) -> Option<Forwarded> {
        let peer = call.peer_addr()?.ip();
        if !self.trusts(peer) {
            return None;
        }
        if self.forwarded {
            return self.hear_forwarded(call);
        }
        let (client, hops) = match self.x_for {
            true => self.client(peer, items(call, &X_FORWARDED_FOR).map(parse_node)),
            false => (Some(peer), 1),
        };
        let nth = |read, name| if read { nth_last(items(call, name), hops) } else { None };
        let heard = Forwarded {
            client: client.map(|client| client.to_canonical()),
            host: nth(self.x_host, &X_FORWARDED_HOST).and_then(parse_host),
            secure: nth(self.x_proto, &X_FORWARDED_PROTO).and_then(parse_proto),
        };
        Some(heard)
    }

    /// RFC 7239: each proxy adds an element on whom it got the request from, and how.
    fn hear_forwarded(&self, call: &Call) -> Option<Forwarded> {
        let mut elements = Vec::new();
        for line in call.headers().get_all(FORWARDED) {
            // After a line that cannot be read nothing can be told apart.
            let line = line.to_str().ok().and_then(parse_forwarded);
            elements.extend(line.unwrap_or_else(|| vec![Element::default()]));
        }
        let peer = call.peer_addr()?.ip();
        let nodes = elements.iter().rev().map(|element| element.client);
        let (client, hops) = self.client(peer, nodes);
        let told = nth_last(elements.iter().rev(), hops)?;
        Some(Forwarded {
            client: client.map(|client| client.to_canonical()),
            host: told.host.clone(),
            secure: told.secure,
        })
    }

    /// Walks from `peer`, which is trusted, through `nodes`, the nearest first, to the first that is
    /// not; gives its address, if it is told, and its number, counted from 1.
    fn client(
        &self,
        peer: IpAddr,
        nodes: impl Iterator<Item = Option<IpAddr>>,
    ) -> (Option<IpAddr>, usize) {
        let mut farthest = (Some(peer), 1);
        for (index, node) in nodes.enumerate() {
            farthest = (node, index + 1);
            if !node.is_some_and(|node| self.trusts(node)) {
                break;
            }
        }
        farthest
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }
}

/// A text that names neither an address nor a network was put into a list of proxies.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is neither an address nor a network: write 127.0.0.1, ::1 or 10.0.0.0/8")]
pub struct ProxyInvalid(String);

/// The addresses that begin with the first `len` bits of `base`.
#[derive(Clone, Copy)]
struct Network {
    base: IpAddr,
    len: u32,
}

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        // A shift by all bits is none that the language has.
        match (self.base, address.to_canonical()) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                let differ = base.to_bits() ^ address.to_bits();
                differ.checked_shr(32 - self.len).unwrap_or(0) == 0
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                let differ = base.to_bits() ^ address.to_bits();
                differ.checked_shr(128 - self.len).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = ProxyInvalid;

    fn from_str(text: &str) -> Result<Self, ProxyInvalid> {
        let parse = || {
            let (base, len) = match text.split_once('/') {
                Some((base, len)) => (base, Some(len)),
                None => (text, None),
            };
            let base: IpAddr = base.parse().ok()?;
            let bits: u32 = if base.is_ipv4() { 32 } else { 128 };
            let len = match len {
                Some(len) => len.parse().ok().filter(|len| *len <= bits)?,
                None => bits,
            };
            // Addresses of version 4 are compared as such, however they are written.
            match (base, base.to_canonical()) {
                (IpAddr::V6(_), base @ IpAddr::V4(_)) => {
                    Some(Self { base, len: len.checked_sub(96)? })
                }
                _ => Some(Self { base, len }),
            }
        };
        parse().ok_or_else(|| ProxyInvalid(text.to_owned()))
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.len)
    }
}

/// The items of a header that is a list, over all its lines, the last first.
fn items<'c>(call: &'c Call, name: &HeaderName) -> impl Iterator<Item = &'c str> {
    let lines = call.headers().get_all(name).iter().rev();
    // A line that is no text counts as one item that says nothing.
    let lines = lines.flat_map(|line| line.to_str().unwrap_or("?").rsplit(','));
    lines.map(str::trim).filter(|item| !item.is_empty())
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
    Authority::parse(text).map(|_| text.into())
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
    client: Option<IpAddr>,
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
                    n if n.eq_ignore_ascii_case("for") => element.client = parse_node(&value),
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
            let network: Network = network.parse().unwrap();
            assert!(network.contains(inside.parse().unwrap()), "{inside} in {network:?}");
            assert!(!network.contains(outside.parse().unwrap()), "{outside} in {network:?}");
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
            client: client.parse().ok(),
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

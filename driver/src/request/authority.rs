//! A host and perhaps a port: [`HostPort`].

use std::net::Ipv6Addr;

/// The host and the port of an address that is nothing more: no user, no path (RFC 3986 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostPort<'a> {
    /// A name, an IPv4 address, or an IPv6 address in its brackets; as it was written, in any case.
    pub host: &'a str,
    /// The port, if it is named.
    pub port: Option<u16>,
}

impl<'a> HostPort<'a> {
    /// Reads `host` or `host:port`.
    ///
    /// A name has the characters of RFC 3986's `reg-name`, without percent-encoding: a `%` is refused, as
    /// it is in a request's `Host` and its target, since programs differ in whether they decode it. In
    /// brackets stands an IPv6 address without a zone.
    ///
    /// ```
    /// use sockless_driver::HostPort;
    ///
    /// let authority = HostPort::parse("[::1]:8080").unwrap();
    /// assert_eq!((authority.host, authority.port), ("[::1]", Some(8080)));
    /// assert_eq!(HostPort::parse("user@example.com"), None);
    /// ```
    pub fn parse(text: &'a str) -> Option<Self> {
        // The colons of an IPv6 address stand in brackets.
        let end = text.find(']').map_or(0, |bracket| bracket + 1);
        let (host, port) = match text[end..].find(':') {
            Some(colon) => (&text[..end + colon], &text[end + colon + 1..]),
            None => (text, ""),
        };
        let port = match port {
            // An empty port is the default one (RFC 3986 §3.2.3).
            "" => None,
            // The standard parser would take a sign.
            digits if digits.bytes().all(|b| b.is_ascii_digit()) => Some(digits.parse().ok()?),
            _ => return None,
        };
        is_host(host).then_some(Self { host, port })
    }
}

fn is_host(text: &str) -> bool {
    match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => {
            let is_letter = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&b);
            !text.is_empty() && text.bytes().all(is_letter)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_told_apart() {
        for (text, host, port) in [
            ("example.com", "example.com", None),
            ("Example.com:80", "Example.com", Some(80)),
            ("example.com:", "example.com", None),
            ("a_b~c!$&'()*+,;=:80", "a_b~c!$&'()*+,;=", Some(80)),
            ("127.0.0.1:3000", "127.0.0.1", Some(3000)),
            ("[::1]", "[::1]", None),
            ("[::1]:3000", "[::1]", Some(3000)),
        ] {
            assert_eq!(HostPort::parse(text), Some(HostPort { host, port }), "{text}");
        }
    }

    #[test]
    fn what_is_more_or_less_is_refused() {
        for text in [
            "",
            ":80",
            "a:80:80",
            "a:+80",
            "a:65536",
            "u@a",
            "a/",
            "a b",
            "::1",
            "[::1",
            "[a]",
            "[::1]x",
            "bücher",
            "a%41",
            "%",
            "[fe80::1%25eth0]",
            "[v1.a]",
        ] {
            assert_eq!(HostPort::parse(text), None, "{text}");
        }
    }
}

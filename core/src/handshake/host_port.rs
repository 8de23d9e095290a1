//! A host with an optional port: [`HostPort`].

use core::net::Ipv6Addr;

/// A host and an optional port, such as the value of a `Host` header (RFC 9110 §7.2).
///
/// ```
/// use sockless_core::handshake::HostPort;
///
/// let host_port = HostPort::parse("[::1]:8080").unwrap();
/// assert_eq!((host_port.host, host_port.port), ("[::1]", Some(8080)));
/// assert_eq!(HostPort::parse("user@example.com"), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostPort<'a> {
    /// A name, an IPv4 address, or an IPv6 address in brackets. Its case is not changed.
    pub host: &'a str,
    /// The port; `None`, which means the scheme's default, if it is missing or empty.
    pub port: Option<u16>,
}

impl<'a> HostPort<'a> {
    /// Parses `host` or `host:port`; returns `None` if `text` is anything else, such as an authority
    /// with user information.
    ///
    /// A name consists of the characters of `reg-name` (RFC 3986 §3.2.2) without percent-encoding:
    /// programs differ in whether they decode a `%`, and these differences can be exploited. An IPv6
    /// address must be in brackets and cannot have a zone.
    pub fn parse(text: &'a str) -> Option<Self> {
        // The colons of an IPv6 address are inside the brackets.
        let end = text.bytes().position(|byte| byte == b']').map_or(0, |bracket| bracket + 1);
        let (host, port) = match text[end..].bytes().position(|byte| byte == b':') {
            Some(colon) => (&text[..end + colon], &text[end + colon + 1..]),
            None => (text, ""),
        };
        let port = match port {
            // An empty port is the default one (RFC 3986 §3.2.3).
            "" => None,
            // `u16::from_str` would accept a sign.
            digits if digits.bytes().all(|b| b.is_ascii_digit()) => Some(digits.parse().ok()?),
            _ => return None,
        };
        is_host(host).then_some(Self { host, port })
    }
}

fn is_host(text: &str) -> bool {
    match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => !text.is_empty() && text.bytes().all(|byte| IS_NAME_BYTE[usize::from(byte)]),
    }
}

/// True for each byte of a name. A table, since every request has a `Host`.
static IS_NAME_BYTE: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = (byte as u8).is_ascii_alphanumeric()
            || matches!(
                byte as u8,
                b'-' | b'.'
                    | b'_'
                    | b'~'
                    | b'!'
                    | b'$'
                    | b'&'
                    | b'\''
                    | b'('
                    | b')'
                    | b'*'
                    | b'+'
                    | b','
                    | b';'
                    | b'='
            );
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_and_its_port_are_separated() {
        for (text, host, port) in [
            ("example.com", "example.com", None),
            ("Example.com:80", "Example.com", Some(80)),
            ("example.com:", "example.com", None),
            ("a_b~c!$&'()*+,;=:80", "a_b~c!$&'()*+,;=", Some(80)),
            ("127.0.0.1:3000", "127.0.0.1", Some(3000)),
            ("[::1]", "[::1]", None),
            ("[::1]:65535", "[::1]", Some(65535)),
        ] {
            assert_eq!(HostPort::parse(text), Some(HostPort { host, port }), "{text}");
        }
    }

    #[test]
    fn any_other_text_is_rejected() {
        for text in [
            "",
            ":80",
            "a:80:80",
            "a:+80",
            "a:b",
            "a:65536",
            "u@a",
            "u:p@a:80",
            "@a",
            "a@a",
            "a:80@a",
            "a:@a",
            "a/",
            "a/b",
            "a b",
            "a\r\n",
            "::1",
            "[::1",
            "[a]",
            "a[b]",
            "a[::1]",
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

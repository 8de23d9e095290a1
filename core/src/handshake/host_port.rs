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
        let (host, rest) = text.split_at(host_len(text)?);
        let port = match rest.as_bytes() {
            // An empty port is the default one (RFC 3986 §3.2.3).
            [] | [b':'] => None,
            // `u16::from_str` would accept a sign.
            [b':', digits @ ..] if digits.iter().all(u8::is_ascii_digit) => {
                Some(rest[1..].parse().ok()?)
            }
            _ => return None,
        };
        Some(Self { host, port })
    }
}

/// The length of the host at the start of `text`; `None` if it does not begin with a host.
fn host_len(text: &str) -> Option<usize> {
    if let Some(rest) = text.strip_prefix('[') {
        // The colons of an IPv6 address are inside the brackets.
        let (address, _) = rest.split_once(']')?;
        address.parse::<Ipv6Addr>().ok()?;
        return Some(address.len() + 2);
    }
    let is_end = |byte: u8| !IS_NAME_BYTE[usize::from(byte)];
    let len = text.bytes().position(is_end).unwrap_or(text.len());
    (len > 0).then_some(len)
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

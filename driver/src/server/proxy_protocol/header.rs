//! The header of the PROXY protocol, versions 1 and 2, as bytes: [`Header`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// The first bytes of version 2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The length of the longest header of version 1, with its line end.
const MAX_V1_LEN: usize = 107;

/// The length of the longest header of version 2 that is accepted. The addresses take 36 bytes at
/// most, and the rest are extensions, such as a client's certificate, which are skipped.
const MAX_V2_LEN: usize = 16 + 4096;

/// The addresses that a proxy reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    /// The client's address; `None` for a connection of the proxy itself, such as a health check,
    /// and for a protocol without addresses.
    pub(super) source: Option<SocketAddr>,
    /// The address to which the client connected.
    pub(super) destination: Option<SocketAddr>,
}

/// The next step of reading a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The header is complete.
    Done(Header),
    /// It has at least so many bytes more.
    Needs(usize),
    /// The bytes are not a header.
    Invalid(&'static str),
}

/// Parses the bytes that have been read so far, of which none may follow the header: read as many
/// as [`Step::Needs`] states, and nothing beyond it.
pub(super) fn parse(bytes: &[u8]) -> Step {
    let head = &bytes[..bytes.len().min(SIGNATURE.len())];
    if SIGNATURE.starts_with(head) {
        // The shortest header of version 1 is longer than the signature.
        let is_short = head.len() < SIGNATURE.len();
        return if is_short { needs(bytes, SIGNATURE.len()) } else { parse_v2(bytes) };
    }
    match b"PROXY ".starts_with(&head[..head.len().min(6)]) {
        true => parse_v1(bytes),
        false => Step::Invalid("expected a header of the PROXY protocol"),
    }
}

fn needs(bytes: &[u8], len: usize) -> Step {
    Step::Needs(len - bytes.len())
}

fn parse_v1(bytes: &[u8]) -> Step {
    // "PROXY UNKNOWN\r\n" is the shortest. Then one byte at a time: what follows the line end
    // belongs to the connection.
    if bytes.len() < 15 {
        return needs(bytes, 15);
    }
    let Some(line) = bytes.strip_suffix(b"\r\n") else {
        return match bytes.len() < MAX_V1_LEN {
            true => Step::Needs(1),
            false => Step::Invalid("the line of the PROXY protocol is longer than 107 bytes"),
        };
    };
    let line = std::str::from_utf8(line).ok().map(|line| line.split(' ').collect::<Vec<_>>());
    match line.as_deref() {
        Some(["PROXY", "UNKNOWN", ..]) => Step::Done(Header::default()),
        Some(["PROXY", "TCP4", addrs @ ..]) => addresses_v1::<Ipv4Addr>(addrs),
        Some(["PROXY", "TCP6", addrs @ ..]) => addresses_v1::<Ipv6Addr>(addrs),
        _ => Step::Invalid("the line of the PROXY protocol has an unknown family"),
    }
}

fn addresses_v1<A: FromStr + Into<IpAddr>>(words: &[&str]) -> Step {
    let address = |ip: &str, port: &str| -> Option<SocketAddr> {
        let ip = ip.parse::<A>().ok()?;
        let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
        Some(SocketAddr::new(ip.into(), is_number.then(|| port.parse().ok())??))
    };
    let addresses = match words {
        [from, to, from_port, to_port] => address(from, from_port).zip(address(to, to_port)),
        _ => None,
    };
    match addresses {
        Some((source, destination)) => {
            Step::Done(Header { source: Some(source), destination: Some(destination) })
        }
        None => Step::Invalid("the line of the PROXY protocol has an invalid address"),
    }
}

fn parse_v2(bytes: &[u8]) -> Step {
    if bytes.len() < 16 {
        return needs(bytes, 16);
    }
    let (command, family) = (bytes[12], bytes[13]);
    let len = 16 + usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
    match () {
        () if command >> 4 != 2 => Step::Invalid("expected version 2 of the PROXY protocol"),
        () if len > MAX_V2_LEN => Step::Invalid("the header of the PROXY protocol is too long"),
        () if bytes.len() < len => needs(bytes, len),
        () => match command & 0x0F {
            0 => Step::Done(Header::default()),
            1 => addresses_v2(family, &bytes[16..len]),
            _ => Step::Invalid("the header of the PROXY protocol has an unknown command"),
        },
    }
}

fn addresses_v2(family: u8, bytes: &[u8]) -> Step {
    let header = match family >> 4 {
        1 => bytes.first_chunk().map(|bytes: &[u8; 12]| {
            let [a, b, c, d, e, f, g, h, ports @ ..] = *bytes;
            header([a, b, c, d].into(), [e, f, g, h].into(), ports)
        }),
        2 => bytes.first_chunk().map(|bytes: &[u8; 36]| {
            let address = |at| {
                let address: [u8; 16] = std::array::from_fn(|index| bytes[at + index]);
                address.into()
            };
            header(address(0), address(16), [bytes[32], bytes[33], bytes[34], bytes[35]])
        }),
        // Unix sockets, and protocols without addresses.
        _ => Some(Header::default()),
    };
    header.map_or(Step::Invalid("the header of the PROXY protocol is too short"), Step::Done)
}

fn header(source: IpAddr, destination: IpAddr, [a, b, c, d]: [u8; 4]) -> Header {
    let at = |ip, port| Some(SocketAddr::new(ip, u16::from_be_bytes(port)));
    Header { source: at(source, [a, b]), destination: at(destination, [c, d]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads as a server does, and returns the header and the rest.
    fn read(bytes: &[u8]) -> Result<(Header, &[u8]), &'static str> {
        let mut len = 0;
        loop {
            match parse(&bytes[..len]) {
                Step::Done(header) => return Ok((header, &bytes[len..])),
                Step::Needs(0) => panic!("it makes no progress"),
                Step::Needs(more) if len + more > bytes.len() => return Err("incomplete"),
                Step::Needs(more) => len += more,
                Step::Invalid(error) => return Err(error),
            }
        }
    }

    fn from_to(source: &str, destination: &str) -> Header {
        let parse = |addr: &str| Some(addr.parse().unwrap());
        Header { source: parse(source), destination: parse(destination) }
    }

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let len = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &len, body, b"GET"].concat()
    }

    #[test]
    fn headers_of_version_1_are_parsed() {
        for (line, header) in [
            (
                "TCP4 192.0.2.1 198.51.100.2 56324 443",
                from_to("192.0.2.1:56324", "198.51.100.2:443"),
            ),
            ("TCP6 2001:db8::1 ::1 1 65535", from_to("[2001:db8::1]:1", "[::1]:65535")),
            ("UNKNOWN", Header::default()),
            ("UNKNOWN ffff::1 ::1 1 2", Header::default()),
        ] {
            let bytes = format!("PROXY {line}\r\nGET");
            assert_eq!(read(bytes.as_bytes()), Ok((header, &b"GET"[..])), "{line}");
        }
        for line in [
            "TCP4 192.0.2.1 198.51.100.2 56324",
            "TCP4 192.0.2.1 198.51.100.2 56324 65536",
            "TCP4 192.0.2.1 198.51.100.2 +1 443",
            "TCP4 ::1 ::1 1 2",
            "TCP4  192.0.2.1 198.51.100.2 1 2",
            "UDP4 192.0.2.1 198.51.100.2 1 2",
            &"TCP6 ".repeat(30),
        ] {
            assert!(read(format!("PROXY {line}\r\nGET").as_bytes()).is_err(), "{line}");
        }
    }

    #[test]
    fn headers_of_version_2_are_parsed() {
        let ipv4 = [192, 0, 2, 1, 198, 51, 100, 2, 0xDC, 4, 1, 0xBB];
        let expected = from_to("192.0.2.1:56324", "198.51.100.2:443");
        let with_extension = [&ipv4[..], &[4, 0, 1, 7]].concat();
        for body in [&ipv4[..], &with_extension] {
            let bytes = v2(0x21, 0x11, body);
            assert_eq!(read(&bytes), Ok((expected, &b"GET"[..])));
        }
        let mut ipv6 = [0; 36];
        (ipv6[15], ipv6[31], ipv6[33], ipv6[35]) = (1, 2, 3, 4);
        assert_eq!(read(&v2(0x21, 0x21, &ipv6)).unwrap().0, from_to("[::1]:3", "[::2]:4"));
        assert_eq!(read(&v2(0x20, 0x00, b"")).unwrap().0, Header::default(), "LOCAL");
        assert_eq!(read(&v2(0x21, 0x31, &[0; 216])).unwrap().0, Header::default(), "Unix");

        for bytes in [
            v2(0x31, 0x11, &ipv4),
            v2(0x22, 0x11, &ipv4),
            v2(0x21, 0x11, &ipv4[..11]),
            v2(0x21, 0x21, &ipv6[..35]),
            v2(0x21, 0x11, &[0; 4097]),
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
            b"\r\n\r\n\0\r\nQUIX\n----".to_vec(),
        ] {
            assert!(read(&bytes).is_err_and(|error| error != "incomplete"), "{bytes:?}");
        }
    }
}

//! SOCKS 5 (RFC 1928), with a user's name and password (RFC 1929): [`Socks5`].
//!
//! The protocol bounds what a proxy may send: no reply is longer than 262 bytes.

use std::net::IpAddr;

use bytes::{Buf, BufMut, BytesMut};

use super::error::ProxyError;
use crate::client::credentials::Credentials;

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;
const NO_ACCEPTABLE_METHOD: u8 = 0xFF;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// The server to which the proxy is asked to connect.
pub(super) enum Address {
    Ip(IpAddr),
    /// Of 1 to 255 bytes.
    Name(String),
}

impl Address {
    pub(super) fn name(name: &str) -> Result<Self, ProxyError> {
        match name.len() {
            1..=255 => Ok(Self::Name(name.to_owned())),
            _ => Err(ProxyError::HostTooLong),
        }
    }
}

/// A request for a tunnel to a server, and the proxy's replies.
pub(in crate::client) struct Socks5 {
    pub(super) outbound: BytesMut,
    awaited: Awaited,
    /// The message of RFC 1929 §2, if there are credentials.
    authentication: Option<BytesMut>,
    /// The message of RFC 1928 §4.
    request: BytesMut,
}

/// The reply that comes next.
enum Awaited {
    Method,
    Authentication,
    Reply,
}

impl Socks5 {
    pub(super) fn new(address: &Address, port: u16, credentials: Option<&Credentials>) -> Self {
        let mut outbound = BytesMut::new();
        match credentials {
            None => outbound.put_slice(&[VERSION, 1, NO_AUTHENTICATION]),
            Some(_) => outbound.put_slice(&[VERSION, 2, NO_AUTHENTICATION, USER_AND_PASSWORD]),
        }
        let mut request = BytesMut::from(&[VERSION, CONNECT, 0][..]);
        match address {
            Address::Ip(IpAddr::V4(ip)) => {
                request.put_u8(IPV4);
                request.put_slice(&ip.octets());
            }
            Address::Ip(IpAddr::V6(ip)) => {
                request.put_u8(IPV6);
                request.put_slice(&ip.octets());
            }
            Address::Name(name) => {
                request.put_u8(NAME);
                put_short(&mut request, name.as_bytes());
            }
        }
        request.put_u16(port);
        let authentication = credentials.map(|Credentials { user, password }| {
            let mut message = BytesMut::from(&[1][..]);
            put_short(&mut message, user);
            put_short(&mut message, password);
            message
        });
        Self { outbound, awaited: Awaited::Method, authentication, request }
    }

    pub(super) fn poll(&mut self, inbound: &mut BytesMut) -> Option<Result<(), ProxyError>> {
        loop {
            let step = match self.awaited {
                Awaited::Method => self.method(inbound)?,
                Awaited::Authentication => self.authenticated(inbound)?,
                Awaited::Reply => return reply(inbound),
            };
            if let Err(error) = step {
                return Some(Err(error));
            }
        }
    }

    /// Takes the authentication method that the proxy selected (RFC 1928 §3).
    fn method(&mut self, inbound: &mut BytesMut) -> Option<Result<(), ProxyError>> {
        if let Err(error) = check_version(inbound, VERSION, "it is not SOCKS 5") {
            return Some(Err(error));
        }
        let [_, method] = take(inbound)?;
        Some(match (method, self.authentication.take()) {
            (NO_AUTHENTICATION, _) => {
                self.send_request();
                Ok(())
            }
            (USER_AND_PASSWORD, Some(message)) => {
                self.outbound.unsplit(message);
                self.awaited = Awaited::Authentication;
                Ok(())
            }
            (NO_ACCEPTABLE_METHOD, None) => Err(ProxyError::AuthenticationRequired),
            (NO_ACCEPTABLE_METHOD, Some(_)) => Err(ProxyError::CredentialsRejected),
            _ => Err(ProxyError::Invalid(
                "it selected an authentication method that was not offered (RFC 1928 3)",
            )),
        })
    }

    /// Takes the proxy's verdict on the credentials (RFC 1929 §2).
    fn authenticated(&mut self, inbound: &mut BytesMut) -> Option<Result<(), ProxyError>> {
        let why = "the version of its reply to the credentials is not 1 (RFC 1929 2)";
        if let Err(error) = check_version(inbound, 1, why) {
            return Some(Err(error));
        }
        let [_, status] = take(inbound)?;
        Some(match status {
            0 => {
                self.send_request();
                Ok(())
            }
            _ => Err(ProxyError::CredentialsRejected),
        })
    }

    fn send_request(&mut self) {
        let request = self.request.split();
        self.outbound.unsplit(request);
        self.awaited = Awaited::Reply;
    }
}

/// Takes the proxy's verdict on the tunnel (RFC 1928 §6). The address that the proxy connects from
/// is not needed.
fn reply(inbound: &mut BytesMut) -> Option<Result<(), ProxyError>> {
    if let Err(error) =
        check_version(inbound, VERSION, "the version of its reply is not 5 (RFC 1928 6)")
    {
        return Some(Err(error));
    }
    let code = *inbound.get(1)?;
    if code != 0 {
        return Some(Err(ProxyError::SocksRejected(code)));
    }
    let address_len = match *inbound.get(3)? {
        IPV4 => 4,
        IPV6 => 16,
        NAME => 1 + usize::from(*inbound.get(4)?),
        _ => {
            return Some(Err(ProxyError::Invalid(
                "its reply has an unknown type of address (RFC 1928 6)",
            )));
        }
    };
    let len = 4 + address_len + 2;
    (inbound.len() >= len).then(|| {
        inbound.advance(len);
        Ok(())
    })
}

/// Checks the first byte as soon as it has arrived.
fn check_version(inbound: &[u8], version: u8, why: &'static str) -> Result<(), ProxyError> {
    match inbound.first() {
        Some(first) if *first != version => Err(ProxyError::Invalid(why)),
        _ => Ok(()),
    }
}

fn take(inbound: &mut BytesMut) -> Option<[u8; 2]> {
    if inbound.len() < 2 {
        return None;
    }
    Some([inbound.get_u8(), inbound.get_u8()])
}

/// Writes bytes with their number before them. The callers have limited it to 255.
fn put_short(message: &mut BytesMut, bytes: &[u8]) {
    message.put_u8(bytes.len() as u8);
    message.put_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays a proxy that sends `bytes` one by one. Returns the bytes that it received, and the
    /// verdict.
    fn play(
        address: Address,
        user: Option<&str>,
        bytes: &[u8],
    ) -> (Vec<u8>, Option<Result<(), ProxyError>>) {
        let credentials = user.map(|user| Credentials::parse(user).unwrap());
        let mut socks = Socks5::new(&address, 443, credentials.as_ref());
        let mut inbound = BytesMut::new();
        let mut received = socks.outbound.split().to_vec();
        assert!(socks.poll(&mut inbound).is_none());
        for (at, &byte) in bytes.iter().enumerate() {
            inbound.put_u8(byte);
            let verdict = socks.poll(&mut inbound);
            received.extend_from_slice(&socks.outbound.split());
            if verdict.is_some() {
                assert_eq!(at + 1, bytes.len(), "the verdict comes with the byte that decides it");
                return (received, verdict);
            }
        }
        (received, None)
    }

    fn name() -> Address {
        Address::name("example.com").unwrap()
    }

    #[test]
    fn a_tunnel_is_opened_by_name_and_by_address() {
        let reply = [5, 0, 5, 0, 0, 1, 192, 0, 2, 1, 1, 187];
        let (received, verdict) = play(name(), None, &reply);
        assert_eq!(received, [&[5, 1, 0, 5, 1, 0, 3, 11][..], b"example.com", &[1, 187]].concat());
        assert_eq!(verdict, Some(Ok(())));

        let v4 = Address::Ip([192, 0, 2, 7].into());
        assert_eq!(play(v4, None, &reply).0, [5, 1, 0, 5, 1, 0, 1, 192, 0, 2, 7, 1, 187]);
        let ip: std::net::Ipv6Addr = "2001:db8::1".parse().unwrap();
        let (received, _) = play(Address::Ip(ip.into()), None, &reply);
        assert_eq!(received, [&[5, 1, 0, 5, 1, 0, 4][..], &ip.octets(), &[1, 187]].concat());

        let v6_reply = [&[5, 0, 5, 0, 0, 4][..], &[0; 18]].concat();
        assert_eq!(play(name(), None, &v6_reply).1, Some(Ok(())));
        let name_reply = [&[5, 0, 5, 0, 0, 3, 255][..], &[b'x'; 255], &[0, 0]].concat();
        assert_eq!(play(name(), None, &name_reply).1, Some(Ok(())));
        assert_eq!(play(name(), None, &name_reply[..200]).1, None);
    }

    #[test]
    fn credentials_are_sent_only_if_the_proxy_requests_them() {
        let reply = [5, 2, 1, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        let (received, verdict) = play(name(), Some("ada:p%40w"), &reply);
        let greeting = [5, 2, 0, 2];
        let message = [&[1, 3][..], b"ada", &[3], b"p@w"].concat();
        assert!(received.starts_with(&[&greeting[..], &message].concat()), "{received:?}");
        assert_eq!(verdict, Some(Ok(())));

        let (received, verdict) =
            play(name(), Some("ada:p"), &[5, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        assert!(!received.windows(3).any(|window| window == b"ada"));
        assert_eq!(verdict, Some(Ok(())));
    }

    #[test]
    fn each_invalid_reply_has_its_error() {
        let with = Some("ada:p");
        for (user, bytes, error) in [
            (None, &[5, 0xFF][..], ProxyError::AuthenticationRequired),
            (with, &[5, 0xFF], ProxyError::CredentialsRejected),
            (with, &[5, 2, 1, 1], ProxyError::CredentialsRejected),
            (None, &[5, 0, 5, 5], ProxyError::SocksRejected(5)),
            (None, &[5, 0, 5, 99], ProxyError::SocksRejected(99)),
        ] {
            assert_eq!(play(name(), user, bytes).1, Some(Err(error)), "{bytes:?}");
        }
        for (user, bytes) in [
            (None, &[4][..]),
            (None, b"H"),
            (None, &[5, 2]),
            (None, &[5, 1]),
            (with, &[5, 2, 5]),
            (None, &[5, 0, 4]),
            (None, &[5, 0, 5, 0, 0, 2]),
        ] {
            let verdict = play(name(), user, bytes).1;
            assert!(matches!(verdict, Some(Err(ProxyError::Invalid(_)))), "{bytes:?}: {verdict:?}");
        }
        assert!(matches!(Address::name(&"x".repeat(256)), Err(ProxyError::HostTooLong)));
    }
}

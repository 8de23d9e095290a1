//! Clients behind a proxy that announces them by the PROXY protocol: [`ProxyProtocol`].

mod header;

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::BytesMut;
use ipnet::IpNet;
use thiserror::Error;

use crate::network;
use crate::runtime::Io;
use header::{Header, Step};

/// The proxies that begin each connection with a header of the PROXY protocol, version 1 or 2, for
/// [`Server::proxy_protocol`](crate::Server::proxy_protocol).
///
/// Load balancers that pass TCP or TLS through, such as HAProxy and those of clouds, announce the
/// client's address by it, since they cannot add HTTP headers.
///
/// A connection from one of the proxies must begin with a header: otherwise it is dropped, and
/// logged at debug level. The client's address and the address to which it connected become
/// [`Request::peer_addr`](crate::Request::peer_addr) and
/// [`Request::local_addr`](crate::Request::local_addr), and limits per peer count it. A header
/// without an address, as in a health check of the proxy itself, leaves both unknown. Connections
/// from all other addresses have no header: a client that forges one is rejected like any other
/// request that is not HTTP.
///
/// ```no_run
/// # async fn example(router: sockless::Router) -> Result<(), Box<dyn std::error::Error>> {
/// use sockless::ProxyProtocol;
///
/// let proxies = ProxyProtocol::new(["10.0.0.0/8", "fd00::/8"])?;
/// sockless::bind("0.0.0.0:8080").await?.proxy_protocol(proxies).serve(router).await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ProxyProtocol {
    networks: Arc<[IpNet]>,
    unix: bool,
}

/// The error of [`ProxyProtocol::new`]: an item of the list is neither an address, nor a network, nor
/// `unix:`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("invalid proxy {0:?}: expected an address, a network such as 10.0.0.0/8, or unix:")]
pub struct ParseProxyProtocolError(String);

impl ProxyProtocol {
    /// Expects the header from these addresses and networks, such as `10.0.0.0/8`. `unix:` means
    /// peers without an address, such as those of a Unix socket. IPv4-mapped addresses equal their
    /// IPv4 addresses: `::ffff:10.0.0.1` is `10.0.0.1`.
    ///
    /// Every address in the list can claim to be any client.
    ///
    /// # Errors
    ///
    /// Returns an error if an item is not one of these.
    pub fn new(
        proxies: impl IntoIterator<Item: AsRef<str>>,
    ) -> Result<Self, ParseProxyProtocolError> {
        let (mut networks, mut unix) = (Vec::new(), false);
        for proxy in proxies {
            let proxy = proxy.as_ref();
            match network::parse(proxy) {
                Some(network) => networks.push(network),
                None if proxy == "unix:" => unix = true,
                None => return Err(ParseProxyProtocolError(proxy.to_owned())),
            }
        }
        Ok(Self { networks: networks.into(), unix })
    }

    /// Returns true if a connection from `peer` begins with a header.
    pub(super) fn expects(&self, peer: Option<SocketAddr>) -> bool {
        match peer {
            Some(peer) => {
                let ip = peer.ip().to_canonical();
                self.networks.iter().any(|network| network.contains(&ip))
            }
            None => self.unix,
        }
    }
}

/// Reads the header, and not one byte more. Returns the client's address and that to which it
/// connected.
pub(super) async fn read_header(
    transport: &mut dyn Io,
) -> io::Result<(Option<SocketAddr>, Option<SocketAddr>)> {
    let mut bytes: Vec<u8> = Vec::new();
    loop {
        let needs = match header::parse(&bytes) {
            Step::Done(Header { source, destination }) => return Ok((source, destination)),
            Step::Needs(needs) => needs,
            Step::Invalid(error) => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        };
        let mut buffer = BytesMut::with_capacity(needs);
        // The allocation may be larger than what was asked for.
        let mut buffer = buffer.split_off(buffer.capacity() - needs);
        match poll_fn(|cx| transport.poll_read(cx, &mut buffer)).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ => bytes.extend_from_slice(&buffer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_expected_from_the_listed_peers_alone() {
        let proxies = ProxyProtocol::new(["::ffff:10.0.0.0/104", "192.0.2.7", "fd00::/8"]).unwrap();
        for (peer, expected) in [
            ("10.1.2.3:1", true),
            ("[::ffff:10.1.2.3]:1", true),
            ("192.0.2.7:1", true),
            ("[fd00::1]:1", true),
            ("192.0.2.8:1", false),
            ("[2001:db8::1]:1", false),
        ] {
            assert_eq!(proxies.expects(Some(peer.parse().unwrap())), expected, "{peer}");
        }
        assert!(!proxies.expects(None));
        assert!(ProxyProtocol::new(["unix:"]).unwrap().expects(None));
        assert!(ProxyProtocol::new(["::ffff:0.0.0.0/80"]).is_err(), "half of it is not mapped");
    }
}

//! Opening a transport to a server: its addresses, its proxy, its TLS.

use http::Response;

use super::destination::Destination;
use super::dial::Dialler;
use super::error::{ConnectError, ConnectStep};
use super::proxy::{Proxy, ProxyError, ProxyRules, Tunnel};
use super::reading;
use super::target::Target;
use crate::exchange::{Exchange, Input};
use crate::runtime::Io;
#[cfg(feature = "rustls")]
use crate::tls::TlsConnector;

/// Opens a transport to `target`, through a proxy if the rules name one.
pub(super) async fn reach(
    dialler: &Dialler,
    target: &Target,
    proxies: &ProxyRules,
    #[cfg(feature = "rustls")] tls: &Tls,
) -> Result<(Box<dyn Io>, Destination), ConnectError> {
    let proxy = proxies.choose(target.secure, &target.host, target.port);
    let proxy = proxy.map_err(ConnectError::ProxyUrlInvalid)?;
    let mut destination = Destination::new(target, proxy.map(ToString::to_string));
    let proxy_is_secure = proxy.is_some_and(Proxy::is_secure);
    #[cfg(feature = "rustls")]
    let connector = match target.secure || proxy_is_secure {
        true => Some(tls.connector(&destination)?),
        false => None,
    };
    #[cfg(not(feature = "rustls"))]
    if target.secure || proxy_is_secure {
        return Err(ConnectError::TlsUnavailable { destination });
    }
    let transport = match proxy {
        Some(proxy) => {
            let through = Through {
                dialler,
                proxy,
                #[cfg(feature = "rustls")]
                tls: connector.as_ref().filter(|_| proxy_is_secure),
            };
            through.reach(target, &mut destination).await?
        }
        None => {
            let addrs = dialler.resolve(&target.host, target.port, &destination).await?;
            dialler.connect(addrs, &mut destination).await?
        }
    };
    #[cfg(feature = "rustls")]
    let transport = match connector.filter(|_| target.secure) {
        None => transport,
        Some(tls) => match dialler.within(tls.connect(&target.host, transport)).await {
            Some(Ok(transport)) => transport,
            Some(Err(error)) => return Err(ConnectError::Tls { destination, error }),
            None => return Err(dialler.timed_out(&destination, ConnectStep::Tls, Vec::new())),
        },
    };
    Ok((transport, destination))
}

/// The connector for `wss:` URLs, if the program set one.
#[cfg(feature = "rustls")]
#[derive(Default)]
pub(super) struct Tls(Option<TlsConnector>);

#[cfg(feature = "rustls")]
impl Tls {
    pub(super) fn new(connector: TlsConnector) -> Self {
        Self(Some(connector))
    }

    /// Returns the program's connector, or else one with the trust that the features of this build
    /// select.
    fn connector(&self, destination: &Destination) -> Result<TlsConnector, ConnectError> {
        if let Some(connector) = &self.0 {
            return Ok(connector.for_http_1());
        }
        #[cfg(feature = "platform-verifier")]
        let made = TlsConnector::platform();
        #[cfg(all(feature = "webpki-roots", not(feature = "platform-verifier")))]
        let made = TlsConnector::webpki_roots();
        #[cfg(any(feature = "platform-verifier", feature = "webpki-roots"))]
        return made.map_err(|error| ConnectError::Tls { destination: destination.clone(), error });
        #[cfg(not(any(feature = "platform-verifier", feature = "webpki-roots")))]
        Err(ConnectError::TlsUnavailable { destination: destination.clone() })
    }
}

/// The way through a proxy.
struct Through<'a> {
    dialler: &'a Dialler,
    proxy: &'a Proxy,
    /// For a proxy that is reached over TLS.
    #[cfg(feature = "rustls")]
    tls: Option<&'a TlsConnector>,
}

impl Through<'_> {
    /// Opens a tunnel to `target`. If the proxy takes addresses and the server has several, the
    /// next one is tried when the proxy cannot reach the previous one.
    async fn reach(
        &self,
        target: &Target,
        destination: &mut Destination,
    ) -> Result<Box<dyn Io>, ConnectError> {
        let Self { dialler, proxy, .. } = *self;
        let mut addrs = Vec::new();
        if proxy.takes_address() {
            addrs = dialler.resolve(&target.host, target.port, destination).await?;
            addrs.reverse();
        }
        loop {
            let mut tunnel = proxy.tunnel(target, addrs.pop()).map_err(|error| {
                let destination = destination.clone();
                ConnectError::Proxy { destination, error, response: None }
            })?;
            let transport = self.dial(destination).await?;
            let mut exchange = Exchange::new(transport, dialler.runtime.clone(), dialler.deadline);
            match negotiate_tunnel(dialler, &mut exchange, &mut tunnel, destination).await? {
                Ok(()) => return Ok(exchange.transport),
                Err(error) if error.is_address_specific() && !addrs.is_empty() => {}
                Err(error) => {
                    let response = read_rejection(dialler, &mut exchange, tunnel).await;
                    let destination = destination.clone();
                    return Err(ConnectError::Proxy { destination, error, response });
                }
            }
        }
    }

    /// Opens a transport to the proxy.
    async fn dial(&self, destination: &mut Destination) -> Result<Box<dyn Io>, ConnectError> {
        let Self { dialler, proxy, .. } = *self;
        let addrs = dialler.resolve(&proxy.host, proxy.port, destination).await?;
        let transport = dialler.connect(addrs, destination).await?;
        #[cfg(feature = "rustls")]
        if let Some(tls) = self.tls {
            return match dialler.within(tls.connect(&proxy.host, transport)).await {
                Some(Ok(transport)) => Ok(transport),
                Some(Err(error)) => {
                    Err(ConnectError::ProxyTls { destination: destination.clone(), error })
                }
                None => Err(dialler.timed_out(destination, ConnectStep::Proxy, Vec::new())),
            };
        }
        Ok(transport)
    }
}

/// Asks a proxy for a tunnel and returns its verdict, unless the transport fails or the deadline
/// passes before.
async fn negotiate_tunnel(
    dialler: &Dialler,
    exchange: &mut Exchange,
    tunnel: &mut Tunnel,
    destination: &Destination,
) -> Result<Result<(), ProxyError>, ConnectError> {
    let step = ConnectStep::Proxy;
    let failed = |error| ConnectError::Transport { destination: destination.clone(), step, error };
    let timed_out = || dialler.timed_out(destination, step, Vec::new());
    loop {
        if !exchange.write(tunnel.outbound()).await.map_err(failed)? {
            return Err(timed_out());
        }
        match exchange.read_in_time().await.map_err(failed)? {
            Input::Bytes => {}
            Input::Eof => return Ok(Err(ProxyError::Eof)),
            Input::Timeout => return Err(timed_out()),
        }
        if let Some(verdict) = tunnel.poll(&mut exchange.inbound) {
            return Ok(verdict);
        }
    }
}

/// Returns the response with which an HTTP proxy rejected the tunnel. Its body only explains the
/// status, therefore it has little time even if its length is known.
async fn read_rejection(
    dialler: &Dialler,
    exchange: &mut Exchange,
    tunnel: Tunnel,
) -> Option<Box<Response<bytes::Bytes>>> {
    let head = tunnel.into_rejection()?;
    let soon = dialler.runtime.now() + reading::BODY_PATIENCE;
    exchange.set_deadline(soon.min(dialler.deadline));
    let (body, _) = reading::read_body(exchange, &head).await;
    Some(Box::new(head.map(|()| body)))
}

//! Dialling: [`Connect`] describes a connection to be, and opens it step by step.

mod body;
mod connection;
mod destination;
mod dial;
mod error;
mod excerpt;
mod eyeballs;
mod proxy;
mod reading;
mod reconnect;
mod redirect;
mod status;
mod target;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use http::HeaderMap;
use http::header::{
    AUTHORIZATION, COOKIE, Entry, HeaderName, HeaderValue, PROXY_AUTHORIZATION,
    SEC_WEBSOCKET_PROTOCOL,
};
use sockless_core::Config;

pub use connection::ClientConnection;
pub use destination::Destination;
pub use dial::Dial;
pub use error::{ConnectError, ConnectStep, DialAttempt};
pub use proxy::{ParseProxyUrlError, Proxy, ProxyError, ProxyRules};
pub use reconnect::{AttemptError, Reconnect, ReconnectError, ReconnectState, ReconnectWatch};
pub use redirect::RedirectError;
pub use target::UrlError;

use crate::exchange::{Exchange, Input};
use crate::future::BoxFuture;
use crate::runtime::{Io, Runtime};
use crate::session::Session;
#[cfg(feature = "rustls")]
use crate::tls::TlsConnector;
use connection::{Answered, Asking};
use dial::Dialler;
use redirect::{Redirects, without_secrets};
use target::Target;

/// A connection to be: where to, and with what.
///
/// A runtime's own `connect` makes one. Await it for a [`Session`] that is driven in a task of its
/// own, or [`run`](Self::run) a block that is driven where it stands.
///
/// ```
/// use std::time::Duration;
///
/// use sockless_core::Config;
/// use sockless_driver::{Connect, ConnectError, Proxy};
///
/// # fn example(connect: impl Fn(&str) -> Connect) -> impl Future {
/// # async move {
/// let connecting = connect("wss://ada:secret@example.com/chat?room=1")
///     .config(Config::default().opening_timeout(Duration::from_secs(5)))
///     .header("Origin", "https://example.com")
///     .subprotocol("chat.v2")
///     .subprotocol("chat.v1")
///     .proxy(Proxy::new("socks5h://localhost:9050").expect("the URL of a proxy"))
///     .redirects(3);
/// match connecting.await {
///     Ok(session) => session.send("hello").await?,
///     // Which step failed, with whom, and why, in a line for the log.
///     Err(error @ ConnectError::Timeout { .. }) => eprintln!("{error}"),
///     // What the server had to say instead.
///     Err(ConnectError::Rejected { response, .. }) => {
///         eprintln!("{}: {}", response.status(), String::from_utf8_lossy(response.body()));
///     }
///     Err(error) => return Err(error.into()),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }
/// # }
/// ```
///
/// # The steps
///
/// The name is looked up; its addresses are tried as happy eyeballs do (RFC 8305): families take
/// turns, the next address begins when the last one has failed or has not answered for 250 ms, and the
/// first to answer is taken. With a [`proxy`](Self::proxy) that holds for the proxy's name, and the
/// proxy is asked for a way to the server. For `wss:` the TLS handshake follows, which needs the feature
/// `tls`. Then the request goes out, and the answer comes back. All of it, redirects included, shares the one
/// deadline of [`Config::opening_timeout`].
///
/// # The request
///
/// `Host` and the handshake's own headers come first, then those that were given, in their order; the
/// lines of one name stand together. Credentials in the URL go out as `Authorization: Basic`
/// (RFC 7617), unless such a header is given. A fragment stays here (RFC 6455 §3). A name beyond ASCII
/// has to be in its form for the DNS already, such as `xn--bcher-kva.example` (RFC 5890). An IPv6
/// address has no zone (RFC 6874): to reach a link-local address, connect a stream and speak
/// [`transport`](Self::transport) it.
#[must_use = "nothing is dialled before it is awaited or run"]
pub struct Connect {
    target: Result<Target, UrlError>,
    headers: Result<HeaderMap, http::Error>,
    config: Arc<Config>,
    dial: Arc<dyn Dial>,
    runtime: Arc<dyn Runtime>,
    proxies: Result<ProxyRules, ParseProxyUrlError>,
    redirects: u32,
    transport: Option<Box<dyn Io>>,
    #[cfg(feature = "rustls")]
    tls: Tls,
}

impl Connect {
    /// A connection to `url`, such as `ws://example.com/chat`; a runtime's own `connect` makes one.
    pub fn new(url: &str, dial: Arc<dyn Dial>, runtime: Arc<dyn Runtime>) -> Self {
        Self {
            target: Target::parse(url),
            headers: Ok(HeaderMap::new()),
            config: Arc::default(),
            dial,
            runtime,
            proxies: Ok(ProxyRules::default()),
            redirects: 0,
            transport: None,
            #[cfg(feature = "rustls")]
            tls: Tls::default(),
        }
    }

    /// Replaces the settings.
    pub fn config(mut self, config: Config) -> Self {
        self.config = Arc::new(config);
        self
    }

    /// Adds a header to the request, after those that were added before.
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName, Error: Into<http::Error>>,
        V: TryInto<HeaderValue, Error: Into<http::Error>>,
    {
        self.headers = self.headers.and_then(|mut headers| {
            let name = name.try_into().map_err(Into::into)?;
            let mut value = value.try_into().map_err(Into::into)?;
            // What is written with `{:?}` ends in logs.
            let is_secret = [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION].contains(&name);
            value.set_sensitive(value.is_sensitive() || is_secret);
            headers.try_append(name, value)?;
            Ok(headers)
        });
        self
    }

    /// Offers a subprotocol, after those that were offered before; all stand in one line, which is
    /// sensitive if it was before.
    pub fn subprotocol(mut self, name: &str) -> Self {
        self.headers = self.headers.and_then(|mut headers| {
            let value = HeaderValue::try_from(name)?;
            match headers.entry(SEC_WEBSOCKET_PROTOCOL) {
                Entry::Vacant(entry) => {
                    entry.insert(value);
                }
                Entry::Occupied(mut entry) => {
                    let list = [entry.get().as_bytes(), b", ", value.as_bytes()].concat();
                    let mut list = HeaderValue::try_from(list)?;
                    list.set_sensitive(entry.get().is_sensitive());
                    *entry.get_mut() = list;
                }
            }
            Ok(headers)
        });
        self
    }

    /// Goes through a proxy: one [`Proxy`] for all servers, or by [`ProxyRules`]. Default: none, and
    /// the environment is not asked unless [`proxy_from_env`](Self::proxy_from_env) says so: it is the
    /// program's to decide who sees its traffic.
    pub fn proxy(mut self, rules: impl Into<ProxyRules>) -> Self {
        self.proxies = Ok(rules.into());
        self
    }

    /// Goes through the proxies that the environment states: see [`ProxyRules`]. It is read at once.
    pub fn proxy_from_env(mut self) -> Self {
        self.proxies = ProxyRules::from_env();
        self
    }

    /// Follows up to `max` redirects, and never more than 20: 301, 302, 303, 307 and 308 with a
    /// `Location`, which may be relative, and be `http:` for `ws:` and `https:` for `wss:`. Default: 0,
    /// as browsers do it for WebSockets, and a redirect is a [`ConnectError::Rejected`] as any other
    /// answer.
    ///
    /// None is followed from `wss:` to `ws:`, nor to where another one came from. One that leads to
    /// another origin (scheme, host or port) loses the URL's credentials, the headers `Authorization`,
    /// `Cookie` and `Proxy-Authorization`, and each header whose value is
    /// [sensitive](HeaderValue::is_sensitive); others go along. Credentials in a `Location` are never
    /// used.
    pub fn redirects(mut self, max: u32) -> Self {
        self.redirects = max;
        self
    }

    /// Speaks over `transport` and dials nobody: the URL says whom the request is for. The transport
    /// is taken as it is, for `wss:` too: what is to be encrypted has to be encrypted already. One of TLS
    /// that was agreed on for another protocol than `http/1.1` is an error,
    /// [`Alpn`](ConnectError::Alpn). What a redirect leads to is dialled.
    pub fn transport(mut self, transport: Box<dyn Io>) -> Self {
        self.transport = Some(transport);
        self
    }

    /// Makes the TLS connection that a `wss:` URL wants by `connector`. Default: one that trusts whom
    /// the operating system trusts, with the feature `platform-verifier`, or else whom Mozilla trusts,
    /// with `webpki-roots`; with neither, `wss:` fails as
    /// [`TlsUnavailable`](ConnectError::TlsUnavailable).
    ///
    /// HTTP/1.1 is spoken, so `http/1.1` is all that is offered by ALPN, whatever else `connector`
    /// would offer; one that offers nothing is left at that. A connector may be shared with a client of
    /// HTTP/2.
    #[cfg(feature = "rustls")]
    pub fn tls(mut self, connector: TlsConnector) -> Self {
        self.tls = Tls(Some(connector));
        self
    }

    /// Takes all steps to an open connection, within [`Config::opening_timeout`] altogether.
    ///
    /// Cancel-safe: dropping the future drops the transport.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] says which step failed, with whom, and why.
    pub async fn open(self) -> Result<ClientConnection, ConnectError> {
        let mut target = self.target.map_err(ConnectError::UrlInvalid)?;
        let mut headers = self.headers.map_err(ConnectError::HeaderInvalid)?;
        let proxies = self.proxies.map_err(ConnectError::ProxyUrlInvalid)?;
        let timeout = self.config.get_opening_timeout();
        let deadline = self.runtime.now() + timeout;
        let dialler = Dialler { dial: self.dial, runtime: self.runtime, deadline, timeout };
        let mut redirects = Redirects::new(self.redirects);
        let mut own = self.transport;
        loop {
            let (transport, destination) = match own.take() {
                Some(transport) => (transport, Destination::new(&target, None)),
                None => {
                    #[cfg(feature = "rustls")]
                    let reached = reach(&dialler, &target, &proxies, &self.tls);
                    #[cfg(not(feature = "rustls"))]
                    let reached = reach(&dialler, &target, &proxies);
                    reached.await?
                }
            };
            let (runtime, config) = (dialler.runtime.clone(), self.config.clone());
            let asking = Asking { transport, runtime, deadline, config, destination };
            let refusal = match asking.ask(request(&target, &headers)).await? {
                Answered::Open(connected) => return Ok(connected),
                Answered::Otherwise(refusal) => refusal,
            };
            let next = match redirects.next(&target, &refusal.response) {
                Ok(Some(next)) => next,
                Ok(None) => return Err(refusal.read().await),
                Err(error) => {
                    return Err(ConnectError::Redirect { destination: refusal.destination, error });
                }
            };
            if !next.is_same_origin(&target) {
                headers = without_secrets(&headers);
            }
            target = next;
        }
    }

    /// Connects and runs `block` with the session, both driven by the task that awaits this; when the
    /// block returns, what was sent is flushed and the connection closed with 1000.
    ///
    /// Cancel-safe: dropping the future drops the block and the transport.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] when there is no session to run the block with.
    ///
    /// # Panics
    ///
    /// When the block panics, after the connection was closed with 1011.
    pub async fn run<F, Fut>(self, block: F) -> Result<Fut::Output, ConnectError>
    where
        F: FnOnce(Session) -> Fut,
        Fut: Future,
    {
        Ok(self.open().await?.run(block).await)
    }
}

impl IntoFuture for Connect {
    type Output = Result<Session, ConnectError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async { Ok(self.open().await?.spawn()) })
    }
}

/// Without credentials.
impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Connect");
        shown.field("target", &self.target.as_ref().map(Target::shown));
        shown.field("headers", &self.headers).field("proxies", &self.proxies);
        shown.finish_non_exhaustive()
    }
}

/// Opens a transport to `target`, through a proxy where the rules want one.
async fn reach(
    dialler: &Dialler,
    target: &Target,
    proxies: &ProxyRules,
    #[cfg(feature = "rustls")] tls: &Tls,
) -> Result<(Box<dyn Io>, Destination), ConnectError> {
    let proxy = proxies.choose(target.secure, &target.host, target.port);
    let mut destination = Destination::new(target, proxy.map(ToString::to_string));
    #[cfg(feature = "rustls")]
    let tls = if target.secure { Some(tls.get(&destination)?) } else { None };
    #[cfg(not(feature = "rustls"))]
    if target.secure {
        return Err(ConnectError::TlsUnavailable { destination });
    }
    let transport = match proxy {
        Some(proxy) => reach_through(dialler, target, proxy, &mut destination).await?,
        None => {
            let addrs = dialler.resolve(&target.host, target.port, &destination).await?;
            dialler.connect(addrs, &mut destination).await?
        }
    };
    #[cfg(feature = "rustls")]
    let transport = match tls {
        None => transport,
        Some(tls) => match dialler.within(tls.connect(&target.host, transport)).await {
            Some(Ok(transport)) => transport,
            Some(Err(error)) => return Err(ConnectError::Tls { destination, error }),
            None => return Err(dialler.timed_out(&destination, ConnectStep::Tls, Vec::new())),
        },
    };
    Ok((transport, destination))
}

/// The TLS of a connection to be.
#[cfg(feature = "rustls")]
#[derive(Default)]
struct Tls(Option<TlsConnector>);

#[cfg(feature = "rustls")]
impl Tls {
    /// The connector that was given, or else one that trusts as the features of this build have it.
    fn get(&self, destination: &Destination) -> Result<TlsConnector, ConnectError> {
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

/// Opens a way to `target` through `proxy`. Where the proxy wants an address and there are several,
/// the next one is tried when the proxy cannot reach the last one.
async fn reach_through(
    dialler: &Dialler,
    target: &Target,
    proxy: &Proxy,
    destination: &mut Destination,
) -> Result<Box<dyn Io>, ConnectError> {
    let mut addrs = Vec::new();
    if proxy.wants_address() {
        addrs = dialler.resolve(&target.host, target.port, destination).await?;
        addrs.reverse();
    }
    loop {
        let addr = addrs.pop();
        let mut tunnel = proxy.tunnel(target, addr).map_err(|error| ConnectError::Proxy {
            destination: destination.clone(),
            error,
            response: None,
        })?;
        let proxy_addrs = dialler.resolve(&proxy.host, proxy.port, destination).await?;
        let transport = dialler.connect(proxy_addrs, destination).await?;
        let mut exchange = Exchange::new(transport, dialler.runtime.clone(), dialler.deadline);
        match negotiate_tunnel(dialler, &mut exchange, &mut tunnel, destination).await? {
            Ok(()) => return Ok(exchange.transport),
            Err(error) if error.is_of_the_address() && !addrs.is_empty() => {}
            Err(error) => {
                let response = explanation(dialler, &mut exchange, tunnel).await;
                return Err(ConnectError::Proxy {
                    destination: destination.clone(),
                    error,
                    response,
                });
            }
        }
    }
}

/// Has the conversation with a proxy; its verdict, unless the transport or the time is over before.
async fn negotiate_tunnel(
    dialler: &Dialler,
    exchange: &mut Exchange,
    tunnel: &mut proxy::Tunnel,
    destination: &Destination,
) -> Result<Result<(), ProxyError>, ConnectError> {
    let step = ConnectStep::Proxy;
    let failed = |error| ConnectError::Transport { destination: destination.clone(), step, error };
    let timed_out = || dialler.timed_out(destination, step, Vec::new());
    loop {
        if !exchange.write(tunnel.outbound()).await.map_err(failed)? {
            return Err(timed_out());
        }
        match reading::read(exchange).await.map_err(failed)? {
            Input::Bytes => {}
            Input::Eof => return Ok(Err(ProxyError::Eof)),
            Input::Timeout => return Err(timed_out()),
        }
        if let Some(verdict) = tunnel.poll(&mut exchange.inbound) {
            return Ok(verdict);
        }
    }
}

/// The answer by which an HTTP proxy refused, with what comes of its body in a short time: however it
/// is framed, it is only there to explain.
async fn explanation(
    dialler: &Dialler,
    exchange: &mut Exchange,
    tunnel: proxy::Tunnel,
) -> Option<Box<http::Response<bytes::Bytes>>> {
    let head = tunnel.into_refusal()?;
    let soon = dialler.runtime.now() + reading::BODY_PATIENCE;
    exchange.set_deadline(soon.min(dialler.deadline));
    let (body, _) = reading::read_body(exchange, &head).await;
    Some(Box::new(head.map(|()| body)))
}

/// The request of the handshake to come.
fn request(target: &Target, headers: &HeaderMap) -> http::Request<()> {
    let mut request = http::Request::new(());
    *request.headers_mut() = headers.clone();
    target.put_into(&mut request);
    request
}

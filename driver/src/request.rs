//! The request that a session or a response belongs to: [`Request`].

mod packed;
mod param;
pub(crate) mod response_headers;
#[cfg(test)]
mod tests;
mod whole;

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use bytestring::ByteString;
use http::header::{AUTHORIZATION, COOKIE, HOST, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use sockless_core::Instant;
use sockless_core::extension::Params;

use crate::meter::RouteLabel;
use crate::runtime::TlsInfo;
use packed::Packed;
use whole::Whole;

pub use param::ParamError;
pub use response_headers::ResponseHeaderError;
pub use sockless_core::handshake::HostPort;

/// The HTTP request that opened a session, or that is being answered, with what the router and the
/// guards have added to it.
///
/// * The request itself: [`method`](Self::method), [`uri`](Self::uri), [`headers`](Self::headers).
/// * Its parameters: [`param`](Self::param) of the path, [`query_param`](Self::query_param).
/// * Its origin: [`peer_addr`](Self::peer_addr) and [`local_addr`](Self::local_addr) are those of
///   the transport; [`client_ip`](Self::client_ip), [`authority`](Self::authority) and
///   [`is_secure`](Self::is_secure) are as the client sees them, as far as trusted proxies forward
///   it.
/// * Values that were attached to it, by type: [`get`](Self::get) returns the application's state
///   and the findings of guards.
///
/// A handler has it from its session:
///
/// ```
/// use sockless::{Closed, Router, Session, websocket};
///
/// async fn greet(session: Session) -> Result<(), Closed> {
///     let request = session.request();
///     let name = request.param_str("name").unwrap_or("you");
///     let language = request.query_param("lang").unwrap_or("en".into());
///     let greeting = if language == "de" { "Hallo" } else { "Hello" };
///     session.send(format!("{greeting}, {name}")).await
/// }
///
/// let router = Router::new().route("/greet/{name}", websocket(greet));
/// # let _ = router;
/// ```
pub struct Request {
    contents: Contents,
    tls: Option<Box<TlsInfo>>,
    forwarded: Option<Box<Forwarded>>,
    extensions: Box<[Params]>,
}

/// The request head and the values that most requests have: whole until the request is answered,
/// and packed during its session, which seldom needs them.
enum Contents {
    Packed(Packed),
    Whole(Box<Whole>),
}

/// The client's properties as trusted proxies forward them; see [`Request::set_forwarded`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forwarded {
    /// The client's address; `None` if the proxies do not forward it.
    pub client: Option<IpAddr>,
    /// True if the proxies forward something about the client that is not an address, such as
    /// `unknown`, or that cannot be parsed. Limits count all such clients as one, since a client
    /// may be able to cause it.
    pub hidden: bool,
    /// The host, with an optional port, to which the client sent the request.
    pub host: Option<ByteString>,
    /// True if the client connected over TLS; `None` if the proxies do not forward it.
    pub secure: Option<bool>,
}

/// The values that a request [holds](Request::hold).
pub(crate) type Permits = Vec<Box<dyn Any + Send + Sync>>;

impl Request {
    /// Returns the request head.
    ///
    /// During a session the head is packed. This method, [`method`](Self::method),
    /// [`uri`](Self::uri) and [`headers`](Self::headers) unpack it when one of them is first
    /// called, and keep it unpacked, which takes about 3 KiB for the headers of a browser. The
    /// other methods read the packed head.
    pub fn as_http(&self) -> &http::Request<()> {
        match &self.contents {
            Contents::Whole(whole) => &whole.request,
            Contents::Packed(packed) => packed.request(),
        }
    }

    /// Returns the method.
    pub fn method(&self) -> &Method {
        self.as_http().method()
    }

    /// Returns the request target.
    pub fn uri(&self) -> &Uri {
        self.as_http().uri()
    }

    /// Returns the path as it was sent, percent-encoded.
    pub fn path(&self) -> &str {
        match &self.contents {
            Contents::Whole(whole) => whole.request.uri().path(),
            Contents::Packed(packed) => packed.parts().path(),
        }
    }

    /// Returns the query as it was sent, without the question mark.
    pub fn query(&self) -> Option<&str> {
        match &self.contents {
            Contents::Whole(whole) => whole.request.uri().query(),
            Contents::Packed(packed) => packed.parts().query(),
        }
    }

    /// Returns the headers.
    pub fn headers(&self) -> &HeaderMap {
        self.as_http().headers()
    }

    /// Returns the value of the header `name`, if it was sent exactly once and consists of visible
    /// ASCII, spaces and tabs.
    pub fn header(&self, name: impl AsRef<str>) -> Option<&str> {
        let whole = match &self.contents {
            Contents::Whole(whole) => whole,
            Contents::Packed(packed) => return packed.parts().header(name.as_ref()),
        };
        let mut values = whole.request.headers().get_all(name.as_ref()).iter();
        let value = values.next()?;
        values.next().is_none().then_some(value)?.to_str().ok()
    }

    /// Returns the value of the cookie `name` as it was sent, without the quotation marks around it
    /// if it has any (RFC 6265 §4.1.1). If several have this name, it is the first, which browsers
    /// take from the longest path.
    ///
    /// ```
    /// use sockless::Request;
    ///
    /// fn session_id(request: &Request) -> Option<&str> {
    ///     request.cookie("sid")
    /// }
    /// # let _ = session_id;
    /// ```
    pub fn cookie(&self, name: &str) -> Option<&str> {
        let values = self.headers().get_all(COOKIE).iter();
        let pairs =
            values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(';'));
        let mut named = pairs.filter_map(|pair| pair.trim().split_once('='));
        let (_, value) = named.find(|(key, _)| *key == name)?;
        let unquoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        Some(unquoted.unwrap_or(value))
    }

    /// Returns the path parameter `name`, percent-decoded and parsed as a `T`. If several have this
    /// name, it is the last.
    ///
    /// If the route's path has the type, it has been checked: on `/user/{id:u64}`,
    /// `request.param::<u64>("id")` succeeds, since other values do not match the route. Elsewhere,
    /// a guard or a plain response can answer with [`ParamError::response`], a 404.
    ///
    /// # Errors
    ///
    /// [`ParamError`] if there is no such parameter, or its value is not a `T`.
    pub fn param<T: FromStr>(&self, name: &str) -> Result<T, ParamError> {
        let value = self.param_str(name).ok_or_else(|| ParamError::missing(name))?;
        value.parse().map_err(|_| ParamError::invalid::<T>(name))
    }

    /// Returns the path parameter `name`, percent-decoded. If several have this name, it is the
    /// last.
    pub fn param_str(&self, name: &str) -> Option<&str> {
        self.params().filter(|(key, _)| *key == name).last().map(|(_, value)| value)
    }

    /// Returns the names and values of all path parameters, percent-decoded, in the order of the
    /// path.
    pub fn params(&self) -> impl Iterator<Item = (&str, &str)> {
        let (whole, packed) = match &self.contents {
            Contents::Whole(whole) => (Some(&whole.params), None),
            Contents::Packed(packed) => (None, Some(packed.parts().params)),
        };
        let whole = whole.into_iter().flatten().map(|(name, value)| (&**name, &**value));
        whole.chain(packed.into_iter().flatten())
    }

    /// Returns the query parameter `name`, decoded. If several have this name, it is the first.
    ///
    /// Query parameters are separate from path parameters, so that a query cannot replace a part of
    /// the path.
    pub fn query_param(&self, name: &str) -> Option<Cow<'_, str>> {
        self.query_params().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Returns the names and values of all query parameters, decoded, in the order of the query.
    ///
    /// They are parsed as
    /// [`application/x-www-form-urlencoded`](https://url.spec.whatwg.org/#urlencoded-parsing), as
    /// the `URLSearchParams` of a page does: `+` is a space, a parameter without `=` has an empty
    /// value, a `%` without two hexadecimal digits is kept, and invalid UTF-8 is replaced by
    /// U+FFFD.
    pub fn query_params(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        form_urlencoded::parse(self.query().unwrap_or_default().as_bytes())
    }

    /// Returns the address of the transport's other end, if it has one. Behind a proxy it is that
    /// of the proxy, or the client's if the proxy announces it by the PROXY protocol
    /// (`Server::proxy_protocol`).
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        match &self.contents {
            Contents::Whole(whole) => whole.peer_addr,
            Contents::Packed(packed) => packed.parts().peer_addr,
        }
    }

    /// Returns the address of the transport's end on this side, if it has one.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.contents {
            Contents::Whole(whole) => whole.local_addr,
            Contents::Packed(packed) => packed.parts().local_addr,
        }
    }

    /// Returns what was negotiated by TLS; `None` if the transport is not a TLS stream of this
    /// crate. Behind a proxy it is that of the connection with the proxy.
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.tls.as_deref()
    }

    /// Returns the time at which the request was received, on the runtime's clock. Rate limits use
    /// it. [`Instant::EPOCH`] if the server did not set it.
    pub fn received_at(&self) -> Instant {
        match &self.contents {
            Contents::Whole(whole) => whole.received_at,
            Contents::Packed(packed) => packed.parts().received_at,
        }
    }

    /// Returns the client's address: that which a trusted proxy forwards, or else that of the
    /// transport's other end. `None` if it is not known.
    pub fn client_ip(&self) -> Option<IpAddr> {
        match &self.forwarded {
            Some(forwarded) => forwarded.client,
            None => self.peer_addr().map(|addr| addr.ip().to_canonical()),
        }
    }

    /// Returns the client's address as limits count it: an IPv4 address, or the first address of an
    /// IPv6 network of 64 bits, since one customer gets such a network. `None` if
    /// [`client_ip`](Self::client_ip) is.
    pub fn client_network(&self) -> Option<IpAddr> {
        self.client_ip().map(network_of)
    }

    /// Returns the host and the optional port to which the client sent the request: those that a
    /// trusted proxy forwards, or those of the request target, or those of the `Host` header.
    /// `None` if the request has no host, has more than one `Host`, or its value is invalid.
    pub fn authority(&self) -> Option<HostPort<'_>> {
        if let Some(host) = self.forwarded.as_ref().and_then(|f| f.host.as_deref()) {
            return HostPort::parse(host);
        }
        // The authority of a target overrides Host (RFC 9112 §3.2.2).
        let target = match &self.contents {
            Contents::Whole(whole) => whole.request.uri().authority().map(|it| it.as_str()),
            Contents::Packed(packed) => packed.parts().authority(),
        };
        HostPort::parse(target.or_else(|| self.header(HOST))?)
    }

    /// Returns the host of the [authority](Self::authority).
    pub fn host(&self) -> Option<&str> {
        self.authority().map(|authority| authority.host)
    }

    /// Returns the port of the [authority](Self::authority).
    ///
    /// An authority without a port means 443 if the client connected over TLS, or if that is not
    /// known and the transport's own port is 443; otherwise 80.
    pub fn port(&self) -> Option<u16> {
        let is_secure = || {
            self.is_secure().unwrap_or(self.local_addr().is_some_and(|local| local.port() == 443))
        };
        let default = || if is_secure() { 443 } else { 80 };
        self.authority().map(|authority| authority.port.unwrap_or_else(default))
    }

    /// Returns whether the client connected over TLS: as a trusted proxy forwards it; without a
    /// proxy, true if the transport is a TLS stream of this crate; else by the scheme of the
    /// request target.
    ///
    /// `None` if it is not known, as for most requests of HTTP/1.1 that arrive without TLS: a proxy
    /// that is not trusted may have terminated it.
    pub fn is_secure(&self) -> Option<bool> {
        if let Some(secure) = self.forwarded.as_ref().and_then(|f| f.secure) {
            return Some(secure);
        }
        if self.tls.is_some() && self.forwarded.is_none() {
            return Some(true);
        }
        let scheme = match &self.contents {
            Contents::Whole(whole) => whole.request.uri().scheme_str(),
            Contents::Packed(packed) => packed.parts().scheme(),
        };
        scheme.map(|scheme| matches!(scheme, "https" | "wss"))
    }

    /// Returns the client's properties as trusted proxies forward them; `None` without a trusted
    /// proxy.
    pub fn forwarded(&self) -> Option<&Forwarded> {
        self.forwarded.as_deref()
    }

    /// Returns the negotiated subprotocol (RFC 6455 §1.9), once the upgrade is accepted.
    pub fn subprotocol(&self) -> Option<&str> {
        match &self.contents {
            Contents::Whole(whole) => whole.subprotocol.as_deref(),
            Contents::Packed(packed) => packed.parts().subprotocol,
        }
    }

    /// Returns the negotiated extensions with their parameters, once the upgrade is accepted, in
    /// the order in which they are applied to what is sent (RFC 6455 §9.1).
    pub fn extensions(&self) -> &[Params] {
        &self.extensions
    }

    /// Returns the attached value of type `T`.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<&T> {
        match &self.contents {
            Contents::Whole(whole) => whole.request.extensions().get(),
            Contents::Packed(packed) => packed.extensions.get(),
        }
    }

    /// Attaches a value, such as the application's state or the finding of a guard. Returns the
    /// value of the same type that it replaces.
    pub fn insert<T: Any + Clone + Send + Sync>(&mut self, value: T) -> Option<T> {
        self.whole_mut().request.extensions_mut().insert(value)
    }

    /// Adds a header to the response that opens the session, such as `Set-Cookie` or
    /// `X-Request-Id`, after others of its name. Guards call it; a response that rejects the
    /// request, or that a `respond` route returns, does not have it.
    ///
    /// ```
    /// use sockless::http::Response;
    /// use sockless::bytes::Bytes;
    /// use sockless::{Request, Router};
    ///
    /// async fn remember(mut request: Request) -> Result<Request, Response<Bytes>> {
    ///     if request.header("cookie").is_none() {
    ///         let added = request.add_response_header("set-cookie", "visits=1; HttpOnly; Secure");
    ///         added.expect("a valid header");
    ///     }
    ///     Ok(request)
    /// }
    ///
    /// let router = Router::new().guard(remember);
    /// # let _ = router;
    /// ```
    ///
    /// # Errors
    ///
    /// [`ResponseHeaderError`] if the handshake sets the header itself, or it is invalid.
    pub fn add_response_header<N, V>(
        &mut self,
        name: N,
        value: V,
    ) -> Result<(), ResponseHeaderError>
    where
        N: TryInto<HeaderName, Error: Into<http::Error>>,
        V: TryInto<HeaderValue, Error: Into<http::Error>>,
    {
        response_headers::add(&mut self.whole_mut().response_headers, name, value)
    }

    /// Holds `value`, such as the permit of a guard, until the connection ends, and then drops it.
    ///
    /// It is dropped even if the handler, or a [`Sender`](crate::Sender), still has the request.
    pub fn hold(&mut self, value: impl Any + Send + Sync) {
        self.whole_mut().held.push(Box::new(value));
    }
}

/// # For routers and servers
///
/// These set what a router or a server finds out about a request.
impl Request {
    /// Creates a request from its head. Its addresses are not known.
    ///
    /// The values of `Authorization`, `Cookie` and `Proxy-Authorization` are marked as sensitive,
    /// which keeps them out of logs.
    pub fn new(mut request: http::Request<()>) -> Self {
        for name in [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION] {
            if let http::header::Entry::Occupied(mut values) = request.headers_mut().entry(name) {
                values.iter_mut().for_each(|value| value.set_sensitive(true));
            }
        }
        let whole = Whole {
            request,
            params: Vec::new(),
            peer_addr: None,
            local_addr: None,
            received_at: Instant::EPOCH,
            subprotocol: None,
            response_headers: HeaderMap::new(),
            held: Permits::new(),
            route: Default::default(),
        };
        let contents = Contents::Whole(Box::new(whole));
        Self { contents, tls: None, forwarded: None, extensions: Box::default() }
    }

    /// Sets the addresses of the transport's two ends.
    #[must_use]
    pub fn with_addrs(mut self, peer: Option<SocketAddr>, local: Option<SocketAddr>) -> Self {
        self.set_addrs(peer, local);
        self
    }

    pub(crate) fn set_addrs(&mut self, peer: Option<SocketAddr>, local: Option<SocketAddr>) {
        let whole = self.whole_mut();
        whole.peer_addr = peer;
        whole.local_addr = local;
    }

    /// Sets what was negotiated by TLS.
    #[must_use]
    pub fn with_tls(mut self, tls: Option<TlsInfo>) -> Self {
        self.tls = tls.map(Box::new);
        self
    }

    /// Sets the time at which the request was received, on the runtime's clock.
    #[must_use]
    pub fn with_received_at(mut self, now: Instant) -> Self {
        self.whole_mut().received_at = now;
        self
    }

    /// Adds a path parameter.
    pub fn push_param(&mut self, name: impl Into<ByteString>, value: impl Into<ByteString>) {
        self.whole_mut().params.push((name.into(), value.into()));
    }

    /// Sets the client's properties as proxies forward them. The caller must know that it can trust
    /// the proxies.
    pub fn set_forwarded(&mut self, forwarded: Option<Forwarded>) {
        self.forwarded = forwarded.map(Box::new);
    }

    /// Sets the path of the route that handles the request, such as `/chat/{room}`: a label of the
    /// metrics of its session. Without it, the label is empty. Feature `metrics`.
    ///
    /// The path must be one of a limited number: each makes metrics of its own.
    #[cfg(feature = "metrics")]
    pub fn set_route(&mut self, path: &str) {
        if crate::meter::is_recorded() {
            self.whole_mut().route = Some(path.into());
        }
    }

    pub(crate) fn take_route(&mut self) -> RouteLabel {
        match &mut self.contents {
            Contents::Whole(whole) => std::mem::take(&mut whole.route),
            Contents::Packed(_) => RouteLabel::default(),
        }
    }

    pub(crate) fn set_subprotocol(&mut self, subprotocol: Option<ByteString>) {
        self.whole_mut().subprotocol = subprotocol;
    }

    pub(crate) fn set_extensions<'a>(&mut self, extensions: impl Iterator<Item = &'a Params>) {
        self.extensions = extensions.cloned().collect();
    }

    pub(crate) fn take_response_headers(&mut self) -> HeaderMap {
        std::mem::take(&mut self.whole_mut().response_headers)
    }

    /// Takes the values that the request holds, so that the server can drop them when the
    /// connection ends.
    pub(crate) fn take_permits(&mut self) -> Permits {
        std::mem::take(&mut self.whole_mut().held)
    }

    /// Packs the request for the duration of its session. A request that could not be restored, or
    /// that holds values, stays whole.
    pub(crate) fn pack(&mut self) {
        if let Contents::Whole(whole) = &mut self.contents
            && whole.held.is_empty()
            && let Some(packed) = Packed::new(whole)
        {
            self.contents = Contents::Packed(packed);
        }
    }

    fn whole_mut(&mut self) -> &mut Whole {
        if let Contents::Packed(packed) = &self.contents {
            self.contents = Contents::Whole(Box::new(packed.unpack()));
        }
        let Contents::Whole(whole) = &mut self.contents else { unreachable!("it was unpacked") };
        whole
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let request = match &self.contents {
            Contents::Whole(whole) => Cow::Borrowed(&whole.request),
            // Unpacked for this call only: a log must not make the session keep more.
            Contents::Packed(packed) => Cow::Owned(packed.unpack_request()),
        };
        f.debug_struct("Request")
            .field("request", &*request)
            .field("params", &self.params().collect::<Vec<_>>())
            .field("peer_addr", &self.peer_addr())
            .field("local_addr", &self.local_addr())
            .field("tls", &self.tls)
            .field("forwarded", &self.forwarded)
            .field("subprotocol", &self.subprotocol())
            .field("extensions", &self.extensions)
            .finish_non_exhaustive()
    }
}

/// Returns the address as which limits count `ip`: see [`Request::client_network`].
pub(crate) fn network_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
        ip => ip,
    }
}

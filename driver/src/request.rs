//! The request that a session or a response belongs to: [`Request`].

mod building;
mod logged;
mod more;
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
use http::header::{COOKIE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};
use sockless_core::Instant;
use sockless_core::extension::Params;
use sockless_core::handshake::{UpgradeError, UpgradeRequest, is_upgrade_request};

use crate::runtime::TlsInfo;
use more::More;
use packed::Packed;
use whole::Whole;

pub(crate) use logged::LoggedParts;
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
    more: Option<Box<More>>,
    tls: Option<Box<TlsInfo>>,
    forwarded: Option<Box<Forwarded>>,
    extensions: Box<[Params]>,
}

/// The request head and the values that all requests have: packed if it was read here, and during its
/// session, which seldom needs them.
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
    /// A request that a server of this crate has read is packed, and so is every request during its
    /// session. This method, [`uri`](Self::uri), [`headers`](Self::headers) and, unless it is GET,
    /// [`method`](Self::method) unpack the head when one of them is first called, and keep it unpacked,
    /// which takes about 3 KiB for the headers of a browser. The other methods read the packed head.
    pub fn as_http(&self) -> &http::Request<()> {
        match &self.contents {
            Contents::Whole(whole) => &whole.request,
            Contents::Packed(packed) => packed.request(),
        }
    }

    /// Returns the method.
    pub fn method(&self) -> &Method {
        static GET: Method = Method::GET;
        match &self.contents {
            Contents::Packed(packed) if packed.parts().method == GET.as_str() => &GET,
            _ => self.as_http().method(),
        }
    }

    /// Returns true if the request asks to open a WebSocket, well formed or not, as
    /// [`is_upgrade_request`] does.
    pub fn is_upgrade(&self) -> bool {
        match &self.contents {
            Contents::Packed(packed) => packed.parts().is_upgrade(),
            Contents::Whole(whole) => is_upgrade_request(&whole.request),
        }
    }

    /// Checks the request to open a WebSocket, as [`UpgradeRequest::from_request`] does, or over HTTP/2
    /// [`UpgradeRequest::from_extended_connect`], without unpacking it.
    ///
    /// # Errors
    ///
    /// An [`UpgradeError`] for the first rule that the request breaks.
    pub fn upgrade(&self) -> Result<UpgradeRequest, UpgradeError> {
        if let Contents::Packed(packed) = &self.contents {
            let parts = packed.parts();
            if (parts.method, parts.version) == ("GET", Version::HTTP_11) {
                return UpgradeRequest::from_lines(parts.lines());
            }
        }
        match self.as_http() {
            http if *http.method() == Method::CONNECT && http.version() >= Version::HTTP_2 => {
                UpgradeRequest::from_extended_connect(http)
            }
            http => UpgradeRequest::from_request(http),
        }
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

    /// Returns true if the header `name` was sent, once or more.
    pub fn has_header(&self, name: impl AsRef<str>) -> bool {
        let name = name.as_ref();
        match &self.contents {
            Contents::Whole(whole) => whole.request.headers().contains_key(name),
            Contents::Packed(packed) => packed.parts().has_header(name),
        }
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
        let packed = match &self.contents {
            Contents::Whole(_) => None,
            Contents::Packed(packed) => Some(packed.parts().params),
        };
        let more = self.more.as_ref().map(|more| &more.params);
        let more = more.into_iter().flatten().map(|(name, value)| (&**name, &**value));
        packed.into_iter().flatten().chain(more)
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
        self.place().peer_addr
    }

    /// Returns the address of the transport's end on this side, if it has one.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.place().local_addr
    }

    /// Returns what was negotiated by TLS; `None` if the transport is not a TLS stream of this
    /// crate. Behind a proxy it is that of the connection with the proxy.
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.tls.as_deref()
    }

    /// Returns the time at which the request was received, on the runtime's clock. Rate limits use
    /// it. [`Instant::EPOCH`] if the server did not set it.
    pub fn received_at(&self) -> Instant {
        self.place().received_at
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
        let packed = match &self.contents {
            Contents::Whole(_) => None,
            Contents::Packed(packed) => packed.parts().subprotocol,
        };
        let more = self.more.as_ref().and_then(|more| more.subprotocol.as_deref());
        more.or(packed)
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
        match &mut self.contents {
            Contents::Whole(whole) => whole.request.extensions_mut().insert(value),
            Contents::Packed(packed) => packed.extensions_mut().insert(value),
        }
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
        response_headers::add(&mut self.more_mut().response_headers, name, value)
    }

    /// Holds `value`, such as the permit of a guard, until the connection ends, and then drops it.
    ///
    /// It is dropped even if the handler, or a [`Sender`](crate::Sender), still has the request.
    pub fn hold(&mut self, value: impl Any + Send + Sync) {
        self.more_mut().held.push(Box::new(value));
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

//! The request that a session or a response belongs to: [`Request`].

mod packed;
mod param;
mod query;
mod whole;

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use bytestring::ByteString;
use http::header::{AUTHORIZATION, COOKIE, HOST, PROXY_AUTHORIZATION};
use http::{HeaderMap, Method, Uri};
use sockless_core::Instant;
use sockless_core::extension::Params;

use crate::runtime::TlsInfo;
use packed::Packed;
use whole::Whole;

pub use param::ParamError;
pub use sockless_core::handshake::HostPort;

/// The request behind a session or a response, with what the router and the guards found out.
///
/// * The request as it came: [`method`](Self::method), [`uri`](Self::uri), [`headers`](Self::headers).
/// * What it asks for: [`param`](Self::param) of the path, [`query_param`](Self::query_param).
/// * Where it came from: [`peer_addr`](Self::peer_addr) and [`local_addr`](Self::local_addr) of the
///   transport; [`client_ip`](Self::client_ip), [`authority`](Self::authority) and
///   [`is_secure`](Self::is_secure) as the client saw it, with the word of proxies that the router
///   trusts.
/// * What was attached to it, by type: [`get`](Self::get) finds the application's state and the
///   guards' findings.
pub struct Request {
    known: Known,
    tls: Option<Box<TlsInfo>>,
    forwarded: Option<Box<Forwarded>>,
    extensions: Box<[Params]>,
}

/// What most requests know. It is whole while the request is answered, and packed for as long as its session
/// lasts.
enum Known {
    Packed(Packed),
    Whole(Box<Whole>),
}

/// What proxies that are trusted say of the client; see [`Request::set_forwarded`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forwarded {
    /// The client's address; `None` when they do not say.
    pub client: Option<IpAddr>,
    /// Whether they say of the client what is not an address, such as `unknown`, or what cannot be
    /// read. Limits count all such clients as one, since a client may be able to bring it about.
    pub hidden: bool,
    /// The host, perhaps with a port, that the client asked for.
    pub host: Option<ByteString>,
    /// Whether the client came over TLS.
    pub secure: Option<bool>,
}

/// What a request [holds](Request::hold); dropping it lets go.
pub type Permits = Vec<Box<dyn Any + Send + Sync>>;

impl Request {
    /// The request `request`, its addresses unknown.
    pub fn new(mut request: http::Request<()>) -> Self {
        // What is written with `{:?}` ends in logs.
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
            held: Permits::new(),
        };
        let known = Known::Whole(Box::new(whole));
        Self { known, tls: None, forwarded: None, extensions: Box::default() }
    }

    /// Sets the two ends' addresses, as the transport has them.
    #[must_use]
    pub fn with_addrs(mut self, peer: Option<SocketAddr>, local: Option<SocketAddr>) -> Self {
        let whole = self.whole_mut();
        whole.peer_addr = peer;
        whole.local_addr = local;
        self
    }

    /// Sets what the transport has agreed on, when it is one of TLS.
    #[must_use]
    pub fn with_tls(mut self, tls: Option<TlsInfo>) -> Self {
        self.tls = tls.map(Box::new);
        self
    }

    /// Sets when the request was received, on the clock of the host's runtime.
    #[must_use]
    pub fn with_received_at(mut self, now: Instant) -> Self {
        self.whole_mut().received_at = now;
        self
    }

    /// The request's head.
    ///
    /// A session keeps it packed. This, [`method`](Self::method), [`uri`](Self::uri) and
    /// [`headers`](Self::headers) unpack it when one of them is first called, and it stays so: with a
    /// browser's headers that takes about 3 KiB. The other methods find what they tell in the packed
    /// one.
    pub fn as_http(&self) -> &http::Request<()> {
        match &self.known {
            Known::Whole(whole) => &whole.request,
            Known::Packed(packed) => packed.request(),
        }
    }

    /// The request's method.
    pub fn method(&self) -> &Method {
        self.as_http().method()
    }

    /// The request's target.
    pub fn uri(&self) -> &Uri {
        self.as_http().uri()
    }

    /// The path as it was sent, percent-encoded.
    pub fn path(&self) -> &str {
        match &self.known {
            Known::Whole(whole) => whole.request.uri().path(),
            Known::Packed(packed) => packed.parts().path(),
        }
    }

    /// The query as it was sent, without the question mark.
    pub fn query(&self) -> Option<&str> {
        match &self.known {
            Known::Whole(whole) => whole.request.uri().query(),
            Known::Packed(packed) => packed.parts().query(),
        }
    }

    /// The value of the header `name`, when it is there once and is readable text.
    pub fn header(&self, name: impl AsRef<str>) -> Option<&str> {
        let whole = match &self.known {
            Known::Whole(whole) => whole,
            Known::Packed(packed) => return packed.parts().header(name.as_ref()),
        };
        let mut values = whole.request.headers().get_all(name.as_ref()).iter();
        let value = values.next()?;
        values.next().is_none().then_some(value)?.to_str().ok()
    }

    /// The request's headers.
    pub fn headers(&self) -> &HeaderMap {
        self.as_http().headers()
    }

    /// The path parameter `name`, percent-decoded and parsed; of several of this name, the last.
    ///
    /// A type that stands in the route's path has been checked: on `/user/{id:u64}`,
    /// `request.param::<u64>("id")` has no error, since what does not parse is not found there.
    /// Elsewhere a guard or a plain response may pass the error on as a 404:
    /// [`ParamError::response`].
    ///
    /// # Errors
    ///
    /// When there is no such parameter, or its value is not a `T`.
    pub fn param<T: FromStr>(&self, name: &str) -> Result<T, ParamError> {
        let value = self.param_str(name).ok_or_else(|| ParamError::missing(name))?;
        value.parse().map_err(|_| ParamError::invalid::<T>(name))
    }

    /// The text of the path parameter `name`, percent-decoded; of several of this name, the last.
    pub fn param_str(&self, name: &str) -> Option<&str> {
        self.params().filter(|(key, _)| *key == name).last().map(|(_, value)| value)
    }

    /// All path parameters, in the order of the path.
    pub fn params(&self) -> impl Iterator<Item = (&str, &str)> {
        let (whole, packed) = match &self.known {
            Known::Whole(whole) => (Some(&whole.params), None),
            Known::Packed(packed) => (None, Some(packed.parts().params)),
        };
        let whole = whole.into_iter().flatten().map(|(name, value)| (&**name, &**value));
        whole.chain(packed.into_iter().flatten())
    }

    /// Adds a path parameter; for routers.
    pub fn push_param(&mut self, name: impl Into<ByteString>, value: impl Into<ByteString>) {
        self.whole_mut().params.push((name.into(), value.into()));
    }

    /// The query parameter `name`, decoded; of several of this name, the first.
    ///
    /// It is apart from the path's parameters, so that a query cannot pass for a part of the path.
    pub fn query_param(&self, name: &str) -> Option<Cow<'_, str>> {
        self.query_params().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// All query parameters, decoded, in the order of the query.
    ///
    /// They are read as a page's `URLSearchParams` reads them: `+` is a space, what has no `=` has an
    /// empty value, a `%` without its two digits stands for itself, and what is not UTF-8 is
    /// replaced by U+FFFD.
    pub fn query_params(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        query::pairs(self.query().unwrap_or_default())
    }

    /// The address of the transport's other end, where it has one. Behind a proxy it is the proxy's.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        match &self.known {
            Known::Whole(whole) => whole.peer_addr,
            Known::Packed(packed) => packed.parts().peer_addr,
        }
    }

    /// The address of the transport's near end, where it has one.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.known {
            Known::Whole(whole) => whole.local_addr,
            Known::Packed(packed) => packed.parts().local_addr,
        }
    }

    /// What the transport has agreed on, when it is one of TLS. Behind a proxy it is the proxy's.
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.tls.as_deref()
    }

    /// When the request was received, on the clock of the host's runtime: what rate limits go by.
    /// [`Instant::EPOCH`] where the host does not say.
    pub fn received_at(&self) -> Instant {
        match &self.known {
            Known::Whole(whole) => whole.received_at,
            Known::Packed(packed) => packed.parts().received_at,
        }
    }

    /// The client's address: the transport's other end, unless that is a proxy that the router
    /// trusts and that tells whom it speaks for. `None` when it is not known.
    pub fn client_ip(&self) -> Option<IpAddr> {
        match &self.forwarded {
            Some(forwarded) => forwarded.client,
            None => self.peer_addr().map(|addr| addr.ip().to_canonical()),
        }
    }

    /// The client's address as limits count it: an IPv4 address, or an IPv6 network of 64 bits, written
    /// as its first address, since one customer gets such a network. `None` where
    /// [`client_ip`](Self::client_ip) is.
    pub fn client_network(&self) -> Option<IpAddr> {
        self.client_ip().map(network_of)
    }

    /// The host and the port that the client asked for: what a trusted proxy says, or the request's
    /// target, or its one `Host`. `None` when there is none of them, or it is not valid.
    pub fn authority(&self) -> Option<HostPort<'_>> {
        if let Some(host) = self.forwarded.as_ref().and_then(|f| f.host.as_deref()) {
            return HostPort::parse(host);
        }
        // A target that names one overrides Host (RFC 9112 §3.2.2).
        let target = match &self.known {
            Known::Whole(whole) => whole.request.uri().authority().map(|it| it.as_str()),
            Known::Packed(packed) => packed.parts().authority(),
        };
        HostPort::parse(target.or_else(|| self.header(HOST))?)
    }

    /// The host that the client asked for, as [`authority`](Self::authority) has it, without a port.
    pub fn host(&self) -> Option<&str> {
        self.authority().map(|authority| authority.host)
    }

    /// The port that the client asked for. One that it did not name is 443 for TLS, or where nothing
    /// says whether it is TLS and the transport's own port is 443; otherwise it is 80.
    pub fn port(&self) -> Option<u16> {
        let is_secure = || {
            self.is_secure().unwrap_or(self.local_addr().is_some_and(|local| local.port() == 443))
        };
        let default = || if is_secure() { 443 } else { 80 };
        self.authority().map(|authority| authority.port.unwrap_or_else(default))
    }

    /// Whether the client came over TLS: what a trusted proxy says; without one, whether the transport
    /// is of TLS; else the scheme of the request's target. `None` when none of them tells, as in most
    /// requests of HTTP/1.1 that came without TLS: somebody may have taken it off on the way.
    pub fn is_secure(&self) -> Option<bool> {
        if let Some(secure) = self.forwarded.as_ref().and_then(|f| f.secure) {
            return Some(secure);
        }
        if self.tls.is_some() && self.forwarded.is_none() {
            return Some(true);
        }
        let scheme = match &self.known {
            Known::Whole(whole) => whole.request.uri().scheme_str(),
            Known::Packed(packed) => packed.parts().scheme(),
        };
        scheme.map(|scheme| matches!(scheme, "https" | "wss"))
    }

    /// What the proxies before the server say of the client, when the router trusts them.
    pub fn forwarded(&self) -> Option<&Forwarded> {
        self.forwarded.as_deref()
    }

    /// Believes what proxies say of the client; for routers that know which of them to trust.
    pub fn set_forwarded(&mut self, forwarded: Option<Forwarded>) {
        self.forwarded = forwarded.map(Box::new);
    }

    /// The subprotocol that was agreed (RFC 6455 §1.9).
    pub fn subprotocol(&self) -> Option<&str> {
        match &self.known {
            Known::Whole(whole) => whole.subprotocol.as_deref(),
            Known::Packed(packed) => packed.parts().subprotocol,
        }
    }

    /// The extensions that were agreed on, with their parameters, in the order in which what is sent
    /// passes them (RFC 6455 §9.1).
    pub fn extensions(&self) -> &[Params] {
        &self.extensions
    }

    pub(crate) fn set_subprotocol(&mut self, subprotocol: Option<ByteString>) {
        self.whole_mut().subprotocol = subprotocol;
    }

    pub(crate) fn set_extensions<'a>(&mut self, extensions: impl Iterator<Item = &'a Params>) {
        self.extensions = extensions.cloned().collect();
    }

    /// Attaches a value, of which there is one for each type: the application's state, a guard's
    /// finding. Gives back the value that it replaces.
    pub fn insert<T: Any + Clone + Send + Sync>(&mut self, value: T) -> Option<T> {
        self.whole_mut().request.extensions_mut().insert(value)
    }

    /// The value of type `T`, if one was attached.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<&T> {
        match &self.known {
            Known::Whole(whole) => whole.request.extensions().get(),
            Known::Packed(packed) => packed.extensions.get(),
        }
    }

    /// Keeps `value` until the connection is over, then drops it: a permit that a guard gave out.
    ///
    /// It is let go of even while the handler or some [`Sender`](crate::Sender) still has the request.
    pub fn hold(&mut self, value: impl Any + Send + Sync) {
        self.whole_mut().held.push(Box::new(value));
    }

    /// Takes what the request holds; for hosts, which drop it when the connection is over.
    pub fn take_permits(&mut self) -> Permits {
        std::mem::take(&mut self.whole_mut().held)
    }

    /// Packs what is known, as far as that can be undone: from now on it is seldom looked at.
    pub(crate) fn pack(&mut self) {
        if let Known::Whole(whole) = &mut self.known
            && whole.held.is_empty()
            && let Some(packed) = Packed::new(whole)
        {
            self.known = Known::Packed(packed);
        }
    }

    fn whole_mut(&mut self) -> &mut Whole {
        if let Known::Packed(packed) = &self.known {
            self.known = Known::Whole(Box::new(packed.unpack()));
        }
        let Known::Whole(whole) = &mut self.known else { unreachable!("it was unpacked") };
        whole
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let request = match &self.known {
            Known::Whole(whole) => Cow::Borrowed(&whole.request),
            // Whoever writes a log shall not make the session keep more.
            Known::Packed(packed) => Cow::Owned(packed.unpack_request()),
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

/// The address that counts `ip` in a limit: see [`Request::client_network`].
pub(crate) fn network_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
        ip => ip,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn request(request: http::request::Builder) -> Request {
        Request::new(request.body(()).unwrap())
    }

    #[test]
    fn a_parameter_is_parsed_as_what_is_asked_for() {
        let mut request = request(http::Request::get("/7"));
        request.push_param("id", "7");
        assert_eq!(request.param::<u64>("id"), Ok(7));
        assert_eq!(request.param::<String>("id").as_deref(), Ok("7"));
        assert_eq!(request.param_str("id"), Some("7"));

        let invalid = request.param::<bool>("id").unwrap_err();
        assert_eq!(invalid.to_string(), "the path parameter \"id\" is not a bool");
        assert_eq!(invalid.response().status(), 404);
        let missing = request.param::<u64>("no").unwrap_err();
        assert_eq!(missing.to_string(), "there is no path parameter \"no\"");
    }

    #[test]
    fn a_header_that_comes_twice_has_no_one_value() {
        let request =
            request(http::Request::get("/").header("a", "1").header("b", "2").header("b", "2"));
        assert_eq!((request.header("a"), request.header("b")), (Some("1"), None));
        assert_eq!(request.headers().get_all("b").iter().count(), 2);
    }

    #[test]
    fn credentials_are_not_written_to_logs() {
        let request = request(
            http::Request::get("/")
                .header("authorization", "Bearer secret")
                .header("cookie", "a=secret")
                .header("cookie", "b=secret"),
        );
        assert!(!format!("{request:?}").contains("secret"));
        assert_eq!(request.header("authorization"), Some("Bearer secret"));
    }

    #[test]
    fn the_port_is_the_one_that_was_asked_for() {
        let port = |request: http::request::Builder, local: &str| {
            self::request(request).with_addrs(None, Some(local.parse().unwrap())).port()
        };
        let from = |host| http::Request::get("/").header("host", host);
        assert_eq!(port(from("a:8080"), "127.0.0.1:1"), Some(8080));
        assert_eq!(port(from("a"), "127.0.0.1:8080"), Some(80));
        assert_eq!(port(from("a"), "127.0.0.1:443"), Some(443));
        assert_eq!(port(http::Request::get("wss://a/"), "127.0.0.1:1"), Some(443));
        assert_eq!(port(http::Request::get("http://a/"), "127.0.0.1:443"), Some(80));
        assert_eq!(port(http::Request::get("/"), "127.0.0.1:443"), None);
    }

    #[test]
    fn what_a_trusted_proxy_says_goes_before_the_transport_and_the_request() {
        let mut request = request(http::Request::get("/").header("host", "inside:81"))
            .with_addrs(Some("[::ffff:10.0.0.1]:5".parse().unwrap()), None);
        assert_eq!(request.client_ip(), Some("10.0.0.1".parse().unwrap()));
        assert_eq!(
            (request.host(), request.port(), request.is_secure()),
            (Some("inside"), Some(81), None)
        );

        let client = Some("203.0.113.7".parse().unwrap());
        let host = Some("example.com".into());
        request.set_forwarded(Some(Forwarded { client, hidden: false, host, secure: Some(true) }));
        assert_eq!(request.client_ip(), client);
        assert_eq!((request.host(), request.port()), (Some("example.com"), Some(443)));
        assert_eq!(request.peer_addr().unwrap().port(), 5);

        request.set_forwarded(Some(Forwarded::default()));
        assert_eq!((request.client_ip(), request.host()), (None, Some("inside")));
    }

    #[test]
    fn what_is_held_is_let_go_of_by_whoever_takes_it() {
        let permit = Arc::new(());
        let mut request = request(http::Request::get("/"));
        request.hold(permit.clone());
        request.hold(permit.clone());
        let held = request.take_permits();
        assert_eq!(Arc::strong_count(&permit), 3);
        drop(held);
        assert_eq!(Arc::strong_count(&permit), 1);

        request.hold(permit.clone());
        drop(request);
        assert_eq!(Arc::strong_count(&permit), 1);
    }
}

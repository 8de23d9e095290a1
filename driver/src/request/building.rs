//! What routers and servers set in a request.

use std::net::SocketAddr;
use std::sync::Arc;

use bytestring::ByteString;
use http::header::{AUTHORIZATION, COOKIE, Entry, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderName, Version};
use sockless_core::Instant;
use sockless_core::extension::Params;
use sockless_core::handshake::BorrowedRequest;

use super::more::More;
use super::packed::{Packed, Parts, Place};
use super::whole::Whole;
use super::{Contents, Forwarded, Permits, Request};
use crate::meter;
use crate::runtime::TlsInfo;
use crate::spans;

/// # For routers and servers
///
/// These set what a router or a server finds out about a request.
impl Request {
    /// Creates a request from its head. Its addresses are not known.
    ///
    /// The values of `Authorization`, `Cookie` and `Proxy-Authorization` are marked as sensitive,
    /// which keeps them out of logs.
    pub fn new(mut request: http::Request<()>) -> Self {
        for name in SENSITIVE {
            if let Entry::Occupied(mut values) = request.headers_mut().entry(name) {
                values.iter_mut().for_each(|value| value.set_sensitive(true));
            }
        }
        let place = Place { received_at: Instant::EPOCH, peer_addr: None, local_addr: None };
        let whole = Whole { request, place };
        Self::of(Contents::Whole(Box::new(whole)))
    }

    fn of(contents: Contents) -> Self {
        Self { contents, more: None, tls: None, forwarded: None, extensions: Box::default() }
    }

    /// Creates a request from its head in the buffer in which it was received. Returns `None` if the
    /// types of `http` cannot hold it.
    pub(crate) fn received(
        head: &BorrowedRequest<'_>,
        peer: Option<SocketAddr>,
        local: Option<SocketAddr>,
        now: Instant,
    ) -> Option<Self> {
        if head.target().starts_with('/') {
            let place = Place { received_at: now, peer_addr: peer, local_addr: local };
            return Some(Self::of(Contents::Packed(Packed::received(head, place))));
        }
        let version = if head.is_http_11() { Version::HTTP_11 } else { Version::HTTP_10 };
        let request = http::Request::builder().version(version);
        let mut request = request.method(head.method()).uri(head.target());
        for (name, value) in head.headers() {
            request = request.header(name, value);
        }
        let request = Self::new(request.body(()).ok()?);
        Some(request.with_addrs(peer, local).with_received_at(now))
    }

    /// Sets the addresses of the transport's two ends.
    #[must_use]
    pub fn with_addrs(mut self, peer: Option<SocketAddr>, local: Option<SocketAddr>) -> Self {
        self.set_addrs(peer, local);
        self
    }

    pub(crate) fn set_addrs(&mut self, peer: Option<SocketAddr>, local: Option<SocketAddr>) {
        let place = &mut self.whole_mut().place;
        (place.peer_addr, place.local_addr) = (peer, local);
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
        self.whole_mut().place.received_at = now;
        self
    }

    /// Adds a path parameter.
    pub fn push_param(&mut self, name: impl Into<ByteString>, value: impl Into<ByteString>) {
        self.more_mut().params.push((name.into(), value.into()));
    }

    /// Sets the client's properties as proxies forward them. The caller must know that it can trust
    /// the proxies.
    pub fn set_forwarded(&mut self, forwarded: Option<Forwarded>) {
        self.forwarded = forwarded.map(Box::new);
    }

    /// Sets the path of the route that handles the request, such as `/chat/{room}`: the attribute
    /// `http.route` of the span of its session, and a label of its metrics. Without it there is no
    /// attribute, and the label is empty.
    ///
    /// The path must be one of a limited number: each makes metrics of its own.
    pub fn set_route(&mut self, path: &str) {
        if spans::are_taken() || meter::is_recorded() {
            self.more_mut().route = Some(path.into());
        }
    }

    pub(crate) fn take_route(&mut self) -> Option<Arc<str>> {
        self.more.as_mut().and_then(|more| more.route.take())
    }

    pub(crate) fn set_subprotocol(&mut self, subprotocol: Option<ByteString>) {
        if subprotocol.is_some() || self.more.is_some() {
            self.more_mut().subprotocol = subprotocol;
        }
    }

    pub(crate) fn set_extensions<'a>(&mut self, extensions: impl Iterator<Item = &'a Params>) {
        self.extensions = extensions.cloned().collect();
    }

    pub(crate) fn take_response_headers(&mut self) -> HeaderMap {
        self.more
            .as_mut()
            .map(|more| std::mem::take(&mut more.response_headers))
            .unwrap_or_default()
    }

    /// Takes the values that the request holds, so that the server can drop them when the
    /// connection ends.
    pub(crate) fn take_permits(&mut self) -> Permits {
        self.more.as_mut().map(|more| std::mem::take(&mut more.held)).unwrap_or_default()
    }

    /// Packs the request for the duration of its session, unless it could not be restored.
    pub(crate) fn pack(&mut self) {
        let mut nothing = More::default();
        let more = self.more.as_deref_mut().unwrap_or(&mut nothing);
        let More { params, subprotocol, .. } = more;
        let name = subprotocol.as_deref().unwrap_or_default();
        match &mut self.contents {
            Contents::Packed(_) if params.is_empty() && name.is_empty() => {}
            Contents::Packed(packed) => packed.set(params, name),
            Contents::Whole(whole) => match Packed::new(whole, params, name) {
                Some(packed) => self.contents = Contents::Packed(packed),
                None => return,
            },
        }
        (*params, *subprotocol) = (Vec::new(), None);
        self.more.take_if(|more| more.is_empty());
    }

    pub(super) fn place(&self) -> Place {
        match &self.contents {
            Contents::Whole(whole) => whole.place,
            Contents::Packed(packed) => packed.parts().place(),
        }
    }

    pub(super) fn more_mut(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    fn whole_mut(&mut self) -> &mut Whole {
        if let Contents::Packed(packed) = &self.contents {
            let Parts { params, subprotocol, .. } = packed.parts();
            let mut params = params.peekable();
            if params.peek().is_some() || subprotocol.is_some() {
                let more = self.more.get_or_insert_default();
                more.params.splice(0..0, params.map(|(name, value)| (name.into(), value.into())));
                more.subprotocol = more.subprotocol.take().or(subprotocol.map(Into::into));
            }
            self.contents = Contents::Whole(Box::new(packed.unpack()));
        }
        let Contents::Whole(whole) = &mut self.contents else { unreachable!("it was unpacked") };
        whole
    }
}

/// The headers whose values are kept out of logs.
const SENSITIVE: [HeaderName; 3] = [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION];

pub(super) fn is_sensitive(name: &str) -> bool {
    SENSITIVE.iter().any(|sensitive| sensitive.as_str().eq_ignore_ascii_case(name))
}

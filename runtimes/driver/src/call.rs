//! The request that a session or a response belongs to: [`Call`].

use std::any::Any;
use std::net::SocketAddr;

use bytestring::ByteString;

/// The request behind a session or a response, with what the router and the guards found out.
#[derive(Debug)]
pub struct Call {
    request: http::Request<()>,
    params: Vec<(ByteString, ByteString)>,
    peer_addr: Option<SocketAddr>,
    local_addr: Option<SocketAddr>,
    subprotocol: Option<ByteString>,
}

impl Call {
    /// A call of this request, its addresses unknown.
    pub fn new(request: http::Request<()>) -> Self {
        Self { request, params: Vec::new(), peer_addr: None, local_addr: None, subprotocol: None }
    }

    /// Sets the two ends' addresses, as the transport has them.
    #[must_use]
    pub fn with_addrs(mut self, peer: Option<SocketAddr>, local: Option<SocketAddr>) -> Self {
        self.peer_addr = peer;
        self.local_addr = local;
        self
    }

    /// The request's head.
    pub fn request(&self) -> &http::Request<()> {
        &self.request
    }

    /// The request's method.
    pub fn method(&self) -> &http::Method {
        self.request.method()
    }

    /// The path as it was sent, percent-encoded.
    pub fn path(&self) -> &str {
        self.request.uri().path()
    }

    /// The query as it was sent, without the question mark.
    pub fn query(&self) -> Option<&str> {
        self.request.uri().query()
    }

    /// The value of the header `name`, when it is there once and is readable text.
    pub fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.request.headers().get(name)?.to_str().ok()
    }

    /// The request's headers.
    pub fn headers(&self) -> &http::HeaderMap {
        self.request.headers()
    }

    /// The path parameter `name`, percent-decoded; of several of this name, the last.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().rev().find(|(key, _)| key == name).map(|(_, value)| &**value)
    }

    /// All path parameters, in the order of the path.
    pub fn params(&self) -> impl Iterator<Item = (&str, &str)> {
        self.params.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Adds a path parameter; for routers.
    pub fn push_param(&mut self, name: impl Into<ByteString>, value: impl Into<ByteString>) {
        self.params.push((name.into(), value.into()));
    }

    /// The address of the transport's other end, where it has one. Behind a proxy it is the proxy's.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer_addr
    }

    /// The address of the transport's near end, where it has one.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.local_addr
    }

    /// The subprotocol that was agreed (RFC 6455 §1.9).
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    pub(crate) fn set_subprotocol(&mut self, subprotocol: Option<ByteString>) {
        self.subprotocol = subprotocol;
    }

    /// Attaches a value, of which there is one for each type: the application's state, a guard's
    /// finding. Gives back the value that it replaces.
    pub fn insert<T: Any + Clone + Send + Sync>(&mut self, value: T) -> Option<T> {
        self.request.extensions_mut().insert(value)
    }

    /// The value of type `T`, if one was attached.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.request.extensions().get()
    }
}

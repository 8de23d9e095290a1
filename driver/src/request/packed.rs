//! A request during its session, in one block of memory: [`Packed`].
//!
//! It saves an idle session more than 3 KiB for the request of a browser, two thirds of its memory:
//! most of an `http::HeaderMap` is spare capacity. A test of the memory of sessions checks that.

use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{Extensions, HeaderMap, Method, Request, Uri, Version};
use sockless_core::Instant;

use super::Permits;
use super::whole::Whole;

/// A [`Whole`] in a fraction of its memory.
pub(super) struct Packed {
    /// The fields of [`Parts`], in that order.
    block: Bytes,
    pub(super) extensions: Extensions,
    /// The request head, once [`request`](Self::request) has been called.
    request: OnceLock<Box<Request<()>>>,
}

/// Common names of headers, which are stored as their index.
static KNOWN_NAMES: [&str; 36] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "authorization",
    "cache-control",
    "connection",
    "cookie",
    "dnt",
    "forwarded",
    "host",
    "origin",
    "pragma",
    "priority",
    "referer",
    "sec-ch-ua",
    "sec-ch-ua-mobile",
    "sec-ch-ua-platform",
    "sec-fetch-dest",
    "sec-fetch-mode",
    "sec-fetch-site",
    "sec-gpc",
    "sec-websocket-extensions",
    "sec-websocket-key",
    "sec-websocket-protocol",
    "sec-websocket-version",
    "traceparent",
    "upgrade",
    "user-agent",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-forwarded-server",
    "x-real-ip",
    "x-request-id",
];

static VERSIONS: [Version; 5] =
    [Version::HTTP_09, Version::HTTP_10, Version::HTTP_11, Version::HTTP_2, Version::HTTP_3];

impl Packed {
    /// Packs everything but the held values. Returns `None` if the request could not be restored.
    pub(super) fn new(whole: &mut Whole) -> Option<Self> {
        let request = &whole.request;
        let target = request.uri().to_string();
        let version = VERSIONS.iter().position(|version| *version == request.version())?;
        if target.parse::<Uri>().ok()? != *request.uri() {
            return None;
        }
        let mut params = Writer::default();
        for text in whole.params.iter().flat_map(|(name, value)| [name, value]) {
            params.put(text.as_bytes());
        }
        let mut writer = Writer::default();
        writer.put_instant(whole.received_at);
        writer.put_addr(whole.peer_addr);
        writer.put_addr(whole.local_addr);
        writer.put(whole.subprotocol.as_deref().unwrap_or_default().as_bytes());
        writer.put(&params.0);
        writer.put_number(version as u64);
        writer.put(request.method().as_str().as_bytes());
        writer.put(target.as_bytes());
        let path_len =
            request.uri().path().len() + request.uri().query().map_or(0, |it| 1 + it.len());
        writer.put_number((target.len() - path_len) as u64);
        for (name, value) in request.headers() {
            writer.put_header(name, value);
        }
        let block = Bytes::from(writer.0.into_boxed_slice());
        let extensions = std::mem::take(whole.request.extensions_mut());
        Some(Self { block, extensions, request: OnceLock::new() })
    }

    /// Restores everything that was packed.
    pub(super) fn unpack(&self) -> Whole {
        let parts = self.parts();
        Whole {
            request: self.unpack_request(),
            params: parts.params.map(|(name, value)| (name.into(), value.into())).collect(),
            peer_addr: parts.peer_addr,
            local_addr: parts.local_addr,
            received_at: parts.received_at,
            subprotocol: parts.subprotocol.map(Into::into),
            response_headers: HeaderMap::new(),
            held: Permits::new(),
            route: Default::default(),
        }
    }

    /// The request head, which is kept from now on.
    pub(super) fn request(&self) -> &Request<()> {
        self.request.get_or_init(|| Box::new(self.unpack_request()))
    }

    /// Restores the request head.
    pub(super) fn unpack_request(&self) -> Request<()> {
        let unpack = |parts: Parts<'_>| {
            let mut request = Request::new(());
            *request.version_mut() = parts.version;
            *request.method_mut() = Method::from_bytes(parts.method.as_bytes()).ok()?;
            *request.uri_mut() =
                Uri::from_maybe_shared(self.shared(parts.target.as_bytes())).ok()?;
            for header in parts.headers {
                let mut value = HeaderValue::from_maybe_shared(self.shared(header.value)).ok()?;
                value.set_sensitive(header.is_sensitive);
                request.headers_mut().append(HeaderName::from_bytes(header.name).ok()?, value);
            }
            *request.extensions_mut() = self.extensions.clone();
            Some(request)
        };
        unpack(self.parts()).expect("a packed request can be restored")
    }

    /// A part of the block that shares it.
    fn shared(&self, part: &[u8]) -> Bytes {
        self.block.slice_ref(part)
    }

    pub(super) fn parts(&self) -> Parts<'_> {
        Parts::read(Reader(&self.block)).expect("the block was written by `new`")
    }
}

/// The contents of a block.
pub(super) struct Parts<'a> {
    pub(super) received_at: Instant,
    pub(super) peer_addr: Option<SocketAddr>,
    pub(super) local_addr: Option<SocketAddr>,
    pub(super) subprotocol: Option<&'a str>,
    pub(super) params: Params<'a>,
    version: Version,
    method: &'a str,
    target: &'a str,
    /// The index in the target at which the path begins.
    path_at: usize,
    headers: Headers<'a>,
}

impl<'a> Parts<'a> {
    fn read(mut block: Reader<'a>) -> Option<Self> {
        Some(Self {
            received_at: block.instant()?,
            peer_addr: block.addr()?,
            local_addr: block.addr()?,
            subprotocol: Some(block.text()?).filter(|name| !name.is_empty()),
            params: Params(Reader(block.bytes()?)),
            version: *VERSIONS.get(block.number()? as usize)?,
            method: block.text()?,
            target: block.text()?,
            path_at: block.number()? as usize,
            headers: Headers(block),
        })
    }

    pub(super) fn path(&self) -> &'a str {
        let path = &self.target[self.path_at..];
        path.split_once('?').map_or(path, |(path, _)| path)
    }

    pub(super) fn query(&self) -> Option<&'a str> {
        Some(self.target[self.path_at..].split_once('?')?.1)
    }

    pub(super) fn scheme(&self) -> Option<&'a str> {
        Some(self.target[..self.path_at].split_once("://")?.0)
    }

    pub(super) fn authority(&self) -> Option<&'a str> {
        let before = &self.target[..self.path_at];
        let authority = before.split_once("://").map_or(before, |(_, authority)| authority);
        Some(authority).filter(|authority| !authority.is_empty())
    }

    /// The value of the header `name`, as [`Request::header`](super::Request::header) returns it.
    pub(super) fn header(&self, name: &str) -> Option<&'a str> {
        let is_named = |header: &Header<'_>| header.name.eq_ignore_ascii_case(name.as_bytes());
        let mut values = self.headers.clone().filter(is_named);
        let value = values.next()?.value;
        let is_readable = value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
        (is_readable && values.next().is_none()).then(|| str::from_utf8(value).ok()).flatten()
    }
}

/// The parameters of a path.
#[derive(Clone)]
pub(super) struct Params<'a>(Reader<'a>);

impl<'a> Iterator for Params<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        Some((self.0.text()?, self.0.text()?))
    }
}

/// The headers of a request, in their order.
#[derive(Clone)]
struct Headers<'a>(Reader<'a>);

struct Header<'a> {
    name: &'a [u8],
    value: &'a [u8],
    is_sensitive: bool,
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        let Self(block) = self;
        let name = match KNOWN_NAMES.get(block.number()? as usize) {
            Some(name) => name.as_bytes(),
            None => block.bytes()?,
        };
        let number = block.number()?;
        Some(Header { name, value: block.take(number >> 1)?, is_sensitive: number & 1 == 1 })
    }
}

/// A block that is being written.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    /// Writes a number in groups of seven bits, the lowest first. All but the last have the highest
    /// bit set.
    fn put_number(&mut self, mut number: u64) {
        while number > 0x7F {
            self.0.push(0x80 | number as u8);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn put(&mut self, bytes: &[u8]) {
        self.put_number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn put_instant(&mut self, instant: Instant) {
        let since_epoch = instant.since_epoch();
        self.put_number(since_epoch.as_secs());
        self.put_number(since_epoch.subsec_nanos().into());
    }

    fn put_addr(&mut self, addr: Option<SocketAddr>) {
        match addr.map(|addr| addr.ip()) {
            None => self.put(&[]),
            Some(IpAddr::V4(ip)) => self.put(&ip.octets()),
            Some(IpAddr::V6(ip)) => self.put(&ip.octets()),
        }
        if let Some(addr) = addr {
            self.put_number(addr.port().into());
        }
        if let Some(SocketAddr::V6(addr)) = addr {
            self.put_number(addr.flowinfo().into());
            self.put_number(addr.scope_id().into());
        }
    }

    fn put_header(&mut self, name: &HeaderName, value: &HeaderValue) {
        match KNOWN_NAMES.iter().position(|known| *known == name.as_str()) {
            Some(known) => self.put_number(known as u64),
            None => {
                self.put_number(KNOWN_NAMES.len() as u64);
                self.put(name.as_str().as_bytes());
            }
        }
        self.put_number((value.len() as u64) << 1 | u64::from(value.is_sensitive()));
        self.0.extend_from_slice(value.as_bytes());
    }
}

/// The rest of a block to read. Its methods return `None` at the end.
#[derive(Clone)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..).step_by(7) {
            let byte = *self.0.split_off_first()?;
            number |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                break;
            }
        }
        Some(number)
    }

    fn take(&mut self, len: u64) -> Option<&'a [u8]> {
        self.0.split_off(..usize::try_from(len).ok()?)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = self.number()?;
        self.take(len)
    }

    fn text(&mut self) -> Option<&'a str> {
        str::from_utf8(self.bytes()?).ok()
    }

    fn instant(&mut self) -> Option<Instant> {
        let (seconds, nanos) = (self.number()?, self.number()?);
        Some(Instant::from_epoch(Duration::new(seconds, nanos as u32)))
    }

    fn addr(&mut self) -> Option<Option<SocketAddr>> {
        let octets = self.bytes()?;
        let ip: IpAddr = match (<[u8; 4]>::try_from(octets), <[u8; 16]>::try_from(octets)) {
            (Ok(v4), _) => v4.into(),
            (_, Ok(v6)) => v6.into(),
            _ => return Some(None),
        };
        let mut addr = SocketAddr::new(ip, self.number()? as u16);
        if let SocketAddr::V6(addr) = &mut addr {
            addr.set_flowinfo(self.number()? as u32);
            addr.set_scope_id(self.number()? as u32);
        }
        Some(Some(addr))
    }
}

#[cfg(test)]
mod tests;

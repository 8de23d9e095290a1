//! A request in one block of memory: [`Packed`].
//!
//! It saves an idle session more than 3 KiB for the request of a browser, two thirds of its memory:
//! most of an `http::HeaderMap` is spare capacity. A test of the memory of sessions checks that. And it
//! saves an opening the allocations of the types of `http`, which few services need.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use http::header::{HeaderName, HeaderValue};
use http::{Extensions, Method, Request, Uri, Version};
use sockless_core::Instant;
use sockless_core::handshake::BorrowedRequest;

use super::building::is_sensitive;
use super::whole::Whole;

/// A [`Whole`] in a fraction of its memory, with the parameters and the subprotocol of its session.
pub(super) struct Packed {
    /// The fields of [`Parts`], in that order.
    block: Arc<[u8]>,
    pub(super) extensions: Extensions,
    /// The request head, once [`request`](Self::request) has been called.
    request: OnceLock<Box<Request<()>>>,
}

/// Common names of headers, which are stored as their index, the shorter first.
static KNOWN_NAMES: [&str; 36] = [
    "dnt",
    "via",
    "host",
    "accept",
    "cookie",
    "origin",
    "pragma",
    "referer",
    "sec-gpc",
    "upgrade",
    "priority",
    "forwarded",
    "sec-ch-ua",
    "x-real-ip",
    "connection",
    "user-agent",
    "traceparent",
    "x-request-id",
    "authorization",
    "cache-control",
    "sec-fetch-dest",
    "sec-fetch-mode",
    "sec-fetch-site",
    "accept-encoding",
    "accept-language",
    "x-forwarded-for",
    "sec-ch-ua-mobile",
    "x-forwarded-host",
    "x-forwarded-port",
    "sec-websocket-key",
    "x-forwarded-proto",
    "sec-ch-ua-platform",
    "x-forwarded-server",
    "sec-websocket-version",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
];

/// For each length of a name, the index of the first known name that is as long or longer.
static FIRST_OF_LEN: [usize; 26] = {
    let mut firsts = [KNOWN_NAMES.len(); 26];
    let mut index = KNOWN_NAMES.len();
    while index > 0 {
        index -= 1;
        let mut len = 0;
        while len <= KNOWN_NAMES[index].len() {
            firsts[len] = index;
            len += 1;
        }
    }
    firsts
};

/// The index of a known name, in any case.
fn known(name: &str) -> Option<usize> {
    let ends = FIRST_OF_LEN.get(name.len()..)?;
    let first = *ends.first()?;
    let end = ends.get(1).copied().unwrap_or(KNOWN_NAMES.len());
    // The first letter tells most names of one length apart.
    let initial = name.as_bytes().first().map(u8::to_ascii_lowercase);
    let found = KNOWN_NAMES[first..end].iter().position(|known| {
        known.as_bytes().first().copied() == initial && known.eq_ignore_ascii_case(name)
    });
    found.map(|index| first + index)
}

static VERSIONS: [Version; 5] =
    [Version::HTTP_09, Version::HTTP_10, Version::HTTP_11, Version::HTTP_2, Version::HTTP_3];

/// The parameters of a path.
pub(super) type PathParams = Vec<(ByteString, ByteString)>;

impl Packed {
    /// Packs a request. Returns `None` if it could not be restored.
    pub(super) fn new(whole: &mut Whole, params: &PathParams, subprotocol: &str) -> Option<Self> {
        let request = &whole.request;
        let target = request.uri().to_string();
        let version = VERSIONS.iter().position(|version| *version == request.version())?;
        if target.parse::<Uri>().ok()? != *request.uri() {
            return None;
        }
        let path_len =
            request.uri().path().len() + request.uri().query().map_or(0, |it| 1 + it.len());
        let block = Writer::block(|writer| {
            writer.put_place(whole.place);
            writer.put(subprotocol.as_bytes());
            writer.put_params(params);
            writer.put_number(version as u64);
            writer.put(request.method().as_str().as_bytes());
            writer.put(target.as_bytes());
            writer.put_number((target.len() - path_len) as u64);
            for (name, value) in request.headers() {
                writer.put_header(name.as_str(), value.as_bytes(), value.is_sensitive());
            }
        });
        let extensions = std::mem::take(whole.request.extensions_mut());
        Some(Self { block, extensions, request: OnceLock::new() })
    }

    /// Packs a request in the buffer in which it was received. Its target must be a path.
    pub(super) fn received(head: &BorrowedRequest<'_>, place: Place) -> Self {
        let version = if head.is_http_11() { Version::HTTP_11 } else { Version::HTTP_10 };
        let version = VERSIONS.iter().position(|other| *other == version).unwrap_or_default();
        let block = Writer::block(|writer| {
            writer.put_place(place);
            writer.put(&[]);
            writer.put(&[]);
            writer.put_number(version as u64);
            writer.put(head.method().as_bytes());
            writer.put(head.target().as_bytes());
            writer.put_number(0);
            for (name, value) in head.headers() {
                writer.put_header(name, value, is_sensitive(name));
            }
        });
        Self { block, extensions: Extensions::new(), request: OnceLock::new() }
    }

    /// Adds parameters, and replaces the subprotocol if there is a new one.
    pub(super) fn set(&mut self, params: &PathParams, subprotocol: &str) {
        let parts = self.parts();
        let before = parts.params.clone().map(|(name, value)| (name.into(), value.into()));
        let params: PathParams = before.chain(params.iter().cloned()).collect();
        let former = parts.subprotocol.unwrap_or_default();
        let subprotocol = if subprotocol.is_empty() { former } else { subprotocol };
        let block = Writer::block(|writer| {
            writer.put(parts.place);
            writer.put(subprotocol.as_bytes());
            writer.put_params(&params);
            writer.0.extend_from_slice(parts.head);
        });
        self.block = block;
    }

    /// Restores what was packed, but the parameters and the subprotocol.
    pub(super) fn unpack(&self) -> Whole {
        Whole { request: self.unpack_request(), place: self.parts().place() }
    }

    /// The request head, which is kept from now on.
    pub(super) fn request(&self) -> &Request<()> {
        self.request.get_or_init(|| Box::new(self.unpack_request()))
    }

    /// The values that are attached, to be changed.
    pub(super) fn extensions_mut(&mut self) -> &mut Extensions {
        // It has a copy of them.
        self.request = OnceLock::new();
        &mut self.extensions
    }

    /// Restores the request head.
    pub(super) fn unpack_request(&self) -> Request<()> {
        let block = Bytes::from_owner(Arc::clone(&self.block));
        let unpack = |parts: Parts<'_>| {
            let mut request = Request::new(());
            *request.version_mut() = parts.version;
            *request.method_mut() = Method::from_bytes(parts.method.as_bytes()).ok()?;
            *request.uri_mut() =
                Uri::from_maybe_shared(block.slice_ref(parts.target.as_bytes())).ok()?;
            for header in parts.headers {
                let mut value =
                    HeaderValue::from_maybe_shared(block.slice_ref(header.value)).ok()?;
                value.set_sensitive(header.is_sensitive);
                let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
                request.headers_mut().append(name, value);
            }
            *request.extensions_mut() = self.extensions.clone();
            Some(request)
        };
        unpack(read(&block)).expect("a packed request can be restored")
    }

    pub(super) fn parts(&self) -> Parts<'_> {
        read(&self.block)
    }

    /// The block, for [`read`].
    pub(super) fn block(&self) -> Arc<[u8]> {
        Arc::clone(&self.block)
    }
}

/// Reads a block.
pub(super) fn read(block: &[u8]) -> Parts<'_> {
    Parts::read(Reader(block)).expect("the block was written by `Packed`")
}

/// When and where a request was received.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) received_at: Instant,
    pub(super) peer_addr: Option<SocketAddr>,
    pub(super) local_addr: Option<SocketAddr>,
}

/// The contents of a block.
pub(super) struct Parts<'a> {
    /// When and where it was received, which few callers need.
    place: &'a [u8],
    pub(super) subprotocol: Option<&'a str>,
    pub(super) params: Params<'a>,
    /// All that follows.
    head: &'a [u8],
    pub(super) version: Version,
    pub(super) method: &'a str,
    target: &'a str,
    /// The index in the target at which the path begins.
    path_at: usize,
    headers: Headers<'a>,
}

impl<'a> Parts<'a> {
    fn read(mut block: Reader<'a>) -> Option<Self> {
        Some(Self {
            place: block.bytes()?,
            subprotocol: Some(block.text()?).filter(|name| !name.is_empty()),
            params: Params(Reader(block.bytes()?)),
            head: block.0,
            version: *VERSIONS.get(block.number()? as usize)?,
            method: block.text()?,
            target: block.text()?,
            path_at: block.number()? as usize,
            headers: Headers(block),
        })
    }

    /// When the request was received, and the addresses of the two ends.
    pub(super) fn place(&self) -> Place {
        let mut place = Reader(self.place);
        let mut read = || Some((place.instant()?, place.addr()?, place.addr()?));
        let (received_at, peer_addr, local_addr) =
            read().expect("the place was written by `Packed`");
        Place { received_at, peer_addr, local_addr }
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

    /// The header lines. Names that were received here are in any case.
    pub(super) fn lines(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + Clone {
        self.headers.clone().map(|header| (header.name, header.value))
    }

    /// Returns true if the request asks for a WebSocket.
    pub(super) fn is_upgrade(&self) -> bool {
        match (self.method, self.version) {
            ("GET", Version::HTTP_11) => self.lines().any(|(name, value)| {
                let mut protocols = value.split(|byte| *byte == b',');
                name.eq_ignore_ascii_case("upgrade")
                    && protocols.any(|it| it.trim_ascii().eq_ignore_ascii_case(b"websocket"))
            }),
            ("CONNECT", version) => version >= Version::HTTP_2,
            _ => false,
        }
    }

    pub(super) fn has_header(&self, name: &str) -> bool {
        self.lines().any(|(other, _)| other.eq_ignore_ascii_case(name))
    }

    /// The value of the header `name`, as [`Request::header`](super::Request::header) returns it.
    pub(super) fn header(&self, name: &str) -> Option<&'a str> {
        let is_named = |header: &Header<'_>| header.name.eq_ignore_ascii_case(name);
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
    name: &'a str,
    value: &'a [u8],
    is_sensitive: bool,
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        let Self(block) = self;
        let name = match KNOWN_NAMES.get(block.number()? as usize) {
            Some(name) => name,
            None => block.text()?,
        };
        let number = block.number()?;
        Some(Header { name, value: block.take(number >> 1)?, is_sensitive: number & 1 == 1 })
    }
}

/// A block that is being written.
#[derive(Default)]
struct Writer(Vec<u8>);

/// A block that was longer than this leaves no memory for the next.
const KEPT_LEN: usize = 16 << 10;

thread_local! {
    /// The memory in which this thread writes blocks, before their length is known.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl Writer {
    /// The block that `write` writes.
    fn block(write: impl FnOnce(&mut Self)) -> Arc<[u8]> {
        let mut writer = Self(SCRATCH.take());
        writer.0.clear();
        write(&mut writer);
        let block = Arc::from(&writer.0[..]);
        if writer.0.capacity() <= KEPT_LEN {
            SCRATCH.set(writer.0);
        }
        block
    }

    /// Writes the place behind its length, which is less than 128.
    fn put_place(&mut self, place: Place) {
        let start = self.0.len();
        self.0.push(0);
        self.put_instant(place.received_at);
        self.put_addr(place.peer_addr);
        self.put_addr(place.local_addr);
        self.0[start] = (self.0.len() - start - 1) as u8;
    }

    fn put_params(&mut self, params: &PathParams) {
        let mut texts = Self::default();
        for text in params.iter().flat_map(|(name, value)| [name, value]) {
            texts.put(text.as_bytes());
        }
        self.put(&texts.0);
    }

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

    fn put_header(&mut self, name: &str, value: &[u8], is_sensitive: bool) {
        match known(name) {
            Some(known) => self.put_number(known as u64),
            None => {
                self.put_number(KNOWN_NAMES.len() as u64);
                self.put(name.as_bytes());
            }
        }
        self.put_number((value.len() as u64) << 1 | u64::from(is_sensitive));
        self.0.extend_from_slice(value);
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

//! The response that accepts an upgrade: [`Grant`].

use alloc::string::String;

use bytestring::ByteString;

use super::fields::{
    CONNECTION, Name, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL,
    UPGRADE,
};
#[cfg(feature = "http")]
use {
    super::encode,
    crate::outbound::Outbound,
    http::{HeaderMap, HeaderValue, Response, StatusCode},
};

/// The response that accepts an upgrade, in a few bytes, from [`UpgradeRequest::grant`](super::UpgradeRequest::grant).
#[derive(Clone, Debug)]
pub struct Grant {
    /// The value of `Sec-WebSocket-Accept`; `None` over HTTP/2, which does not use it.
    pub(super) accept: Option<AcceptKey>,
    pub(super) subprotocol: Option<ByteString>,
    /// The value of `Sec-WebSocket-Extensions`.
    pub(super) extensions: Option<String>,
}

/// A value of `Sec-WebSocket-Accept`.
#[derive(Clone, Debug)]
pub(super) struct AcceptKey(pub(super) [u8; 28]);

impl AcceptKey {
    pub(super) fn as_str(&self) -> &str {
        core::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl Grant {
    /// Returns true if the response selects extensions, whether they were negotiated or passed on.
    pub fn has_extensions(&self) -> bool {
        self.extensions.is_some()
    }

    /// The status: a 101, or a 200 over HTTP/2.
    pub(super) fn status(&self) -> u16 {
        if self.accept.is_some() { 101 } else { 200 }
    }

    /// The header lines.
    pub(super) fn lines(&self) -> impl Iterator<Item = (&'static Name, &[u8])> {
        let accept = self.accept.as_ref().map(|AcceptKey(accept)| {
            [
                (&UPGRADE, &b"websocket"[..]),
                (&CONNECTION, b"Upgrade"),
                (&SEC_WEBSOCKET_ACCEPT, accept),
            ]
        });
        accept.into_iter().flatten().chain(self.negotiated())
    }

    /// The header lines that only some responses have.
    fn negotiated(&self) -> impl Iterator<Item = (&'static Name, &[u8])> {
        let subprotocol = self.subprotocol.as_ref();
        let extensions = self.extensions.as_ref();
        let subprotocol = subprotocol.map(|it| (&SEC_WEBSOCKET_PROTOCOL, it.as_bytes().as_ref()));
        let extensions = extensions.map(|it| (&SEC_WEBSOCKET_EXTENSIONS, it.as_bytes()));
        subprotocol.into_iter().chain(extensions)
    }
}

#[cfg(feature = "http")]
impl Grant {
    /// Returns the response: a 101 with `Sec-WebSocket-Accept`, or a 200 over HTTP/2.
    pub fn response(&self) -> Response<()> {
        let mut response = Response::new(());
        if self.accept.is_some() {
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        }
        for (name, value) in self.lines() {
            let value = HeaderValue::from_bytes(value).expect("tokens and base64 are values");
            response.headers_mut().insert(name.http.clone(), value);
        }
        response
    }

    /// Queues the head of the 101 in `outbound`, the first bytes of a connection, with `headers` after its own.
    ///
    /// ```
    /// use sockless_core::handshake::UpgradeRequest;
    /// use sockless_core::{Connection, Instant};
    ///
    /// # let request = http::Request::get("/").header("Host", "a").header("Upgrade", "websocket")
    /// #     .header("Connection", "Upgrade").header("Sec-WebSocket-Version", "13")
    /// #     .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==").body(())?;
    /// let (grant, negotiated) = UpgradeRequest::from_request(&request)?.grant();
    /// let mut connection = Connection::server(negotiated, Default::default(), Instant::EPOCH);
    /// grant.queue(&mut connection.outbound(), &Default::default());
    /// assert!(connection.outbound().chunk().starts_with(b"HTTP/1.1 101 Switching Protocols\r\n"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn queue(&self, outbound: &mut Outbound<'_>, headers: &HeaderMap) {
        /// The line ends and separators of a header.
        const AROUND: usize = 4;
        let accept = self.accept.as_ref().map_or(&[][..], |AcceptKey(accept)| accept);
        let own = self.negotiated().map(|(name, value)| name.text.len() + value.len() + AROUND);
        let others = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + AROUND);
        let constant = encode::SWITCHING_PROTOCOLS.len() + accept.len() + AROUND;
        let len = constant + own.sum::<usize>() + others.sum::<usize>();
        outbound.0.push_head_with(len, |out| {
            encode::grant(out, accept, self.negotiated(), headers);
        });
    }
}

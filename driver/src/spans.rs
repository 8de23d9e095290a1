//! The spans of `tracing`: [`SessionSpan`], [`ConnectionSpan`] and that of an attempt to connect.
//!
//! Without a subscriber that takes them they are empty: a session then costs a null pointer, and a
//! check of it in each turn.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::StatusCode;
use sockless_core::{Cause, CloseReason, Closed, Escaped, Instant, Party, Role, Stats, Timeout};
use tracing::field::{DisplayValue, Empty, display};
use tracing::level_filters::LevelFilter;
use tracing::span::Entered;
use tracing::{Level, Span};

use crate::request::{Permits, Request};
use crate::runtime::TlsVersion;

/// True if a subscriber may take the span of a session.
pub(crate) fn are_taken() -> bool {
    LevelFilter::current() >= Level::INFO
}

/// The span of a session, from its opening until both its handler and its transport have ended.
#[derive(Clone)]
pub(crate) struct SessionSpan(Option<Arc<Opened>>);

struct Opened {
    span: Span,
    at: Instant,
}

impl SessionSpan {
    /// Opens the span, within the one that the caller is in.
    pub(crate) fn open(role: Role, request: &Request, route: Option<&str>, at: Instant) -> Self {
        if !are_taken() {
            return Self(None);
        }
        let kind = match role {
            Role::Client => "client",
            Role::Server => "server",
        };
        // The name that an exporter gives to the span: as for HTTP, the method and the route.
        let name = || format!("websocket {}", route.unwrap_or_default());
        let (client, server) = match role {
            Role::Server => (request.client_ip(), None),
            Role::Client => (None, request.authority()),
        };
        let span = tracing::info_span!(
            target: "sockless_driver",
            "session",
            otel.kind = kind,
            otel.name = name().trim_end(),
            network.protocol.name = "websocket",
            // RFC 6455 §4.1, item 9.
            network.protocol.version = "13",
            client.address = client.map(display),
            server.address = server.as_ref().map(|server| display(Escaped(server.host))),
            server.port = server.as_ref().and_then(|server| server.port),
            network.peer.address = ip(request.peer_addr()),
            network.peer.port = port(request.peer_addr()),
            url.path = %Escaped(request.path()),
            http.route = route,
            websocket.subprotocol = request.subprotocol(),
            websocket.received.messages = Empty,
            websocket.received.bytes = Empty,
            websocket.sent.messages = Empty,
            websocket.sent.bytes = Empty,
            websocket.duration = Empty,
            websocket.close.code = Empty,
            websocket.close.by = Empty,
            websocket.close.cause = Empty,
        );
        Self((!span.is_disabled()).then(|| Arc::new(Opened { span, at })))
    }

    /// True if a subscriber has taken the span.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Enters the span, for as long as the value that is returned lives.
    #[inline]
    pub(crate) fn enter(&self) -> Option<Entered<'_>> {
        self.0.as_deref().map(|opened| opened.span.enter())
    }

    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// Records how the session ended, with what was counted.
    pub(crate) fn close(&self, closed: &Closed, stats: impl FnOnce() -> Stats, now: Instant) {
        let Some(opened) = &self.0 else { return };
        let (span, stats) = (&opened.span, stats());
        let (by, reason) = ended_by(closed);
        for (direction, traffic) in [(&RECEIVED, &stats.received), (&SENT, &stats.sent)] {
            span.record(direction.messages, traffic.text_frames + traffic.binary_frames);
            span.record(direction.bytes, traffic.bytes);
        }
        span.record("websocket.duration", now.saturating_since(opened.at).as_secs_f64());
        span.record("websocket.close.code", code_of(reason));
        span.record("websocket.close.by", by);
        span.record("websocket.close.cause", cause_label(closed.cause()));
    }
}

/// The names of the fields of one direction.
struct Fields {
    messages: &'static str,
    bytes: &'static str,
}

const RECEIVED: Fields =
    Fields { messages: "websocket.received.messages", bytes: "websocket.received.bytes" };

const SENT: Fields = Fields { messages: "websocket.sent.messages", bytes: "websocket.sent.bytes" };

/// The span of a server's connection, from its transport until it ends.
pub(crate) struct ConnectionSpan(Option<Box<Span>>);

impl ConnectionSpan {
    /// Opens the span. It is the root of a trace: what surrounds the server lasts as long as it.
    pub(crate) fn open(peer: Option<SocketAddr>, local: Option<SocketAddr>) -> Self {
        let span = tracing::debug_span!(
            target: "sockless_driver",
            parent: None,
            "connection",
            otel.kind = "server",
            network.peer.address = ip(peer),
            network.peer.port = port(peer),
            network.local.address = ip(local),
            network.local.port = port(local),
            network.protocol.name = "http",
            network.protocol.version = "1.1",
            client.address = Empty,
            tls.protocol.version = Empty,
            http.request.method = Empty,
            http.response.status_code = Empty,
            url.path = Empty,
        );
        Self((!span.is_disabled()).then(|| Box::new(span)))
    }

    pub(crate) fn span(&self) -> Span {
        self.0.as_deref().cloned().unwrap_or_else(Span::none)
    }

    /// Records the client that a proxy announces.
    pub(crate) fn announced(&self, client: Option<SocketAddr>) {
        if let (Some(span), Some(client)) = (&self.0, client) {
            span.record("client.address", display(client.ip()));
        }
    }

    pub(crate) fn requested(&self, request: &Request) {
        let Some(span) = &self.0 else { return };
        if let Some(version) = request.tls().and_then(|tls| tls.version) {
            span.record("tls.protocol.version", tls_version(version));
        }
        span.record("http.request.method", display(Escaped(request.method())));
        span.record("url.path", display(Escaped(request.path())));
    }

    /// Has the span last as long as the connection's session. It is held only if there is one, so
    /// that a connection without it needs no place for it.
    pub(crate) fn hold_in(self, permits: &mut Permits) {
        if let Some(span) = self.0 {
            permits.push(span);
        }
    }

    pub(crate) fn answered(&self, status: StatusCode) {
        if let Some(span) = &self.0 {
            span.record("http.response.status_code", status.as_u16());
        }
    }
}

/// Opens the span of an attempt to connect.
#[cfg(feature = "client")]
pub(crate) fn connecting(host: &str, port: u16) -> Span {
    tracing::debug_span!(
        target: "sockless_driver",
        "connect",
        otel.kind = "client",
        server.address = %Escaped(host),
        server.port = port,
        network.protocol.name = "http",
        network.protocol.version = "1.1",
        http.response.status_code = Empty,
        "error.type" = Empty,
    )
}

/// The version, as the attribute of OpenTelemetry has it.
fn tls_version(version: TlsVersion) -> &'static str {
    match version {
        TlsVersion::V1_2 => "1.2",
        TlsVersion::V1_3 => "1.3",
    }
}

fn ip(addr: Option<SocketAddr>) -> Option<DisplayValue<IpAddr>> {
    addr.map(|addr| display(addr.ip().to_canonical()))
}

fn port(addr: Option<SocketAddr>) -> Option<u16> {
    addr.map(|addr| addr.port())
}

/// The party that ended the session, and the reason that it gave.
pub(crate) fn ended_by(closed: &Closed) -> (&'static str, Option<&CloseReason>) {
    match closed.by() {
        Party::Local => ("local", closed.sent().or(closed.received())),
        Party::Peer => ("peer", closed.received().or(closed.sent())),
    }
}

/// The code with which a session ended. RFC 6455 §7.4.1 reserves two for what is not in a Close
/// frame.
fn code_of(reason: Option<&CloseReason>) -> u16 {
    let Some(reason) = reason else { return 1006 };
    reason.code().map_or(1005, |code| code.get())
}

/// The cause of a session's end, as a label.
pub(crate) fn cause_label(cause: &Cause) -> &'static str {
    match cause {
        Cause::Aborted => "aborted",
        Cause::Eof => "eof",
        Cause::ClosingHandshake => "closing_handshake",
        Cause::Failed => "failed",
        Cause::Overloaded => "overloaded",
        Cause::Protocol(_) => "protocol",
        Cause::Transport(_) => "transport",
        Cause::Timeout(Timeout::Closing) => "closing_timeout",
        Cause::Timeout(Timeout::Idle) => "idle_timeout",
        Cause::Timeout(Timeout::MaxAge) => "max_age",
        Cause::Timeout(Timeout::Message) => "message_timeout",
        Cause::Timeout(Timeout::Ping) => "ping_timeout",
        Cause::Timeout(Timeout::Stall) => "stall_timeout",
        Cause::Timeout(Timeout::Write) => "write_timeout",
        // The types of the core may grow.
        _ => "other",
    }
}

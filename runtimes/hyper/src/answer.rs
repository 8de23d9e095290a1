//! One request's way through the host: [`answer`].

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{Method, Response, StatusCode, Version};
use http_body_util::Full;
use hyper::ext::Protocol;
use hyper::upgrade::OnUpgrade;
use sockless_core::Escaped;
use sockless_core::handshake::ExtendedConnect;
use sockless_driver::{ConnectionServer, GrantedUpgrade, Io, Reply, Request};

use crate::io::Transport;

/// Whether a request means a WebSocket, rightly formed or not.
pub(crate) fn asks_for_websocket<B>(request: &http::Request<B>) -> bool {
    let is_websocket = |token: &str| token.trim().eq_ignore_ascii_case("websocket");
    match (request.method(), request.version()) {
        // In other versions `Upgrade` is to be ignored (RFC 9110 §7.8).
        (&Method::GET, Version::HTTP_11) => {
            let lines = request.headers().get_all(UPGRADE).iter();
            let mut lines = lines.filter_map(|line| line.to_str().ok());
            lines.any(|line| line.split(',').any(is_websocket))
        }
        (&Method::CONNECT, _) => is_extended_connect(request.extensions().get()),
        _ => false,
    }
}

/// Whether the pseudo-header `:protocol` asks for a WebSocket (RFC 8441 §5).
fn is_extended_connect(protocol: Option<&Protocol>) -> bool {
    protocol.is_some_and(|protocol| protocol.as_str() == ExtendedConnect::PROTOCOL)
}

/// Has the host answer a request; an upgrade that it grants is served in a task of its own.
pub(crate) async fn answer(
    server: ConnectionServer,
    mut parts: Parts,
    peer: Option<SocketAddr>,
    local: Option<SocketAddr>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let version = parts.version;
    // Any other CONNECT asks for a proxy, or for a protocol that is not served (RFC 9220 §3).
    if parts.method == Method::CONNECT && !is_extended_connect(parts.extensions.get()) {
        return Ok(text(
            StatusCode::NOT_IMPLEMENTED,
            "CONNECT is answered here where its :protocol is websocket (RFC 8441), else not\n",
        ));
    }
    let on_upgrade = parts.extensions.remove::<OnUpgrade>();
    let request = Request::new(http::Request::from_parts(parts, ())).with_addrs(peer, local);
    Ok(match (server.answer(request).await, on_upgrade) {
        (Reply::Respond(response), _) => respond(response, version),
        (Reply::Upgrade(granted), Some(on_upgrade)) => upgrade(granted, on_upgrade, version),
        (Reply::Upgrade(_), None) => {
            tracing::warn!("an upgrade was granted that the HTTP server, or a layer, took away");
            text(StatusCode::INTERNAL_SERVER_ERROR, "this server cannot open WebSockets\n")
        }
    })
}

fn respond(mut response: Response<Bytes>, version: Version) -> Response<Full<Bytes>> {
    if version >= Version::HTTP_2 {
        remove_connection_headers(response.headers_mut());
    }
    response.map(Full::new)
}

fn upgrade(
    granted: GrantedUpgrade,
    on_upgrade: OnUpgrade,
    version: Version,
) -> Response<Full<Bytes>> {
    let mut response = granted.response().clone();
    if version >= Version::HTTP_2 {
        remove_connection_headers(response.headers_mut());
    }
    granted.spawn(async move {
        match on_upgrade.await {
            Ok(upgraded) => Ok(Box::new(Transport::new(upgraded, version)) as Box<dyn Io>),
            Err(error) => {
                if error.is_user() {
                    tracing::warn!(error = %Escaped(&error), "the HTTP server is not run with upgrades");
                }
                Err(io::Error::other(error))
            }
        }
    });
    response.map(|()| Full::default())
}

/// What HTTP/2 has no use for, and forbids (RFC 9113 §8.2.2).
fn remove_connection_headers(headers: &mut HeaderMap) {
    const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
    for name in [CONNECTION, KEEP_ALIVE, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
}

fn text(status: StatusCode, line: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(line.as_bytes())));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(http::header::CONTENT_TYPE, plain);
    response
}

//! Answering one request of the HTTP server: [`answer`].

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderMap, HeaderName, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{Method, Response, StatusCode, Version};
use http_body_util::Full;
use hyper::ext::Protocol;
use hyper::upgrade::OnUpgrade;
use sockless_core::Escaped;
use sockless_core::handshake::{ExtendedConnect, is_upgrade_request, text_response};
use sockless_driver::{ConnectionServer, GrantedUpgrade, Io, Reply, Request};

use crate::io::Transport;

/// True if a request asks for a WebSocket, well formed or not.
pub(crate) fn asks_for_websocket<B>(request: &http::Request<B>) -> bool {
    is_upgrade_request(request)
        && (request.method() != Method::CONNECT || is_extended_connect(request.extensions().get()))
}

/// True if the pseudo-header `:protocol` of a CONNECT asks for a WebSocket (RFC 8441 §5).
fn is_extended_connect(protocol: Option<&Protocol>) -> bool {
    protocol.is_some_and(|protocol| protocol.as_str() == ExtendedConnect::PROTOCOL)
}

/// Answers a request by `server`; a granted upgrade is served in a task of its own.
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
            "this server supports CONNECT only with the :protocol websocket (RFC 8441)\n",
        ));
    }
    let on_upgrade = parts.extensions.remove::<OnUpgrade>();
    let request = Request::new(http::Request::from_parts(parts, ())).with_addrs(peer, local);
    Ok(match (server.answer(request).await, on_upgrade) {
        (Reply::Respond(response), _) => respond(response, version),
        (Reply::Upgrade(granted), Some(on_upgrade)) => upgrade(granted, on_upgrade, version),
        (Reply::Upgrade(_), None) => {
            tracing::warn!(
                "an upgrade was granted, but the request has no OnUpgrade extension: a layer has removed \
                 it, or the HTTP server does not support upgrades"
            );
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
                    tracing::warn!(
                        error = %Escaped(&error),
                        "an upgrade was granted, but the HTTP server does not serve connections with \
                         upgrades"
                    );
                }
                Err(io::Error::other(error))
            }
        }
    });
    response.map(|()| Full::default())
}

/// Removes the headers that HTTP/2 forbids (RFC 9113 §8.2.2).
fn remove_connection_headers(headers: &mut HeaderMap) {
    const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
    for name in [CONNECTION, KEEP_ALIVE, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
}

fn text(status: StatusCode, line: &'static str) -> Response<Full<Bytes>> {
    text_response(status, line).map(Full::new)
}

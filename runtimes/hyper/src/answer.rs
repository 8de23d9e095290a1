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

/// Returns true if a request asks for a WebSocket, well formed or not: an upgrade of HTTP/1.1 (RFC
/// 6455 §4.1), or an extended CONNECT of HTTP/2 (RFC 8441 §4).
pub fn asks_for_websocket<B>(request: &http::Request<B>) -> bool {
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
    let pending = PendingUpgrade::take(&mut parts);
    let request = Request::new(http::Request::from_parts(parts, ())).with_addrs(peer, local);
    Ok(match (server.answer(request).await, pending) {
        (Reply::Respond(response), _) => respond(response, version),
        (Reply::Upgrade(granted), Some(pending)) => {
            pending.grant(granted).map(|()| Full::default())
        }
        (Reply::Upgrade(_), None) => cannot_upgrade().map(Full::new),
    })
}

fn respond(response: Response<Bytes>, version: Version) -> Response<Full<Bytes>> {
    for_version(response, version).map(Full::new)
}

/// Returns the response for a connection of `version`: HTTP/2 forbids the headers of connections
/// (RFC 9113 §8.2.2).
pub fn for_version<B>(mut response: Response<B>, version: Version) -> Response<B> {
    if version >= Version::HTTP_2 {
        remove_connection_headers(response.headers_mut());
    }
    response
}

/// The upgrade of a request, which hyper performs once the response has been sent.
///
/// For integrations into web frameworks on hyper; [`Mount`](crate::Mount) and the extractor for
/// axum use it.
///
/// ```
/// use sockless::driver::{ConnectionServer, Reply};
/// use sockless::hyper::PendingUpgrade;
/// use sockless::{Request, http};
///
/// async fn answer<B>(
///     server: &ConnectionServer,
///     request: http::Request<B>,
/// ) -> http::Response<String> {
///     let (mut parts, _body) = request.into_parts();
///     let pending = PendingUpgrade::take(&mut parts);
///     match (server.answer(Request::new(http::Request::from_parts(parts, ()))).await, pending) {
///         (Reply::Upgrade(granted), Some(pending)) => {
///             pending.grant(granted).map(|()| String::new())
///         }
///         (Reply::Upgrade(_), None) => http::Response::new("hyper cannot upgrade this".into()),
///         (Reply::Respond(response), _) => {
///             response.map(|body| String::from_utf8_lossy(&body).into_owned())
///         }
///     }
/// }
/// ```
#[derive(Debug)]
pub struct PendingUpgrade {
    on_upgrade: OnUpgrade,
    version: Version,
}

impl PendingUpgrade {
    /// Takes the upgrade out of a request; `None` if the HTTP server does not support upgrades, or
    /// a layer has removed it.
    pub fn take(parts: &mut Parts) -> Option<Self> {
        let on_upgrade = parts.extensions.remove::<OnUpgrade>()?;
        Some(Self { on_upgrade, version: parts.version })
    }

    /// Serves the session of `granted` in a task of its own, once hyper has sent the response that
    /// this returns.
    pub fn grant(self, granted: GrantedUpgrade) -> Response<()> {
        let Self { on_upgrade, version } = self;
        let response = for_version(granted.response().clone(), version);
        granted.spawn(async move {
            match on_upgrade.await {
                Ok(upgraded) => Ok(Box::new(Transport::new(upgraded, version)) as Box<dyn Io>),
                Err(error) => {
                    if error.is_user() {
                        tracing::warn!(
                            error = %Escaped(&error),
                            "an upgrade was granted, but the HTTP server does not serve connections \
                             with upgrades"
                        );
                    }
                    Err(io::Error::other(error))
                }
            }
        });
        response
    }
}

/// Returns the response to a request whose upgrade was granted, but that hyper cannot upgrade, and
/// logs it as a warning: a 500.
pub fn cannot_upgrade() -> Response<Bytes> {
    tracing::warn!(
        "an upgrade was granted, but the request has no OnUpgrade extension: a layer has removed \
         it, or the HTTP server does not support upgrades"
    );
    text_response(StatusCode::INTERNAL_SERVER_ERROR, "this server cannot open WebSockets\n")
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

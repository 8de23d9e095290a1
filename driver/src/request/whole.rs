//! A request until it is answered: [`Whole`].

use std::net::SocketAddr;

use bytestring::ByteString;
use http::{HeaderMap, Request};
use sockless_core::Instant;

use super::Permits;
use crate::meter::RouteLabel;

/// The request head, and what the server, the router and the guards have added.
pub(super) struct Whole {
    pub(super) request: Request<()>,
    pub(super) params: Vec<(ByteString, ByteString)>,
    pub(super) peer_addr: Option<SocketAddr>,
    pub(super) local_addr: Option<SocketAddr>,
    pub(super) received_at: Instant,
    pub(super) subprotocol: Option<ByteString>,
    /// The headers to add to the response that opens the session; taken when it is accepted.
    pub(super) response_headers: HeaderMap,
    pub(super) held: Permits,
    /// The path of the route, until the session begins.
    pub(super) route: RouteLabel,
}

//! The values that few requests have: [`More`].

use std::sync::Arc;

use bytestring::ByteString;
use http::HeaderMap;

use super::Permits;

/// What the router and the guards have added to a request, until its session begins.
#[derive(Default)]
pub(super) struct More {
    pub(super) params: Vec<(ByteString, ByteString)>,
    pub(super) subprotocol: Option<ByteString>,
    /// The headers to add to the response that opens the session; taken when it is accepted.
    pub(super) response_headers: HeaderMap,
    pub(super) held: Permits,
    /// The path of the route, until the session begins.
    pub(super) route: Option<Arc<str>>,
}

impl More {
    /// True if the values that are packed have been taken, and there are no others.
    pub(super) fn is_empty(&self) -> bool {
        self.params.is_empty() && self.subprotocol.is_none() && self.held.is_empty()
    }
}

//! What a log of a request needs: [`LoggedParts`].

use std::net::SocketAddr;
use std::sync::Arc;

use http::Uri;
use http::header::SEC_WEBSOCKET_KEY;

use super::{Contents, Request, packed};

/// The parts of a request for a log, after the request itself is gone.
pub(crate) enum LoggedParts {
    Packed(Arc<[u8]>),
    Whole { uri: Uri, peer_addr: Option<SocketAddr>, is_handshake: bool },
}

impl LoggedParts {
    pub(crate) fn path(&self) -> &str {
        match self {
            Self::Packed(block) => packed::read(block).path(),
            Self::Whole { uri, .. } => uri.path(),
        }
    }

    pub(crate) fn peer_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Packed(block) => packed::read(block).place().peer_addr,
            Self::Whole { peer_addr, .. } => *peer_addr,
        }
    }

    /// Returns true if the request is a handshake, well formed or not.
    pub(crate) fn is_handshake(&self) -> bool {
        match self {
            Self::Packed(block) => {
                let parts = packed::read(block);
                parts.is_upgrade() || parts.has_header(SEC_WEBSOCKET_KEY.as_str())
            }
            Self::Whole { is_handshake, .. } => *is_handshake,
        }
    }
}

impl Request {
    /// The parts for a log that outlives the request.
    pub(crate) fn parts_for_log(&self) -> LoggedParts {
        match &self.contents {
            Contents::Packed(packed) => LoggedParts::Packed(packed.block()),
            Contents::Whole(whole) => LoggedParts::Whole {
                uri: whole.request.uri().clone(),
                peer_addr: whole.place.peer_addr,
                is_handshake: self.is_upgrade() || self.has_header(SEC_WEBSOCKET_KEY),
            },
        }
    }
}

//! A granted WebSocket, before it becomes a conversation: [`Opened`].

use bytes::BytesMut;
use http::Response;
use sockless_core::Connection;

use super::App;
use crate::io::SimIo;

pub(crate) struct Opened {
    pub(crate) app: App,
    pub(crate) path: String,
    pub(crate) io: SimIo,
    /// Bytes that arrived after the response.
    pub(crate) inbound: BytesMut,
    pub(crate) connection: Connection,
    pub(crate) response: Response<()>,
}

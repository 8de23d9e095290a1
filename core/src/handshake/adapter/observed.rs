//! Handshakes between others, in the types of the crate `http`.

use alloc::string::ToString;
use alloc::vec::Vec;

use bytes::BytesMut;
use http::header::SEC_WEBSOCKET_KEY;
use http::{Request, Response, StatusCode, Version};

use super::parse::parse_response;
use crate::connection::Negotiated;
use crate::extension::{Extensions, Params};
use crate::handshake::accept_key;
use crate::handshake::client::check_upgrade;
use crate::handshake::error::{HandshakeError, HeadError};
use crate::handshake::negotiation::{Subprotocols, extensions};
use crate::handshake::observed::{ResponseReader, offered_answers};
use crate::role::Role;

/// # With the types of the crate `http`
impl ResponseReader {
    /// Takes the response out of `inbound`, as [`poll_head`](Self::poll_head) does.
    ///
    /// # Errors
    ///
    /// As [`poll_head`](Self::poll_head).
    pub fn poll_response(
        &mut self,
        inbound: &mut BytesMut,
    ) -> Option<Result<Response<()>, HeadError>> {
        self.poll(inbound, parse_response)
    }
}

impl Negotiated {
    /// Returns what two other programs agreed on with a request and its response, as the end `role` sees it. `known`
    /// are the extensions that this program can decode, whatever their settings.
    ///
    /// An observer of both directions needs both roles: the codecs of a server decode what the client sends, and those
    /// of a client what the server sends. [`MessageCodec`](crate::extension::MessageCodec) has an example of their use.
    ///
    /// ```
    /// use sockless_core::{Config, Negotiated, Role};
    ///
    /// let request = http::Request::get("/chat")
    ///     .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
    ///     .header("Sec-WebSocket-Protocol", "chat.v2, chat.v1")
    ///     .body(())?;
    /// let response = http::Response::builder()
    ///     .status(101)
    ///     .header("Upgrade", "websocket")
    ///     .header("Connection", "Upgrade")
    ///     .header("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    ///     .header("Sec-WebSocket-Protocol", "chat.v1")
    ///     .body(())?;
    /// let known = Config::default();
    /// let agreed =
    ///     Negotiated::from_exchange(&request, &response, known.get_extensions(), Role::Server)?;
    /// assert_eq!(agreed.subprotocol.as_deref(), Some("chat.v1"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// A [`HandshakeError`] if the response does not accept the request (RFC 6455 §4.1, RFC 8441 §5), or selects what
    /// the request does not offer; [`ExtensionUnknown`](HandshakeError::ExtensionUnknown) for an extension that is not
    /// among `known`, or that [cannot be observed](crate::extension::Extension::codec).
    pub fn from_exchange<A, B>(
        request: &Request<A>,
        response: &Response<B>,
        known: &Extensions,
        role: Role,
    ) -> Result<Self, HandshakeError> {
        if request.version() < Version::HTTP_2 {
            let key = request.headers().get(SEC_WEBSOCKET_KEY);
            let accept = accept_key(key.map_or(&[], |key| key.as_bytes()));
            let head = head_of(response);
            if head.status() != StatusCode::SWITCHING_PROTOCOLS {
                return Err(HandshakeError::Rejected(head.into()));
            }
            check_upgrade(&head, accept.as_str())?;
        } else if !response.status().is_success() {
            return Err(HandshakeError::Rejected(head_of(response).into()));
        }
        let offered = Subprotocols::offered(request.headers()).unwrap_or_default();
        let subprotocol = offered.selected(response.headers())?;
        let offers = extensions(request.headers()).unwrap_or_default();
        let answers = offered_answers(&offers, response.headers())?;
        let unknown = |params: Params| HandshakeError::ExtensionUnknown(params.to_string().into());
        let extensions = known.agreed(answers, role).map_err(unknown)?;
        Ok(Self { subprotocol, extensions })
    }
}

/// Returns the extensions that a response selects, in order; `None` if its `Sec-WebSocket-Extensions` does not
/// conform to the grammar of RFC 6455 §9.1.
///
/// [`ClientHandshake::with_offers`](crate::handshake::ClientHandshake::with_offers) has an example.
pub fn extension_answers<B>(response: &Response<B>) -> Option<Vec<Params>> {
    extensions(response.headers())
}

/// A response without its body.
pub(super) fn head_of<B>(response: &Response<B>) -> Response<()> {
    let mut head = Response::new(());
    *head.status_mut() = response.status();
    *head.version_mut() = response.version();
    *head.headers_mut() = response.headers().clone();
    head
}

//! The subprotocols and extensions that the two ends agree on, in any version of HTTP.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::borrow::Borrow;
use core::str;

use bytestring::ByteString;

use super::error::HandshakeError;
use super::fields::{Fields, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL};
use crate::connection::Negotiated;
use crate::extension::{Extensions, Params, is_token_byte};

/// The subprotocols that a client offers, in its order of preference.
///
/// Holds the lines of the header and splits them on demand, so that an offer takes only the
/// memory of its lines.
#[derive(Clone, Debug, Default)]
pub(super) struct Subprotocols(Vec<ByteString>);

impl Subprotocols {
    /// The offer of a request; `None` if it is not a list of at least one token without repetition
    /// (RFC 6455 §4.1).
    pub(super) fn offered(headers: &(impl Fields + ?Sized)) -> Option<Self> {
        let lines = headers.all(&SEC_WEBSOCKET_PROTOCOL);
        let lines = lines.map(|line| str::from_utf8(line).ok().map(ByteString::from));
        let offered = Self(lines.collect::<Option<_>>()?);

        let mut sorted: Vec<&str> = offered.iter().collect();
        // Sorted, since comparing each pair is quadratic in the length of what a peer sends.
        sorted.sort_unstable();
        let distinct = sorted.windows(2).all(|pair| pair[0] != pair[1]);
        let tokens = sorted.iter().all(|element| element.bytes().all(is_token_byte));
        let absent_or_listed = offered.0.is_empty() || !sorted.is_empty();
        (distinct && tokens && absent_or_listed).then_some(offered)
    }

    /// The offer as one line, if it was made in several. They mean the same (RFC 9110 §5.3), but some
    /// servers read only the first.
    pub(super) fn in_one_line(&self) -> Option<String> {
        (self.0.len() > 1).then(|| self.iter().collect::<Vec<_>>().join(", "))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .flat_map(|line| line.split(','))
            .map(|element| element.trim_matches([' ', '\t']))
            .filter(|element| !element.is_empty())
    }

    /// The one that a server's response selects. RFC 6455 §4.1 lets a server select none.
    pub(super) fn selected(
        &self,
        headers: &(impl Fields + ?Sized),
    ) -> Result<Option<ByteString>, HandshakeError> {
        // §11.3.4: a response has this header once, with one token and not a list.
        let mut values = headers.all(&SEC_WEBSOCKET_PROTOCOL);
        let (Some(first), second) = (values.next(), values.next()) else {
            return Ok(None);
        };
        match self.iter().find(|offered| first == offered.as_bytes()) {
            Some(offered) if second.is_none() => Ok(Some(ByteString::from(offered))),
            _ => {
                let value = second.unwrap_or(first).escape_ascii();
                Err(HandshakeError::SubprotocolNotOffered(value.to_string().into()))
            }
        }
    }
}

/// The elements of `Sec-WebSocket-Extensions` over all its lines; `None` if they do not conform to the
/// grammar, which fails the handshake (RFC 6455 §9.1).
pub(super) fn extensions(headers: &(impl Fields + ?Sized)) -> Option<Vec<Params>> {
    let listed = Params::parse_list(headers.all(&SEC_WEBSOCKET_EXTENSIONS))?;
    // If the header is present, it lists at least one extension.
    (!listed.is_empty() || !headers.contains(&SEC_WEBSOCKET_EXTENSIONS)).then_some(listed)
}

/// The value of `Sec-WebSocket-Extensions` that lists `params`; `None` if the list is empty.
pub(super) fn extensions_value<P: Borrow<Params>>(
    params: impl Iterator<Item = P>,
) -> Option<String> {
    let listed: Vec<String> = params.map(|params| params.borrow().to_string()).collect();
    (!listed.is_empty()).then(|| listed.join(", "))
}

/// The subprotocol and the extensions that a server selected with its response.
pub(super) fn negotiated(
    subprotocols: &Subprotocols,
    offers: &Extensions,
    headers: &(impl Fields + ?Sized),
) -> Result<Negotiated, HandshakeError> {
    let answers = extensions(headers).ok_or(HandshakeError::ExtensionsInvalid)?;
    let not_offered =
        |params: Params| HandshakeError::ExtensionNotOffered(params.to_string().into());
    let extensions = offers.confirm(answers).map_err(not_offered)?;
    Ok(Negotiated { subprotocol: subprotocols.selected(headers)?, extensions })
}

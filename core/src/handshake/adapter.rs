//! The handshake over the types of the crate `http`.

mod extended;
mod request;
mod text;

pub use extended::ExtendedConnect;
pub(super) use request::CheckedRequest;
pub use text::text_response;

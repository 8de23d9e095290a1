//! The handshake over the types of the crate `http`.

mod client;
mod encode;
mod error;
mod extended;
mod observed;
mod parse;
mod request;
mod server;
mod text;
mod upgrade;

pub use encode::{encode_request, encode_response};
pub(super) use error::success;
pub use extended::ExtendedConnect;
pub use observed::extension_answers;
pub use text::text_response;
pub use upgrade::is_upgrade_request;

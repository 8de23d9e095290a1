//! permessage-deflate (RFC 7692), for both roles: what goes in comes out, whatever is agreed on.

mod broken;
mod by_others;
mod cuts;
mod negotiation;
mod sending;
mod support;
mod window;
mod wire_len;

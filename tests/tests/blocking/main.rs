//! The blocking client and server, over sockets: against each other, against tokio's, and against peers
//! that speak in bytes.

mod deadlines;
mod driven;
mod endings;
mod roles;
mod support;

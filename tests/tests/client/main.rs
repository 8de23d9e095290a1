//! Connecting, step by step, in the simulator: whatever a resolver, a network, a proxy or a server does,
//! it ends by the deadline, with an error that names it, and leaves nothing behind.

mod addresses;
mod answers;
mod cookies;
mod frames;
mod proxies;
mod reconnecting;
mod redirects;
mod requests;
mod secure;
mod sessions;
mod support;

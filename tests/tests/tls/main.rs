//! TLS over the simulated network: what it carries, whom it trusts, and what becomes of a peer that
//! fails it.

mod faults;
mod sessions;
mod stream;
mod support;
mod trust;
mod versions;

//! TLS over the simulated network: what it carries, whom it trusts, and what becomes of a peer that
//! fails it.

#[path = "../support/certificates.rs"]
mod certificates;
mod faults;
#[path = "../support/loudest.rs"]
mod logs;
mod sessions;
mod stream;
mod support;
mod trust;
mod versions;

//! TLS over the simulated network: what it carries, whom it trusts, and what becomes of a peer that
//! fails it.

#[path = "../certificates/mod.rs"]
mod certificates;
mod faults;
#[path = "../logs/mod.rs"]
mod logs;
mod sessions;
mod stream;
mod support;
mod trust;
mod versions;

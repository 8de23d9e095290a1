//! TLS over the simulated network: sessions over it, trust, and peers whose handshake fails.

mod faults;
mod sessions;
mod stream;
mod support;
mod trust;
mod versions;

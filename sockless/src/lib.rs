//! WebSockets for Rust.

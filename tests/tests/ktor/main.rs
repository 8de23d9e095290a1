//! What Ktor's own tests of WebSockets demand, and what its users asked for, in the simulator.
//!
//! Each test is named after Ktor's, in a module for each of its files; `docs/ktor.md` says which row it
//! proves. Where another test of the workspace proves the same, it is named there and not written twice.

mod backpressure;
mod client;
mod complaints;
mod default_session;
mod deflate;
mod engine;
#[path = "../support/loudest.rs"]
mod logs;
mod raw_session;
mod settings;
mod support;
mod test_host;
mod websocket;

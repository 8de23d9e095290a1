//! Helpers of the tests: two ends on one virtual clock, frames by hand, assertions in terms of the protocol.

#[cfg(feature = "runtimes")]
pub mod certificates;
pub mod counted;
pub mod end;
pub mod frames;
#[cfg(feature = "runtimes")]
pub mod handlers;
#[cfg(feature = "heads")]
pub mod heads;
pub mod laws;
#[cfg(feature = "runtimes")]
pub mod logs;
pub mod model;
#[cfg(feature = "runtimes")]
pub mod opened;
pub mod operations;
pub mod pair;
#[cfg(feature = "runtimes")]
pub mod served;
pub mod session;
pub mod wire;

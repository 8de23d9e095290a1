//! What the tests share: two ends on one virtual clock, frames by hand, asserts in domain words.

pub mod end;
#[cfg(feature = "heads")]
pub mod heads;
pub mod laws;
pub mod link;
pub mod model;
pub mod operations;
pub mod pair;
#[cfg(feature = "runtimes")]
pub mod served;
pub mod session;
pub mod wire;

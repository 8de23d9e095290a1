//! What the tests share: two ends on one virtual clock, frames by hand, asserts in domain words.

pub mod end;
pub mod laws;
pub mod link;
pub mod model;
pub mod pair;
pub mod session;
pub mod wire;

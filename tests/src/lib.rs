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

/// The blocks of the README, compiled and run.
#[cfg(all(doctest, feature = "runtimes"))]
#[doc = include_str!("../../README.md")]
pub struct Readme;

/// The blocks of the guide to porting, compiled and run.
#[cfg(all(doctest, feature = "runtimes"))]
#[doc = include_str!("../../sockless/src/guide/porting.md")]
pub struct Porting;

/// The blocks of the guide to what a public server needs, compiled and run.
#[cfg(all(doctest, feature = "runtimes"))]
#[doc = include_str!("../../sockless/src/guide/deployment.md")]
pub struct Deployment;

/// The blocks of the guide to many cores and many connections, compiled and run.
#[cfg(all(doctest, feature = "runtimes"))]
#[doc = include_str!("../../sockless/src/guide/scale.md")]
pub struct Scale;

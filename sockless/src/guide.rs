//! The guide: one page for each task.
//!
//! Every block of Rust in it is compiled, and run where it needs neither network nor files, by
//! `cargo test -p sockless --doc`.

#[doc = include_str!("guide/deployment.md")]
pub mod deployment {}

#[doc = include_str!("guide/porting.md")]
pub mod porting {}

#[doc = include_str!("guide/scale.md")]
pub mod scale {}

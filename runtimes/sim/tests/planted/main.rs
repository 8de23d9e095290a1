//! Bugs that are planted in small servers: each is found by a seed, shrunk, and repeated.
//!
//! `--nocapture` prints for each the seed that finds it, the time that it took, and what is left of its plan.

mod handlers;
mod hunt;
mod servers;

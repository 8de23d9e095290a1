//! Sessions, from the opening handshake to the end, in the simulator: no port, no waiting, and a seed in
//! each failure.

mod batches;
mod bounds;
mod cancel;
mod driven;
mod ends;
mod failures;
mod handles;
#[path = "../support/lines.rs"]
mod lines;
mod pieces;
mod prefix;
mod raised;
#[path = "../support/recorder.rs"]
mod recorder;
mod soak;
mod streams;
#[path = "../support/session.rs"]
mod support;
mod turns;
mod unlocked;
mod volume;

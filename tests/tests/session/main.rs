//! Sessions, from the opening handshake to the end, in the simulator: no port, no waiting, and a seed in
//! each failure.

mod accepting;
mod batches;
mod bounds;
mod budget;
mod cancel;
mod driven;
mod ends;
mod failures;
mod handles;
#[path = "../logs/lines.rs"]
mod lines;
mod logged;
mod mounted;
mod opening;
mod pieces;
mod prefix;
mod raised;
#[path = "../logs/recorder.rs"]
mod recorder;
mod shutdown;
mod soak;
mod streams;
mod support;
mod turns;
mod unlocked;
mod volume;

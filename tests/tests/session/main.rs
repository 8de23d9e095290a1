//! Sessions, from the opening handshake to the end, in the simulator: no port, no waiting, and a seed in
//! each failure.

mod around;
mod batches;
mod bounds;
mod cancel;
mod chunks;
mod driven;
mod ends;
mod failures;
mod formats;
mod handles;
mod pipes;
mod pongs;
mod prefix;
mod raised;
mod raw;
mod soak;
mod streams;
mod tasks;
mod turns;
mod unlocked;
mod volume;
mod waiting;

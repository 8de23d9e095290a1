//! The law of liveness, in the simulator: for every way in which a peer can end, and every place where a
//! handler can stand, the session ends in time, says why, and leaves nothing behind.

mod cell;
mod closing;
mod expected;
mod matrix;
mod peer;
mod stand;
mod threads;
mod timers;
mod wakeups;
mod world;

//! A server of connections, in the simulator: what it accepts, how it shuts down, and the memory that its
//! sessions share.

mod accepted;
mod accepting;
mod announced;
mod budget;
mod mounted;
mod shutdown;

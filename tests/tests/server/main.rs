//! A server of connections, in the simulator: what it accepts, how it shuts down, and the memory that its
//! sessions share.

mod accepting;
mod budget;
#[path = "../support/logged.rs"]
mod logged;
mod mounted;
#[path = "../support/recorder.rs"]
mod recorder;
mod shutdown;
#[allow(dead_code, reason = "each test uses a part of it")]
#[path = "../support/session.rs"]
mod support;

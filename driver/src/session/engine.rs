//! What drives a session: its state behind one lock, the task that owns the transport, and the order of
//! a turn.

pub(crate) mod budget;
pub(crate) mod buffers;
pub(crate) mod drive;
pub(crate) mod failure;
pub(crate) mod joined;
pub(crate) mod locked;
pub(crate) mod machine;
pub(crate) mod shared;
mod turn;
pub(crate) mod waiters;

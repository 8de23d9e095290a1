//! The engine of a session: its state behind one lock, and the driver that owns the transport.
//!
//! `shared` is used by the handles of the application, `drive` by the runtime. Both change the
//! `state`, whose fields are private, by its methods.

mod backlog;
pub(crate) mod budget;
pub(crate) mod buffers;
pub(crate) mod drive;
mod failure;
mod handler_turn;
pub(crate) mod joined;
pub(crate) mod locked;
pub(crate) mod machine;
pub(crate) mod pongs;
pub(crate) mod shared;
mod state;
pub(crate) mod waiters;
mod wake_later;

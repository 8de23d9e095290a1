//! A deterministic runtime for sockless: a virtual network, a virtual clock, and seeded faults.
//!
//! A test of a handler, a client or a whole server runs in a [`Sim`]: no port is opened, no second
//! passes, and whatever is left to chance is drawn from one seed, which every failure names. Run a
//! scenario over many seeds with [`Sim::check`], and the seed that failed again as often as it takes.
//!
//! - [`Sim`] runs tasks in an order drawn from the seed, and moves the clock to the next timer when
//!   no task can run. When there is none either, it says which tasks wait for ever.
//! - [`Sim::serve`] and [`Sim::connect`] speak WebSocket over them: the same sessions, the same
//!   services as on any runtime.
//! - [`Sim::app`] is the test kit: an [`App`] runs a service in memory, and a test opens
//!   conversations with it, sends it requests, and says what it expects.
//! - [`Sim::pipe`], [`Sim::listen`] and [`Sim::dial`] make transports: [`SimIo`], over a [`Link`]
//!   with a capacity, a latency, and cuts where the seed wants them.
//! - [`Sim::set_lookup`] and [`Sim::set_reachability`] spoil names and addresses.
//! - [`Wire`] counts reads and writes, and stalls, ends, cuts or resets what it belongs to.
//! - [`Link::tcp`] has the buffers and the resets of a TCP connection, under which data can be lost.
//!
//! ```
//! use std::io;
//! use std::time::Duration;
//!
//! use sockless_core::Instant;
//! use sockless_sim::{Link, Sim};
//!
//! Sim::check(0..10, |sim| async move {
//!     // Half a second each way, and never more than three bytes to a read.
//!     let slow = Link::default().latency(Duration::from_millis(500)).short_reads(3);
//!     let mut listener = sim.listen_over("server", &slow);
//!     sim.spawn(async move {
//!         let peer = listener.accept().await;
//!         let name = peer.read_exact(5).await?;
//!         peer.write_all(b"hello ").await?;
//!         peer.write_all(&name).await?;
//!         io::Result::Ok(())
//!     });
//!
//!     let server = sim.dial("server").await.unwrap();
//!     server.write_all(b"Alice").await.unwrap();
//!     assert_eq!(server.read_to_end().await.unwrap(), "hello Alice");
//!     // Two round trips, the one that dials included.
//!     assert_eq!(sim.now(), Instant::EPOCH + Duration::from_secs(2));
//! });
//! ```
//!
//! # What makes it deterministic
//!
//! One thread polls one task at a time; nothing in here reads a clock, starts a thread or asks the
//! operating system for anything. The code under test has to do its part: no iteration over a
//! `HashMap`, no `std::time::Instant`, no thread that wakes a task. [`Sim::fingerprint`] tells whether
//! two runs went the same way.

mod cancel;
mod ends;
mod executor;
mod kit;
mod lane;
mod link;
mod names;
mod network;
mod pipe;
mod rng;
mod time;
mod waiter;
mod websocket;
mod wire;

pub use cancel::poll_at_most;
pub use executor::{JoinHandle, Sim};
pub use kit::{App, Conversation, OpenConversation, RawConversation};
pub use link::Link;
pub use names::{Lookup, Reachability};
pub use network::SimListener;
pub use pipe::SimIo;
pub use time::SimTimer;
pub use wire::{Wire, WireDirection, WireStats};

/// Locks what a panicking task may have left locked: the run fails by that panic, and what is dropped
/// on its way out still has to find its pipe.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

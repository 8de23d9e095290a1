//! A deterministic runtime for sockless: a virtual network, a virtual clock, and seeded faults.
//!
//! A test of a handler, a client or a whole server runs in a [`Sim`]. It opens no port and waits
//! for no real time, and every random choice is drawn from one seed. Run a scenario over many seeds
//! with [`Sim::check`]. A failure names its seed, and running that seed again reproduces it.
//!
//! - [`Sim`] runs tasks in an order drawn from the seed, and advances the clock to the next timer
//!   when no task can run. If there is no timer either, it fails with the names of the unfinished
//!   tasks.
//! - [`Sim::app`] is the test kit: an [`App`] runs a service in memory, and a test opens
//!   conversations with it and asserts what it receives.
//! - [`Sim::serve`] and [`Sim::connect`] speak WebSocket on the simulated network, with the same
//!   sessions and services as on any other runtime.
//! - [`Sim::pipe`], [`Sim::listen`] and [`Sim::dial`] create transports: [`SimIo`], over a [`Link`]
//!   with a capacity, a latency, and short reads and writes. [`Link::tcp`] has the buffers and the
//!   resets of a TCP connection, which can lose data.
//! - [`Wire`] counts reads and writes, and stalls, ends, cuts or resets a connection.
//! - [`Sim::machine`] creates a [`Machine`] that crashes, restarts and pauses, with a clock and a
//!   [`Disk`] of its own. [`Sim::partition`] separates machines.
//! - [`Sim::set_lookup`] and [`Sim::set_reachability`] make lookups and connections fail.
//! - [`oracles`] decide whether a run was right: conditions after each event, histories, gauges,
//!   and what must happen in some run.
//! - [`Campaign`] draws faults and the steps of workloads from seeds, as a [`Plan`], and shrinks a
//!   plan that fails.
//! - [`Trace`] is what happened in a run: as text, to compare two runs, and as a timeline.
//! - [`explore`] visits every interleaving of something small, such as two connections with short
//!   scripts, instead of those that some seeds select.
//!
//! ```
//! use std::time::Duration;
//!
//! use sockless::Instant;
//! use sockless::sim::{Link, Sim};
//!
//! Sim::check(0..10, |sim| async move {
//!     // Half a second in each direction, and at most three bytes per read.
//!     let slow = Link::default().latency(Duration::from_millis(500)).short_reads(3);
//!     let mut listener = sim.listen_over("server", &slow);
//!     sim.spawn(async move {
//!         let peer = listener.accept().await;
//!         let name = peer.read_exact(5).await?;
//!         peer.write_all(b"hello ").await?;
//!         peer.write_all(&name).await?;
//!         std::io::Result::Ok(())
//!     });
//!
//!     let server = sim.dial("server").await.unwrap();
//!     server.write_all(b"Alice").await.unwrap();
//!     assert_eq!(server.read_to_end().await.unwrap(), "hello Alice");
//!     // Two round trips: one to connect, one for the bytes.
//!     assert_eq!(sim.now(), Instant::EPOCH + Duration::from_secs(2));
//! });
//! ```
//!
//! # Features
//!
//! All are off by default. The facade `sockless` enables the first together with its own feature
//! `tokio`.
//!
//! * `tokio`: a simulation runs in a runtime of tokio whose clock it controls. `tokio::time` and
//!   `tokio::spawn` work in handlers, in virtual time; tokio's timers have a resolution of a
//!   millisecond, and its tasks run in a fixed order. [`SimIo`] implements tokio's `AsyncRead` and
//!   `AsyncWrite`, so that hyper, axum and clients of other protocols run on the simulated network.
//!   A simulation cannot run inside of another runtime of tokio, as in a `#[tokio::test]`.
//! * `record`: clients that repeat what a recorded connection received.
//! * `linearizability`: histories of operations can be checked.
//! * `futures-io`: [`SimIo`] implements the traits of `futures-io`.
//!
//! # Determinism
//!
//! One thread polls one task at a time, and no task sees anything of the real world: time, chance and
//! the network are the simulator's. The code under test has to be deterministic too. What is not, such
//! as `tokio::select!` without `biased`, the iteration order of a `HashMap`, or
//! `std::time::Instant`, shows when [`Sim::check`] runs its first seed twice: the runs differ, and the
//! test fails with the first event in which they do. A wake-up from another thread fails the run
//! too. [`Sim::fingerprint`] is a digest of a run, to compare processes and machines.

mod bare;
mod campaign;
mod cancel;
mod check;
mod disk;
mod ends;
pub mod explore;
mod failure;
mod fingerprint;
mod handlers;
mod host;
mod hosts;
mod io;
mod kit;
mod lane;
mod laws;
mod link;
mod machine;
mod names;
mod network;
pub mod oracles;
mod panics;
mod pipe;
mod plan;
mod report;
mod rng;
mod schedule;
mod sim;
mod skew;
mod stats;
mod tap;
mod tasks;
mod time;
mod trace;
mod waiter;
mod waits;
mod wakes;
mod watchdog;
mod websocket;
mod wire;
mod world;

pub use bare::BareLink;
pub use campaign::Campaign;
pub use cancel::poll_at_most;
pub use disk::Disk;
pub use handlers::FailedHandler;
pub use io::SimIo;
pub use kit::{App, Conversation, OpenConversation, RawConversation};
#[cfg(feature = "record")]
pub use kit::{RecordedClient, ReplayedClient, TraceClientError};
pub use link::Link;
pub use machine::{Crash, Machine};
pub use names::{Lookup, Reachability};
pub use network::SimListener;
pub use plan::{Act, Fault, ParsePlanError, Plan, Step, When};
pub use rng::SimRng;
pub use sim::Sim;
pub use stats::WireStats;
pub use tasks::JoinHandle;
pub use time::SimTimer;
pub use trace::{ParseTraceError, Trace, TraceDifference, TraceFrame, TraceHead};
pub use wire::{Wire, WireDirection};

/// Locks `mutex` even if a task has panicked with the lock held: the run fails with that panic, and
/// values that are dropped while it unwinds still need their locks.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

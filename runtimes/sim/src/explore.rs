//! Exploration: every order in which something small can happen, instead of the orders that some
//! seeds select.
//!
//! - [`Pair`] is a client and a server with a short script each. All interleavings of their steps,
//!   of the bytes between them and of their timers are visited, and the laws of a WebSocket are
//!   checked in each state. [`Endpoint`] puts a protocol of one's own in the place of a bare
//!   connection.
//! - [`Schedules`] runs a small world of tasks once for each order of its tasks.
//! - [`Explorer`] visits the states of any [`Model`]: something that can be copied and that lists
//!   what can happen next.
//!
//! ```
//! use sockless::sim::explore::{Explorer, Pair, PairStep};
//! use sockless::{CloseCode, Config};
//!
//! let pair = Pair::new(&Config::default())
//!     .client([PairStep::Send("hello".into()), PairStep::Close(CloseCode::NORMAL.into())])
//!     .server([PairStep::Ping("?".into())])
//!     .timers(0);
//! let coverage = Explorer::new().run(pair).unwrap();
//! assert!(coverage.is_complete());
//! assert!(coverage.states() > 50, "{coverage}");
//! ```

mod endpoint;
mod laws;
mod pair;
mod schedules;
mod search;
mod step;

pub use endpoint::Endpoint;
pub use pair::{Cuts, Pair};
pub use schedules::{Orders, Schedules};
pub use search::{Counterexample, Coverage, Explorer, Model};
pub use step::{Amount, PairAction, PairStep};

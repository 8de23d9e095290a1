//! Rooms for sockless: what one member publishes reaches all members, in order.
//!
//! Programs use this crate through `sockless`, with its feature `rooms`.
//!
//! * [`Rooms`] are those of a server, within the process or over a [`Bus`]. A [`Namespace`] has
//!   rooms of one kind and their settings, a [`RoomConfig`].
//! * A session [joins](Namespace::join) a room as a [`Member`], for as long as that value exists.
//! * An [`Envelope`] makes messages of the [`RoomEvent`]s of a room.
//!
//! * `json` serves rooms to clients, with an envelope in JSON, and has such a client. Feature `json`.
//!
//! # Guarantees
//!
//! * **Order.** All members receive the messages of a room in the same order.
//! * **Without a history** each member receives each message at most once.
//! * **With a [`History`]** a member that resumes from a [`Position`] receives every message behind
//!   it, in order and once, or it has a [gap](Resumed::Gap). The same holds for members that are
//!   connected while the bus loses messages: they are delivered from the history, or
//!   [`RoomEvent::Gap`] is. No gap is silent.
//! * **Outages.** While the bus cannot be reached, sessions stay open, joining does not wait, and
//!   publishing fails at once or when the bus states so. Members receive
//!   [`RoomEvent::Interrupted`] and [`RoomEvent::Restored`].
//! * **Presence.** All servers agree on the members of a room soon after each change. The members of
//!   a server that dies are gone within twice the [time to live](RoomConfig::presence_ttl).
//! * **Slow members** never delay a room: see [`Lag`].
//! * **Memory.** A server holds nothing for a room that has no members there, except the history
//!   where it is kept in the process.

mod bus;
mod cell;
mod config;
mod convert;
mod error;
mod event;
#[cfg(feature = "json")]
pub mod json;
mod keyed;
mod kind;
mod limits;
mod machine;
mod member;
mod meter;
#[cfg(feature = "metrics")]
pub mod metrics;
mod name;
mod node;
mod outlet;
mod pause;
mod position;
mod publication;
mod registry;
mod rooms;
mod stats;
mod waiting;

pub use bus::{Bus, BusSink};
#[cfg(feature = "nats")]
pub use bus::{NatsBus, NatsUrlError};
#[cfg(feature = "redis")]
pub use bus::{RedisBus, RedisUrlError};
#[cfg(feature = "sim")]
pub use bus::{SimBroker, SimBus};
pub use config::{History, Lag, RoomConfig};
pub use error::{BusError, JoinError, MAX_DATA_LEN, MAX_IDENTITY_LEN, MAX_KEY_LEN, PublishError};
pub use event::{Envelope, Occupant, Plain, Resumed, RoomEvent, Welcome};
pub use limits::{Action, Attempt, Denied};
pub use member::{Join, Member};
pub use name::{MAX_NAME_LEN, RoomKey, RoomNameError};
pub use position::{Epoch, ParsePositionError, Position};
pub use publication::{Item, MemberId, Publication, Replay};
pub use rooms::{Namespace, Rooms};
pub use stats::RoomsStats;

/// Locks `mutex` even if a task has panicked with the lock held: the values behind it are changed
/// in steps that cannot panic, except for an application's own `Envelope`.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

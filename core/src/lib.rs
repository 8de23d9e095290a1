//! WebSockets with the socket taken out.
#![no_std]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod close;
mod config;
mod connection;
#[cfg(feature = "deflate")]
mod deflate;
mod error;
mod escape;
mod event;
pub mod extension;
mod frame;
#[cfg(feature = "handshake")]
pub mod handshake;
pub mod limits;
mod mask;
mod message;
mod outbound;
mod outgoing;
mod ping;
mod raw;
mod seed;
mod staging;
mod time;
mod utf8;

pub use close::{CloseCode, CloseReason};
pub use config::{Config, Masking, MessageRate, Overflow};
pub use connection::{Connection, Negotiated, TransportAction};
#[cfg(feature = "deflate")]
pub use deflate::{Deflate, ParseDeflateError};
pub use error::{ProtocolError, SendError};
pub use escape::Escaped;
pub use event::{Cause, Closed, Event, Party, Timeout};
pub use frame::{Frame, FrameHead, Opcode, Rsv};
pub use message::{Chunk, Message};
pub use outbound::Outbound;
pub use outgoing::{Broadcast, OutgoingMessage};
pub use ping::{PingAction, Pinger};
pub use raw::{RawConnection, Role};
pub use seed::Seed;
pub use staging::Staging;
pub use time::Instant;

//! A sans-I/O WebSocket protocol (RFC 6455, 7692, 8441): bytes and time in, events and bytes out.
//!
//! This crate reads no clock, draws no randomness, does no I/O and starts no task: the same inputs give
//! the same outputs, byte for byte. It is for event loops, runtimes, proxies and devices that drive the
//! protocol themselves. Servers and clients on tokio, smol or async-std use the crate `sockless`, which
//! drives this one.
//!
//! # A loop
//!
//! A [`Connection`] is open; the [handshakes][handshake] create one. [`Connection::poll_output`] returns the
//! next thing to do. This is an echo server over any transport that
//! reads and writes without blocking:
//!
//! ```
//! use std::io::{self, Read, Write};
//! use std::time::Duration;
//!
//! use bytes::BytesMut;
//! use sockless_core::{Connection, Event, Instant, Output};
//!
//! /// Runs a turn, then reads. Returns the time of the next call unless bytes arrive earlier; `None` once
//! /// the transport can be dropped.
//! fn drive(
//!     connection: &mut Connection,
//!     transport: &mut (impl Read + Write),
//!     inbound: &mut BytesMut,
//!     now: Instant,
//! ) -> Option<Instant> {
//!     let wait = loop {
//!         match connection.poll_output(inbound, now) {
//!             // An error means that the connection is closing; the event that says so follows.
//!             Output::Event(Event::Message(message)) => drop(connection.send(message, now)),
//!             Output::Event(Event::Closed(closed)) => println!("{closed}"),
//!             Output::Event(_) => {}
//!             Output::Write(mut outbound) => match transport.write(outbound.chunk()) {
//!                 Ok(len) => outbound.advance(len),
//!                 Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
//!                 Err(error) => connection.handle_transport_error(error.to_string(), now),
//!             },
//!             Output::ShutdownWrite => {} // of a transport that has two halves
//!             Output::Wait(wait) => break wait,
//!             Output::Close => return None,
//!         }
//!     };
//!     let mut block = [0; 4096];
//!     if wait.read {
//!         match transport.read(&mut block) {
//!             Ok(0) => connection.handle_eof(now),
//!             Ok(len) => inbound.extend_from_slice(&block[..len]),
//!             Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
//!             Err(error) => connection.handle_transport_error(error.to_string(), now),
//!         }
//!     }
//!     Some(wait.until.unwrap_or(now + Duration::from_secs(3600)))
//! }
//! # use bytes::Buf;
//! # use std::sync::Arc;
//! # use sockless_core::{Config, Message, Negotiated, Seed};
//! # struct Pipe(BytesMut, Vec<u8>);
//! # impl Read for Pipe {
//! #     fn read(&mut self, block: &mut [u8]) -> io::Result<usize> {
//! #         if self.0.is_empty() { return Err(io::ErrorKind::WouldBlock.into()); }
//! #         let len = self.0.len().min(block.len());
//! #         self.0.copy_to_slice(&mut block[..len]);
//! #         Ok(len)
//! #     }
//! # }
//! # impl Write for Pipe {
//! #     fn write(&mut self, bytes: &[u8]) -> io::Result<usize> { self.1.extend_from_slice(bytes); Ok(bytes.len()) }
//! #     fn flush(&mut self) -> io::Result<()> { Ok(()) }
//! # }
//! # let (config, now) = (Arc::new(Config::default()), Instant::EPOCH);
//! # let mut client = Connection::client(Negotiated::default(), Seed::new([7; 32]), config.clone(), now);
//! # let mut server = Connection::server(Negotiated::default(), config, now);
//! # client.send("hello", now).unwrap();
//! # let mut out = client.outbound();
//! # let mut pipe = Pipe(BytesMut::from(&out.copy_to_bytes(out.remaining())[..]), Vec::new());
//! # let mut received = BytesMut::new();
//! # for _ in 0..3 { assert!(drive(&mut server, &mut pipe, &mut received, now).is_some()); }
//! # let mut inbound = BytesMut::from(&pipe.1[..]);
//! # assert_eq!(client.poll_event(&mut inbound, now), Some(Event::Message(Message::from("hello"))));
//! # client.close(sockless_core::CloseCode::NORMAL, now);
//! # let mut out = client.outbound();
//! # pipe.0 = BytesMut::from(&out.copy_to_bytes(out.remaining())[..]);
//! # drive(&mut server, &mut pipe, &mut received, now);
//! # drive(&mut server, &mut pipe, &mut received, now);
//! # assert!(!server.is_open());
//! ```
//!
//! [`Output::ShutdownWrite`] asks to shut down the writing half before the transport is dropped, so that
//! the peer receives the last bytes. Not to poll is the backpressure: bytes that were not taken stay in
//! `inbound`, and while answers find no room [`Wait::read`](Wait#structfield.read) is false. The guide to
//! porting of the crate `sockless` (`sockless::guide::porting`) has complete loops, over blocking sockets
//! and over readiness.
//!
//! # Contents
//!
//! | For | Use |
//! |---|---|
//! | messages | [`Connection`]: joins fragments, validates UTF-8, answers pings, closes, enforces limits and deadlines |
//! | frames of one end | [`RawConnection`]: frames in and out, nothing automatic |
//! | frames between two ends, or beside them | [`frames`]: of any length and kind, in chunks; for proxies and observers |
//! | the opening handshake | [`handshake`]: server and client, over HTTP/1.1 and HTTP/2 |
//! | settings and their defaults | [`Config`] |
//! | how a connection ended | [`Closed`], with its [`Cause`] |
//! | extensions | [`extension`], with permessage-deflate as [`Deflate`] |
//! | keep-alive beside frames | [`Pinger`] |
//! | counters | [`Connection::stats`] |
//! | records of frames and states | [`Observer`], and [`trace`] for lines of JSON |
//!
//! The most memory that a peer can make a connection hold is [`Config::memory_ceiling`].
//!
//! # Features
//!
//! * `http` (default): the opening handshake with the types of the `http` crate; includes `handshake` and
//!   `std`.
//! * `handshake`: the opening handshake with plain headers, in the module [`handshake`].
//! * `deflate`: permessage-deflate (RFC 7692). Without `std` its memory comes from C's `malloc` and `free`,
//!   which the program must have: those of a C library, or its own.
//! * `std`: selects the fastest instructions of the processor at run time, and vectored output.
//!
//! Without default features the crate is `no_std` and needs `alloc`. It contains no unsafe code. Randomness
//! is an argument, a [`Seed`], and so is the time, an [`Instant`].
//!
//! # When memory ends
//!
//! Where a peer decides how much is allocated, a failed allocation is an ordinary end: the connection closes
//! with 1009 ([`ProtocolError::OutOfMemory`]) while a message is joined, inflated or copied, and the opening
//! handshake ends with a 503 while a head is copied. A compressor that has no room for its output closes with
//! 1011. What remains is small or the caller's, and aborts or panics as every allocation of `alloc` does: the
//! buffer of received bytes, the queue of bytes to send, a codec of `deflate` (372 KiB to compress, 47 KiB to
//! inflate), the list of a head's lines, at most 128, and state of some hundred bytes. A board that must not
//! abort keeps as much free.
//!
#![cfg_attr(
    not(feature = "handshake"),
    doc = "
[handshake]: https://docs.rs/sockless-core/latest/sockless_core/handshake/
[`handshake`]: https://docs.rs/sockless-core/latest/sockless_core/handshake/"
)]
#![cfg_attr(
    not(feature = "deflate"),
    doc = "
[`Deflate`]: https://docs.rs/sockless-core/latest/sockless_core/struct.Deflate.html"
)]
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
pub mod frames;
#[cfg(feature = "handshake")]
pub mod handshake;
mod lifecycle;
pub mod limits;
mod mask;
mod message;
mod observer;
mod outbound;
mod outgoing;
mod ping;
mod raw;
#[cfg(feature = "record")]
pub mod record;
mod role;
mod seed;
mod staging;
mod stats;
mod time;
pub mod trace;
mod turn;
mod utf8;

pub use close::{CloseCode, CloseReason};
pub use config::{Config, Masking, MessageRate, Overflow};
pub use connection::{Connection, Negotiated};
#[cfg(feature = "deflate")]
pub use deflate::{Deflate, ParseDeflateError};
pub use error::{ProtocolError, SendError};
pub use escape::Escaped;
pub use event::{Cause, Closed, Event, Party, Timeout};
pub use frame::{Frame, FrameHead, Opcode, Rsv};
pub use lifecycle::{Closing, ClosingStep, Lifecycle, TransportAction};
pub use message::{Chunk, Message};
pub use observer::{Observer, StateChange};
pub use outbound::Outbound;
pub use outgoing::{Broadcast, IntoOutgoing, OutgoingMessage, Priority};
pub use ping::{PingAction, Pinger};
pub use raw::RawConnection;
pub use role::Role;
pub use seed::Seed;
pub use staging::Staging;
pub use stats::{Stats, Traffic};
pub use time::Instant;
pub use turn::{Output, Wait};

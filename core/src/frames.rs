//! Frames of any length, read and written as their bytes come, without holding one.
//!
//! A [`Connection`](crate::Connection) and a [`RawConnection`](crate::RawConnection) enforce the protocol for one
//! end, and hold each frame or message whole, up to a limit. A proxy or an observer needs
//! other rules: a proxy passes on frames longer than its memory, with opcodes and bits of extensions that it does not
//! know; an observer reads both directions of a connection that is not its own.
//!
//! | To | Use |
//! |---|---|
//! | read headers and payloads as they arrive, under rules of your choice | [`FrameReader`], [`FrameRules`] |
//! | write headers and payloads chunk by chunk, masked or as they are | [`FrameWriter`] |
//! | decode and encode the messages of agreed extensions | [`MessageCodec`](crate::extension::MessageCodec) |
//!
//! Both hold a few bytes, whatever the length of the frame, allocate nothing and take no time argument. They see frames only:
//! the order of fragments, UTF-8 and the closing handshake are left to the caller.
//!
//! A relay that passes on every frame that can be delimited, byte for byte:
//!
//! ```
//! use bytes::BytesMut;
//! use sockless_core::frames::{FrameReader, FrameRules, FrameWriter};
//!
//! let (mut reader, mut writer) = (FrameReader::new(FrameRules::ANY), FrameWriter::verbatim());
//!
//! // A frame with a reserved opcode and a reserved bit, which arrives in two reads.
//! let (mut passed_on, reads) = (BytesMut::new(), [&[0xC3, 0x05, b'h', b'e'][..], b"llo"]);
//! for mut read in reads {
//!     while let Some(part) = reader.read(&mut read)? {
//!         writer.part(&part, &mut passed_on)?;
//!     }
//! }
//! assert_eq!(passed_on, reads.concat());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub use crate::frame::reader::{FramePart, FrameReader};
pub use crate::frame::rules::FrameRules;
pub use crate::frame::wire::{OpcodeBits, WireHead};
pub use crate::frame::writer::{FrameWriteError, FrameWriter};

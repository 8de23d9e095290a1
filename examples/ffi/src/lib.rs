//! WebSockets behind a C interface, which `include/sockless.h` documents: opaque connections, bytes and time in, events and bytes
//! out. Python drives it through ctypes in `tests/oracles/ffi`, a C program in `c/talk.c`.
//!
//! The functions follow one rule: the pointer to a connection is null, or came from [`sockless_server`] or [`sockless_client`], was
//! not freed, and no other thread uses it during the call; a pointer to bytes has as many as the length beside it.

#![allow(non_camel_case_types)]

use std::ffi::{CStr, c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use std::{ptr, slice};

use bytes::Bytes;
use endpoint::{Endpoint, Polled, Wait};
use sockless_core::{CloseCode, CloseReason, Event, Instant, Message, SendError};

mod endpoint;

/// The connection, or another pointer, is null.
pub const SOCKLESS_E_NULL: c_int = -1;
/// The connection is not open.
pub const SOCKLESS_E_CLOSED: c_int = -2;
/// An argument is invalid.
pub const SOCKLESS_E_INVALID: c_int = -3;
/// A bug of the library has ended the connection.
pub const SOCKLESS_E_PANIC: c_int = -4;

/// The opening handshake is complete.
pub const SOCKLESS_OPEN: c_int = 1;
/// A text message.
pub const SOCKLESS_TEXT: c_int = 2;
/// A binary message.
pub const SOCKLESS_BINARY: c_int = 3;
/// A ping, which has been answered.
pub const SOCKLESS_PING: c_int = 4;
/// A pong.
pub const SOCKLESS_PONG: c_int = 5;
/// The peer closes.
pub const SOCKLESS_PEER_CLOSED: c_int = 6;
/// The connection has ended: exactly once and last.
pub const SOCKLESS_CLOSED: c_int = 7;

/// Bytes to write.
pub const SOCKLESS_WRITE: c_int = 8;
/// The sending side of the transport is to be shut down: once.
pub const SOCKLESS_SHUTDOWN_WRITE: c_int = 9;
/// Nothing is left to do for now.
pub const SOCKLESS_WAIT: c_int = 10;
/// The transport is to be dropped.
pub const SOCKLESS_DROP: c_int = 11;

/// No deadline.
pub const SOCKLESS_NEVER: u64 = u64::MAX;

/// A connection, opaque to C.
pub struct sockless_connection {
    endpoint: Endpoint,
    /// The bytes that the last event points to.
    shown: Bytes,
    /// True after a panic, which may have left the endpoint half changed.
    has_panicked: bool,
}

/// The next thing to do.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct sockless_output {
    /// One of the constants from [`SOCKLESS_OPEN`] to [`SOCKLESS_DROP`].
    pub kind: c_int,
    /// A close code, or 0.
    pub code: u16,
    /// 1 if [`SOCKLESS_WAIT`] waits for bytes to read, or else 0.
    pub read: u8,
    /// 1 if [`SOCKLESS_WAIT`] waits for room to write, or else 0.
    pub write: u8,
    /// The bytes of the event, or those to write.
    pub data: *const u8,
    /// Their number.
    pub len: usize,
    /// The time until which [`SOCKLESS_WAIT`] waits, or [`SOCKLESS_NEVER`], also with other kinds.
    pub until: u64,
}

/// Creates the server's end of a transport.
#[unsafe(no_mangle)]
pub extern "C" fn sockless_server(now: u64) -> *mut sockless_connection {
    created(|| Some(Endpoint::server(instant(now))))
}

/// Creates the client's end of a transport; null if an argument is null or invalid.
///
/// # Safety
///
/// `host` and `target` are null or end with a NUL; `seed` is null or has 32 bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockless_client(
    host: *const c_char,
    target: *const c_char,
    seed: *const u8,
    now: u64,
) -> *mut sockless_connection {
    // SAFETY: the caller's promise about `host`.
    let host = unsafe { text(host) };
    // SAFETY: the caller's promise about `target`.
    let target = unsafe { text(target) };
    // SAFETY: the caller's promise about `seed`.
    let seed = unsafe { bytes(seed, 32) };
    created(|| {
        let seed = seed?.try_into().ok()?;
        Endpoint::client(host?, target?, seed, instant(now)).ok()
    })
}

/// Frees a connection.
///
/// # Safety
///
/// The rule of this [crate](self), and the pointer is not used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockless_free(connection: *mut sockless_connection) {
    if !connection.is_null() {
        // SAFETY: it came from `Box::into_raw` in `created`, and the caller promises that it was not freed.
        let connection = unsafe { Box::from_raw(connection) };
        // A panic must not leave this function; there is nothing to report it to.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(connection)));
    }
}

/// Copies bytes that the transport delivered.
///
/// # Safety
///
/// The rule of this [crate](self).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockless_feed(
    connection: *mut sockless_connection,
    data: *const u8,
    len: usize,
    now: u64,
) -> c_int {
    // SAFETY: the caller's promise about the bytes.
    let Some(data) = (unsafe { bytes(data, len) }) else { return SOCKLESS_E_NULL };
    // SAFETY: the caller's promise about the connection.
    let changed = unsafe { with(connection, |it| it.at(instant(now)).feed(data)) };
    changed.map_or_else(|error| error, |()| 0)
}

/// Reports the end of the transport.
///
/// # Safety
///
/// The rule of this [crate](self).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockless_feed_eof(
    connection: *mut sockless_connection,
    now: u64,
) -> c_int {
    // SAFETY: the caller's promise about the connection.
    let changed = unsafe { with(connection, |it| it.at(instant(now)).handle_eof()) };
    changed.map_or_else(|error| error, |()| 0)
}

/// Fills `output` with the next thing to do.
///
/// # Safety
///
/// The rule of this [crate](self); `output` is null or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockless_poll(
    connection: *mut sockless_connection,
    output: *mut sockless_output,
    now: u64,
) -> c_int {
    if output.is_null() {
        return SOCKLESS_E_NULL;
    }
    // SAFETY: the caller's promise about the connection.
    let polled = unsafe { with(connection, |it| poll(it.at(instant(now)))) };
    let (filled, event) = match polled {
        Ok(polled) => polled,
        Err(error) => return error,
    };
    if let Some(event) = event {
        // SAFETY: `with` has found that it is not null, and the caller promises the rest.
        unsafe { (*connection).shown = event };
    }
    // SAFETY: it is not null, and the caller promises that it can be written to. It need not be initialized.
    unsafe { output.write(filled) };
    0
}

/// Reports that the transport has taken bytes of the output.
///
/// # Safety
///
/// The rule of this [crate](self).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockless_sent(
    connection: *mut sockless_connection,
    len: usize,
    now: u64,
) -> c_int {
    // SAFETY: the caller's promise about the connection.
    match unsafe { with(connection, |it| it.at(instant(now)).sent(len)) } {
        Ok(true) => 0,
        Ok(false) => SOCKLESS_E_INVALID,
        Err(error) => error,
    }
}

/// Queues a text message.
///
/// # Safety
///
/// The rule of this [crate](self).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockless_send_text(
    connection: *mut sockless_connection,
    utf8: *const u8,
    len: usize,
    now: u64,
) -> c_int {
    // SAFETY: the caller's promise about the bytes.
    let Some(data) = (unsafe { bytes(utf8, len) }) else { return SOCKLESS_E_NULL };
    let Ok(data) = str::from_utf8(data) else { return SOCKLESS_E_INVALID };
    // SAFETY: the caller's promise about the connection.
    unsafe { send(connection, |it| it.at(instant(now)).send(Message::from(data))) }
}

/// Queues a binary message.
///
/// # Safety
///
/// The rule of this [crate](self).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockless_send_binary(
    connection: *mut sockless_connection,
    data: *const u8,
    len: usize,
    now: u64,
) -> c_int {
    // SAFETY: the caller's promise about the bytes.
    let Some(data) = (unsafe { bytes(data, len) }) else { return SOCKLESS_E_NULL };
    // SAFETY: the caller's promise about the connection.
    unsafe { send(connection, |it| it.at(instant(now)).send(Message::from(data))) }
}

/// Queues a ping.
///
/// # Safety
///
/// The rule of this [crate](self).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockless_ping(
    connection: *mut sockless_connection,
    data: *const u8,
    len: usize,
    now: u64,
) -> c_int {
    // SAFETY: the caller's promise about the bytes.
    let Some(data) = (unsafe { bytes(data, len) }) else { return SOCKLESS_E_NULL };
    // SAFETY: the caller's promise about the connection.
    unsafe { send(connection, |it| it.at(instant(now)).ping(data)) }
}

/// Starts the closing handshake.
///
/// # Safety
///
/// The rule of this [crate](self).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockless_close(
    connection: *mut sockless_connection,
    code: u16,
    reason: *const u8,
    len: usize,
    now: u64,
) -> c_int {
    // SAFETY: the caller's promise about the bytes.
    let Some(reason) = (unsafe { bytes(reason, len) }) else { return SOCKLESS_E_NULL };
    let (Some(code), Ok(reason)) = (CloseCode::new(code), str::from_utf8(reason)) else {
        return SOCKLESS_E_INVALID;
    };
    let reason = CloseReason::new(code, reason);
    // SAFETY: the caller's promise about the connection.
    let closed = unsafe { with(connection, |it| it.at(instant(now)).close(reason)) };
    closed.map_or_else(|error| error, |()| 0)
}

/// Ends the connection without a closing handshake.
///
/// # Safety
///
/// The rule of this [crate](self).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockless_abort(connection: *mut sockless_connection, now: u64) -> c_int {
    // SAFETY: the caller's promise about the connection.
    let aborted = unsafe { with(connection, |it| it.at(instant(now)).abort()) };
    aborted.map_or_else(|error| error, |()| 0)
}

/// Moves an endpoint to the heap, where C refers to it; null without one.
fn created(create: impl FnOnce() -> Option<Endpoint>) -> *mut sockless_connection {
    let endpoint = catch_unwind(AssertUnwindSafe(create)).ok().flatten();
    endpoint.map_or(ptr::null_mut(), |endpoint| {
        let (shown, has_panicked) = (Bytes::new(), false);
        Box::into_raw(Box::new(sockless_connection { endpoint, shown, has_panicked }))
    })
}

/// Calls a function with an endpoint. No panic leaves it: C could not catch it.
///
/// # Safety
///
/// `connection` follows the rule of this crate.
unsafe fn with<T>(
    connection: *mut sockless_connection,
    call: impl FnOnce(&mut Endpoint) -> T,
) -> Result<T, c_int> {
    // SAFETY: it is null, or it came from `created`, was not freed, and no other thread uses it.
    let connection = unsafe { connection.as_mut() }.ok_or(SOCKLESS_E_NULL)?;
    if connection.has_panicked {
        return Err(SOCKLESS_E_PANIC);
    }
    let called = catch_unwind(AssertUnwindSafe(|| call(&mut connection.endpoint)));
    called.map_err(|_| {
        connection.has_panicked = true;
        SOCKLESS_E_PANIC
    })
}

/// Queues something to be sent.
///
/// # Safety
///
/// `connection` follows the rule of this crate.
unsafe fn send(
    connection: *mut sockless_connection,
    call: impl FnOnce(&mut Endpoint) -> Result<(), SendError>,
) -> c_int {
    // SAFETY: the caller's promise.
    match unsafe { with(connection, call) } {
        Ok(Ok(())) => 0,
        Ok(Err(SendError::Closing)) => SOCKLESS_E_CLOSED,
        Ok(Err(_)) => SOCKLESS_E_INVALID,
        Err(error) => error,
    }
}

/// Bytes of the caller; `None` if the pointer is null and the length is not, or if their number is impossible.
///
/// # Safety
///
/// `data` is null or points to `len` bytes, which do not change while the result is in use.
unsafe fn bytes<'a>(data: *const u8, len: usize) -> Option<&'a [u8]> {
    if len == 0 {
        return Some(&[]);
    }
    if data.is_null() || isize::try_from(len).is_err() {
        return None;
    }
    // SAFETY: it is not null, bytes have no alignment, the length is possible, and the caller promises the rest.
    Some(unsafe { slice::from_raw_parts(data, len) })
}

/// A string of the caller; `None` if it is null or not UTF-8.
///
/// # Safety
///
/// `data` is null or ends with a NUL, and does not change while the result is in use.
unsafe fn text<'a>(data: *const c_char) -> Option<&'a str> {
    if data.is_null() {
        return None;
    }
    // SAFETY: it is not null, and the caller promises the rest.
    unsafe { CStr::from_ptr(data) }.to_str().ok()
}

/// The next thing to do that C knows, and the bytes of an event, which it points to.
fn poll(endpoint: &mut Endpoint) -> (sockless_output, Option<Bytes>) {
    let nothing = sockless_output {
        kind: 0,
        code: 0,
        read: 0,
        write: 0,
        data: ptr::null(),
        len: 0,
        until: SOCKLESS_NEVER,
    };
    let of_event = |(kind, code, bytes): Described| {
        let (data, len) = (bytes.as_ptr(), bytes.len());
        (sockless_output { kind, code, data, len, ..nothing }, Some(bytes))
    };
    loop {
        return match endpoint.poll() {
            Polled::Open(target) => of_event((SOCKLESS_OPEN, 0, target.into())),
            Polled::Failed(why) => of_event((SOCKLESS_CLOSED, 0, why.into())),
            Polled::Event(event) => match describe(event) {
                Some(described) => of_event(described),
                None => continue,
            },
            Polled::Write(bytes) => {
                let (kind, data, len) = (SOCKLESS_WRITE, bytes.as_ptr(), bytes.len());
                (sockless_output { kind, data, len, ..nothing }, None)
            }
            Polled::ShutdownWrite => {
                (sockless_output { kind: SOCKLESS_SHUTDOWN_WRITE, ..nothing }, None)
            }
            Polled::Wait(Wait { read, write, until }) => {
                let (kind, read, write) = (SOCKLESS_WAIT, read.into(), write.into());
                let until = until.map_or(SOCKLESS_NEVER, milliseconds);
                (sockless_output { kind, read, write, until, ..nothing }, None)
            }
            Polled::Drop => (sockless_output { kind: SOCKLESS_DROP, ..nothing }, None),
        };
    }
}

/// The kind, the code and the bytes of an event.
type Described = (c_int, u16, Bytes);

/// `None` for an event of a kind that the default settings exclude, such as a chunk of a message.
fn describe(event: Event) -> Option<Described> {
    let code =
        |reason: Option<&CloseReason>| reason.and_then(CloseReason::code).map_or(0, CloseCode::get);
    Some(match event {
        Event::Message(Message::Text(text)) => (SOCKLESS_TEXT, 0, text.into_bytes()),
        Event::Message(Message::Binary(data)) => (SOCKLESS_BINARY, 0, data),
        Event::Ping(data) => (SOCKLESS_PING, 0, data),
        Event::Pong(data) => (SOCKLESS_PONG, 0, data),
        Event::PeerClosed(reason) => {
            let text = reason.text().as_bytes();
            (SOCKLESS_PEER_CLOSED, code(Some(&reason)), Bytes::copy_from_slice(text))
        }
        Event::Closed(closed) => {
            (SOCKLESS_CLOSED, code(closed.received()), closed.to_string().into())
        }
        _ => return None,
    })
}

fn instant(milliseconds: u64) -> Instant {
    Instant::from_epoch(Duration::from_millis(milliseconds))
}

/// The first whole millisecond that is not before `instant`.
fn milliseconds(instant: Instant) -> u64 {
    u64::try_from(instant.since_epoch().as_nanos().div_ceil(1_000_000)).unwrap_or(SOCKLESS_NEVER)
}

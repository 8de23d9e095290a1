//! A client and a server talk, without the standard library. Ends with 0 if they understand each other.
//!
//! The standard library brings a panic handler and an allocator of its own; if any dependency linked it, this would not build.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::sync::Arc;
use core::time::Duration;

use sockless_core::{CloseCode, Config, Connection, Event, Instant, Message, Negotiated, Seed};

#[global_allocator]
static ALLOCATOR: emballoc::Allocator<{ 256 << 10 }> = emballoc::Allocator::new();

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}

// `unsafe` in this attribute promises that the name is unique. The C runtime calls `main` by it.
#[unsafe(no_mangle)]
extern "C" fn main() -> i32 {
    if talk() == Some(()) { 0 } else { 1 }
}

// The `alloc` that comes with the compiler was built to unwind, and names these two; here nothing unwinds.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    panic!("nothing unwinds")
}

fn talk() -> Option<()> {
    let config = Arc::new(Config::default().ping_interval(Duration::from_secs(1)));
    let now = Instant::EPOCH;
    let mut client =
        Connection::client(Negotiated::default(), Seed::new([7; 32]), config.clone(), now);
    let mut server = Connection::server(Negotiated::default(), config, now);

    client.send("grüß dich", now).ok()?;
    let mut wire = wire(&mut client);
    let Event::Message(message) = server.poll_event(&mut wire, now)? else { return None };
    (message == Message::from("grüß dich")).then_some(())?;
    server.send(message, now).ok()?;
    server.close(CloseCode::NORMAL, now);

    let mut wire = self::wire(&mut server);
    let Event::Message(_) = client.poll_event(&mut wire, now)? else { return None };
    let Event::PeerClosed(_) = client.poll_event(&mut wire, now)? else { return None };
    let Event::Closed(_) = client.poll_event(&mut wire, now)? else { return None };
    Some(())
}

fn wire(connection: &mut Connection) -> bytes::BytesMut {
    use bytes::Buf;

    let outbound = connection.outbound();
    let waiting = outbound.remaining();
    bytes::BytesMut::from(&outbound.copy_to_bytes(waiting)[..])
}

//! A board: a server that a browser opens, and a client, without the standard library. Ends with 0 if all goes well, or else with
//! the number of the step that failed.
//!
//! The standard library brings a panic handler and an allocator of its own; if any dependency linked it, this would not build.
#![no_std]
#![no_main]

extern crate alloc;

mod board;
mod memory;
mod talk;

/// All the memory that the program has.
const MEMORY: usize = 256 << 10;

#[global_allocator]
static ALLOCATOR: emballoc::Allocator<MEMORY> = emballoc::Allocator::new();

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}

// `unsafe` in this attribute promises that the name is unique. The C runtime calls `main` by it.
#[unsafe(no_mangle)]
extern "C" fn main() -> i32 {
    let steps = [
        // First, while all the memory is in one piece.
        memory::a_head_that_does_not_fit_is_answered,
        talk::two_ends_talk,
        talk::a_broadcast_is_shared,
        board::a_browser_loads_the_page,
        board::a_browser_opens_the_websocket,
        board::other_requests_are_answered,
        talk::a_client_opens,
        memory::a_message_that_does_not_fit_ends_the_connection,
    ];
    let failed = steps.iter().position(|step| step().is_none());
    failed.map_or(0, |step| step as i32 + 1)
}

// The `alloc` that comes with the compiler was built to unwind, and names these two; here nothing unwinds.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    panic!("nothing unwinds")
}

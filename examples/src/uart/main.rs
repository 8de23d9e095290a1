//! A device without an operating system, at the end of a serial line: the core on `embassy`, without `std`.
//!
//! There is no HTTP on the line: the two ends agree beforehand that they speak WebSocket frames, so no
//! handshake is needed. The line is made of two pipes here, and the computer at its other end is a task like
//! the device's own. On a board, `port.rs` stays as it is, and the UART is that of the chip.
#![no_std]

extern crate alloc;
/// For the computer, which prints, and ends the program.
extern crate std;

mod hostile;
mod port;

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use embassy_executor::Spawner;
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_sync::pipe::Pipe;
use sockless_core::{CloseCode, Config, Connection, Escaped, Event, Message, Negotiated, Seed};

/// One direction of the line, with the little FIFO that a UART has.
type Wire = Pipe<CriticalSectionRawMutex, 64>;

static TO_DEVICE: Wire = Wire::new();
static TO_COMPUTER: Wire = Wire::new();

#[embassy_executor::main]
async fn main(spawner: Spawner) {
    spawner.spawn(device().expect("its place is free"));
    match std::env::args().nth(1).as_deref() {
        Some("flood") => {
            std::println!("{} answers", hostile::flood().await);
            std::process::exit(0);
        }
        Some("stall") => hostile::stall().await,
        _ => spawner.spawn(computer().expect("its place is free")),
    }
}

/// Settings for little memory and a slow line.
fn config() -> Arc<Config> {
    let config = Config::default()
        .ping_interval(Duration::from_millis(50))
        .ping_timeout(Duration::from_secs(5))
        .write_timeout(Duration::from_secs(1))
        .high_water(256)
        .max_message_len(4096);
    Arc::new(config)
}

/// Answers what it is asked.
#[embassy_executor::task]
async fn device() {
    let connection = Connection::server(Negotiated::default(), config(), port::now());
    let mut end = None;
    port::drive(connection, &TO_DEVICE, &TO_COMPUTER, |connection, event| match event {
        Event::Message(question) => {
            let answer = format!("device: {}", question.as_text().unwrap_or("that was no text"));
            // Refused only while the connection is closing, which needs no answer.
            let _ = connection.send(answer, port::now());
        }
        Event::Closed(closed) => end = Some(closed),
        _ => {}
    })
    .await
    .expect("a pipe does not fail");
    if let Some(closed) = end.filter(|closed| !closed.is_clean()) {
        std::println!("device: {closed}");
        std::process::exit(1);
    }
}

/// Asks, prints what is answered, and ends the program.
#[embassy_executor::task]
async fn computer() {
    let mut questions = Vec::from([
        Message::from(Vec::from([1, 2, 3])),
        Message::from("x".repeat(1000)),
        Message::from("how warm is it?"),
    ]);
    // On a board, draw it from the random number generator: masking keys must be unpredictable.
    let seed = Seed::new([7; 32]);
    let mut connection = Connection::client(Negotiated::default(), seed, config(), port::now());
    let mut pongs = 0;
    let mut end = None;
    let first = questions.pop().expect("the first");
    connection.send(first, port::now()).expect("it is open");
    port::drive(connection, &TO_COMPUTER, &TO_DEVICE, |connection, event| match event {
        Event::Message(answer) => {
            std::println!("{}", Escaped(shortened(answer.as_text().unwrap_or_default())));
            if let Some(question) = questions.pop() {
                let _ = connection.send(question, port::now());
            }
        }
        Event::Pong(_) if questions.is_empty() => {
            pongs += 1;
            // The line has been idle for a while, and kept alive.
            if pongs == 3 {
                connection.close((CloseCode::NORMAL, "thank you"), port::now());
            }
        }
        Event::Closed(closed) => end = Some(closed),
        _ => {}
    })
    .await
    .expect("a pipe does not fail");
    std::println!("{}", end.expect("a connection reports its end"));
    std::process::exit(0);
}

fn shortened(text: &str) -> String {
    if text.len() < 80 { text.into() } else { format!("{} bytes", text.len()) }
}

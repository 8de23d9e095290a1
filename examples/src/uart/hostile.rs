//! Computers that the device has to survive: one that sends without pause, and one that never reads.

use alloc::vec::Vec;

use bytes::BytesMut;
use embassy_futures::join::join;
use sockless_core::{Config, Opcode, RawConnection, Seed};

use crate::{TO_COMPUTER, TO_DEVICE, port};

/// The number of messages of the flood.
const FLOOD: usize = 2000;

/// Sends many messages and a Close frame, without a look at what comes back, and reads beside it to the end. Returns the number
/// of answers.
pub(crate) async fn flood() -> usize {
    let message = short_frame(0x81, b"a message of the flood");
    let sending = async {
        for _ in 0..FLOOD {
            TO_DEVICE.write_all(&message).await;
        }
        TO_DEVICE.write_all(&short_frame(0x88, &[])).await;
    };
    let reading = async {
        let mut raw = RawConnection::client(Seed::new([7; 32]), Config::default().into());
        let (mut inbound, mut block, mut answers) = (BytesMut::new(), [0; 64], 0);
        loop {
            while let Some(frame) = raw.poll_frame(&mut inbound, port::now()) {
                match frame.expect("sound frames").opcode {
                    Opcode::Text => answers += 1,
                    Opcode::Close => return answers,
                    _ => {}
                }
            }
            let len = TO_COMPUTER.read(&mut block).await;
            inbound.extend_from_slice(&block[..len]);
        }
    };
    let ((), answers) = join(sending, reading).await;
    answers
}

/// Sends without pause, and reads nothing.
pub(crate) async fn stall() {
    let message = short_frame(0x81, b"are you there?");
    loop {
        TO_DEVICE.write_all(&message).await;
    }
}

/// A client's frame, whose key is zeros.
fn short_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
}

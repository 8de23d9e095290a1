//! Bounds, and backpressure.

use std::time::Duration;

use sockless::{Cause, CloseCode, Message, Party, TrySendError};

use super::MEBIBYTE;
use crate::Checked;
use crate::support::{Target, end, ensure, same, text};

/// The length of the messages, of those of the server too.
const LEN: usize = 256 << 10;

/// The server echoes, and stops reading while its echoes are not read.
pub(crate) async fn sending_waits(target: &Target) -> Checked {
    const COUNT: usize = 64;
    const HIGH_WATER: usize = 128 << 10;
    let connect = target.connect("/echo").high_water(HIGH_WATER).max_unread(4 * COUNT * LEN);
    let mut session = connect.await.map_err(text)?;
    let sender = session.sender();
    let filled = (0..100).find_map(|_| sender.try_send(vec![7; LEN]).err());
    ensure(matches!(filled, Some(TrySendError::Full(_))), || format!("try_send: {filled:?}"))?;

    let most = std::rc::Rc::new(std::cell::Cell::new(0));
    let seen = most.clone();
    wasm_bindgen_futures::spawn_local(async move {
        for _ in 1..COUNT {
            if sender.send(vec![7; LEN]).await.is_err() {
                return;
            }
            seen.set(sender.buffered().max(seen.get()));
        }
    });
    let message = Message::binary(vec![7; LEN]);
    for _ in 0..COUNT {
        let got = session.recv().await.map_err(text)?;
        ensure(got == message, || format!("an echo of {} bytes differs", got.len()))?;
    }
    let (most, bound) = (most.get(), HIGH_WATER + LEN + 64);
    ensure(most <= bound, || format!("the browser held {most} bytes, more than {bound}"))?;
    ensure(most > HIGH_WATER, || format!("the browser held {most} bytes: sending never waited"))?;
    session.flush().await.map_err(text)?;
    same("after a flush", session.buffered(), 0)
}

/// The server sends 6 MiB, over a `WebSocket`.
pub(crate) async fn unread(target: &Target) -> Checked {
    let connect = target.connect("/stream").max_unread(MEBIBYTE);
    let mut session = connect.await.map_err(text)?;
    let closed = end(&session).await?;
    same("by", closed.by(), Party::Local)?;
    let Cause::Transport(cause) = closed.cause() else { return Err(closed.to_string()) };
    ensure(cause.contains("at most 1048576 bytes"), || cause.to_string())?;
    // What came before can be received. With 64 bytes for each, four are too many.
    for index in 0..3 {
        same("an index", index_of(&session.recv().await.map_err(text)?), Some(index))?;
    }
    same("the end", session.recv().await.err(), Some(closed))
}

/// The server sends 64 MiB, over a `WebSocketStream`, and then closes.
pub(crate) async fn receiving_waits(target: &Target) -> Checked {
    const COUNT: u32 = 256;
    let mut session = target.connect("/stream").max_unread(MEBIBYTE).await.map_err(text)?;
    for index in 0..COUNT {
        if index % 64 == 0 {
            // Long enough for all of it to arrive.
            session.sleep(Duration::from_millis(1500)).await;
            // The mark may be passed by one message.
            let (unread, bound) = (session.unread(), (64 << 10) + LEN + 64);
            ensure(unread <= bound, || format!("{unread} bytes are unread, more than {bound}"))?;
            ensure(unread > 0, || "nothing is read ahead".to_owned())?;
        }
        let message = session.recv().await.map_err(text)?;
        same("an index", index_of(&message), Some(index))?;
        same("a length", message.len(), LEN)?;
    }
    let closed = session.recv().await.expect_err("the server closes");
    same("received", closed.received(), Some(&(CloseCode::NORMAL, "all sent").into()))?;
    same("clean", closed.is_clean(), true)
}

/// The number with which a message of the server begins.
fn index_of(message: &Message) -> Option<u32> {
    message.as_bytes().first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

//! What the tests share: settings, handlers, and values that a handler hands to its test.

use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use sockless_core::{Closed, Frame, Message, Opcode};
use sockless_driver::{RawSession, Session};
use sockless_routing::{Router, WebSocketRoute};
use sockless_sim::RawConversation;

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// A router with one route.
pub(crate) fn at_root(route: WebSocketRoute) -> Router {
    Router::new().route("/", route)
}

/// Receives and sends back until the end.
pub(crate) async fn echo(mut session: Session) -> Result<(), Closed> {
    loop {
        let message = session.recv().await?;
        session.send(message).await?;
    }
}

/// Receives frames and sends them back, the Close frame last.
pub(crate) async fn echo_frames(mut session: RawSession) -> Result<(), Closed> {
    loop {
        let frame = session.recv().await?;
        let is_close = frame.opcode == Opcode::Close;
        let _ = session.send(frame).await;
        if is_close {
            return Ok(());
        }
    }
}

/// Text `number`, so that an order can be seen.
pub(crate) fn numbered(number: u32) -> Message {
    number.to_string().into()
}

pub(crate) fn text(text: &'static str) -> Frame {
    Frame::new(Opcode::Text, text.into())
}

pub(crate) fn close(code: u16, reason: &str) -> Frame {
    let mut body = code.to_be_bytes().to_vec();
    body.extend_from_slice(reason.as_bytes());
    Frame::new(Opcode::Close, body.into())
}

/// What comes next is a Close frame with this code.
pub(crate) async fn expect_close(client: &mut RawConversation, code: u16) {
    let frame = client.recv().await;
    assert_eq!((frame.opcode, &frame.payload[..2]), (Opcode::Close, &code.to_be_bytes()[..]));
}

/// A place for what a handler found out, in which its test waits for it.
pub(crate) struct Told<T>(Arc<Mutex<(Option<T>, Option<Waker>)>>);

impl<T> Told<T> {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new((None, None))))
    }

    pub(crate) fn tell(&self, value: T) {
        let mut slot = self.0.lock().unwrap();
        slot.0 = Some(value);
        if let Some(waiting) = slot.1.take() {
            waiting.wake();
        }
    }

    /// What was told, once it is.
    pub(crate) async fn told(&self) -> T {
        poll_fn(|cx| {
            let mut slot = self.0.lock().unwrap();
            match slot.0.take() {
                Some(value) => Poll::Ready(value),
                None => {
                    slot.1 = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

impl<T> Clone for Told<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> fmt::Debug for Told<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Told")
    }
}

//! The two kinds of connections of a browser: [`WebSocket`](socket) and [`WebSocketStream`](stream).

pub(crate) mod socket;
pub(crate) mod stream;

use std::rc::Weak;
use std::time::Duration;

use js_sys::{ArrayBuffer, JsString, Uint8Array};
use sockless_core::CloseReason;
use wasm_bindgen::{JsCast, JsValue};

use crate::error::ConnectError;
use crate::platform::Sleep;
use crate::shared::Shared;

/// A request to the browser.
#[derive(Clone, Debug)]
pub(crate) struct Opening {
    pub(crate) url: String,
    pub(crate) subprotocols: Vec<String>,
    pub(crate) closing_timeout: Duration,
}

/// A message that a browser delivers, in the memory of JavaScript.
enum Delivered {
    Text(JsString),
    Binary(Uint8Array),
}

impl Delivered {
    fn new(data: &JsValue) -> Option<Self> {
        if let Some(text) = data.dyn_ref::<JsString>() {
            return Some(Self::Text(text.clone()));
        }
        let bytes = match data.dyn_ref::<ArrayBuffer>() {
            Some(buffer) => Uint8Array::new(buffer),
            None => data.dyn_ref::<Uint8Array>()?.clone(),
        };
        Some(Self::Binary(bytes))
    }

    /// Passes the message on, which is copied into the memory of the program unless it is too long.
    fn pass_to(&self, shared: &Shared) {
        let min_len = match self {
            // Each unit of UTF-16 takes a byte of UTF-8 or more.
            Self::Text(text) => text.length(),
            Self::Binary(bytes) => bytes.length(),
        };
        shared.received(min_len as usize, || match self {
            Self::Text(text) => String::from(text).into(),
            Self::Binary(bytes) => bytes.to_vec().into(),
        });
    }
}

/// The code and text to close with; `None` for a Close frame without a payload.
fn code_and_text(reason: &CloseReason) -> Option<(u16, &str)> {
    reason.code().map(|code| (code.get(), reason.text()))
}

/// The exception that the browser threw when it was asked for a connection.
fn refused(exception: &JsValue) -> ConnectError {
    let text = match exception.dyn_ref::<js_sys::Error>() {
        Some(error) => String::from(error.message()),
        None => format!("{exception:?}"),
    };
    ConnectError::Refused(text)
}

/// Ends a session that closes once the browser has passed on nothing for `timeout`, and nothing has arrived from the peer's
/// side of the closing handshake.
async fn enforce_closing_timeout(shared: Weak<Shared>, timeout: Duration) {
    let buffered = || shared.upgrade().map(|shared| shared.buffered());
    while let Some(before) = buffered() {
        Sleep::new(timeout).await;
        match buffered() {
            Some(now) if now < before => {}
            _ => break,
        }
    }
    if let Some(shared) = shared.upgrade() {
        shared.closing_timed_out();
    }
}

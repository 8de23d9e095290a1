//! The browser's `WebSocket`: events for what arrives, and no backpressure.

use std::cell::Cell;
use std::rc::{Rc, Weak};
use std::time::Duration;

use js_sys::{Array, Function};
use sockless_core::{CloseReason, Message};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::convert::FromWasmAbi;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::spawn_local;
use web_sys::{BinaryType, CloseEvent, Event, MessageEvent, WebSocket};

use super::{Delivered, Opening, code_and_text, enforce_closing_timeout, refused};
use crate::ending::CloseReport;
use crate::error::ConnectError;
use crate::platform::Sleep;
use crate::shared::{Agreement, Shared, Transport};

/// The shortest pause between two looks at `bufferedAmount`, which no event reports: the least that browsers wait between
/// timers.
const SHORTEST_PAUSE: Duration = Duration::from_millis(4);

/// The longest pause, after none of the bytes were passed on.
const LONGEST_PAUSE: Duration = Duration::from_millis(64);

struct Socket {
    socket: WebSocket,
    shared: Weak<Shared>,
    closing_timeout: Duration,
    /// True while a task looks at `bufferedAmount`.
    watches: Cell<bool>,
    /// `None` when it is dropped.
    listeners: Option<Listeners>,
}

/// The functions that the browser calls.
struct Listeners {
    open: Closure<dyn FnMut(Event)>,
    message: Closure<dyn FnMut(MessageEvent)>,
    close: Closure<dyn FnMut(CloseEvent)>,
}

/// Opens a connection, whose events `shared` handles.
pub(crate) fn open(opening: &Opening, shared: &Rc<Shared>) -> Result<(), ConnectError> {
    let protocols: Array =
        opening.subprotocols.iter().map(|name| JsValue::from_str(name)).collect();
    let socket = WebSocket::new_with_str_sequence(&opening.url, &protocols)
        .map_err(|exception| refused(&exception))?;
    socket.set_binary_type(BinaryType::Arraybuffer);

    let listeners = Listeners::new(&socket, shared);
    socket.set_onopen(Some(function(&listeners.open)));
    socket.set_onmessage(Some(function(&listeners.message)));
    socket.set_onclose(Some(function(&listeners.close)));
    shared.attach(Rc::new(Socket {
        socket,
        shared: Rc::downgrade(shared),
        closing_timeout: opening.closing_timeout,
        watches: Cell::new(false),
        listeners: Some(listeners),
    }));
    Ok(())
}

impl Listeners {
    fn new(socket: &WebSocket, shared: &Rc<Shared>) -> Self {
        let opened = socket.clone();
        let open = listener(shared, move |shared, _event| {
            shared.opened(Agreement {
                subprotocol: opened.protocol(),
                extensions: opened.extensions(),
                has_backpressure: false,
            });
        });
        let message = listener(shared, |shared, event: MessageEvent| {
            if let Some(message) = Delivered::new(&event.data()) {
                message.pass_to(shared);
            }
        });
        let close = listener(shared, |shared, event: CloseEvent| {
            shared.ended(CloseReport {
                code: event.code(),
                text: event.reason(),
                was_clean: event.was_clean(),
            });
        });
        Self { open, message, close }
    }
}

/// Calls `handle` as long as the session exists.
fn listener<E: FromWasmAbi + 'static>(
    shared: &Rc<Shared>,
    handle: impl Fn(&Shared, E) + 'static,
) -> Closure<dyn FnMut(E)> {
    let shared = Rc::downgrade(shared);
    Closure::new(move |event| {
        if let Some(shared) = shared.upgrade() {
            handle(&shared, event);
        }
    })
}

fn function<E>(listener: &Closure<dyn FnMut(E)>) -> &Function {
    listener.as_ref().unchecked_ref()
}

impl Transport for Socket {
    fn transmit(self: Rc<Self>, message: &Message) -> bool {
        // The browser may have begun to close before its event, and would drop the message.
        if self.socket.ready_state() != WebSocket::OPEN {
            return false;
        }
        let sent = match message {
            Message::Binary(bytes) => self.socket.send_with_u8_array(bytes),
            Message::Text(text) => self.socket.send_with_str(text),
        };
        sent.is_ok()
    }

    fn buffered(&self) -> usize {
        self.socket.buffered_amount() as usize
    }

    fn watch_buffered(self: Rc<Self>) {
        if !self.watches.replace(true) {
            spawn_local(watch(Rc::downgrade(&self)));
        }
    }

    fn close(self: Rc<Self>, reason: &CloseReason) {
        // The code and the text were checked, so that it does not fail.
        let _ = match code_and_text(reason) {
            Some((code, text)) => self.socket.close_with_code_and_reason(code, text),
            None => self.socket.close(),
        };
        spawn_local(enforce_closing_timeout(self.shared.clone(), self.closing_timeout));
    }
}

/// Looks at `bufferedAmount` as long as a task waits for it to fall.
async fn watch(socket: Weak<Socket>) {
    let (mut pause, mut before) = (SHORTEST_PAUSE, usize::MAX);
    loop {
        Sleep::new(pause).await;
        let Some(socket) = socket.upgrade() else { return };
        let Some(shared) = socket.shared.upgrade() else { return };
        let now = socket.buffered();
        if now > 0 && now >= before {
            pause = (pause * 2).min(LONGEST_PAUSE);
        } else {
            pause = SHORTEST_PAUSE;
            if !shared.drained() {
                socket.watches.set(false);
                return;
            }
        }
        before = now;
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.socket.set_onopen(None);
        self.socket.set_onmessage(None);
        self.socket.set_onclose(None);
        // Later: this may be called by one of them.
        let listeners = self.listeners.take();
        spawn_local(async move { drop(listeners) });
    }
}

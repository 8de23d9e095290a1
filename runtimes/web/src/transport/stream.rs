//! The browser's `WebSocketStream`: streams with backpressure in both directions. web-sys does not have it, so that its members are
//! looked up by name.

use std::cell::{Cell, OnceCell};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::task::{Poll, ready};
use std::time::Duration;

use js_sys::{Array, Function, JsString, Object, Promise, Reflect, Uint8Array};
use sockless_core::{CloseReason, Message};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{
    ReadableStream, ReadableStreamDefaultReader, WritableStream, WritableStreamDefaultWriter,
};

use super::{Delivered, Opening, code_and_text, enforce_closing_timeout, refused};
use crate::ending::CloseReport;
use crate::error::ConnectError;
use crate::inbox::OVERHEAD;
use crate::platform::global;
use crate::shared::{Agreement, Shared, Transport};

struct Stream {
    stream: Object,
    /// Set when the connection is open.
    ends: OnceCell<(ReadableStreamDefaultReader, WritableStreamDefaultWriter)>,
    /// The bytes of messages that the browser has not accepted yet.
    buffered: Cell<usize>,
    shared: Weak<Shared>,
    closing_timeout: Duration,
}

/// Returns true if the browser has `WebSocketStream`.
pub(crate) fn is_supported() -> bool {
    global::<Function>("WebSocketStream").is_some()
}

/// Opens a connection, whose events `shared` handles.
pub(crate) fn open(opening: &Opening, shared: &Rc<Shared>) -> Result<(), ConnectError> {
    let (stream, promises) = construct(opening).map_err(|exception| refused(&exception))?;
    let transport = Rc::new(Stream {
        stream,
        ends: OnceCell::new(),
        buffered: Cell::new(0),
        shared: Rc::downgrade(shared),
        closing_timeout: opening.closing_timeout,
    });
    shared.attach(transport.clone());
    spawn_local(run(promises, Rc::downgrade(&transport), shared.clone()));
    Ok(())
}

/// What the browser promises. Both fail if the connection is not opened, and a browser reports a failed promise that is not
/// handled, so that both are awaited.
struct Promises {
    opened: JsFuture,
    closed: JsFuture,
}

fn construct(opening: &Opening) -> Result<(Object, Promises), JsValue> {
    let constructor: Function = get(&js_sys::global(), "WebSocketStream")?;
    let protocols: Array =
        opening.subprotocols.iter().map(|name| JsValue::from_str(name)).collect();
    let options = Object::new();
    Reflect::set(&options, &"protocols".into(), &protocols)?;
    let arguments = Array::of2(&JsValue::from_str(&opening.url), &options);
    let stream: Object = Reflect::construct(&constructor, &arguments)?.dyn_into()?;
    let opened = JsFuture::from(get::<Promise>(&stream, "opened")?);
    let closed = JsFuture::from(get::<Promise>(&stream, "closed")?);
    Ok((stream, Promises { opened, closed }))
}

/// Returns the property `name` of `object` if it is of this type.
fn get<T: JsCast>(object: &JsValue, name: &str) -> Result<T, JsValue> {
    Reflect::get(object, &JsValue::from_str(name))?.dyn_into()
}

/// Opens the session, reads until the end, and reports it. The transport lives as long as the session has it.
async fn run(promises: Promises, transport: Weak<Stream>, shared: Rc<Shared>) {
    let Promises { opened, closed } = promises;
    let mut closed = pin!(async { close_report(&closed.await) });
    let mut report = None;
    if let Ok(connection) = opened.await
        && let Some(transport) = transport.upgrade()
        && let Ok(reader) = transport.start(&connection, &shared)
    {
        drop(transport);
        loop {
            if report.is_none() {
                report = room_or_end(&shared, closed.as_mut()).await;
            }
            let Some(message) = read(&reader).await else { break };
            message.pass_to(&shared);
        }
    }
    let report = match report {
        Some(report) => report,
        None => closed.await,
    };
    shared.ended(report);
}

/// Waits until there is room for another message. If the connection ends meanwhile, returns the report of it: the rest of the
/// messages, which the browser has, is read then.
async fn room_or_end(
    shared: &Shared,
    mut closed: Pin<&mut impl Future<Output = CloseReport>>,
) -> Option<CloseReport> {
    let place = shared.readers().place();
    poll_fn(|cx| {
        if let Poll::Ready(report) = closed.as_mut().poll(cx) {
            return Poll::Ready(Some(report));
        }
        ready!(shared.poll_room(&place, cx));
        Poll::Ready(None)
    })
    .await
}

/// Reads the next message; `None` at the end.
async fn read(reader: &ReadableStreamDefaultReader) -> Option<Delivered> {
    let result = JsFuture::from(reader.read()).await.ok()?;
    let value = Reflect::get(&result, &JsValue::from_str("value")).ok()?;
    // `value` is undefined once `done` is true.
    Delivered::new(&value)
}

/// The promise `closed` is kept after a closing handshake, and broken otherwise, with an error that has the same properties.
fn close_report(closed: &Result<JsValue, JsValue>) -> CloseReport {
    let (Ok(properties) | Err(properties)) = closed;
    let property = |name| Reflect::get(properties, &JsValue::from_str(name)).ok();
    let code = property("closeCode").and_then(|code| code.as_f64());
    let was_clean = closed.is_ok();
    CloseReport {
        code: code.map_or(if was_clean { 1005 } else { 1006 }, |code| code as u16),
        text: property("reason").and_then(|text| text.as_string()).unwrap_or_default(),
        was_clean,
    }
}

impl Stream {
    fn start(
        &self,
        connection: &JsValue,
        shared: &Shared,
    ) -> Result<ReadableStreamDefaultReader, JsValue> {
        let reader: ReadableStreamDefaultReader =
            get::<ReadableStream>(connection, "readable")?.get_reader().unchecked_into();
        let writer = get::<WritableStream>(connection, "writable")?.get_writer()?;
        let _ = self.ends.set((reader.clone(), writer));
        let text = |name| get::<JsString>(connection, name).map(String::from).unwrap_or_default();
        shared.opened(Agreement {
            subprotocol: text("protocol"),
            extensions: text("extensions"),
            has_backpressure: true,
        });
        Ok(reader)
    }

    fn close_now(&self, reason: Option<(u16, &str)>) -> Result<(), JsValue> {
        let info = Object::new();
        if let Some((code, text)) = reason {
            Reflect::set(&info, &"closeCode".into(), &code.into())?;
            Reflect::set(&info, &"reason".into(), &text.into())?;
        }
        get::<Function>(&self.stream, "close")?.call1(&self.stream, &info)?;
        Ok(())
    }
}

impl Transport for Stream {
    fn transmit(self: Rc<Self>, message: &Message) -> bool {
        let Some((_, writer)) = self.ends.get() else { return false };
        // Without a size, the stream has failed, since the connection closes.
        if !matches!(writer.desired_size(), Ok(Some(_))) {
            return false;
        }
        let bytes = message.len() + OVERHEAD;
        self.buffered.set(self.buffered.get() + bytes);
        // The browser keeps what it is passed, so that it is copied out of the memory of the program.
        let chunk: JsValue = match message {
            Message::Binary(bytes) => Uint8Array::from(&bytes[..]).into(),
            Message::Text(text) => JsValue::from_str(text),
        };
        let written = JsFuture::from(writer.write_with_chunk(&chunk));
        let this = Rc::downgrade(&self);
        spawn_local(async move {
            // If it fails, `closed` reports why.
            let _ = written.await;
            let Some(this) = this.upgrade() else { return };
            this.buffered.set(this.buffered.get() - bytes);
            if let Some(shared) = this.shared.upgrade() {
                shared.drained();
            }
        });
        true
    }

    fn buffered(&self) -> usize {
        self.buffered.get()
    }

    fn watch_buffered(self: Rc<Self>) {
        // Each message that the browser accepts is reported.
    }

    /// Closes behind the messages that the browser has not accepted yet, which it would drop.
    fn close(self: Rc<Self>, reason: &CloseReason) {
        let reason = reason.clone();
        let Some(shared) = self.shared.upgrade() else { return };
        spawn_local(enforce_closing_timeout(self.shared.clone(), self.closing_timeout));
        spawn_local(async move {
            let place = shared.writers().place();
            // An error is the end of the session.
            let _ = poll_fn(|cx| shared.poll_flush(&place, cx)).await;
            // It fails if the connection has ended.
            let _ = self.close_now(code_and_text(&reason));
        });
    }
}

/// Leaves nothing for the browser to wait for.
impl Drop for Stream {
    fn drop(&mut self) {
        if let Some((reader, writer)) = self.ends.take() {
            let (cancelled, aborted) =
                (JsFuture::from(reader.cancel()), JsFuture::from(writer.abort()));
            spawn_local(async move {
                let _ = (cancelled.await, aborted.await);
            });
        }
    }
}

//! A page that sends what is typed to the demo server's `/echo`, shows what comes back, and connects again when the connection is
//! lost.
//!
//! ```sh
//! cargo build --release -p sockless-example-web --target wasm32-unknown-unknown
//! wasm-bindgen --target web --out-dir examples/web/pkg target/wasm32-unknown-unknown/release/sockless_example_web.wasm
//! ```
//!
//! `tests/oracles/web/build` does the same with Debian's compiler and without the program `wasm-bindgen`.
//!
//! Then serve `examples/web` from the host and port of the demo, such as behind one reverse proxy: the demo accepts pages of its
//! own origin only.

use std::cell::RefCell;

use sockless::web::{AttemptError, Reconnect, Sender, connect};
use sockless::{CloseCode, Party};
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen_futures::spawn_local;
use web_sys::{Document, HtmlInputElement};

thread_local! {
    /// The session that is open.
    static SESSION: RefCell<Option<Sender>> = const { RefCell::new(None) };
}

/// Called when the page has loaded the module.
#[wasm_bindgen(start)]
pub fn start() {
    spawn_local(talk());
}

/// Called when the form is submitted.
#[wasm_bindgen]
pub fn submit() {
    let input: HtmlInputElement = document()
        .get_element_by_id("input")
        .and_then(|element| element.dyn_into().ok())
        .expect("the page has an input");
    let text = input.value();
    let Some(sender) = SESSION.with_borrow(Clone::clone) else {
        return; // Not connected: the text stays in the input.
    };
    input.set_value("");
    if text == "/quit" {
        sender.close((CloseCode::NORMAL, "the user has quit"));
        return;
    }
    spawn_local(async move {
        if sender.send(text).await.is_err() {
            append("what was typed last was not sent");
        }
    });
}

/// Holds one session after another.
async fn talk() {
    let url = format!("{}/echo", origin().replacen("http", "ws", 1));
    let mut sessions = Reconnect::new(move || connect(&url).subprotocol("echo.v1"))
        // After `/quit` there is no further session.
        .retry_if(|error, _| error.is_transient() && !is_quit(error));
    loop {
        show("connecting");
        let mut session = match sessions.next().await {
            Ok(session) => session,
            Err(error) => return show(&error.to_string()),
        };
        show("connected");
        SESSION.set(Some(session.sender()));
        let closed = loop {
            match session.recv().await {
                Ok(message) => append(&message.to_string()),
                Err(closed) => break closed,
            }
        };
        SESSION.set(None);
        append(&closed.to_string());
    }
}

/// Only `/quit` closes a session from this end.
fn is_quit(error: &AttemptError) -> bool {
    matches!(error, AttemptError::Closed(closed) if closed.by() == Party::Local)
}

fn show(state: &str) {
    if let Some(element) = document().get_element_by_id("state") {
        element.set_text_content(Some(state));
    }
}

/// Adds a line to the log, as text.
fn append(line: &str) {
    let document = document();
    let Some(log) = document.get_element_by_id("log") else { return };
    if let Ok(item) = document.create_element("li") {
        item.set_text_content(Some(line));
        // It fails for no element of the same page.
        let _ = log.append_child(&item);
    }
}

fn document() -> Document {
    web_sys::window().and_then(|window| window.document()).expect("the module runs in a page")
}

fn origin() -> String {
    let window = web_sys::window().expect("the module runs in a page");
    window.location().origin().expect("a page has an origin")
}

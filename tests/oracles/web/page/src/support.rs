//! Functions that the scenarios share.

use std::fmt::Debug;
use std::time::Duration;

use futures_util::future::{Either, select};
use js_sys::{Array, Reflect};
use sockless::Closed;
use sockless::web::Session;
use wasm_bindgen::{JsCast, JsValue};

/// The server, and the way to connect to it.
pub(crate) struct Target {
    pub(crate) url: String,
    pub(crate) stream: bool,
}

/// The result of a scenario, or a step of it.
pub(crate) type Outcome<T> = Result<T, String>;

/// An error as the text that is reported.
pub(crate) fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Fails unless `got` is what was expected.
pub(crate) fn same<T: PartialEq<U> + Debug, U: Debug>(
    what: &str,
    got: T,
    expected: U,
) -> Outcome<()> {
    if got == expected {
        Ok(())
    } else {
        Err(format!("{what}: expected {expected:?}, got {got:?}"))
    }
}

/// Fails unless `holds`.
pub(crate) fn ensure(holds: bool, what: impl FnOnce() -> String) -> Outcome<()> {
    if holds { Ok(()) } else { Err(what()) }
}

/// The end of a session, which has to come within 5 s.
pub(crate) async fn end(session: &Session) -> Outcome<Closed> {
    let late = session.sleep(Duration::from_secs(5));
    match select(std::pin::pin!(session.closed()), late).await {
        Either::Left((closed, _)) => Ok(closed),
        Either::Right(_) => Err("waited 5 s for the end of the session".to_owned()),
    }
}

/// Reports a step to the program that drives the page, in its array `progress`.
pub(crate) fn progress(step: &str) {
    let array = Reflect::get(&js_sys::global(), &"progress".into());
    if let Ok(array) = array.and_then(JsValue::dyn_into::<Array>) {
        array.push(&step.into());
    }
}

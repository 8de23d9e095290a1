//! Requests of clients, and helpers for the responses.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::fmt::{self, Write};
use std::sync::{Arc, LazyLock, Mutex};

use bytes::Bytes;
use http::request::Builder;
use http::{Method, Response, StatusCode};
use sockless_driver::{Answer, Request, Service, Upgrade};
use sockless_routing::{RespondRoute, Router, WebSocketRoute, respond, websocket};

/// A WebSocket whose handler does nothing.
pub(crate) fn ws() -> WebSocketRoute {
    websocket(|_session| async {})
}

/// A page whose body is its name.
pub(crate) fn page(name: &'static str) -> RespondRoute {
    respond(move |_request| Response::new(name.into()))
}

pub(crate) fn get(path: &str) -> Builder {
    request(Method::GET, path)
}

pub(crate) fn request(method: Method, path: &str) -> Builder {
    let request = http::Request::builder().method(method).uri(path);
    request.header("host", "example.com")
}

/// A well-formed upgrade request (RFC 6455 §4.1).
pub(crate) fn upgrade(path: &str) -> Builder {
    get(path)
        .header("connection", "keep-alive, Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
}

/// An upgrade request that offers `protocols`, best first.
pub(crate) fn offering(path: &str, protocols: &str) -> Builder {
    upgrade(path).header("sec-websocket-protocol", protocols)
}

pub(crate) fn answer(router: &Router, request: Builder) -> Answer {
    answer_call(router, call(request))
}

pub(crate) fn call(request: Builder) -> Request {
    Request::new(request.body(()).expect("the test's request is valid"))
}

pub(crate) fn answer_call(router: &Router, request: Request) -> Answer {
    pollster::block_on(router.call(request))
}

/// The page that answers a GET, or the status when none does.
pub(crate) fn taken(router: &Router, path: &str) -> String {
    let response = responded(router, get(path));
    match response.status() {
        StatusCode::OK => String::from_utf8(response.body().to_vec()).unwrap(),
        status => status.as_str().to_owned(),
    }
}

#[track_caller]
pub(crate) fn granted(router: &Router, request: Builder) -> Upgrade {
    match answer(router, request) {
        Answer::Upgrade(upgrade) => upgrade,
        Answer::Respond(response) => panic!("rejected: {response:?}"),
    }
}

#[track_caller]
pub(crate) fn responded(router: &Router, request: Builder) -> Response<Bytes> {
    match answer(router, request) {
        Answer::Respond(response) => response,
        Answer::Upgrade(upgrade) => panic!("granted: {upgrade:?}"),
    }
}

#[track_caller]
pub(crate) fn status(router: &Router, request: Builder) -> StatusCode {
    responded(router, request).status()
}

/// The body of a response, which is one line of text.
#[track_caller]
pub(crate) fn line(response: &Response<Bytes>) -> &str {
    assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
    let body = std::str::from_utf8(response.body()).expect("the body is text");
    let line = body.strip_suffix('\n').unwrap_or(body);
    assert!(!line.is_empty() && !line.contains('\n'), "{body:?}");
    line
}

/// The selected subprotocol, which has to be the same in the request and in the response.
#[track_caller]
pub(crate) fn protocol(upgrade: Upgrade) -> Option<String> {
    let handler = upgrade.request().subprotocol().map(str::to_owned);
    let headers = upgrade.response().headers();
    let client = headers.get("sec-websocket-protocol");
    assert_eq!(client.map(|value| value.to_str().unwrap()), handler.as_deref());
    handler
}

#[track_caller]
pub(crate) fn params(upgrade: &Upgrade) -> Vec<(&str, &str)> {
    upgrade.request().params().collect()
}

/// A second subscriber that lives as long as the process. With only one, `tracing` caches for each
/// line of code the interest of the thread that reaches it first, which may have no subscriber.
static SECOND: LazyLock<tracing::Dispatch> =
    LazyLock::new(|| tracing::Dispatch::new(Warnings::default()));

/// The warnings that were logged.
#[derive(Clone, Default)]
pub(crate) struct Warnings(Arc<Mutex<Vec<String>>>);

impl Warnings {
    /// Returns the warnings of `scenario` on this thread.
    pub(crate) fn of(scenario: impl FnOnce()) -> Vec<String> {
        LazyLock::force(&SECOND);
        let warnings = Self::default();
        tracing::subscriber::with_default(warnings.clone(), scenario);
        std::mem::take(&mut *warnings.0.lock().unwrap())
    }
}

struct Line(String);

impl tracing::field::Visit for Line {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
        write!(self.0, "{}={value:?} ", field.name()).expect("a string takes all");
    }
}

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN
    }

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

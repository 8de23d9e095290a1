//! The demo's routes.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::{Response, StatusCode};
use sockless::rooms::Rooms;
use sockless::{
    CloseCode, CloseReason, Closed, Config, Origins, Request, Router, Session, respond,
    text_response, websocket,
};

use crate::chat;

/// Everything that the demo serves.
pub(crate) fn router(config: Config, rooms: Rooms) -> Router {
    let close_by_us = Router::new().guard(check_reason).route("/{code}", websocket(close_by_us));
    Router::new()
        .websockets(config)
        .origins(Origins::same_origin())
        .route("/", respond(|_request| page()))
        .route("/echo", websocket(echo))
        .route("/echo", websocket(echo).protocol("echo.v1"))
        .route("/echo", websocket(echo).protocol("echo.v2"))
        .route("/echo/in-fragments", websocket(echo).configure(in_fragments))
        .route("/rooms", chat::route(rooms))
        .route("/rooms.js", respond(|_request| chat::client()))
        .nest("/close", close_by_us)
        .route("/health", respond(|_request| text_response(StatusCode::OK, "ok\n")))
}

fn page() -> Response<Bytes> {
    let page = include_str!("page.html").replace("{{version}}", env!("CARGO_PKG_VERSION"));
    let mut response = Response::new(Bytes::from(page));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, http::HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_SECURITY_POLICY, http::HeaderValue::from_static(POLICY));
    response
}

/// The page is all in one file, except for the client of the rooms, and talks to this server only.
const POLICY: &str = "default-src 'none'; connect-src 'self'; img-src data:; \
                      script-src 'self' 'unsafe-inline'; style-src 'unsafe-inline'; base-uri 'none'";

async fn echo(mut session: Session) -> Result<(), Closed> {
    loop {
        let message = session.recv().await?;
        session.send(message).await?;
    }
}

/// Whatever a client has to put up with, for tests of clients: messages in small frames, and pings in
/// between.
fn in_fragments(config: Config) -> Config {
    config.max_send_frame_len(1000).ping_interval(Duration::from_millis(20))
}

/// The code and reason that `/close/{code}?reason=...` asks for.
#[derive(Clone)]
struct Asked(CloseReason);

async fn check_reason(mut request: Request) -> Result<Request, Response<Bytes>> {
    let refuse = |why: &'static str| Err(text_response(StatusCode::BAD_REQUEST, why));
    let code = request.param::<u16>("code").ok().and_then(CloseCode::new);
    let Some(code) = code else {
        return refuse("the code must be one that may be sent: 1000-1003, 1007-1014, 3000-4999\n");
    };
    let reason = request.query_param("reason").unwrap_or_default().into_owned();
    if reason.len() > CloseReason::MAX_TEXT_LEN {
        return refuse("the reason must not be longer than 123 bytes\n");
    }
    request.insert(Asked(CloseReason::new(code, reason)));
    Ok(request)
}

async fn close_by_us(session: Session) {
    if let Some(Asked(reason)) = session.request().get() {
        session.close(reason.clone());
    }
    session.closed().await;
}

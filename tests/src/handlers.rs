//! Handlers that tests of every runtime serve.

use smol::channel::{self, Receiver};
use sockless_core::{CloseCode, CloseReason, Closed};
use sockless_driver::{RawSession, Session};
use sockless_routing::{Router, WebSocketRoute, websocket, websocket_raw};

/// A router with one route, at `/`.
pub fn at_root(route: WebSocketRoute) -> Router {
    Router::new().route("/", route)
}

/// Sends back each message, until the session ends.
pub async fn echo(mut session: Session) -> Result<(), Closed> {
    loop {
        let message = session.recv().await?;
        session.send(message).await?;
    }
}

/// Receives until the session ends, and returns how it ended.
pub async fn until_closed(mut session: Session) -> Closed {
    loop {
        if let Err(closed) = session.recv().await {
            return closed;
        }
    }
}

/// A route, and the values that its handler returns, one for each session.
pub fn observed<F, Fut, T>(handler: F) -> (WebSocketRoute, Receiver<T>)
where
    F: Fn(Session) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let (sender, receiver) = channel::unbounded();
    let route = websocket(move |session| {
        let (running, sender) = (handler(session), sender.clone());
        async move {
            let _ = sender.send(running.await).await;
        }
    });
    (route, receiver)
}

/// A route for raw sessions, and the values that its handler returns, one for each session.
pub fn observed_raw<F, Fut, T>(handler: F) -> (WebSocketRoute, Receiver<T>)
where
    F: Fn(RawSession) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let (sender, receiver) = channel::unbounded();
    let route = websocket_raw(move |session| {
        let (running, sender) = (handler(session), sender.clone());
        async move {
            let _ = sender.send(running.await).await;
        }
    });
    (route, receiver)
}

/// The codes of the Close frames that were sent and received.
pub fn codes(closed: &Closed) -> (Option<u16>, Option<u16>) {
    let code = |reason: &CloseReason| reason.code().map(CloseCode::get);
    (closed.sent().and_then(code), closed.received().and_then(code))
}

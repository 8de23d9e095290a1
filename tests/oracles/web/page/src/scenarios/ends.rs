//! The ends of sessions.

use std::time::Duration;

use sockless::{Cause, CloseCode, CloseReason, Closed, Party, Timeout, TrySendError};

use super::closed;
use crate::Checked;
use crate::support::{Target, end, same, text};

const DONE: CloseCode = CloseCode::new(3000).unwrap();
const OWN: CloseCode = CloseCode::new(4999).unwrap();

fn is_clean(closed: &Closed, by: Party, sent: &CloseReason, received: &CloseReason) -> Checked {
    same("the cause", closed.cause(), &Cause::ClosingHandshake)?;
    same("by", closed.by(), by)?;
    same("sent", closed.sent(), Some(sent))?;
    same("received", closed.received(), Some(received))
}

/// The server echoes, and answers a Close frame with the same one.
pub(crate) async fn close_by_us(target: &Target) -> Checked {
    let reasons = [
        CloseReason::new(CloseCode::NORMAL, "done"),
        CloseReason::new(DONE, "registered é"),
        CloseReason::new(OWN, "private 🦀"),
        CloseReason::EMPTY,
    ];
    for reason in reasons {
        let mut session = target.connect("/echo").await.map_err(text)?;
        session.send("before").await.map_err(text)?;
        same("the echo", session.recv().await.map_err(text)?, "before")?;
        let end = closed(&session, reason.clone()).await?;
        is_clean(&end, Party::Local, &reason, &reason)?;
        same("recv", session.recv().await.err(), Some(end.clone()))?;
        same("send", session.send("late").await.err(), Some(end))?;
    }
    let session = target.connect("/echo").await.map_err(text)?;
    let end = closed(&session, (CloseCode::GOING_AWAY, "a browser does not send this")).await?;
    is_clean(&end, Party::Local, &CloseReason::EMPTY, &CloseReason::EMPTY)
}

/// The server closes as the path asks for.
pub(crate) async fn close_by_the_server(target: &Target) -> Checked {
    for code in [CloseCode::NORMAL, CloseCode::GOING_AWAY, CloseCode::POLICY_VIOLATION, DONE, OWN] {
        let path = format!("/close/{code}?reason=because%20%C3%A9");
        let mut session = target.connect(&path).await.map_err(text)?;
        let end = end(&session).await?;
        let reason = CloseReason::new(code, "because é");
        is_clean(&end, Party::Peer, &reason, &reason)?;
        same("recv", session.recv().await.err(), Some(end))?;
    }
    Ok(())
}

/// The server sends a Close frame, and does not close the connection: for a while the browser has answered, and not reported it.
pub(crate) async fn closing_by_the_server(target: &Target) -> Checked {
    let session = target.connect("/closing").await.map_err(text)?;
    let sender = session.sender();
    let mut error = None;
    for _ in 0..50 {
        session.sleep(Duration::from_millis(10)).await;
        error = sender.try_send("late").err();
        if error.is_some() {
            break;
        }
    }
    let closing = TrySendError::Closed { message: "late".into(), closed: None };
    same("try_send", error, Some(closing))?;
    let sent = session.send("late").await;
    let end = end(&session).await?;
    same("received", end.received(), Some(&CloseCode::NORMAL.into()))?;
    same("send", sent, Err(end))
}

/// The server does not answer a Close frame.
pub(crate) async fn closing_timeout(target: &Target) -> Checked {
    let connect = target.connect("/silent").closing_timeout(Duration::from_millis(200));
    let session = connect.await.map_err(text)?;
    let closed = closed(&session, (CloseCode::NORMAL, "done")).await?;
    same("the cause", closed.cause(), &Cause::Timeout(Timeout::Closing))?;
    same("sent", closed.sent(), Some(&(CloseCode::NORMAL, "done").into()))?;
    same("received", closed.received(), None)
}

/// The server resets the connection.
pub(crate) async fn lost(target: &Target) -> Checked {
    let mut session = target.connect("/reset").await.map_err(text)?;
    let closed = end(&session).await?;
    same("the cause", closed.cause(), &Cause::Eof)?;
    same("by", closed.by(), Party::Peer)?;
    same("frames", (closed.sent(), closed.received()), (None, None))?;
    same("recv", session.recv().await.err(), Some(closed))
}

/// The server echoes, and its log has what it received.
pub(crate) async fn dropped(target: &Target) -> Checked {
    let session = target.connect("/echo").await.map_err(text)?;
    session.send("the last words").await.map_err(text)?;
    drop(session);
    // Gives up a connection that is being opened.
    let mut connecting = target.connect("/echo").into_future();
    let waker = std::task::Waker::noop();
    let pending = connecting.as_mut().poll(&mut std::task::Context::from_waker(waker));
    same("pending", pending.is_pending(), true)
}

//! The scenarios. `drive.mjs` has what the server does in each.

mod bounds;
mod ends;
mod reconnecting;

use sockless::web::ConnectError;
use sockless::{DecodeError, Message};
use std::time::Duration;

use crate::Checked;
use crate::support::{Target, end, ensure, same, text};

pub(crate) use bounds::{receiving_waits, sending_waits, unread};
pub(crate) use ends::{
    close_by_the_server, close_by_us, closing_by_the_server, closing_timeout, dropped, lost,
};
pub(crate) use reconnecting::{online, reconnect};

const MEBIBYTE: usize = 1 << 20;

/// The server echoes.
pub(crate) async fn echo(target: &Target) -> Checked {
    let messages: [Message; 7] = [
        "Hello, sockets".into(),
        "🦀 👩‍👩‍👧‍👦 é 漢字 \u{0}".into(),
        "".into(),
        Message::binary(Vec::new()),
        Message::binary((0..=255).collect::<Vec<u8>>()),
        Message::binary((0..MEBIBYTE).map(|index| (index * 31 / 8) as u8).collect::<Vec<u8>>()),
        // Characters of one to four bytes.
        "aé€🦀".repeat(MEBIBYTE / 10).into(),
    ];
    let mut session = target.connect("/echo").await.map_err(text)?;
    same("backpressure", session.has_backpressure(), target.stream)?;
    same("the subprotocol", session.subprotocol(), None)?;
    for message in &messages {
        session.send(message).await.map_err(text)?;
        let got = session.recv().await.map_err(text)?;
        ensure(got == *message, || {
            format!("{} bytes came back as {} others", message.len(), got.len())
        })?;
    }
    session.flush().await.map_err(text)?;
    same("unread", session.unread(), 0)
}

/// The server echoes.
pub(crate) async fn json(target: &Target) -> Checked {
    let mut session = target.connect("/echo").await.map_err(text)?;
    let value = ("é", [1, 2, 3]);
    session.send_json(&value).await.map_err(text)?;
    let got: (String, [i32; 3]) = session.recv_json().await.map_err(text)?;
    same("a value", (&*got.0, got.1), value)?;
    session.send("{").await.map_err(text)?;
    let invalid = session.recv_json::<[i32; 3]>().await;
    ensure(matches!(&invalid, Err(DecodeError::Invalid { message, .. }) if *message == "{"), || {
        format!("what is not JSON: {invalid:?}")
    })
}

/// The server echoes.
pub(crate) async fn order(target: &Target) -> Checked {
    let mut session = target.connect("/echo").await.map_err(text)?;
    let sender = session.sender();
    wasm_bindgen_futures::spawn_local(async move {
        for number in 0..1000 {
            if sender.send(format!("message {number}")).await.is_err() {
                return;
            }
        }
    });
    for number in 0..1000 {
        same("a message", session.recv().await.map_err(text)?, format!("message {number}"))?;
    }
    Ok(())
}

/// The server serves `echo.v1` and `echo.v2`.
pub(crate) async fn subprotocol(target: &Target) -> Checked {
    let offered = target.connect("/echo").subprotocol("unknown").subprotocol("echo.v2");
    let session = offered.await.map_err(text)?;
    same("the subprotocol", session.subprotocol(), Some("echo.v2"))?;
    let unknown = target.connect("/echo").subprotocol("unknown").await;
    same("none that is served", unknown.err(), Some(ConnectError::Failed))
}

/// The server has no path `/missing`.
pub(crate) async fn refused(target: &Target) -> Checked {
    let missing = target.connect("/missing").await;
    same("a 404", missing.err(), Some(ConnectError::Failed))?;
    let invalid = sockless::web::connect("ws://[").await;
    ensure(matches!(invalid, Err(ConnectError::Refused(_))), || format!("a URL: {invalid:?}"))?;
    let twice = target.connect("/echo").subprotocol("twice").subprotocol("twice").await;
    ensure(matches!(twice, Err(ConnectError::Refused(_))), || format!("a repetition: {twice:?}"))
}

/// The server answers nothing.
pub(crate) async fn opening_timeout(target: &Target) -> Checked {
    let silent = target.connect("/").opening_timeout(Duration::from_millis(200)).await;
    same("a silent server", silent.err(), Some(ConnectError::Timeout))
}

/// The end of a session that this end closes.
async fn closed(
    session: &sockless::web::Session,
    reason: impl Into<sockless::CloseReason>,
) -> Result<sockless::Closed, String> {
    session.close(reason);
    end(session).await
}

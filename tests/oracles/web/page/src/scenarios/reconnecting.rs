//! Connecting again.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use sockless::web::{AttemptError, Reconnect, ReconnectState, Retry, connect};

use crate::Checked;
use crate::support::{Target, progress, same, text};

/// The server is killed after the first echo, started again after a failed attempt, and asked for its end after the second echo.
pub(crate) async fn reconnect(target: &Target) -> Checked {
    let (url, hooks) = (format!("{}/echo", target.url), Rc::new(Cell::new(0)));
    let (stream, called) = (target.stream, hooks.clone());
    let mut sessions = Reconnect::new(move || {
        let connect = connect(&url);
        if stream { connect.prefer_stream() } else { connect }
    })
    .initial_delay(Duration::from_millis(50))
    .max_delay(Duration::from_millis(200))
    .retry_if(|error, attempts| {
        if attempts == 2 {
            progress(&format!("attempt {attempts}: {error}"));
        }
        error.is_transient()
    })
    .on_open(move |session| {
        called.set(called.get() + 1);
        Box::pin(async move {
            session.send("subscribe").await?;
            let answer = session.recv().await?;
            if answer == "subscribe" { Ok(()) } else { Err(answer.to_string().into()) }
        })
    });
    let watch = sessions.watch();
    same("the state", watch.state(), ReconnectState::Idle)?;
    for round in 1..=2 {
        let mut session = sessions.next().await.map_err(text)?;
        same("the state", watch.state(), ReconnectState::Open)?;
        same("hooks", hooks.get(), round)?;
        session.send("hello").await.map_err(text)?;
        same("the echo", session.recv().await.map_err(text)?, "hello")?;
        progress(&format!("echoed {round}"));
        if round == 1 {
            let closed = session.recv().await.expect_err("the server is killed");
            same("clean", closed.is_clean(), false)?;
        } else {
            session.close(sockless::CloseCode::NORMAL);
        }
    }
    let failed = watch.last_error();
    let is_failure = matches!(failed.as_deref(), Some(AttemptError::Connect(_)));
    same("the last error is an attempt that failed", is_failure, true)
}

/// There is no server until after the first attempt; then the browser reports that it is online.
pub(crate) async fn online(target: &Target) -> Checked {
    let url = format!("{}/echo", target.url);
    let mut sessions = Reconnect::new(move || connect(&url)).retry_if(|_, attempts| {
        progress(&format!("attempt {attempts} failed"));
        Retry::After(Duration::from_secs(600))
    });
    let watch = sessions.watch();
    let mut session = sessions.next().await.map_err(text)?;
    same("the state", watch.state(), ReconnectState::Open)?;
    session.send("hello").await.map_err(text)?;
    same("the echo", session.recv().await.map_err(text)?, "hello")
}

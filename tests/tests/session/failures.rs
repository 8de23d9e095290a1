//! How a handler's error is logged: at error when the handler failed, at debug when it passed the end of
//! its session on.

use std::error::Error;
use std::fmt;

use sockless_core::{
    Cause, CloseCode, CloseReason, Closed, Frame, Message, Opcode, Party, SendError,
};
use sockless_driver::{
    BoxError, BoxFuture, Decode, DecodeError, Encode, EncodeError, Outcome, RawSendError,
    RawSession, Session, WriteError,
};
use sockless_routing::{Router, websocket, websocket_raw};
use sockless_sim::{Conversation, Sim};
use tracing::Level;

use sockless_tests::logs;
use sockless_tests::opened::{HOUR, SECOND};

/// An application's own error, as `thiserror` writes it.
#[derive(Debug)]
enum Own {
    Closed(Closed),
    Database,
}

impl From<Closed> for Own {
    fn from(closed: Closed) -> Self {
        Self::Closed(closed)
    }
}

impl fmt::Display for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the application's own words")
    }
}

impl Error for Own {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Closed(closed) => Some(closed),
            Self::Database => None,
        }
    }
}

/// Takes no message and makes none.
struct Nothing;

impl Decode<()> for Nothing {
    fn decode(&self, _: &Message) -> Result<(), BoxError> {
        Err("no".into())
    }
}

impl Encode<()> for Nothing {
    fn encode(&self, (): &()) -> Result<Message, BoxError> {
        Err("no".into())
    }
}

/// Encodes, so that only the session can fail.
struct Unit;

impl Encode<()> for Unit {
    fn encode(&self, (): &()) -> Result<Message, BoxError> {
        Ok("unit".into())
    }
}

/// The lines logged while `handler` serves a session with `peer`.
fn logged<F, Fut, P, Then>(handler: F, peer: P) -> Vec<(Level, String)>
where
    F: Fn(Session) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output: Outcome> + Send + 'static,
    P: Fn(Sim, Conversation) -> Then,
    Then: Future<Output = ()>,
{
    logs::events(|| {
        Sim::check(0..3, |sim| {
            let app = sim.app(Router::new().route("/", websocket(handler.clone())));
            let peer = &peer;
            async move {
                let conversation = app.open("/").await;
                peer(sim.clone(), conversation).await;
                sim.settle().await;
            }
        });
    })
}

fn assert_quiet(name: &str, lines: &[(Level, String)]) {
    assert!(!lines.is_empty(), "{name}: nothing is logged");
    let loud: Vec<_> = lines.iter().filter(|(level, _)| *level < Level::DEBUG).collect();
    assert!(loud.is_empty(), "{name}: an ordinary end is logged above debug: {loud:#?}");
}

fn assert_failed(name: &str, lines: &[(Level, String)]) {
    let is_failure = |(level, line): &&(Level, String)| {
        *level == Level::ERROR && line.contains("the handler failed")
    };
    assert!(lines.iter().any(|line| is_failure(&line)), "{name}: no failure is logged: {lines:#?}");
}

/// The peer closes, and the handler passes that on.
fn passes_the_end_on<F, Fut>(name: &str, handler: F)
where
    F: Fn(Session) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output: Outcome> + Send + 'static,
{
    let lines = logged(handler, async |sim, mut conversation| {
        sim.sleep(SECOND).await;
        conversation.close(CloseCode::NORMAL);
        while conversation.closed().await.received().is_none() {}
        sim.sleep(HOUR).await;
    });
    assert_quiet(name, &lines);
}

/// The handler fails while the session is open.
fn fails<F, Fut>(name: &str, handler: F)
where
    F: Fn(Session) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output: Outcome> + Send + 'static,
{
    let lines = logged(handler, async |_, mut conversation| {
        conversation.send("a message").await;
        let closed = conversation.closed().await;
        let code = closed.received().and_then(CloseReason::code);
        assert_eq!(code, Some(CloseCode::INTERNAL_ERROR), "{name}");
    });
    assert_failed(name, &lines);
}

#[test]
fn the_end_passed_on_is_no_failure_whatever_its_type() {
    passes_the_end_on("Closed", async |mut session: Session| session.recv().await.map(drop));
    passes_the_end_on("anyhow", |mut session: Session| async move {
        session.recv().await?;
        anyhow::Ok(())
    });
    passes_the_end_on("anyhow with context", |mut session: Session| async move {
        anyhow::Context::context(session.recv().await, "receiving").map(drop)
    });
    passes_the_end_on("an enum", |mut session: Session| async move {
        session.recv().await?;
        Ok::<_, Own>(())
    });
    passes_the_end_on("a text", |mut session: Session| async move {
        session.recv().await.map(drop).map_err(|closed| closed.to_string())
    });
    passes_the_end_on("DecodeError", |mut session: Session| async move {
        session.recv_as(&Nothing).await
    });
    passes_the_end_on("EncodeError", |session: Session| async move {
        session.closed().await;
        session.send_as(&Unit, &()).await
    });
    passes_the_end_on("WriteError", |session: Session| async move {
        let mut writer = session.writer().await.map_err(WriteError::Closed)?;
        session.closed().await;
        writer.write("part").await
    });
    passes_the_end_on("TrySendError", |session: Session| async move {
        session.closed().await;
        session.sender().try_send("late")
    });
    passes_the_end_on("SendError", |session: Session| async move {
        session.closed().await;
        session.ping("late").map(drop)
    });
}

#[test]
fn a_handler_closes_its_session_with_a_code_and_a_reason() {
    fn closes<F, Fut>(name: &str, handler: F)
    where
        F: Fn(Session) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output: Outcome> + Send + 'static,
    {
        let lines = logged(handler, async |_, mut conversation| {
            let closed = conversation.expect_closed(4004).await;
            assert_eq!(closed.received().unwrap().text(), "no such room", "{name}");
        });
        assert_quiet(name, &lines);
    }
    let code = CloseCode::new(4004).unwrap();
    closes("CloseReason", move |_: Session| async move {
        Err::<(), CloseReason>((code, "no such room").into())
    });
    closes("Error", move |_: Session| async move {
        Err::<(), _>(sockless_driver::Error::close(code, "no such room"))
    });
    closes("anyhow with context", move |_: Session| async move {
        let reason = Err::<(), _>(CloseReason::new(code, "no such room"));
        anyhow::Context::context(reason, "joining")
    });
}

#[test]
fn every_error_of_a_session_becomes_one_error() {
    passes_the_end_on("Error", |mut session: Session| async move {
        session.send("first").await?;
        session.ping("second")?;
        session.sender().try_send("third")?;
        session.send_as(&Unit, &()).await?;
        session.recv_as(&Nothing).await?;
        Ok::<_, sockless_driver::Error>(())
    });
    fails("Error, of a value", |mut session: Session| async move {
        session.recv_as(&Nothing).await?;
        Ok::<_, sockless_driver::Error>(())
    });
}

/// Another failure at the end, such as that of a database, is attributed to the end.
#[test]
fn an_error_after_the_end_is_no_failure() {
    passes_the_end_on("an error of its own", |session: Session| async move {
        session.closed().await;
        Err::<(), _>(Own::Database)
    });
    let closes_first = |session: Session| async move {
        session.close((CloseCode::new(4000).unwrap(), "enough"));
        Err::<(), _>(Own::Database)
    };
    let lines = logged(closes_first, async |_, mut conversation| {
        conversation.expect_closed(4000).await;
    });
    assert_quiet("the handler closes and fails", &lines);
}

/// The session it was is over, though not the one that the handler serves: a proxy's other side.
#[test]
fn the_end_of_another_session_passed_on_closes_normally() {
    let lines = logged(
        |_: Session| async {
            let other = Closed::new(Party::Peer, Cause::Eof, None, None);
            Err::<(), _>(EncodeError::Closed(other))
        },
        async |_, mut conversation| {
            conversation.expect_closed(1000).await;
        },
    );
    assert_quiet("a session behind this one", &lines);
}

#[test]
fn an_error_while_the_session_is_open_is_a_failure_whatever_its_type() {
    fails("anyhow", |_: Session| async { Err::<(), _>(anyhow::anyhow!("no database")) });
    fails("an enum", |_: Session| async { Err::<(), _>(Own::Database) });
    fails("DecodeError", |mut session: Session| async move { session.recv_as(&Nothing).await });
    fails("EncodeError", |session: Session| async move { session.send_as(&Nothing, &()).await });
    fails("WriteError", |session: Session| async move {
        let mut writer = session.writer().await.map_err(WriteError::Closed)?;
        // Dropping a writer that has begun would close the session.
        let begun = writer.write("text").await;
        std::mem::forget(writer);
        begun?;
        Err(WriteError::KindMismatch)
    });
    fails("SendError", |session: Session| async move { session.ping(vec![0; 126]).map(drop) });
}

#[test]
fn a_raw_session_distinguishes_the_end_from_a_failure_too() {
    let logged = |handler: fn(RawSession) -> BoxFuture<'static, Result<(), RawSendError>>| {
        logs::events(|| {
            Sim::check(0..3, |sim| async move {
                let app = sim.app(Router::new().route("/", websocket_raw(handler)));
                drop(app.open("/").raw().await);
                sim.sleep(HOUR).await;
            });
        })
    };
    let ended = logged(|mut session| {
        Box::pin(async move { session.recv().await.map(drop).map_err(RawSendError::Closed) })
    });
    assert_quiet("a raw session", &ended);
    let failed = logged(|session| {
        Box::pin(async move { session.send(Frame::new(Opcode::Ping, vec![0; 126].into())).await })
    });
    assert_failed("a raw session", &failed);
}

/// Anyone may write anything into a Close frame: it must not begin a line of its own in a log.
#[test]
fn a_peer_cannot_forge_a_line_of_a_log() {
    const FORGED: &str = "bye\n2026-11-28 ERROR billing: \u{1B}[31mcard 4111 declined\u{202E}";
    let reason = || CloseReason::new(CloseCode::NORMAL, FORGED);
    let echoed = |mut session: Session| async move {
        let message = session.recv().await?;
        let text = message.as_text().unwrap_or_default().to_owned();
        Err::<(), BoxError>(text.into())
    };
    let mut lines = logged(echoed, async |_, mut conversation| {
        conversation.send(FORGED).await;
        conversation.closed().await;
    });
    lines.extend(logged(echoed, async |_, mut conversation| {
        conversation.close(reason());
        conversation.closed().await;
    }));
    assert!(lines.iter().filter(|(_, line)| line.contains("billing")).count() > 3, "{lines:#?}");
    for (_, line) in lines {
        assert!(!line.contains(|char: char| char.is_control() || char == '\u{202E}'), "{line:?}");
    }
}

#[test]
fn the_errors_of_a_session_have_their_cause_as_source() {
    let closed = || Closed::new(Party::Peer, Cause::Eof, None, None);
    let ended: [Box<dyn Error>; 4] = [
        Box::new(DecodeError::Closed(closed())),
        Box::new(EncodeError::Closed(closed())),
        Box::new(RawSendError::Closed(closed())),
        Box::new(WriteError::Closed(closed())),
    ];
    for error in ended {
        let source = error.source().and_then(|source| source.downcast_ref::<Closed>());
        assert_eq!(source, Some(&closed()), "{error:?}");
    }
    let invalid: [Box<dyn Error>; 3] = [
        Box::new(DecodeError::Invalid { message: "text".into(), error: Own::Database.into() }),
        Box::new(EncodeError::Invalid(Own::Database.into())),
        Box::new(RawSendError::Invalid(SendError::Closing)),
    ];
    for error in invalid {
        assert!(error.source().is_some(), "{error:?}");
    }
}

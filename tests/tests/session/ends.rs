//! How sessions end: a table of who does what, what goes over the wire, and what every method says
//! afterwards.

use std::sync::{Arc, Mutex};

use sockless_core::{
    Cause, CloseCode, Closed, Config, Instant, Party, ProtocolError, Role, Timeout,
};
use sockless_driver::{BoxError, RawSendError, Session, TrySendError};
use sockless_sim::{Link, Sim};
use sockless_tests::end::BOTH;
use sockless_tests::wire::{BINARY_BEGINS, CLOSE, PING, PONG, TEXT, close_body};

use sockless_tests::opened::{HOUR, Peer, SECOND, Tested, close_code, open_with};

/// The handler's action after it has sent its last message.
#[derive(Clone, Copy, Debug)]
enum Handler {
    Returns,
    Errs,
    Panics,
    /// Panics before it has returned its future.
    PanicsAtOnce,
    /// Fails with how the session ended.
    PassesTheEndOn,
    Receives,
    Sleeps,
    Closes(u16),
    Terminates,
}

/// The peer's action after it has read the last message.
#[derive(Clone, Debug)]
enum Does {
    /// Answers a Close frame with the same.
    Answers,
    /// Closes with this body, and reads on to the end.
    Closes(Vec<u8>),
    /// Sends these bytes, and reads on to the end.
    Sends(fn(&Peer) -> Vec<u8>),
    /// Sends these bytes and goes.
    SendsAndGoes(fn(&Peer) -> Vec<u8>),
    /// Reads, and says nothing.
    Nothing,
    /// Nothing of what it does gets through.
    Breaks,
}

struct Row {
    name: &'static str,
    roles: &'static [Role],
    handler: Handler,
    peer: Does,
    by: Party,
    cause: Cause,
    /// The codes of the Close frames: `Some(0)` is one without a code.
    sent: Option<u16>,
    received: Option<u16>,
    /// The frames that the peer gets after the last words, by their first bytes.
    frames: &'static [u8],
    /// When the end is known, in seconds.
    after: u64,
    flushes: bool,
}

impl Default for Row {
    fn default() -> Self {
        Self {
            name: "",
            roles: &BOTH,
            handler: Handler::Receives,
            peer: Does::Answers,
            by: Party::Local,
            cause: Cause::ClosingHandshake,
            sent: None,
            received: None,
            frames: &[CLOSE],
            after: 0,
            flushes: true,
        }
    }
}

fn table() -> Vec<Row> {
    let closed_by_us = |name, handler, code| Row {
        name,
        handler,
        sent: Some(code),
        received: Some(code),
        ..Row::default()
    };
    let closed_by_the_peer = |name, body: Vec<u8>, code| Row {
        name,
        peer: Does::Closes(body),
        by: Party::Peer,
        sent: Some(code),
        received: Some(code),
        ..Row::default()
    };
    let broken = |name, sends, error: ProtocolError, code| Row {
        name,
        peer: Does::Sends(sends),
        cause: Cause::Protocol(error),
        sent: Some(code),
        ..Row::default()
    };
    let vanished = |name, peer| Row {
        name,
        peer,
        by: Party::Peer,
        cause: Cause::Eof,
        frames: &[],
        ..Row::default()
    };
    vec![
        closed_by_us("the handler returns", Handler::Returns, 1000),
        Row { roles: &[Role::Server], ..closed_by_us("the handler errs", Handler::Errs, 1011) },
        Row {
            // A client's block may return what it likes; that it is an error is its caller's to know.
            roles: &[Role::Client],
            ..closed_by_us("the block errs", Handler::Errs, 1000)
        },
        closed_by_us("the handler panics", Handler::Panics, 1011),
        Row {
            // Of a client's block the caller would see the panic before there is anything to drive.
            roles: &[Role::Server],
            ..closed_by_us("the handler panics at once", Handler::PanicsAtOnce, 1011)
        },
        closed_by_us("the handler closes", Handler::Closes(3001), 3001),
        Row {
            name: "the handler closes and the peer is silent",
            handler: Handler::Closes(1000),
            peer: Does::Nothing,
            cause: Cause::Timeout(Timeout::Closing),
            sent: Some(1000),
            after: 5,
            ..Row::default()
        },
        Row {
            name: "both close at once",
            handler: Handler::Closes(4001),
            peer: Does::Closes(close_body(4002, "")),
            sent: Some(4001),
            received: Some(4002),
            ..Row::default()
        },
        Row {
            name: "the handler terminates",
            handler: Handler::Terminates,
            peer: Does::Nothing,
            cause: Cause::Aborted,
            frames: &[],
            flushes: false,
            ..Row::default()
        },
        closed_by_the_peer("the peer closes with a code", close_body(1000, "bye"), 1000),
        closed_by_the_peer("the peer closes without a code", Vec::new(), 0),
        Row {
            handler: Handler::PassesTheEndOn,
            ..closed_by_the_peer("the end is passed on", close_body(3999, ""), 3999)
        },
        Row {
            handler: Handler::Sleeps,
            ..closed_by_the_peer("the peer closes, the handler sleeps", close_body(1001, ""), 1001)
        },
        vanished("the peer vanishes between two frames", Does::SendsAndGoes(|_| Vec::new())),
        vanished(
            "the peer vanishes inside of a header",
            Does::SendsAndGoes(|peer| peer.write.header(0x82, 70_000)[..3].to_vec()),
        ),
        vanished(
            "the peer vanishes inside of a frame",
            Does::SendsAndGoes(|peer| peer.write.binary([7; 100])[..50].to_vec()),
        ),
        vanished(
            "the peer vanishes inside of a message",
            Does::SendsAndGoes(|peer| peer.write.frame(BINARY_BEGINS, "half")),
        ),
        Row {
            name: "the peer answers no ping",
            handler: Handler::Sleeps,
            peer: Does::Nothing,
            cause: Cause::Timeout(Timeout::Ping),
            sent: Some(1011),
            frames: &[PING, CLOSE],
            after: 45,
            ..Row::default()
        },
        Row {
            name: "the transport breaks",
            peer: Does::Breaks,
            by: Party::Peer,
            cause: Cause::Transport("".into()),
            frames: &[],
            ..Row::default()
        },
        broken(
            "a reserved opcode",
            |p| p.write.frame(0x83, ""),
            ProtocolError::OpcodeReserved(3),
            1002,
        ),
        broken("a reserved bit", |p| p.write.frame(0xC1, ""), ProtocolError::ReservedBitSet, 1002),
        broken("invalid text", |p| p.write.frame(TEXT, [0xFF]), ProtocolError::TextInvalid, 1007),
        broken(
            "a continuation of nothing",
            |p| p.write.frame(0x80, ""),
            ProtocolError::ContinuationUnexpected,
            1002,
        ),
        broken(
            "a fragmented ping",
            |p| p.write.frame(0x09, ""),
            ProtocolError::ControlFragmented,
            1002,
        ),
        broken(
            "a code that may not travel",
            |p| p.write.close(1005, ""),
            ProtocolError::CloseCodeInvalid(1005),
            1002,
        ),
        broken(
            "a message too long",
            |p| p.write.header(0x82, 1001),
            ProtocolError::MessageTooLong { len: 1001, max: 1000 },
            1009,
        ),
        Row {
            roles: &[Role::Server],
            ..broken("a frame without a mask", |_| vec![TEXT, 0], ProtocolError::MaskMissing, 1002)
        },
        Row {
            roles: &[Role::Client],
            ..broken(
                "a frame with a mask",
                |_| vec![TEXT, 0x80, 1, 2, 3, 4],
                ProtocolError::MaskUnexpected,
                1002,
            )
        },
    ]
}

/// The results of a session's methods once it has ended.
#[derive(Debug)]
struct Sayings {
    /// Where the handler lived to receive it.
    recv: Arc<Mutex<Option<Closed>>>,
    at: Instant,
    closed: Closed,
    send: Result<(), Closed>,
    try_send: Result<(), TrySendError>,
    flush: Result<(), Closed>,
    ping: Result<(), RawSendError>,
}

#[test]
fn every_method_and_the_wire_report_the_same_end() {
    for row in table() {
        for &role in row.roles {
            // Shown when it fails.
            println!("{}, as a {role:?}", row.name);
            Sim::check(0..10, |sim| check(sim, role, &row));
        }
    }
}

async fn check(sim: Sim, role: Role, row: &Row) {
    if matches!(row.handler, Handler::Panics | Handler::PanicsAtOnce) {
        sim.tolerate_panics();
    }
    let (tested, sayings) = start(&sim, role, row.handler).await;
    let said = act(&sim, &tested, &row.peer).await;
    let frames: Vec<u8> = said.iter().map(|frame| frame.0).collect();
    assert_eq!(frames, row.frames);
    let close = said.iter().find(|frame| frame.0 == CLOSE).map(|frame| frame.1.unwrap_or(0));
    assert_eq!(close, row.sent, "on the wire");

    let Sayings { recv, at, closed, send, try_send, flush, ping } = sayings.await;
    assert_eq!(closed.by(), row.by, "{closed}");
    match (closed.cause(), &row.cause) {
        // Its text is the transport's.
        (Cause::Transport(_), Cause::Transport(_)) => {}
        (cause, expected) => assert_eq!(cause, expected),
    }
    let code = |reason: &sockless_core::CloseReason| reason.code().map_or(0, CloseCode::get);
    assert_eq!(closed.sent().map(code), row.sent);
    assert_eq!(closed.received().map(code), row.received);
    assert_eq!(at, Instant::EPOCH + SECOND * row.after as u32);
    assert_eq!(send, Err(closed.clone()));
    assert_eq!(
        try_send,
        Err(TrySendError::Closed { message: "too late".into(), closed: Some(closed.clone()) })
    );
    assert_eq!(flush, if row.flushes { Ok(()) } else { Err(closed.clone()) });
    assert!(matches!(ping, Err(RawSendError::Closed(end)) if end == closed));
    drop(tested.peer);
    let returned = tested.output.await;
    assert_eq!(returned.is_some(), !matches!(row.handler, Handler::Panics | Handler::PanicsAtOnce));
    let received = recv.lock().unwrap().take();
    assert!(received.is_none_or(|received| received == closed));
}

/// Opens the session, with a witness who waits for the end and then tries everything.
async fn start(
    sim: &Sim,
    role: Role,
    acts: Handler,
) -> (Tested<Result<(), BoxError>>, sockless_sim::JoinHandle<Sayings>) {
    let config = Config::default()
        .max_message_len(1_000)
        .ping_interval(SECOND * 30)
        .ping_timeout(SECOND * 15);
    let recv = Arc::new(Mutex::new(None));
    let (heard, witness) = (Arc::clone(&recv), Arc::new(Mutex::new(None)));
    let (clock, slot) = (sim.clone(), Arc::clone(&witness));
    let handler = move |session: Session| {
        let sender = session.sender();
        let watch = clock.clone();
        let watching = clock.spawn(async move {
            let closed = sender.closed().await;
            let at = watch.now();
            let send = sender.send("too late").await;
            let try_send = sender.try_send("too late");
            let flush = sender.flush().await;
            let ping = sender.ping("too late").map(drop);
            Sayings { recv, at, closed, send, try_send, flush, ping }
        });
        *slot.lock().unwrap() = Some(watching);
        if let Handler::PanicsAtOnce = acts {
            // As a panic, and without its noise.
            std::panic::resume_unwind(Box::new("something of ours is a bug"));
        }
        act_as(acts, clock, session, heard)
    };
    let outcome = |returned: &Result<(), BoxError>| match returned {
        Ok(()) => Ok(()),
        Err(error) => match error.downcast_ref::<Closed>() {
            Some(closed) => Err(closed.clone().into()),
            None => Err("something of ours went wrong".into()),
        },
    };
    let tested = open_with(sim, role, &Link::default(), config, handler, outcome).await;
    sim.settle().await;
    let watching = witness.lock().unwrap().take().expect("the handler has begun");
    (tested, watching)
}

async fn act_as(
    handler: Handler,
    clock: Sim,
    mut session: Session,
    heard: Arc<Mutex<Option<Closed>>>,
) -> Result<(), BoxError> {
    // A server's 101 first, which a termination would drop too.
    session.flush().await?;
    session.send("last words").await?;
    match handler {
        Handler::Terminates => session.terminate(),
        _ => session.flush().await?,
    }
    match handler {
        Handler::Returns => return Ok(()),
        Handler::Errs => return Err("something of ours went wrong".into()),
        Handler::Panics => std::panic::resume_unwind(Box::new("something of ours is a bug")),
        Handler::Sleeps => clock.sleep(HOUR).await,
        Handler::Closes(code) => session.close(CloseCode::new(code).expect("it may travel")),
        Handler::PassesTheEndOn
        | Handler::Receives
        | Handler::Terminates
        | Handler::PanicsAtOnce => {}
    }
    let closed = loop {
        if let Err(closed) = session.recv().await {
            break closed;
        }
    };
    *heard.lock().unwrap() = Some(closed.clone());
    assert_eq!(session.recv().await, Err(closed.clone()), "each time");
    match handler {
        Handler::PassesTheEndOn => Err(closed.into()),
        _ => Ok(()),
    }
}

/// Does what the peer does, and gives the frames it gets after the last words, with their codes.
async fn act(
    sim: &Sim,
    tested: &Tested<Result<(), BoxError>>,
    does: &Does,
) -> Vec<(u8, Option<u16>)> {
    let peer = &tested.peer;
    let mut frames = Vec::new();
    if let Does::Closes(body) = does {
        peer.send(peer.write.frame(CLOSE, body)).await;
    }
    if let Does::Sends(bytes) | Does::SendsAndGoes(bytes) = does {
        peer.send(bytes(peer)).await;
    }
    match does {
        Does::Breaks => tested.wire.cut(),
        Does::SendsAndGoes(_) => peer.io.shutdown().await.unwrap(),
        _ => {}
    }
    while let Ok(frame) = peer.try_frame().await {
        if frame.payload == b"last words" {
            continue;
        }
        assert_ne!(frame.first, PONG);
        frames.push((frame.first, close_code(&frame)));
        if frame.first == CLOSE {
            if let Does::Answers = does {
                peer.send(peer.write.frame(CLOSE, &frame.payload)).await;
            }
            // A client ends the transport once the server has (RFC 6455 §7.1.1), and a silent peer
            // does not end it at all.
            if !matches!(does, Does::Nothing) {
                sim.settle().await;
                peer.io.shutdown().await.unwrap();
            }
        }
    }
    frames
}

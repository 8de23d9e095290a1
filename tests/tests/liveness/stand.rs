//! The places where a handler can stand.

use std::sync::{Arc, Mutex};

use sockless_core::{Closed, Frame, Message, Opcode};
use sockless_driver::{RawSendError, RawSession, Session, WriteError};

use crate::cell::{Cell, End, MESSAGE, Stand};
use sockless_tests::opened::HOUR;

/// The number of messages that a handler sends which then returns, to a peer with little of it in the buffers of the
/// transport, and to one with much.
const BOUNDED: usize = 40;
const BOUNDED_BEHIND: usize = 96;

/// The limit of messages that a handler sends, so that one which never has to wait comes to an end.
pub(crate) const MOST: usize = 3_000;

/// A handler's record of its actions and results so far.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Entries>>);

#[derive(Clone, Default)]
pub(crate) struct Entries {
    /// The messages that it has received whole, or the frames.
    pub(crate) received: usize,
    /// The bytes of payload that it was allowed to send.
    pub(crate) accepted: usize,
    /// The end of the session, if it has learnt it.
    pub(crate) closed: Option<Closed>,
}

impl Log {
    pub(crate) fn entries(&self) -> Entries {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn received(&self) {
        self.0.lock().unwrap().received += 1;
    }

    pub(crate) fn accepted(&self, bytes: usize) {
        self.0.lock().unwrap().accepted += bytes;
    }

    pub(crate) fn closed(&self, closed: Closed) {
        self.0.lock().unwrap().closed = Some(closed);
    }
}

/// Waits where the cell requires until the session is over.
pub(crate) async fn stand(cell: Cell, session: Session, log: Log) {
    if let Some(closed) = stand_in(cell, session, &log).await {
        log.closed(closed);
    }
}

/// The number of messages that the handler of a cell sends at most.
fn most(cell: Cell) -> usize {
    match cell.end {
        End::ReadsSlowly => BOUNDED,
        End::ReadsBehind => BOUNDED_BEHIND,
        _ => MOST,
    }
}

/// The end of the session, if the handler learns it.
async fn stand_in(cell: Cell, mut session: Session, log: &Log) -> Option<Closed> {
    let most = most(cell);
    match cell.stand {
        Stand::Recv => loop {
            match session.recv().await {
                Ok(_) => log.received(),
                Err(closed) => return Some(closed),
            }
        },
        Stand::Reader => Some(read(&mut session, log).await),
        Stand::Write => write(&session, log, most).await,
        Stand::Send => send(&session, log, most).await,
        Stand::Flush => flush(&session, log, most).await,
        Stand::Closed => Some(session.closed().await),
        Stand::Sleep => {
            session.sleep(HOUR).await;
            None
        }
        Stand::SplitHeld => {
            let (sender, _receiver) = session.split();
            Some(sender.closed().await)
        }
        Stand::SplitDropped => {
            let (sender, receiver) = session.split();
            drop(receiver);
            Some(sender.closed().await)
        }
        Stand::RawRecv | Stand::RawSend | Stand::RawFlush | Stand::RawClosed | Stand::RawSleep => {
            unreachable!("these have a session of frames")
        }
    }
}

/// Receives frames to the end of the session.
pub(crate) async fn receive_frames(mut session: RawSession, log: Log) -> Closed {
    loop {
        match session.recv().await {
            Ok(_) => log.received(),
            Err(closed) => {
                log.closed(closed.clone());
                return closed;
            }
        }
    }
}

/// As [`stand`], in a place of a session of frames where it does not receive.
pub(crate) async fn stand_raw(cell: Cell, session: &RawSession, log: Log) {
    let closed = match cell.stand {
        Stand::RawSend => send_frames(session, &log, most(cell)).await,
        Stand::RawFlush => flush_frames(session, &log, most(cell)).await,
        Stand::RawClosed => Some(session.closed().await),
        Stand::RawSleep => {
            session.sleep(HOUR).await;
            None
        }
        stand => unreachable!("{stand:?} is another kind of place"),
    };
    if let Some(closed) = closed {
        log.closed(closed);
    }
}

async fn read(session: &mut Session, log: &Log) -> Closed {
    loop {
        let mut reader = match session.reader().await {
            Ok(reader) => reader,
            Err(closed) => return closed,
        };
        loop {
            match reader.chunk().await {
                Ok(Some(_)) => {}
                Ok(None) => break log.received(),
                Err(closed) => return closed,
            }
        }
    }
}

async fn write(session: &Session, log: &Log, most: usize) -> Option<Closed> {
    let mut writer = match session.writer().await {
        Ok(writer) => writer,
        Err(closed) => return Some(closed),
    };
    for _ in 1..most {
        match writer.write(vec![7; MESSAGE]).await {
            Ok(()) => log.accepted(MESSAGE),
            Err(WriteError::Closed(closed)) => return Some(closed),
            Err(mismatch) => panic!("{mismatch}"),
        }
    }
    match writer.finish(vec![7; MESSAGE]).await {
        Ok(()) => log.accepted(MESSAGE),
        Err(WriteError::Closed(closed)) => return Some(closed),
        Err(mismatch) => panic!("{mismatch}"),
    }
    None
}

async fn send(session: &Session, log: &Log, most: usize) -> Option<Closed> {
    for _ in 0..most {
        if let Err(closed) = session.send(Message::from(vec![7; MESSAGE])).await {
            return Some(closed);
        }
        log.accepted(MESSAGE);
    }
    None
}

/// Each message is longer than what the transport holds.
async fn flush(session: &Session, log: &Log, most: usize) -> Option<Closed> {
    for _ in 0..most / 8 {
        let sent = session.send(Message::from(vec![7; 8 * MESSAGE])).await;
        if let Err(closed) = sent {
            return Some(closed);
        }
        log.accepted(8 * MESSAGE);
        if let Err(closed) = session.flush().await {
            return Some(closed);
        }
    }
    None
}

async fn send_frames(session: &RawSession, log: &Log, most: usize) -> Option<Closed> {
    for _ in 0..most {
        if let Err(closed) = send_frame(session, log, MESSAGE).await {
            return Some(closed);
        }
    }
    None
}

/// Each frame is longer than what the transport holds.
async fn flush_frames(session: &RawSession, log: &Log, most: usize) -> Option<Closed> {
    for _ in 0..most / 8 {
        if let Err(closed) = send_frame(session, log, 8 * MESSAGE).await {
            return Some(closed);
        }
        if let Err(closed) = session.flush().await {
            return Some(closed);
        }
    }
    None
}

async fn send_frame(session: &RawSession, log: &Log, len: usize) -> Result<(), Closed> {
    match session.send(Frame::new(Opcode::Binary, vec![7; len].into())).await {
        Ok(()) => log.accepted(len),
        Err(RawSendError::Closed(closed)) => return Err(closed),
        Err(invalid) => panic!("{invalid}"),
    }
    Ok(())
}

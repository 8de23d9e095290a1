//! The places where a handler can stand.

use std::sync::{Arc, Mutex};

use sockless_core::{Closed, Message};
use sockless_driver::{RawSession, Session, WriteError};

use crate::cell::{Cell, End, MESSAGE, Stand};
use sockless_tests::opened::HOUR;

/// The number of messages that a handler sends which then returns.
const BOUNDED: usize = 40;

/// The limit of messages that a handler sends, so that one which never has to wait comes to an end.
pub(crate) const MOST: usize = 3_000;

/// A handler's record of its actions and results so far.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Entries>>);

#[derive(Clone, Copy, Default)]
pub(crate) struct Entries {
    /// The messages that it has received whole, or the frames.
    pub(crate) received: usize,
    /// The bytes of payload that it was allowed to send.
    pub(crate) accepted: usize,
}

impl Log {
    pub(crate) fn entries(&self) -> Entries {
        *self.0.lock().unwrap()
    }

    pub(crate) fn received(&self) {
        self.0.lock().unwrap().received += 1;
    }

    pub(crate) fn accepted(&self, bytes: usize) {
        self.0.lock().unwrap().accepted += bytes;
    }
}

/// Waits where the cell requires until the session is over; returns its end if the handler learns it.
pub(crate) async fn stand(cell: Cell, mut session: Session, log: Log) -> Option<Closed> {
    let most = if cell.end == End::ReadsSlowly { BOUNDED } else { MOST };
    match cell.stand {
        Stand::Recv => loop {
            match session.recv().await {
                Ok(_) => log.received(),
                Err(closed) => return Some(closed),
            }
        },
        Stand::Reader => Some(read(&mut session, &log).await),
        Stand::Write => write(&session, &log, most).await,
        Stand::Send => send(&session, &log, most).await,
        Stand::Flush => flush(&session, &log, most).await,
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
        Stand::RawRecv | Stand::RawClosed => unreachable!("these have a session of frames"),
    }
}

/// The same for a session of frames.
pub(crate) async fn stand_raw(cell: Cell, mut session: RawSession, log: Log) -> Closed {
    if cell.stand == Stand::RawClosed {
        return session.closed().await;
    }
    loop {
        match session.recv().await {
            Ok(_) => log.received(),
            Err(closed) => return closed,
        }
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

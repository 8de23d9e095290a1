//! Connections that come and go: each is opened, has some echoes and is ended by the client.

use std::fmt;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use super::frames::masked_frame;
use super::replies::Replies;
use super::{Stream, Target, Until};
use crate::Result;

/// A server without progress for this long has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// The length of a message.
const MESSAGE_LEN: usize = 16;

/// The load of connections that come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visits {
    /// The number of connections at a time.
    pub connections: usize,
    /// Messages that are echoed on each connection, one after the other.
    pub echoes: usize,
    /// Offers permessage-deflate. The messages are not compressed.
    pub deflate: bool,
    /// The request follows 1 ms after the connection, as over a network, when the server has looked for it in vain.
    pub late: bool,
    /// The TLS of the connections.
    pub encryption: Encryption,
}

/// The TLS of connections that come and go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encryption {
    #[default]
    None,
    /// With a full handshake for each.
    Full,
    /// Each resumes the session of an earlier one.
    Resumed,
}

impl Visits {
    /// Plain connections with so many echoes, one at a time.
    pub fn of(echoes: usize) -> Self {
        let encryption = Encryption::default();
        Self { connections: 1, echoes, deflate: false, late: false, encryption }
    }
}

impl fmt::Display for Visits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, echoes, deflate, late, encryption } = *self;
        let deflate = if deflate { ", deflate offered" } else { "" };
        let late = if late { ", requests 1 ms late" } else { "" };
        let tls = match encryption {
            Encryption::None => "",
            Encryption::Full => ", TLS",
            Encryption::Resumed => ", TLS resumed",
        };
        write!(f, "{echoes} echoes ({connections} at a time{deflate}{late}{tls})")
    }
}

/// Opens and ends connections.
pub struct Churn {
    epoll: OwnedFd,
    target: Target,
    visits: Visits,
    request: Vec<u8>,
    frame: Vec<u8>,
    open: Vec<Visit>,
}

/// A connection.
struct Visit {
    stream: Stream,
    phase: Phase,
    /// The messages that are still to be sent.
    left: usize,
}

enum Phase {
    /// The response arrives; this much of it has.
    Opening(Vec<u8>),
    /// A message waits for its reply.
    Echoing(Replies),
    /// The client has ended its half.
    Ended,
}

impl Churn {
    /// Opens the first connections.
    pub fn open(target: &Target, visits: Visits) -> Result<Self> {
        let target = match visits.encryption {
            Encryption::None => target.clone(),
            Encryption::Full => target.clone().encrypted(false)?,
            Encryption::Resumed => target.clone().encrypted(true)?,
        };
        let mut churn = Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            request: target.request(visits.deflate),
            target,
            visits,
            frame: masked_frame(0x82, &[7; MESSAGE_LEN], [0xA7, 0x31, 0x5C, 0xE9]),
            open: Vec::new(),
        };
        for index in 0..visits.connections {
            let visit = churn.visit(index)?;
            churn.open.push(visit);
        }
        Ok(churn)
    }

    /// Runs until so many connections, or so much time, are over. Returns the number of those that ended.
    pub fn run(&mut self, until: Until) -> Result<u64> {
        let start = Instant::now();
        let (mut ended, mut last) = (0, start);
        let mut events: Vec<Event> = Vec::with_capacity(256);
        loop {
            let is_over = match until {
                Until::Elapsed(limit) => start.elapsed() >= limit && ended > 0,
                Until::Messages(count) => ended >= count,
            };
            if is_over {
                return Ok(ended);
            }
            if last.elapsed() > PATIENCE {
                return Err(format!("no connection ended for {} s", PATIENCE.as_secs()).into());
            }
            super::wait(&self.epoll, &mut events, Duration::from_millis(20))?;
            for event in &events {
                let index = event.data.u64() as usize;
                if self.open[index].advance(&self.frame)? {
                    ended += 1;
                    last = Instant::now();
                    self.open[index] = self.visit(index)?;
                    self.open[index].is_encrypted_as(self.visits.encryption)?;
                }
            }
        }
    }

    /// Opens a connection, and sends its request.
    fn visit(&self, index: usize) -> Result<Visit> {
        let mut stream = self.target.dial()?;
        if self.visits.late {
            thread::sleep(Duration::from_millis(1));
        }
        stream.write_all(&self.request)?;
        stream.set_nonblocking()?;
        epoll::add(&self.epoll, &stream, EventData::new_u64(index as u64), EventFlags::IN)?;
        Ok(Visit { stream, phase: Phase::Opening(Vec::new()), left: self.visits.echoes })
    }
}

impl Visit {
    /// Fails if the session was not resumed that should have been.
    fn is_encrypted_as(&self, encryption: Encryption) -> Result<()> {
        if (encryption == Encryption::Resumed) == self.stream.is_resumed() {
            Ok(())
        } else {
            Err("the server did not resume the session of the connection before".into())
        }
    }

    /// Receives what has arrived. Returns true once the server has ended the connection.
    fn advance(&mut self, frame: &[u8]) -> Result<bool> {
        while let Some(is_over) = self.receive(frame)? {
            if is_over || !self.stream.may_have_more() {
                return Ok(is_over);
            }
        }
        Ok(false)
    }

    /// Receives what one read returns; `None` if it returns nothing.
    fn receive(&mut self, frame: &[u8]) -> Result<Option<bool>> {
        let mut buffer = [0; 4096];
        let received = match self.stream.read(&mut buffer) {
            Ok(0) if matches!(self.phase, Phase::Ended) => return Ok(Some(true)),
            Ok(0) => return Err("the server closed a connection early".into()),
            Ok(len) => &buffer[..len],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let may_go_on = match &mut self.phase {
            Phase::Opening(head) => {
                head.extend_from_slice(received);
                let is_complete = head.ends_with(b"\r\n\r\n");
                if is_complete && !head.starts_with(b"HTTP/1.1 101 ") {
                    return Err("the server rejected the handshake".into());
                }
                is_complete
            }
            Phase::Echoing(replies) => replies.take(received, MESSAGE_LEN as u64)? > 0,
            // A server may answer with a Close frame.
            Phase::Ended => false,
        };
        if may_go_on && self.left > 0 {
            self.left -= 1;
            self.phase = Phase::Echoing(Replies::default());
            self.stream.write_all(frame)?;
        } else if may_go_on {
            self.phase = Phase::Ended;
            self.stream.end()?;
        }
        Ok(Some(false))
    }
}

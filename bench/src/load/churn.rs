//! Connections that come and go: each is opened, has some echoes and is ended by the client.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use super::frames::masked_frame;
use super::{Target, Until};
use crate::Result;

/// A server without progress for this long has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// The length of a message, whose reply takes two bytes more.
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
}

impl fmt::Display for Visits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, echoes, deflate, late } = *self;
        let deflate = if deflate { ", deflate offered" } else { "" };
        let late = if late { ", requests 1 ms late" } else { "" };
        write!(f, "{echoes} echoes ({connections} at a time{deflate}{late})")
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
    stream: TcpStream,
    /// The end of the response that has arrived, until all of it has.
    head: Option<Vec<u8>>,
    /// The bytes of replies that are still to arrive.
    due: usize,
    /// The messages that are still to be sent.
    left: usize,
}

impl Churn {
    /// Opens the first connections.
    pub fn open(target: &Target, visits: Visits) -> Result<Self> {
        let mut churn = Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            target: target.clone(),
            visits,
            request: target.request(visits.deflate),
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
        stream.set_nonblocking(true)?;
        epoll::add(&self.epoll, &stream, EventData::new_u64(index as u64), EventFlags::IN)?;
        Ok(Visit { stream, head: Some(Vec::new()), due: 0, left: self.visits.echoes })
    }
}

impl Visit {
    /// Receives what has arrived. Returns true once the server has ended the connection.
    fn advance(&mut self, frame: &[u8]) -> Result<bool> {
        let mut buffer = [0; 4096];
        let received = match self.stream.read(&mut buffer) {
            Ok(0) if self.head.is_none() && self.left == 0 && self.due == 0 => return Ok(true),
            Ok(0) => return Err("the server closed a connection early".into()),
            Ok(len) => &buffer[..len],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        match &mut self.head {
            Some(head) => {
                head.extend_from_slice(received);
                if !head.ends_with(b"\r\n\r\n") {
                    return Ok(false);
                }
                if !head.starts_with(b"HTTP/1.1 101 ") {
                    return Err("the server rejected the handshake".into());
                }
                self.head = None;
            }
            // After the client has ended its half, a server may answer with a Close frame.
            None if self.left == 0 && self.due == 0 => return Ok(false),
            None => {
                let left = self.due.checked_sub(received.len());
                self.due = left.ok_or("a reply is too long")?;
            }
        }
        if self.due == 0 && self.left > 0 {
            self.left -= 1;
            self.due = MESSAGE_LEN + 2;
            self.stream.write_all(frame)?;
        } else if self.due == 0 {
            self.stream.shutdown(Shutdown::Write)?;
        }
        Ok(false)
    }
}

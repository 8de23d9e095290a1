//! The loop: a reply releases the next message, and all that one read releases leave in one write.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use super::frames::Messages;
use super::replies::Replies;
use super::{Shape, Target};
use crate::Result;
use crate::histogram::Histogram;

const BUFFER_LEN: usize = 256 * 1024;
/// A server that gives nothing for so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// When to stop.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// After so long; what is in flight then stays there, for the next run.
    Elapsed(Duration),
    /// When so many messages have been sent and answered.
    Messages(u64),
}

/// What a run saw.
pub struct Report {
    /// Replies.
    pub messages: u64,
    /// How long it took.
    pub elapsed: Duration,
    /// From the release of a message to the end of its reply.
    pub latencies: Histogram,
}

impl Report {
    /// Messages a second.
    pub fn rate(&self) -> f64 {
        self.messages as f64 / self.elapsed.as_secs_f64()
    }
}

/// Connections that are open, and what is in flight on them.
pub struct Driver {
    epoll: OwnedFd,
    connections: Vec<Connection>,
    messages: Messages,
    shape: Shape,
    rate: Option<f64>,
    /// How many messages may still be released.
    budget: u64,
    buffer: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    sent: u64,
    pending: u64,
    /// When each message in flight was released.
    released: VecDeque<Instant>,
    replies: Replies,
    /// Epoll is to say when there is room.
    wants_room: bool,
}

impl Driver {
    /// Checks the echo, and opens the connections.
    pub fn open(target: &Target, shape: Shape) -> Result<Self> {
        target.probe(shape)?;
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let mut connections = Vec::with_capacity(shape.connections);
        for index in 0..shape.connections {
            let stream = target.connect()?;
            stream.set_nonblocking(true)?;
            epoll::add(&epoll, &stream, EventData::new_u64(index as u64), EventFlags::IN)?;
            connections.push(Connection {
                stream,
                sent: 0,
                pending: 0,
                released: VecDeque::with_capacity(shape.depth),
                replies: Replies::default(),
                wants_room: false,
            });
        }
        let messages = Messages::new(shape);
        let buffer = vec![0; BUFFER_LEN];
        Ok(Self { epoll, connections, messages, shape, rate: None, budget: 0, buffer })
    }

    /// Sends so many messages a second, instead of waiting for replies.
    pub fn set_rate(&mut self, rate: Option<f64>) {
        self.rate = rate;
    }

    /// Sends and receives.
    pub fn run(&mut self, until: Until) -> Result<Report> {
        let start = Instant::now();
        let mut report =
            Report { messages: 0, elapsed: Duration::ZERO, latencies: Histogram::default() };
        let mut schedule = self.rate.map(|rate| Schedule { start, rate, released: 0 });
        self.budget = match until {
            Until::Elapsed(_) => u64::MAX,
            Until::Messages(count) => count,
        };
        if schedule.is_none() {
            self.fill(start)?;
        }
        let mut events = Vec::with_capacity(256);
        let mut last_reply = start;
        loop {
            let now = Instant::now();
            report.elapsed = now - start;
            let over = match until {
                Until::Elapsed(limit) => report.elapsed >= limit,
                Until::Messages(count) => report.messages >= count,
            };
            if over {
                return Ok(report);
            }
            if now - last_reply > PATIENCE {
                return Err(format!("no reply for {} s", PATIENCE.as_secs()).into());
            }
            let wait = match &mut schedule {
                Some(schedule) => self.release_due(schedule, now)?,
                None => Duration::from_millis(20),
            };
            events.clear();
            let wait = Timespec::try_from(wait)?;
            let capacity = rustix::buffer::spare_capacity(&mut events);
            match epoll::wait(&self.epoll, capacity, Some(&wait)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => continue,
                Ok(_) => last_reply = Instant::now(),
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                self.handle(event, &mut report)?;
            }
        }
    }

    /// Has every connection send as many as it may.
    fn fill(&mut self, now: Instant) -> Result<()> {
        for index in 0..self.connections.len() {
            let room = self.shape.depth.saturating_sub(self.connections[index].released.len());
            self.release(index, room, now)?;
        }
        Ok(())
    }

    /// Releases what is due by now, one connection after another; how long until the next is due.
    fn release_due(&mut self, schedule: &mut Schedule, now: Instant) -> Result<Duration> {
        while schedule.due() <= now && self.budget > 0 {
            let index = (schedule.released % self.connections.len() as u64) as usize;
            self.release(index, 1, schedule.due())?;
            schedule.released += 1;
        }
        Ok(schedule.due().saturating_duration_since(now).min(Duration::from_millis(20)))
    }

    fn release(&mut self, index: usize, count: usize, now: Instant) -> Result<()> {
        let count = count.min(usize::try_from(self.budget).unwrap_or(usize::MAX));
        self.budget -= count as u64;
        let connection = &mut self.connections[index];
        connection.released.extend(std::iter::repeat_n(now, count));
        connection.pending += (count * self.messages.len) as u64;
        self.write(index)
    }

    /// Writes until all is written or the socket is full.
    fn write(&mut self, index: usize) -> Result<()> {
        let connection = &mut self.connections[index];
        let mut full = false;
        while connection.pending > 0 && !full {
            match connection.stream.write(self.messages.next(connection.sent, connection.pending)) {
                Ok(len) => {
                    connection.sent += len as u64;
                    connection.pending -= len as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => full = true,
                Err(error) => return Err(error.into()),
            }
        }
        if full != connection.wants_room {
            connection.wants_room = full;
            let room = if full { EventFlags::OUT } else { EventFlags::empty() };
            let data = EventData::new_u64(index as u64);
            epoll::modify(&self.epoll, &connection.stream, data, EventFlags::IN | room)?;
        }
        Ok(())
    }

    fn handle(&mut self, event: &Event, report: &mut Report) -> Result<()> {
        let index = event.data.u64() as usize;
        let flags = event.flags;
        if flags.contains(EventFlags::OUT) {
            self.write(index)?;
        }
        if !flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            return Ok(());
        }
        let connection = &mut self.connections[index];
        let len = match connection.stream.read(&mut self.buffer) {
            Ok(0) => return Err("the server hung up".into()),
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let ended =
            connection.replies.take(&self.buffer[..len], self.messages.payload.len() as u64)?;
        let now = Instant::now();
        for _ in 0..ended {
            let released = connection.released.pop_front().ok_or("a reply to nothing")?;
            report.latencies.record(now - released, 1);
        }
        report.messages += ended as u64;
        if self.rate.is_none() && ended > 0 {
            self.release(index, ended, now)?;
        }
        Ok(())
    }
}

/// Messages at a fixed rate, whatever comes back.
struct Schedule {
    start: Instant,
    rate: f64,
    released: u64,
}

impl Schedule {
    /// When the next message is due.
    fn due(&self) -> Instant {
        self.start + Duration::from_secs_f64(self.released as f64 / self.rate)
    }
}

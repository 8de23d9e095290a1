//! The event loop: a reply releases the next message, and all messages that one read releases leave in one write.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use super::fan_out::FanOut;
use super::frames::Messages;
use super::latencies::Latencies;
use super::replies::Replies;
use super::{Shape, Stream, Target};
use crate::Result;

const BUFFER_LEN: usize = 256 * 1024;
/// A server without a reply for this long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// When a run ends.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// After this time, but not before the first reply. Messages in flight stay in flight for the next run.
    Elapsed(Duration),
    /// After this many replies, to exactly as many messages as that takes.
    Messages(u64),
}

/// The results of a run.
#[derive(Default)]
pub struct Report {
    /// Replies; with fan-out, deliveries.
    pub messages: u64,
    /// The duration of the run.
    pub elapsed: Duration,
    /// From the release of a message, or the time it was due, to the end of its reply.
    pub latencies: Latencies,
    /// At a fixed rate, from the time a message was due to its release: the delay that this program itself causes.
    pub delays: Latencies,
}

impl Report {
    /// Messages per second.
    pub fn rate(&self) -> f64 {
        self.messages as f64 / self.elapsed.as_secs_f64()
    }
}

/// Open connections, and the messages in flight on them.
pub struct Driver {
    epoll: OwnedFd,
    connections: Vec<Connection>,
    messages: Messages,
    shape: Shape,
    rate: Option<f64>,
    /// The number of messages that may still be released.
    budget: u64,
    /// The length of a reply, without control frames and headers.
    reply_len: u64,
    fan_out: Option<FanOut>,
    buffer: Vec<u8>,
}

struct Connection {
    stream: Stream,
    sent: u64,
    pending: u64,
    /// When each message in flight was released; empty with fan-out.
    released: VecDeque<Instant>,
    /// The number of messages received.
    heard: u64,
    replies: Replies,
    /// True if epoll is to report that the socket is writable.
    wants_room: bool,
}

impl Driver {
    /// Compares the bytes of two echoes, and opens the connections.
    pub fn open(target: &Target, shape: Shape) -> Result<Self> {
        let reply_len = target.probe(shape)?;
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let mut connections = Vec::with_capacity(shape.connections);
        for index in 0..shape.connections {
            let stream = target.connect(shape.job)?;
            stream.set_nonblocking()?;
            epoll::add(&epoll, &stream, EventData::new_u64(index as u64), EventFlags::IN)?;
            connections.push(Connection {
                stream,
                sent: 0,
                pending: 0,
                released: VecDeque::with_capacity(shape.depth),
                heard: 0,
                replies: Replies::default(),
                wants_room: false,
            });
        }
        let messages = Messages::new(shape);
        let buffer = vec![0; BUFFER_LEN];
        let fan_out = shape.job.fan_out.then(|| FanOut::new(shape.connections));
        let (rate, budget) = (None, 0);
        Ok(Self { epoll, connections, messages, shape, rate, budget, reply_len, fan_out, buffer })
    }

    /// Sends this many messages per second, instead of waiting for replies.
    pub fn set_rate(&mut self, rate: Option<f64>) {
        self.rate = rate;
    }

    /// Sends and receives until the run is over.
    pub fn run(&mut self, until: Until) -> Result<Report> {
        let start = Instant::now();
        let mut report = Report::default();
        let mut schedule = self.rate.map(|rate| Schedule { start, rate, released: 0 });
        let until = self.set_budget(until);
        if schedule.is_none() {
            self.fill(start)?;
        }
        let mut events = Vec::with_capacity(256);
        let mut last_reply = start;
        loop {
            let now = Instant::now();
            report.elapsed = now - start;
            let over = match until {
                Until::Elapsed(limit) => report.elapsed >= limit && report.messages > 0,
                Until::Messages(count) => report.messages >= count,
            };
            if over {
                return Ok(report);
            }
            if now - last_reply > PATIENCE {
                return Err(format!("the server sent no reply for {} s", PATIENCE.as_secs()).into());
            }
            let wait = match &mut schedule {
                Some(schedule) => self.release_due(schedule, now, &mut report)?,
                None => Duration::from_millis(20),
            };
            if super::wait(&self.epoll, &mut events, wait)? {
                last_reply = Instant::now();
            }
            for event in &events {
                self.handle(event, &mut report)?;
            }
        }
    }

    /// Rounds the number of replies up to whole messages, each of which has a reply on every connection with fan-out.
    fn set_budget(&mut self, until: Until) -> Until {
        let deliveries = self.shape.deliveries() as u64;
        self.budget = match until {
            Until::Elapsed(_) => u64::MAX,
            Until::Messages(count) => count.div_ceil(deliveries),
        };
        match until {
            Until::Elapsed(_) => until,
            Until::Messages(_) => Until::Messages(self.budget * deliveries),
        }
    }

    /// Releases as many messages on each sending connection as its depth allows.
    fn fill(&mut self, now: Instant) -> Result<()> {
        if let Some(fan_out) = &self.fan_out {
            let room = self.shape.depth.saturating_sub(fan_out.in_flight());
            return self.release(0, room, now);
        }
        for index in 0..self.connections.len() {
            let room = self.shape.depth.saturating_sub(self.connections[index].released.len());
            self.release(index, room, now)?;
        }
        Ok(())
    }

    /// Releases the messages that are due, one connection after another; returns the time until the next is due.
    fn release_due(
        &mut self,
        schedule: &mut Schedule,
        now: Instant,
        report: &mut Report,
    ) -> Result<Duration> {
        let senders = if self.fan_out.is_some() { 1 } else { self.connections.len() as u64 };
        while schedule.due() <= now && self.budget > 0 {
            report.delays.record(schedule.due().elapsed());
            self.release((schedule.released % senders) as usize, 1, schedule.due())?;
            schedule.released += 1;
        }
        Ok(schedule.due().saturating_duration_since(now).min(Duration::from_millis(20)))
    }

    fn release(&mut self, index: usize, count: usize, now: Instant) -> Result<()> {
        let count = count.min(usize::try_from(self.budget).unwrap_or(usize::MAX));
        self.budget -= count as u64;
        let connection = &mut self.connections[index];
        match &mut self.fan_out {
            Some(fan_out) => fan_out.release(count, now),
            None => connection.released.extend(std::iter::repeat_n(now, count)),
        }
        connection.pending += (count * self.messages.len) as u64;
        self.write(index)
    }

    /// Writes until everything is written or the socket would block.
    fn write(&mut self, index: usize) -> Result<()> {
        let connection = &mut self.connections[index];
        let full = loop {
            let written = match connection.pending {
                0 => connection.stream.flush().map(|()| 0),
                pending => connection.stream.write(self.messages.next(connection.sent, pending)),
            };
            match written {
                Ok(0) => break false,
                Ok(len) => {
                    connection.sent += len as u64;
                    connection.pending -= len as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break true,
                Err(error) => return Err(error.into()),
            }
        };
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
        while self.receive(index, report)? && self.connections[index].stream.may_have_more() {}
        Ok(())
    }

    /// Receives what one read returns; returns false if it returns nothing.
    fn receive(&mut self, index: usize, report: &mut Report) -> Result<bool> {
        let connection = &mut self.connections[index];
        let len = match connection.stream.read(&mut self.buffer) {
            Ok(0) => return Err("the server closed a connection without a Close frame".into()),
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let ended = connection.replies.take(&self.buffer[..len], self.reply_len)?;
        let now = Instant::now();
        for _ in 0..ended {
            let released = match &mut self.fan_out {
                Some(fan_out) => fan_out.hear(connection.heard),
                None => connection.released.pop_front(),
            };
            connection.heard += 1;
            report.latencies.record(now - released.ok_or("a reply without a message")?);
        }
        report.messages += ended as u64;
        let (sender, over) = match &mut self.fan_out {
            Some(fan_out) => (0, fan_out.take_over()),
            None => (index, ended),
        };
        if self.rate.is_none() && over > 0 {
            self.release(sender, over, now)?;
        }
        Ok(true)
    }
}

/// Messages at a fixed rate, independent of the replies.
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

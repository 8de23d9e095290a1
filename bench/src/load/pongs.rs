//! Connections that are idle but for the pings of the server, which are answered.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use super::frames::masked_frame;
use super::replies::Header;
use super::{Stream, Target};
use crate::Result;
use crate::servers::Job;

/// Answers pings on many connections.
pub struct Pongs {
    epoll: OwnedFd,
    streams: Vec<Stream>,
}

impl Pongs {
    /// Opens the connections one after the other, spread over `period`, so that their pings are too.
    pub fn open(target: &Target, connections: usize, period: Duration) -> Result<Self> {
        let mut pongs = Self { epoll: epoll::create(CreateFlags::CLOEXEC)?, streams: Vec::new() };
        let start = Instant::now();
        for index in 0..connections {
            let stream = target.connect(Job::default())?;
            stream.set_nonblocking()?;
            let data = EventData::new_u64(index as u64);
            epoll::add(&pongs.epoll, &stream, data, EventFlags::IN)?;
            pongs.streams.push(stream);
            let share = (index + 1) as f64 / connections as f64;
            pongs.answer(start + period.mul_f64(share))?;
        }
        Ok(pongs)
    }

    /// Answers so many pings.
    pub fn answer_some(&mut self, pings: u64) -> Result<()> {
        let mut answered = 0;
        while answered < pings {
            answered += self.answer(Instant::now() + Duration::from_millis(1))?;
        }
        Ok(())
    }

    /// Answers until then. Returns the number of pings.
    pub fn answer(&mut self, until: Instant) -> Result<u64> {
        let mut answered = 0;
        let mut events: Vec<Event> = Vec::with_capacity(256);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(answered);
            }
            super::wait(&self.epoll, &mut events, left)?;
            for event in &events {
                answered += answer_pings(&mut self.streams[event.data.u64() as usize])?;
            }
        }
    }
}

/// Answers the pings that have arrived. They come one at a time, in a segment each.
fn answer_pings(stream: &mut Stream) -> Result<u64> {
    let mut buffer = [0; 512];
    let mut received = match stream.read(&mut buffer) {
        Ok(0) => return Err("the server closed a connection".into()),
        Ok(len) => &buffer[..len],
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
        Err(error) => return Err(error.into()),
    };
    let mut answered = 0;
    while let Some(header) = Header::parse(received) {
        let end = header.len + usize::try_from(header.payload)?;
        if header.first != 0x89 || end > received.len() {
            return Err("expected a ping, received another frame".into());
        }
        stream.write_all(&masked_frame(0x8A, &received[header.len..end], [0x5C, 7, 0x31, 0xA9]))?;
        answered += 1;
        received = &received[end..];
    }
    Ok(answered)
}

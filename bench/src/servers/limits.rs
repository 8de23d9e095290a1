//! Lower bounds: an echo of bytes on tokio, and a minimal WebSocket echo on top of it.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use sockless_core::handshake::{ServerHandshake, UpgradeRequest, encode_response};
use sockless_core::{Config, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;

use super::{Transport, accept};
use crate::Result;

/// The length of a connection's read buffer, and of the thread's.
const BUFFER_LEN: usize = 64 * 1024;
const SHARED_LEN: usize = 256 * 1024;
/// The length of a masked header with a 64-bit payload length.
const MAX_HEADER_LEN: usize = 14;

/// Writes back the bytes that it reads.
pub async fn raw<S: Transport>(mut stream: S) -> io::Result<()> {
    upgrade(&mut stream).await?;
    let mut buffer = vec![0; BUFFER_LEN];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            len => stream.write_all(&buffer[..len]).await?,
        }
        // Over TLS `write_all` may leave records in a buffer.
        stream.flush().await?;
    }
}

thread_local! {
    static SHARED: RefCell<Vec<u8>> = RefCell::new(vec![0; SHARED_LEN]);
}

/// Writes back the bytes that it reads, without a buffer for each connection: a copy holds the bytes that the socket
/// does not accept.
pub async fn raw_shared(mut stream: TcpStream) -> io::Result<()> {
    upgrade(&mut stream).await?;
    loop {
        stream.ready(Interest::READABLE).await?;
        let rest: io::Result<Vec<u8>> = SHARED.with_borrow_mut(|buffer| {
            let len = stream.try_read(buffer)?;
            if len == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let written = match stream.try_write(&buffer[..len]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                written => written?,
            };
            Ok(buffer[written..len].to_vec())
        });
        match rest {
            Ok(rest) if rest.is_empty() => {}
            Ok(rest) => stream.write_all(&rest).await?,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Echoes complete frames: unmasks each in place, moves it over its mask, and writes once for each read.
///
/// Nothing is checked: a fragment is echoed as a fragment, and a Close frame like any other frame.
pub async fn limit<S: Transport>(mut stream: S) -> io::Result<()> {
    upgrade(&mut stream).await?;
    let mut buffer = vec![0; BUFFER_LEN];
    let mut filled = 0;
    loop {
        match stream.read(&mut buffer[filled..]).await? {
            0 => return Ok(()),
            len => filled += len,
        }
        let Echo { replies, taken, wanted } = echo(&mut buffer[..filled]);
        if replies > 0 {
            stream.write_all(&buffer[..replies]).await?;
            stream.flush().await?;
        }
        buffer.copy_within(taken..filled, 0);
        filled -= taken;
        if wanted > buffer.len() {
            buffer.resize(wanted, 0);
        }
    }
}

/// The result of [`echo`].
pub struct Echo {
    /// The number of bytes at the start of the buffer to write.
    pub replies: usize,
    /// The number of bytes consumed.
    pub taken: usize,
    /// The length of the incomplete frame.
    wanted: usize,
}

/// Turns the complete frames in `buffer` into their echoes, in place.
pub fn echo(buffer: &mut [u8]) -> Echo {
    let (mut replies, mut taken) = (0, 0);
    while let Some((header_len, len)) = header(&buffer[taken..]) {
        let end = taken + header_len + len;
        if end > buffer.len() {
            return Echo { replies, taken, wanted: header_len + len };
        }
        let payload = taken + header_len;
        let mut key = [0; 4];
        key.copy_from_slice(&buffer[payload - 4..payload]);
        unmask(&mut buffer[payload..end], key);
        // The same header without the mask. It is shorter, so no unread byte is overwritten.
        buffer.copy_within(taken..payload - 4, replies);
        buffer[replies + 1] &= 0x7F;
        replies += header_len - 4;
        buffer.copy_within(payload..end, replies);
        replies += len;
        taken = end;
    }
    Echo { replies, taken, wanted: MAX_HEADER_LEN }
}

/// The length of a masked header, and of its payload.
fn header(bytes: &[u8]) -> Option<(usize, usize)> {
    let short = usize::from(*bytes.get(1)? & 0x7F);
    let (header_len, len) = match short {
        126 => (8, usize::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?))),
        127 => (14, u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?) as usize),
        _ => (6, short),
    };
    (bytes.len() >= header_len).then_some((header_len, len))
}

/// Eight bytes at a time, which the compiler vectorizes.
fn unmask(payload: &mut [u8], key: [u8; 4]) {
    let word = u64::from_ne_bytes([key[0], key[1], key[2], key[3], key[0], key[1], key[2], key[3]]);
    let mut words = payload.chunks_exact_mut(8);
    for bytes in &mut words {
        let mut eight = [0; 8];
        eight.copy_from_slice(bytes);
        bytes.copy_from_slice(&(u64::from_ne_bytes(eight) ^ word).to_ne_bytes());
    }
    for (byte, key) in words.into_remainder().iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

/// Sends the messages of each connection to all connections, in frames that are encoded once.
pub async fn serve_fan_out(listener: TcpListener) -> Result<()> {
    let (room, _) = broadcast::channel(ROOM_LEN);
    accept(listener, |stream| fan_out(stream, room.clone(), room.subscribe())).await
}

/// The number of messages that a member may be behind.
pub const ROOM_LEN: usize = 256;

/// Assumes that each read returns complete frames.
async fn fan_out(
    mut stream: TcpStream,
    room: broadcast::Sender<Bytes>,
    mut news: broadcast::Receiver<Bytes>,
) -> Result<()> {
    upgrade(&mut stream).await?;
    let (mut reader, mut writer) = stream.split();
    let mut inbound = BytesMut::new();
    let mut outbound = Vec::new();
    loop {
        tokio::select! {
            read = reader.read_buf(&mut inbound) => {
                if read? == 0 {
                    return Ok(());
                }
                let Echo { replies, taken, .. } = echo(&mut inbound);
                if replies > 0 {
                    room.send(Bytes::copy_from_slice(&inbound[..replies]))?;
                }
                let _ = inbound.split_to(taken);
            }
            frames = news.recv() => {
                outbound.extend_from_slice(&frames?);
                while let Ok(more) = news.try_recv() {
                    outbound.extend_from_slice(&more);
                }
                writer.write_all(&outbound).await?;
                outbound.clear();
            }
        }
    }
}

/// The opening handshake, which is not part of the measurement.
pub async fn upgrade<S: Transport>(stream: &mut S) -> io::Result<()> {
    let mut head = BytesMut::new();
    let mut handshake = ServerHandshake::new(Arc::new(Config::default()), Instant::EPOCH);
    let request = loop {
        if let Some(request) = handshake.poll_request(&mut head) {
            break request.map_err(io::Error::other)?;
        }
        if stream.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let upgrade = UpgradeRequest::from_request(&request).map_err(io::Error::other)?;
    stream.write_all(&encode_response(&upgrade.accept().0.map(|()| Bytes::new()))).await?;
    stream.flush().await
}

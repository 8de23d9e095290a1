//! The peers' codecs, on an in-memory transport.

use std::hint::black_box;

use bytes::Bytes;
use futures_util::{FutureExt, SinkExt, StreamExt};

use super::memory::Memory;
use super::{Burst, By, Work};
use crate::Result;

/// Does the work; an asynchronous codec finds all its input ready, so one poll completes it.
pub fn perform(by: By, work: Work, burst: &Burst, bursts: usize) -> Result<()> {
    match by {
        By::Tungstenite => tungstenite(work, burst, bursts),
        By::Fastwebsockets => now(fastwebsockets(work, burst, bursts)),
        By::TokioWebsockets => now(tokio_websockets(work, burst, bursts)),
        by => Err(format!("{by:?} is not a peer").into()),
    }
}

fn now(work: impl Future<Output = Result<()>>) -> Result<()> {
    work.now_or_never().ok_or("the codec waits for more input than there is")?
}

fn tungstenite(work: Work, burst: &Burst, bursts: usize) -> Result<()> {
    use tokio_tungstenite::tungstenite::Message;
    use tokio_tungstenite::tungstenite::protocol::{Role, WebSocket};

    let memory = Memory::new(&burst.wire, bursts);
    let mut socket = WebSocket::from_raw_socket(memory, Role::Server, None);
    for _ in 0..bursts {
        if work == Work::Encode {
            for _ in 0..burst.frames {
                socket.write(Message::Binary(Bytes::from_static(black_box(burst.payload))))?;
            }
            socket.flush()?;
            continue;
        }
        for _ in 0..burst.frames {
            let message = black_box(socket.read()?);
            if work == Work::Echo {
                socket.write(message)?;
            }
        }
        socket.flush()?;
    }
    Ok(())
}

async fn fastwebsockets(work: Work, burst: &Burst, bursts: usize) -> Result<()> {
    use fastwebsockets::{FragmentCollector, Frame, Payload, Role, WebSocket};

    let memory = Memory::new(&burst.wire, bursts);
    let mut socket = WebSocket::after_handshake(memory, Role::Server);
    socket.set_writev(true);
    // Validates text.
    let mut socket = FragmentCollector::new(socket);
    for _ in 0..bursts * burst.frames {
        let frame = if work == Work::Encode {
            Frame::binary(Payload::Borrowed(black_box(burst.payload)))
        } else {
            black_box(socket.read_frame().await?)
        };
        if matches!(work, Work::Encode | Work::Echo) {
            socket.write_frame(frame).await?;
        }
    }
    Ok(())
}

async fn tokio_websockets(work: Work, burst: &Burst, bursts: usize) -> Result<()> {
    use tokio_websockets::{Limits, Message, ServerBuilder};

    let builder = ServerBuilder::new().limits(Limits::unlimited());
    let mut socket = builder.serve(Memory::new(&burst.wire, bursts));
    let mut taken = Vec::with_capacity(burst.frames);
    for _ in 0..bursts {
        if work == Work::Encode {
            for _ in 0..burst.frames {
                socket.feed(Message::binary(Bytes::from_static(black_box(burst.payload)))).await?;
            }
            socket.flush().await?;
            continue;
        }
        for _ in 0..burst.frames {
            let message = socket.next().await.ok_or("the stream has ended")??;
            // `next` would flush.
            if work == Work::Echo {
                taken.push(message);
            } else {
                drop(black_box(message));
            }
        }
        for message in taken.drain(..) {
            socket.feed(message).await?;
        }
        socket.flush().await?;
    }
    Ok(())
}

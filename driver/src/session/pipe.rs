//! Two sessions that pass everything on to each other: [`pipe`] and [`pipe_raw`].

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use sockless_core::{Chunk, CloseCode, CloseReason, Closed, Event, Frame};

use crate::session::engine::machine::Item;
use crate::session::raw::RawSession;
use crate::session::receiver::Receiver;
use crate::session::sender::Sender;
use crate::session::{MessageWriter, Session};

/// Passes the messages of each session on to the other, until both have ended, and returns how:
/// for a proxy, between a client and a server behind it.
///
/// * A message longer than [`Config::recv_chunk_len`](sockless_core::Config::recv_chunk_len) passes
///   in chunks, as it arrives. Otherwise the fragments of a message are joined.
/// * While one peer does not read, the other is not read either: each session holds as much as it
///   does alone ([`Config::read_ahead`](sockless_core::Config::read_ahead) and
///   [`Config::high_water`](sockless_core::Config::high_water)).
/// * When one session ends, the other is closed with the same code and reason; with 1001 if its
///   peer sent no Close frame.
/// * Pings are answered by each session itself. Extensions are those of each session: a client may
///   have compression that the server behind does not.
///
/// The subprotocol is that of each handshake. Connect with what the client offers, and accept the
/// client with what the server has selected. A [`Service`](crate::Service) can do so: it connects
/// before it returns its [`Answer`](crate::Answer), for which
/// [`UpgradeRequest::select`](sockless_core::handshake::UpgradeRequest::select) sets the
/// subprotocol. A router selects before its handler runs, from the protocols of its routes.
///
/// Dropping the future drops both sessions.
///
/// ```no_run
/// use sockless::{ConnectError, Router, Session, pipe, websocket};
///
/// async fn proxy(client: Session) -> Result<(), ConnectError> {
///     let path = client.request().path();
///     let server = sockless::connect(&format!("ws://127.0.0.1:9000{path}")).await?;
///     let (of_client, of_server) = pipe(client, server).await;
///     println!("{of_client}; {of_server}");
///     Ok(())
/// }
///
/// let router = Router::new().route("/app/{*rest}", websocket(proxy));
/// # let _ = router;
/// ```
pub async fn pipe(one: Session, other: Session) -> (Closed, Closed) {
    let (to_one, from_one) = one.split();
    let (to_other, from_other) = other.split();
    both(forward(from_one, &to_other), forward(from_other, &to_one)).await
}

/// Passes the frames of each session on to the other, as they are, until both have ended, and
/// returns how: fragments, pings, pongs, Close frames and reserved bits included.
///
/// Frames pass whole: each is held until its last byte has come. When the transport of one session
/// ends, that of the other is closed after the frames before it. Backpressure is as for [`pipe`].
///
/// Both sessions must have negotiated the same extensions, or none, since payloads pass encoded.
///
/// Dropping the future drops both sessions.
///
/// ```
/// use sockless::{RawSession, pipe_raw};
///
/// async fn relay(one: RawSession, other: RawSession) {
///     let (of_one, of_other) = pipe_raw(one, other).await;
///     println!("{of_one}; {of_other}");
/// }
/// # let _ = relay;
/// ```
pub async fn pipe_raw(one: RawSession, other: RawSession) -> (Closed, Closed) {
    both(forward_frames(&one, &other), forward_frames(&other, &one)).await
}

/// Waits for both.
async fn both<T>(one: impl Future<Output = T>, other: impl Future<Output = T>) -> (T, T) {
    let (mut one, mut other) = (pin!(one), pin!(other));
    let (mut first, mut second) = (None, None);
    poll_fn(|cx| {
        if first.is_none()
            && let Poll::Ready(output) = one.as_mut().poll(cx)
        {
            first = Some(output);
        }
        if second.is_none()
            && let Poll::Ready(output) = other.as_mut().poll(cx)
        {
            second = Some(output);
        }
        match (first.take(), second.take()) {
            (Some(first), Some(second)) => Poll::Ready((first, second)),
            pending => {
                (first, second) = pending;
                Poll::Pending
            }
        }
    })
    .await
}

/// Passes messages on until `from` has ended, then closes `to`.
async fn forward(mut from: Receiver, to: &Sender) -> Closed {
    if let Some(message) = from.take_joined() {
        let _ = to.send(message).await;
    }
    loop {
        // If `to` has ended, the other direction closes `from`, and what arrives until then is
        // dropped here.
        match poll_fn(|cx| from.poll_next_item(cx)).await {
            Ok(Item::Event(Event::Message(message))) => {
                let _ = to.send(message).await;
            }
            Ok(Item::Event(Event::Chunk(chunk))) => match to.writer().await {
                Ok(writer) => {
                    if let Err(closed) = forward_chunks(&mut from, writer, chunk).await {
                        return pass_on(closed, to);
                    }
                }
                Err(_) if chunk.last => {}
                Err(_) => from.skip_message(),
            },
            // No other event is kept, and a connection of messages returns no frames.
            Ok(Item::Event(_) | Item::Frame(_)) => {}
            Err(closed) => return pass_on(closed, to),
        }
    }
}

/// Passes a message on in chunks. Returns the end of `from`, if it comes first.
async fn forward_chunks(
    from: &mut Receiver,
    mut writer: MessageWriter<'_>,
    mut chunk: Chunk,
) -> Result<(), Closed> {
    loop {
        let last = chunk.last;
        if writer.send_chunk(chunk).await.is_err() {
            // The other direction closes `from`.
            if !last {
                from.skip_message();
            }
            return Ok(());
        }
        if last {
            return Ok(());
        }
        chunk = loop {
            match poll_fn(|cx| from.poll_next_item(cx)).await? {
                Item::Event(Event::Chunk(chunk)) => break chunk,
                // A message is not interrupted by another.
                Item::Event(_) | Item::Frame(_) => {}
            }
        };
    }
}

/// Closes `to` as the peer of the other session has closed that.
fn pass_on(closed: Closed, to: &Sender) -> Closed {
    let lost = || CloseReason::new(CloseCode::GOING_AWAY, "the other end is gone");
    to.close(closed.received().cloned().unwrap_or_else(lost));
    closed
}

/// Passes frames on until `from` has ended, then closes the transport of `to`.
async fn forward_frames(from: &RawSession, to: &RawSession) -> Closed {
    loop {
        match from.next().await {
            Ok(frame) => pass_frame_on(to, frame).await,
            Err(closed) => {
                to.end();
                return closed;
            }
        }
    }
}

/// A message that cannot be sent any more is dropped: the other direction ends the session it came from.
async fn pass_frame_on(to: &RawSession, frame: Frame) {
    let _ = to.send(frame).await;
}

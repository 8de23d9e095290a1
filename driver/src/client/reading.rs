//! Reading responses. Bytes that arrived before the deadline count, however late they are read.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Response;

use super::body::Body;
use crate::exchange::{Exchange, Input};
use crate::session::engine::buffers;

/// The time for the body of a rejection whose length is unknown.
pub(super) const BODY_PATIENCE: Duration = Duration::from_secs(1);

/// Reads more, until the deadline of `exchange`. After the deadline, bytes that have arrived are
/// still read: they may have arrived in time, while the task was not polled.
///
/// The caller must limit the number of bytes, since a peer that never stops sending never times
/// out.
pub(super) async fn read(exchange: &mut Exchange) -> io::Result<Input> {
    match exchange.read().await? {
        Input::Timeout => read_arrived(exchange).await,
        input => Ok(input),
    }
}

/// Reads bytes that have arrived, without waiting. Returns [`Timeout`](Input::Timeout) if there are
/// none.
pub(super) async fn read_arrived(exchange: &mut Exchange) -> io::Result<Input> {
    poll_fn(|cx| Poll::Ready(read_at_once(exchange, cx))).await
}

fn read_at_once(exchange: &mut Exchange, cx: &mut Context<'_>) -> io::Result<Input> {
    let mut buffer = buffers::lend_read();
    let polled = exchange.transport.poll_read(cx, &mut buffer);
    exchange.inbound.extend_from_slice(&buffer);
    buffer.clear();
    buffers::give_back_read(&mut buffer);
    Ok(match polled {
        Poll::Pending => Input::Timeout,
        Poll::Ready(read) => match read? {
            0 => Input::Eof,
            _ => Input::Bytes,
        },
    })
}

/// Reads the body of `response` until the deadline of `exchange`, up to the limit. The second value
/// is true if the body is complete.
pub(super) async fn read_body(exchange: &mut Exchange, response: &Response<()>) -> (Bytes, bool) {
    let mut body = Body::new(response);
    while !body.poll(&mut exchange.inbound) {
        match exchange.read().await {
            Ok(Input::Bytes) => {}
            Ok(Input::Eof) => {
                body.handle_eof();
                break;
            }
            // One read only: the lines between chunks may be many times as long as the body.
            Ok(Input::Timeout) => {
                if let Ok(Input::Bytes) = read_arrived(exchange).await {
                    body.poll(&mut exchange.inbound);
                }
                break;
            }
            // The status says more than the reason for which its body was cut short.
            Err(_) => break,
        }
    }
    let (body, complete) = body.into_parts();
    (body.freeze(), complete)
}

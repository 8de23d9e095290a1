//! Reading answers: what has come counts, however late somebody looks.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Response;

use super::body::Body;
use crate::exchange::{Exchange, Input};
use crate::session::engine::buffers;

/// How long the body of a refusal may take where nothing says when it is over.
pub(super) const BODY_PATIENCE: Duration = Duration::from_secs(1);

/// Reads more, until the deadline of `exchange`. Once that has passed, what has come is still read: it
/// may have come in time to a task that was busy elsewhere.
///
/// What is read has to be bounded by the caller, since a peer that never stops sending is never late.
pub(super) async fn read(exchange: &mut Exchange) -> io::Result<Input> {
    match exchange.read().await? {
        Input::Timeout => read_what_came(exchange).await,
        input => Ok(input),
    }
}

/// Reads what has come, and waits for nothing: a [`Timeout`](Input::Timeout) when that is nothing.
pub(super) async fn read_what_came(exchange: &mut Exchange) -> io::Result<Input> {
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

/// Reads the body of `response`, as far as it comes by the deadline of `exchange` and up to the limit;
/// and whether that is all of it.
pub(super) async fn read_body(exchange: &mut Exchange, response: &Response<()>) -> (Bytes, bool) {
    let mut body = Body::of(response);
    while !body.poll(&mut exchange.inbound) {
        match exchange.read().await {
            Ok(Input::Bytes) => {}
            Ok(Input::Eof) => {
                body.handle_eof();
                break;
            }
            // What has come is read once: the lines between chunks may be much more than the body.
            Ok(Input::Timeout) => {
                if let Ok(Input::Bytes) = read_what_came(exchange).await {
                    body.poll(&mut exchange.inbound);
                }
                break;
            }
            // The answer itself says more than how its body was cut short.
            Err(_) => break,
        }
    }
    let (body, complete) = body.into_parts();
    (body.freeze(), complete)
}

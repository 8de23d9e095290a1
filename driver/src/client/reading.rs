//! Reading the bodies of responses. Bytes that arrived before the deadline count, however late they
//! are read.

use std::time::Duration;

use bytes::Bytes;
use http::Response;

use super::body::Body;
use crate::exchange::{Exchange, Input};

/// The time for the body of a rejection whose length is unknown.
pub(super) const BODY_PATIENCE: Duration = Duration::from_secs(1);

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
                if let Ok(Input::Bytes) = exchange.read_arrived().await {
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

//! Connections that are not dialled: [`OpenRequest`], the input of an opener.

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response};
use sockless_core::{Config, Instant};

use super::body::MAX_BODY_LEN;
use super::connection::ClientConnection;
use super::destination::Destination;
use super::error::{ConnectError, ConnectStep};
use super::reading::BODY_PATIENCE;
use super::target::Target;
use crate::future::BoxFuture;
use crate::runtime::{Runtime, timeout};

pub(super) type Opener =
    Box<dyn FnOnce(OpenRequest) -> BoxFuture<'static, OpenResult> + Send + 'static>;

type OpenResult = Result<ClientConnection, ConnectError>;

/// The request that an opener of [`Connect::with_opener`](super::Connect::with_opener) sends, and
/// the context in which it does so. Its methods make the errors that an opener returns.
#[non_exhaustive]
pub struct OpenRequest {
    /// A `GET` of the `ws:` or `wss:` URL, without credentials in it, with the headers that the
    /// program added. It lacks the headers of the handshake.
    pub request: Request<()>,
    /// The server that the URL names.
    pub destination: Destination,
    /// The settings of the connection.
    pub config: Arc<Config>,
    /// The runtime that will drive the connection.
    pub runtime: Arc<dyn Runtime>,
    /// The time by which the connection must be open: [`Config::opening_timeout`] from now.
    pub deadline: Instant,
}

impl OpenRequest {
    pub(super) fn new(
        target: &Target,
        headers: &HeaderMap,
        config: Arc<Config>,
        runtime: Arc<dyn Runtime>,
    ) -> Self {
        let deadline = runtime.now() + config.get_opening_timeout();
        let destination = Destination::new(target, None);
        Self { request: target.request(headers), destination, config, runtime, deadline }
    }

    /// Returns the error of an opener whose deadline passed in `step`.
    pub fn timed_out(&self, step: ConnectStep) -> ConnectError {
        let timeout = self.config.get_opening_timeout();
        let destination = self.destination.clone();
        ConnectError::Timeout { destination, step, timeout, attempts: Vec::new() }
    }

    /// Returns the error of an opener whose transport failed in `step`.
    pub fn failed(
        &self,
        step: ConnectStep,
        error: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> ConnectError {
        ConnectError::of_transport(self.destination.clone(), step, io::Error::other(error))
    }

    /// Returns the error of a response that rejects the WebSocket, with the beginning of its body.
    ///
    /// `poll_body` returns the next part of the body, and `None` at its end. It is polled until
    /// then, for at most a second and not beyond the deadline, and for at most 64 KiB.
    ///
    /// Dropping the future drops the response.
    pub async fn rejected<F>(&self, head: Response<()>, mut poll_body: F) -> ConnectError
    where
        F: FnMut(&mut Context<'_>) -> Poll<Option<io::Result<Bytes>>>,
    {
        let until = self.deadline.min(self.runtime.now() + BODY_PATIENCE);
        let mut timer = self.runtime.timer(until);
        let mut body = BytesMut::new();
        let complete = loop {
            let part = timeout(&mut *timer, poll_fn(&mut poll_body)).await;
            match part {
                Some(None) => break true,
                // The status says more than the reason for which its body was cut short.
                Some(Some(Err(_))) | None => break false,
                Some(Some(Ok(part))) => {
                    let room = MAX_BODY_LEN - body.len();
                    body.extend_from_slice(&part[..part.len().min(room)]);
                    // A body of empty parts that are always ready would never reach the timer.
                    if part.len() > room || self.runtime.now() >= until {
                        break false;
                    }
                }
            }
        };
        let response = Box::new(head.map(|()| body.freeze()));
        ConnectError::Rejected { destination: self.destination.clone(), response, complete }
    }
}

impl fmt::Debug for OpenRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("OpenRequest");
        shown.field("request", &self.request).field("destination", &self.destination);
        shown.field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

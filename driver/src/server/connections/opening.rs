//! From a transport to a response or a session: the opening handshake on the server's side.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use sockless_core::handshake::{
    BorrowedRequest, HeadError, HeadRule, ServerHandshake, encode_response,
};
use sockless_core::{
    CloseCode, Config, Connection, Escaped, Instant, Outbound, RawConnection, Rsv,
};

use super::responses::{RequestLog, ask, shutting_down, undecided};
use super::slot::Slot;
use super::{Inner, SessionDrive};
use crate::exchange::{Exchange, Input};
use crate::meter::{self, Stopwatch};
use crate::request::{Permits, Request};
use crate::runtime::{Io, timeout};
use crate::server::proxy_protocol::read_header;
use crate::server::service::{Answer, Handler, Upgrade};
use crate::session::engine::buffers;
use crate::session::engine::drive::Drive;
use crate::session::engine::machine::Machine;
use crate::session::engine::shared::Shared;
use crate::session::{RawSession, Session};
use crate::spans::ConnectionSpan;

/// The addresses of a transport's two ends.
#[derive(Clone, Copy)]
pub(super) struct Ends {
    pub(super) peer: Option<SocketAddr>,
    pub(super) local: Option<SocketAddr>,
}

/// What only some connections need is in boxes, so that the memory of an opening is small.
impl Slot {
    /// Performs the opening handshake on the transport that `prepare` makes. Returns the session to
    /// drive, or `None` if the connection ends with a response or without one.
    pub(super) async fn open<Fut: Future<Output = Option<Box<dyn Io>>>>(
        &self,
        span: &ConnectionSpan,
        mut transport: Box<dyn Io>,
        ends: &mut Ends,
        is_announced: bool,
        prepare: impl FnOnce(Instant, Box<dyn Io>, Option<SocketAddr>) -> Fut,
    ) -> Option<(SessionDrive, Permits)> {
        let runtime = &self.server.runtime;
        let now = runtime.now();
        let deadline = now + self.server.service.config().get_opening_timeout();
        if is_announced {
            *ends = Box::pin(self.read_announcement(&mut *transport, *ends, deadline)).await?;
            span.announced(ends.peer);
        }
        let Some(transport) = prepare(deadline, transport, ends.peer).await else {
            meter::rejected("tls");
            return None;
        };
        let mut exchange = Exchange::new(transport, runtime.clone(), deadline);
        let answer = self.answer(span, &mut exchange, ends, now).await?;
        let sending = match self.carry_out(span, answer, exchange, now) {
            Ok(session) => return Some(session),
            Err(sending) => sending,
        };
        if let Err(error) = Box::pin(sending).await {
            let peer = ends.peer;
            tracing::debug!(error = %Escaped(&error), ?peer, "the response could not be sent");
        }
        None
    }

    /// Reads the header of the PROXY protocol. Returns the ends that it announces; `None` if there is no
    /// valid one by `deadline`, or if the client has as many connections as it may.
    async fn read_announcement(
        &self,
        transport: &mut dyn Io,
        ends: Ends,
        deadline: Instant,
    ) -> Option<Ends> {
        let mut timer = self.server.runtime.timer(deadline);
        let read = timeout(&mut *timer, Box::pin(read_header(transport))).await;
        let error = match read {
            Some(Ok((peer, local))) => {
                if self.set_peer(peer) {
                    return Some(Ends { peer, local });
                }
                "the client has as many connections as max_connections_per_peer".to_owned()
            }
            Some(Err(error)) => error.to_string(),
            None => "opening_timeout passed before the header of the PROXY protocol".to_owned(),
        };
        tracing::debug!(proxy = ?ends.peer, %error, "a connection of a proxy was dropped");
        meter::rejected("proxy_protocol");
        None
    }

    /// Reads the request, and has the service answer it. Returns `None` if the connection ends without
    /// a response.
    async fn answer(
        &self,
        span: &ConnectionSpan,
        exchange: &mut Exchange,
        ends: &Ends,
        now: Instant,
    ) -> Option<Answer> {
        let Inner { service, runtime, .. } = &*self.server;
        let read = |head: &BorrowedRequest<'_>| {
            Request::received(head, ends.peer, ends.local, runtime.now())
        };
        let request = match read_request(exchange, service.config(), now, read).await {
            Ok(request) => request.with_tls(exchange.transport.tls()),
            Err(error) => return rejection(&error, ends.peer).map(Answer::Respond),
        };
        if !self.server.lock().begin_answering(self.id) {
            return None;
        }
        span.requested(&request);
        let log = RequestLog::new(&request);
        let answer = match self.rejects() {
            true => Answer::Respond(shutting_down()),
            false => match exchange.wait_for(ask(&**service, request)).await {
                None => Answer::Respond(undecided()),
                Some(Answer::Upgrade(_)) if self.rejects() => Answer::Respond(shutting_down()),
                Some(answer) => answer,
            },
        };
        if let Answer::Respond(response) = &answer {
            log.log_response(response);
        }
        Some(answer)
    }

    /// Starts the session, or returns a future that sends the response.
    fn carry_out(
        &self,
        span: &ConnectionSpan,
        answer: Answer,
        exchange: Exchange,
        now: Instant,
    ) -> Result<(SessionDrive, Permits), impl Future<Output = io::Result<()>> + use<>> {
        match answer {
            Answer::Upgrade(mut upgrade) => {
                span.answered(StatusCode::SWITCHING_PROTOCOLS);
                let permits = upgrade.request.take_permits();
                Ok((self.start(exchange, true, upgrade, Stopwatch::start(|| now)), permits))
            }
            Answer::Respond(response) => {
                span.answered(response.status());
                let waiters = self.server.lock().end_answering(self.id);
                waiters.into_iter().for_each(Waker::wake);
                let timeout = self.server.service.config().get_opening_timeout();
                Err(respond(exchange, encode_response(&response), timeout))
            }
        }
    }

    /// Starts the session of a granted upgrade. Unless it `responds`, another HTTP server sends the
    /// response.
    pub(crate) fn start(
        &self,
        exchange: Exchange,
        responds: bool,
        upgrade: Upgrade,
        began: Stopwatch,
    ) -> SessionDrive {
        let passes_extensions = upgrade.passes_extensions();
        let Upgrade { request, grant, headers, negotiated, config, handler, .. } = upgrade;
        let now = exchange.runtime.now();
        let start =
            |machine| Shared::new(machine, exchange.inbound, exchange.runtime, request, false, now);
        let respond_first = |mut outbound: Outbound<'_>| {
            // It is written in the first turn, which follows.
            buffers::give_back_staging(outbound.lend(buffers::lend_staging()));
            grant.queue(&mut outbound, &headers);
        };
        let (shared, handler) = match handler {
            Handler::Messages(handler) => {
                let mut connection = Connection::server(negotiated, config, now);
                if responds {
                    respond_first(connection.outbound());
                }
                let shared = start(Machine::Messages(connection));
                let span = shared.span();
                let _entered = span.enter();
                (shared.clone(), handler(Session::new(&shared)))
            }
            Handler::Raw(handler) => {
                let mut connection = RawConnection::server(config);
                if responds {
                    respond_first(connection.outbound());
                }
                if passes_extensions {
                    connection.accept_rsv(Rsv::RSV1.union(Rsv::RSV2).union(Rsv::RSV3));
                }
                let shared = start(Machine::frames(connection, negotiated));
                let span = shared.span();
                let _entered = span.enter();
                (shared.clone(), handler(RawSession::new(shared)))
            }
        };
        shared.charge_to(Arc::clone(&self.server.budget));
        shared.handshake_ended(began);
        let is_shutting_down = {
            let mut registry = self.server.lock();
            registry.begin_session(self.id, &shared);
            self.is_shutting_down()
        };
        if is_shutting_down {
            shared.close(CloseCode::GOING_AWAY.into());
        }
        Drive::new(shared, exchange.transport, Some(handler))
    }
}

/// Reads a request, which `read` makes of its head, within [`Config::opening_timeout`] from `now`; the deadline of the
/// `exchange` must be the same. If `read` makes none, the head is invalid.
pub(crate) async fn read_request(
    exchange: &mut Exchange,
    config: Arc<Config>,
    now: Instant,
    read: impl Fn(&BorrowedRequest<'_>) -> Option<Request>,
) -> Result<Request, HeadError> {
    let mut handshake = ServerHandshake::new(config, now);
    let poll = |handshake: &mut ServerHandshake, inbound: &mut BytesMut| {
        let before = inbound.len();
        let request = handshake.poll_borrowed(inbound, &read)?;
        let invalid = HeadError::Invalid { rule: HeadRule::Target, at: before - inbound.len() };
        Some(request.and_then(|request| request.ok_or(invalid)))
    };
    loop {
        match exchange.read_in_time_with(|inbound| poll(&mut handshake, inbound)).await {
            Ok(Input::Taken(request)) => return request,
            Ok(Input::Bytes) => continue,
            // Before the request is complete, a transport that fails is treated as one that ended.
            Ok(Input::Eof) | Err(_) => handshake.handle_eof(),
            // The timer has expired, so the time is the deadline or later, and all that had arrived
            // has been read.
            Ok(Input::Timeout) => handshake.handle_timeout(exchange.deadline()),
        }
        if let Some(failed) = poll(&mut handshake, &mut exchange.inbound) {
            return failed;
        }
    }
}

/// Logs why there is no request. Returns the response, if the peer gets one.
fn rejection(error: &HeadError, peer: Option<SocketAddr>) -> Option<http::Response<Bytes>> {
    tracing::debug!(error = %Escaped(error), ?peer, "the opening handshake failed");
    match error.response() {
        Some(response) => {
            meter::rejected_with("head", &response);
            Some(response)
        }
        None => {
            meter::rejected("head");
            None
        }
    }
}

/// Sends an encoded `response`, with which the exchange ends, within `timeout`.
pub(crate) async fn respond(
    mut exchange: Exchange,
    mut response: Bytes,
    timeout: Duration,
) -> io::Result<()> {
    exchange.set_deadline(exchange.runtime.now() + timeout);
    if exchange.write(&mut response).await? {
        exchange.finish().await?;
    }
    Ok(())
}

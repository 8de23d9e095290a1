//! From a transport to a response or a session: the opening handshake on the server's side.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use sockless_core::handshake::{
    BorrowedRequest, HeadError, HeadRule, ServerHandshake, encode_response,
};
use sockless_core::{CloseCode, Connection, Escaped, Instant, Outbound, RawConnection, Rsv};

use super::responses::{RequestLog, ask, shutting_down, undecided};
use super::slot::Slot;
use super::{Inner, SessionDrive};
use crate::exchange::{Exchange, Input};
use crate::meter::{self, Stopwatch};
use crate::request::{Permits, Request};
use crate::runtime::{Accepted, Io, timeout};
use crate::server::proxy_protocol::read_header;
use crate::server::service::{Answer, Handler, Upgrade};
use crate::session::engine::buffers;
use crate::session::engine::drive::Drive;
use crate::session::engine::machine::Machine;
use crate::session::engine::shared::Shared;
use crate::session::{RawSession, Session};
use crate::spans::ConnectionSpan;

impl Slot {
    /// Performs the opening handshake on the transport that `prepare` makes. Returns the session to
    /// drive, or `None` if the connection ends with a response or without one.
    pub(super) async fn open<Fut: Future<Output = Option<Box<dyn Io>>>>(
        &self,
        span: &ConnectionSpan,
        accepted: Accepted,
        is_announced: bool,
        prepare: impl FnOnce(Instant, Box<dyn Io>, Option<SocketAddr>) -> Fut,
    ) -> Option<(SessionDrive, Permits)> {
        let Inner { service, runtime, .. } = &*self.server;
        let config = service.config();
        let now = runtime.now();
        let began = Stopwatch::start(|| now);
        let deadline = now + config.get_opening_timeout();
        let accepted =
            if is_announced { self.read_announcement(accepted, deadline).await? } else { accepted };
        let Accepted { transport, peer_addr: peer, local_addr: local } = accepted;
        if is_announced {
            span.announced(peer);
        }
        let Some(transport) = prepare(deadline, transport, peer).await else {
            meter::rejected("tls");
            return None;
        };
        let tls = transport.tls();
        let mut exchange = Exchange::new(transport, runtime.clone(), deadline);
        let mut handshake = ServerHandshake::new(config.clone(), now).with_deadline(deadline);
        let read = |head: &BorrowedRequest<'_>| Request::received(head, peer, local, runtime.now());
        let request = read_request(&mut exchange, &mut handshake, deadline, read).await;
        if request.is_ok() && !self.server.lock().begin_answering(self.id) {
            return None;
        }
        let answer = match request {
            Ok(request) => {
                let request = request.with_tls(tls);
                span.requested(&request);
                let log = RequestLog::new(&request);
                let answer = self.decide(exchange.wait_for(ask(&**service, request))).await;
                if let Answer::Respond(response) = &answer {
                    log.log_response(response);
                }
                answer
            }
            Err(error) => {
                tracing::debug!(error = %Escaped(&error), ?peer, "the opening handshake failed");
                let Some(response) = error.response() else {
                    meter::rejected("head");
                    return None;
                };
                meter::rejected_with("head", &response);
                Answer::Respond(response)
            }
        };
        match answer {
            Answer::Upgrade(mut upgrade) => {
                span.answered(StatusCode::SWITCHING_PROTOCOLS);
                let permits = upgrade.request.take_permits();
                Some((self.start(exchange, true, upgrade, began), permits))
            }
            Answer::Respond(response) => {
                span.answered(response.status());
                self.server.lock().end_answering(self.id);
                let deadline = runtime.now() + config.get_opening_timeout();
                if let Err(error) = respond(exchange, &response, deadline).await {
                    tracing::debug!(error = %Escaped(&error), ?peer, "the response could not be sent");
                }
                None
            }
        }
    }

    /// Reads the header of the PROXY protocol. Returns `None` if there is no valid one by
    /// `deadline`, or if the client that it announces has as many connections as it may.
    async fn read_announcement(
        &self,
        mut accepted: Accepted,
        deadline: Instant,
    ) -> Option<Accepted> {
        let proxy = accepted.peer_addr;
        let mut timer = self.server.runtime.timer(deadline);
        let read = timeout(&mut *timer, Box::pin(read_header(&mut *accepted.transport))).await;
        let error = match read {
            Some(Ok((peer_addr, local_addr))) => {
                if self.set_peer(peer_addr) {
                    return Some(Accepted { peer_addr, local_addr, ..accepted });
                }
                "the client has as many connections as max_connections_per_peer".to_owned()
            }
            Some(Err(error)) => error.to_string(),
            None => "opening_timeout passed before the header of the PROXY protocol".to_owned(),
        };
        tracing::debug!(?proxy, %error, "a connection of a proxy was dropped");
        meter::rejected("proxy_protocol");
        None
    }

    /// Waits for the service's answer, which becomes a 503 if the server is shutting down.
    async fn decide(&self, answering: impl Future<Output = Option<Answer>>) -> Answer {
        if self.rejects() {
            return Answer::Respond(shutting_down());
        }
        match answering.await.unwrap_or_else(|| Answer::Respond(undecided())) {
            Answer::Upgrade(_) if self.rejects() => Answer::Respond(shutting_down()),
            answer => answer,
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
            |machine| Shared::new(machine, exchange.inbound, exchange.runtime, request, false);
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

/// Reads a request, which `read` makes of its head. If it makes none, the head is invalid.
pub(crate) async fn read_request(
    exchange: &mut Exchange,
    handshake: &mut ServerHandshake,
    deadline: Instant,
    read: impl Fn(&BorrowedRequest<'_>) -> Option<Request>,
) -> Result<Request, HeadError> {
    let poll = |handshake: &mut ServerHandshake, inbound: &mut BytesMut| {
        let before = inbound.len();
        let request = handshake.poll_borrowed(inbound, &read)?;
        let invalid = HeadError::Invalid { rule: HeadRule::Target, at: before - inbound.len() };
        Some(request.and_then(|request| request.ok_or(invalid)))
    };
    loop {
        match exchange.read_in_time_with(|inbound| poll(handshake, inbound)).await {
            Ok(Input::Taken(request)) => return request,
            Ok(Input::Bytes) => continue,
            // Before the request is complete, a transport that fails is treated as one that ended.
            Ok(Input::Eof) | Err(_) => handshake.handle_eof(),
            // The timer has expired, so the time is the deadline or later, and all that had arrived
            // has been read.
            Ok(Input::Timeout) => handshake.handle_timeout(deadline),
        }
        if let Some(failed) = poll(handshake, &mut exchange.inbound) {
            return failed;
        }
    }
}

pub(crate) async fn respond(
    mut exchange: Exchange,
    response: &http::Response<Bytes>,
    deadline: Instant,
) -> std::io::Result<()> {
    exchange.set_deadline(deadline);
    let mut bytes = encode_response(response);
    if exchange.write(&mut bytes).await? {
        exchange.finish().await?;
    }
    Ok(())
}

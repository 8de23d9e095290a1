//! One connection's way through a host: [`Membership`].

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Poll, Waker};

use bytes::Bytes;
use sockless_core::handshake::{HeadError, ServerHandshake, encode_response};
use sockless_core::{CloseCode, Escaped, Instant, RawConnection};

use super::Inner;
use super::answers::{Asked, ask, unavailable, undecided};
use super::registry::Begins;
use crate::exchange::{Exchange, Input};
use crate::request::{Permits, Request, network_of};
use crate::runtime::Io;
use crate::server::service::{Answer, Handler, Upgrade};
use crate::session::RawSession;
use crate::session::Running;
use crate::session::Session;
use crate::session::engine::drive::Drive;
use crate::session::engine::machine::Machine;
use crate::session::engine::shared::Shared;

/// One connection's place in the count, given up when dropped.
pub(crate) struct Membership {
    pub(crate) inner: Arc<Inner>,
    id: u64,
}

pub(crate) type ServerDrive = Drive<Running>;

impl Membership {
    /// Adds a connection to the count; `None` when its peer has as many as it may.
    pub(crate) fn new(
        inner: &Arc<Inner>,
        peer: Option<SocketAddr>,
        begins: Begins,
    ) -> Option<Self> {
        let id = inner.lock().add(peer.map(|peer| network_of(peer.ip())), begins)?;
        Some(Self { inner: inner.clone(), id })
    }

    /// Waits for `future`, unless the host is killed meanwhile, or drops the connection to make room.
    pub(crate) async fn unless_dropped<F: Future + Unpin>(
        &self,
        mut future: F,
    ) -> Option<F::Output> {
        let mut registered: Option<Waker> = None;
        let mut seen = 0;
        std::future::poll_fn(|cx| {
            let evictions = self.inner.evictions.load(Ordering::Acquire);
            let known = registered.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
            if !known || evictions != seen {
                seen = evictions;
                registered = Some(cx.waker().clone());
                let mut registry = self.inner.lock();
                registry.set_waker(self.id, cx.waker().clone());
                if registry.is_evicted(self.id) {
                    return Poll::Ready(None);
                }
            }
            // After the waker is there: from now on a kill or an eviction wakes it.
            if self.inner.killed.load(Ordering::Acquire) {
                return Poll::Ready(None);
            }
            pin!(&mut future).poll(cx).map(Some)
        })
        .await
    }

    /// The opening handshake; a session to drive, or none when the connection ended otherwise.
    pub(super) async fn open<Fut: Future<Output = Option<Box<dyn Io>>>>(
        &self,
        prepare: impl FnOnce(Instant) -> Fut,
        peer: Option<SocketAddr>,
        local: Option<SocketAddr>,
    ) -> Option<(ServerDrive, Permits)> {
        let Inner { service, runtime, .. } = &*self.inner;
        let config = service.config();
        let deadline = runtime.now() + config.get_opening_timeout();
        let transport = prepare(deadline).await?;
        let tls = transport.tls();
        let mut exchange = Exchange::new(transport, runtime.clone(), deadline);
        let mut handshake =
            ServerHandshake::new(config.clone(), runtime.now()).with_deadline(deadline);
        let head = read_request(&mut exchange, &mut handshake, deadline).await;
        if head.is_ok() && !self.inner.lock().begin_answering(self.id) {
            return None;
        }
        let answer = match head {
            Ok(head) => {
                let request = Request::new(head).with_tls(tls);
                let request = request.with_addrs(peer, local).with_received_at(runtime.now());
                let asked = Asked::of(&request);
                let answer = self.decide(exchange.wait_for(ask(&**service, request))).await;
                if let Answer::Respond(response) = &answer {
                    asked.log(response);
                }
                answer
            }
            Err(error) => {
                tracing::debug!(error = %Escaped(&error), ?peer, "the opening handshake failed");
                Answer::Respond(error.response()?)
            }
        };
        match answer {
            Answer::Upgrade(mut upgrade) => {
                let held = upgrade.request.take_permits();
                Some((self.start(exchange, Some(handshake), upgrade), held))
            }
            Answer::Respond(response) => {
                self.inner.lock().end_answering(self.id);
                let deadline = runtime.now() + config.get_opening_timeout();
                if let Err(error) = respond(exchange, &response, deadline).await {
                    tracing::debug!(error = %Escaped(&error), ?peer, "the response did not get through");
                }
                None
            }
        }
    }

    /// Waits for the service, unless the host shuts down.
    async fn decide(&self, answering: impl Future<Output = Option<Answer>>) -> Answer {
        if self.is_shutting_down() {
            return Answer::Respond(unavailable());
        }
        match answering.await.unwrap_or_else(|| Answer::Respond(undecided())) {
            Answer::Upgrade(_) if self.is_shutting_down() => Answer::Respond(unavailable()),
            answer => answer,
        }
    }

    pub(crate) fn is_shutting_down(&self) -> bool {
        self.inner.shutting_down.load(Ordering::Acquire)
    }

    /// Starts the session that was granted; without a `handshake`, another HTTP server sends the response.
    pub(crate) fn start(
        &self,
        exchange: Exchange,
        handshake: Option<ServerHandshake>,
        upgrade: Upgrade,
    ) -> ServerDrive {
        let Upgrade { request, response, negotiated, config, handler } = upgrade;
        let now = exchange.runtime.now();
        let start =
            |machine| Shared::new(machine, exchange.inbound, exchange.runtime, request, false);
        let (shared, handler) = match handler {
            Handler::Messages(handler) => {
                let connection = match handshake {
                    Some(handshake) => handshake.accept(&response, negotiated, config, now),
                    None => sockless_core::Connection::server(negotiated, config, now),
                };
                let shared = start(Machine::Messages(connection));
                (shared.clone(), handler(Session::new(&shared)))
            }
            Handler::Raw(handler) => {
                let connection = match handshake {
                    Some(handshake) => handshake.accept_raw(&response, config),
                    None => RawConnection::server(config),
                };
                let shared = start(Machine::frames(connection, negotiated));
                (shared.clone(), handler(RawSession::new(shared)))
            }
        };
        shared.charge_to(Arc::clone(&self.inner.budget));
        let shutting_down = {
            let mut registry = self.inner.lock();
            registry.begin_session(self.id, &shared);
            self.is_shutting_down()
        };
        if shutting_down {
            shared.close(CloseCode::GOING_AWAY.into());
        }
        Drive::new(shared, exchange.transport, Some(handler))
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let waiters = self.inner.lock().remove(self.id);
        waiters.into_iter().for_each(Waker::wake);
    }
}

async fn read_request(
    exchange: &mut Exchange,
    handshake: &mut ServerHandshake,
    deadline: Instant,
) -> Result<http::Request<()>, HeadError> {
    loop {
        if let Some(result) = handshake.poll_request(&mut exchange.inbound) {
            return result;
        }
        match exchange.read().await {
            Ok(Input::Bytes) => {}
            // A transport that fails before the request is whole is as good as ended.
            Ok(Input::Eof) | Err(_) => handshake.handle_eof(),
            Ok(Input::Timeout) => handshake.handle_timeout(deadline),
        }
    }
}

async fn respond(
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

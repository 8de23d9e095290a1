//! Serving one transport after another: [`Host`] keeps count of them, and ends them all.

use std::collections::BTreeMap;
use std::iter::Sum;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use sockless::handshake::{HeadError, ServerHandshake, encode_response};
use sockless::{CloseCode, CloseReason, Escaped, Instant, RawConnection};

use crate::call::{Call, Held};
use crate::drive::Drive;
use crate::exchange::{Exchange, Input};
use crate::io::{Io, Runtime};
use crate::machine::{Machine, RawMachine};
use crate::raw_session::RawSession;
use crate::service::{Answer, Handler, Running, Service, Upgrade};
use crate::session::Session;
use crate::shared::Shared;

/// Serves transports that somebody else accepted, and can end them all.
///
/// A [`Server`](crate::Server) accepts by itself; a host is for those who have an accept loop of their
/// own. Clones share the service and the count.
#[derive(Clone)]
pub struct Host {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) service: Box<dyn Service>,
    pub(crate) runtime: Arc<dyn Runtime>,
    /// All connections share this lock: one takes it when it comes, when it first waits, when its
    /// session begins and when it goes, and never for a message.
    connections: Mutex<Connections>,
    /// Both are set under the lock; what must not miss them reads them under it.
    shutting_down: AtomicBool,
    killed: AtomicBool,
}

#[derive(Default)]
struct Connections {
    open: BTreeMap<u64, Connection>,
    next: u64,
    /// Who waits for the number of connections to fall.
    waiters: Vec<Waker>,
}

/// How far a connection has come.
enum Connection {
    Opening(Option<Waker>),
    Session(Weak<Shared>),
}

/// How a shutdown went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShutdownReport {
    /// How many connections ended by themselves within the time they were given.
    pub drained: usize,
    /// How many had to be terminated.
    pub terminated: usize,
}

/// The report of several hosts that were shut down together.
impl Sum for ShutdownReport {
    fn sum<I: Iterator<Item = Self>>(reports: I) -> Self {
        reports.fold(Self::default(), |sum, report| Self {
            drained: sum.drained + report.drained,
            terminated: sum.terminated + report.terminated,
        })
    }
}

impl Host {
    /// A host of `service` on `runtime`.
    pub fn new(service: impl Service, runtime: Arc<dyn Runtime>) -> Self {
        let inner = Inner {
            service: Box::new(service),
            runtime,
            connections: Mutex::default(),
            shutting_down: AtomicBool::new(false),
            killed: AtomicBool::new(false),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Serves one transport until it ends: the opening handshake, then an HTTP response or a session
    /// with its handler.
    ///
    /// It never fails: what a peer does wrong is answered, and logged at debug level. Dropping the
    /// future drops the transport and the handler.
    pub fn serve_connection(
        &self,
        transport: Box<dyn Io>,
        peer: Option<SocketAddr>,
        local: Option<SocketAddr>,
    ) -> impl Future<Output = ()> + Send + use<> {
        self.serve(move |_| std::future::ready(Some(transport)), peer, local)
    }

    /// Serves one transport of a client that comes by TLS: the TLS handshake with `acceptor`, then as
    /// [`serve_connection`](Self::serve_connection) does, all of the opening within one
    /// [`Config::opening_timeout`](sockless::Config::opening_timeout).
    ///
    /// It never fails: a handshake that does is logged at debug level.
    #[cfg(feature = "rustls")]
    pub fn serve_tls_connection(
        &self,
        acceptor: &crate::tls::TlsAcceptor,
        transport: Box<dyn Io>,
        peer: Option<SocketAddr>,
        local: Option<SocketAddr>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let (acceptor, runtime) = (acceptor.clone(), self.inner.runtime.clone());
        let secure = move |deadline| acceptor.accept_by(deadline, transport, runtime, peer);
        self.serve(secure, peer, local)
    }

    /// Serves the transport that `prepare` makes by the deadline that it is given, if it does.
    fn serve<F, Fut>(
        &self,
        prepare: F,
        peer: Option<SocketAddr>,
        local: Option<SocketAddr>,
    ) -> impl Future<Output = ()> + Send + use<F, Fut>
    where
        F: FnOnce(Instant) -> Fut + Send,
        Fut: Future<Output = Option<Box<dyn Io>>> + Send,
    {
        let membership = Membership::new(&self.inner);
        Serving::Opening(Box::pin(async move {
            let (drive, held) = {
                let opening = pin!(membership.open(prepare, peer, local));
                membership.unless_killed(opening).await.flatten()?
            };
            Some(Open { drive, _held: held, _membership: membership })
        }))
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.inner.lock().open.len()
    }

    /// Closes every session with 1001 (RFC 6455 §7.4.1), refuses new upgrades with 503, and gives all
    /// connections `drain` to end; those that have not are terminated, with their handlers.
    ///
    /// Dropping the future leaves the sessions closing and terminates none.
    pub async fn shutdown(&self, drain: Duration) -> ShutdownReport {
        let open = self.begin_shutdown();
        let mut timer = self.inner.runtime.timer(self.inner.runtime.now() + drain);
        std::future::poll_fn(|cx| match self.poll_fewer_than(1, cx) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => timer.poll_expired(cx),
        })
        .await;
        let terminated = self.kill();
        std::future::poll_fn(|cx| self.poll_fewer_than(1, cx)).await;
        ShutdownReport { drained: open.saturating_sub(terminated), terminated }
    }

    fn begin_shutdown(&self) -> usize {
        // Counted before the first is closed: one may end while the next is being told.
        let (open, sessions) = {
            let connections = self.inner.lock();
            self.inner.shutting_down.store(true, Ordering::Release);
            (connections.open.len(), connections.sessions())
        };
        for session in &sessions {
            session.close(CloseReason::new(CloseCode::GOING_AWAY, "the server is shutting down"));
        }
        open
    }

    /// Terminates what is left, and says how much that was.
    fn kill(&self) -> usize {
        let (left, sessions) = {
            let mut connections = self.inner.lock();
            self.inner.killed.store(true, Ordering::Release);
            for connection in connections.open.values_mut() {
                if let Connection::Opening(waker) = connection
                    && let Some(waker) = waker.take()
                {
                    waker.wake();
                }
            }
            (connections.open.len(), connections.sessions())
        };
        for session in sessions {
            session.kill();
        }
        left
    }

    /// Ready once there are fewer than `count` connections.
    pub(crate) fn poll_fewer_than(&self, count: usize, cx: &Context<'_>) -> Poll<()> {
        if count == usize::MAX {
            return Poll::Ready(());
        }
        let mut connections = self.inner.lock();
        if connections.open.len() < count {
            return Poll::Ready(());
        }
        if !connections.waiters.iter().any(|waiter| waiter.will_wake(cx.waker())) {
            connections.waiters.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("connections", &self.connections()).finish_non_exhaustive()
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connections {
    fn add(&mut self) -> u64 {
        let id = self.next;
        self.next += 1;
        self.open.insert(id, Connection::Opening(None));
        id
    }

    fn sessions(&self) -> Vec<Arc<Shared>> {
        let of = |connection: &Connection| match connection {
            Connection::Opening(_) => None,
            Connection::Session(shared) => shared.upgrade(),
        };
        self.open.values().filter_map(of).collect()
    }
}

/// A connection from its opening to its end, by hand: an `async` block would keep the room that the
/// opening took, and hold the driver twice.
pub(crate) enum Serving<F> {
    Opening(Pin<Box<F>>),
    Open(Open),
    Over,
}

/// What is left of a connection once it is open, in the order in which it goes.
pub(crate) struct Open {
    pub(crate) drive: ServerDrive,
    /// What the guards gave out counts to the connection's end, whoever has its call.
    pub(crate) _held: Held,
    pub(crate) _membership: Membership,
}

impl<F: Future<Output = Option<Open>>> Future for Serving<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if let Self::Opening(opening) = this {
            *this = ready!(opening.as_mut().poll(cx)).map_or(Self::Over, Self::Open);
        }
        if let Self::Open(open) = this {
            ready!(Pin::new(&mut open.drive).poll(cx));
            *this = Self::Over;
        }
        Poll::Ready(())
    }
}

/// One connection's place in the count, given up when dropped.
pub(crate) struct Membership {
    pub(crate) inner: Arc<Inner>,
    id: u64,
}

pub(crate) type ServerDrive = Drive<Running>;

impl Membership {
    pub(crate) fn new(inner: &Arc<Inner>) -> Self {
        let id = inner.lock().add();
        Self { inner: inner.clone(), id }
    }

    /// Waits for `future`, unless the host is killed meanwhile.
    pub(crate) async fn unless_killed<F: Future + Unpin>(
        &self,
        mut future: F,
    ) -> Option<F::Output> {
        let mut registered: Option<Waker> = None;
        std::future::poll_fn(|cx| {
            if !registered.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                registered = Some(cx.waker().clone());
                self.register(cx.waker().clone());
            }
            // After the waker is there: whoever kills the host from now on wakes it.
            if self.inner.killed.load(Ordering::Acquire) {
                return Poll::Ready(None);
            }
            pin!(&mut future).poll(cx).map(Some)
        })
        .await
    }

    /// Has `waker` woken when the host is killed while the connection opens.
    fn register(&self, waker: Waker) {
        let mut connections = self.inner.lock();
        if let Some(Connection::Opening(registered)) = connections.open.get_mut(&self.id) {
            *registered = Some(waker);
        }
    }

    /// The opening handshake; a session to drive, or none when the connection ended otherwise.
    async fn open<Fut: Future<Output = Option<Box<dyn Io>>>>(
        &self,
        prepare: impl FnOnce(Instant) -> Fut,
        peer: Option<SocketAddr>,
        local: Option<SocketAddr>,
    ) -> Option<(ServerDrive, Held)> {
        let Inner { service, runtime, .. } = &*self.inner;
        let config = service.config();
        let deadline = runtime.now() + config.get_opening_timeout();
        let transport = prepare(deadline).await?;
        let tls = transport.tls();
        let now = runtime.now();
        let mut exchange = Exchange::new(transport, runtime.clone(), deadline);
        let mut handshake = ServerHandshake::new(config.clone(), now);
        let answer = match read_request(&mut exchange, &mut handshake).await {
            Ok(_) if self.is_shutting_down() => Answer::Respond(unavailable()),
            Ok(request) => {
                let call = Call::new(request).with_tls(tls);
                let call = call.with_addrs(peer, local).with_received_at(runtime.now());
                let answering = exchange.wait_for(ask(&**service, call)).await;
                match answering.unwrap_or_else(|| Answer::Respond(undecided())) {
                    Answer::Upgrade(_) if self.is_shutting_down() => Answer::Respond(unavailable()),
                    answer => answer,
                }
            }
            Err(error) => {
                tracing::debug!(error = %Escaped(&error), ?peer, "the opening handshake failed");
                Answer::Respond(error.response()?)
            }
        };
        match answer {
            Answer::Upgrade(mut upgrade) => {
                let held = upgrade.call.take_held();
                Some((self.start(exchange, Some(handshake), upgrade), held))
            }
            Answer::Respond(response) => {
                let deadline = runtime.now() + config.get_opening_timeout();
                if let Err(error) = respond(exchange, &response, deadline).await {
                    tracing::debug!(error = %Escaped(&error), ?peer, "the response did not get through");
                }
                None
            }
        }
    }

    pub(crate) fn is_shutting_down(&self) -> bool {
        self.inner.shutting_down.load(Ordering::Acquire)
    }

    /// Starts the session that was granted; without a `handshake`, somebody else sends the response.
    pub(crate) fn start(
        &self,
        exchange: Exchange,
        handshake: Option<ServerHandshake>,
        upgrade: Upgrade,
    ) -> ServerDrive {
        let Upgrade { call, response, negotiated, config, handler } = upgrade;
        let now = exchange.runtime.now();
        let start = |machine| Shared::new(machine, exchange.inbound, exchange.runtime, call, false);
        let (shared, handler) = match handler {
            Handler::Messages(handler) => {
                let mut connection = match handshake {
                    Some(handshake) => handshake.accept(&response, negotiated, now),
                    None => sockless::Connection::server(negotiated, config.clone(), now),
                };
                connection.set_config(config, now);
                let shared = start(Machine::Messages(connection));
                (shared.clone(), handler(Session::new(&shared)))
            }
            Handler::Raw(handler) => {
                let mut connection = match handshake {
                    Some(handshake) => handshake.accept_raw(&response),
                    None => RawConnection::server(config.clone()),
                };
                connection.set_config(config);
                let shared = start(Machine::Raw(RawMachine::new(connection, negotiated)));
                (shared.clone(), handler(RawSession::new(shared)))
            }
        };
        let shutting_down = {
            let mut connections = self.inner.lock();
            connections.open.insert(self.id, Connection::Session(Arc::downgrade(&shared)));
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
        let waiters = {
            let mut connections = self.inner.lock();
            connections.open.remove(&self.id);
            std::mem::take(&mut connections.waiters)
        };
        waiters.into_iter().for_each(Waker::wake);
    }
}

async fn read_request(
    exchange: &mut Exchange,
    handshake: &mut ServerHandshake,
) -> Result<http::Request<()>, HeadError> {
    loop {
        if let Some(result) = handshake.poll_request(&mut exchange.inbound) {
            return result;
        }
        match exchange.read().await {
            Ok(Input::Bytes) => {}
            // A transport that fails before the request is whole is as good as ended.
            Ok(Input::Eof) | Err(_) => handshake.handle_eof(),
            Ok(Input::Timeout) => {
                handshake.handle_timeout(Instant::from_epoch(Duration::MAX));
            }
        }
    }
}

/// Asks the service; a panic is answered with 500.
pub(crate) async fn ask(service: &dyn Service, call: Call) -> Answer {
    let mut answering = match std::panic::catch_unwind(AssertUnwindSafe(|| service.call(call))) {
        Ok(answering) => answering,
        Err(_) => return Answer::Respond(internal_error()),
    };
    std::future::poll_fn(move |cx| {
        std::panic::catch_unwind(AssertUnwindSafe(|| answering.as_mut().poll(cx)))
            .unwrap_or_else(|_| Poll::Ready(Answer::Respond(internal_error())))
    })
    .await
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

/// The service took longer to decide than the opening handshake may.
pub(crate) fn undecided() -> http::Response<Bytes> {
    refusal(StatusCode::SERVICE_UNAVAILABLE, "the request was not decided within opening_timeout\n")
}

pub(crate) fn unavailable() -> http::Response<Bytes> {
    refusal(StatusCode::SERVICE_UNAVAILABLE, "the server is shutting down\n")
}

fn internal_error() -> http::Response<Bytes> {
    tracing::error!("the service panicked; its call is answered with 500");
    refusal(StatusCode::INTERNAL_SERVER_ERROR, "the server met an unexpected condition\n")
}

fn refusal(status: StatusCode, text: &'static str) -> http::Response<Bytes> {
    let mut response = http::Response::new(Bytes::from_static(text.as_bytes()));
    *response.status_mut() = status;
    let plain = http::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(http::header::CONTENT_TYPE, plain);
    response
}

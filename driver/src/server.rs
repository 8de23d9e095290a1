//! Accepting connections: [`Server`], on any [`Listen`].

mod accepting;
pub(crate) mod connections;
mod mounted;
pub(crate) mod service;

use std::fmt;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use crate::future::BoxFuture;
use crate::runtime::{Accepted, Listen, Runtime};
#[cfg(feature = "rustls")]
use crate::tls::TlsAcceptor;
use accepting::Accepting;

pub use connections::{ConnectionServer, ShutdownReport};
pub use mounted::{GrantedUpgrade, Reply};
pub use service::{Answer, Service, Upgrade};

/// A server that accepts connections and has a [`Service`] answer them, each in a task of its own.
pub struct Server {
    listener: Box<dyn Listen>,
    runtime: Arc<dyn Runtime>,
    max_connections: usize,
    max_per_peer: Option<usize>,
    memory_budget: Option<usize>,
    drain_timeout: Duration,
    #[cfg(feature = "rustls")]
    tls: Option<TlsAcceptor>,
}

impl Server {
    /// A server on `listener`; a runtime's own functions make one from an address.
    pub fn new(listener: impl Listen, runtime: Arc<dyn Runtime>) -> Self {
        Self {
            listener: Box::new(listener),
            runtime,
            max_connections: usize::MAX,
            max_per_peer: None,
            memory_budget: None,
            drain_timeout: Duration::from_secs(10),
            #[cfg(feature = "rustls")]
            tls: None,
        }
    }

    /// The address that is listened on, where there is one.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves at most `count` connections at a time, at least one. Default: no limit.
    ///
    /// While there are as many, a further one makes room for itself: the oldest connection that has not
    /// sent a whole request head, or that only reads the answer to a request that was refused, is dropped,
    /// and logged at debug level. So clients that connect and send nothing cannot keep others out until
    /// [`Config::opening_timeout`](sockless_core::Config::opening_timeout). A session, and a request that is
    /// being decided, is never dropped for another: where all connections are of these kinds, further
    /// ones wait in the listener's own queue.
    ///
    /// The same is done when the process has as many open files as the system allows it (`EMFILE`,
    /// `ENFILE`); that is logged as a warning when it begins, and with the number of failures when accepting
    /// has not failed for 10 s.
    #[must_use]
    pub fn max_connections(mut self, count: usize) -> Self {
        self.max_connections = count.max(1);
        self
    }

    /// Holds at most `bytes` of unfinished messages and queues for all sessions together; see
    /// [`ConnectionServer::memory_budget`]. Default: 192 MiB.
    #[must_use]
    pub fn memory_budget(mut self, bytes: usize) -> Self {
        self.memory_budget = Some(bytes);
        self
    }

    /// Serves at most `count` connections, at least one, of one peer address at a time, counted from
    /// the moment they are accepted; see [`ConnectionServer::max_connections_per_peer`]. Default: no limit.
    #[must_use]
    pub fn max_connections_per_peer(mut self, count: usize) -> Self {
        self.max_per_peer = Some(count.max(1));
        self
    }

    /// How long [`serve_until`](Self::serve_until) gives connections to end. Default: 10 s.
    #[must_use]
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.drain_timeout = timeout;
        self
    }

    /// Takes connections by TLS, and no others.
    ///
    /// The TLS handshake is part of the opening handshake: in the connection's own task, within
    /// [`Config::opening_timeout`](sockless_core::Config::opening_timeout). A client that fails it is
    /// dropped, and logged at debug level. Keep a clone of `acceptor` to replace its certificate.
    ///
    /// ```no_run
    /// # use sockless_driver::{Server, Service};
    /// # async fn example(
    /// #     server: Server,
    /// #     service: impl Service,
    /// # ) -> Result<(), sockless_driver::tls::TlsError> {
    /// use sockless_driver::tls::TlsAcceptor;
    ///
    /// let acceptor = TlsAcceptor::from_pem_files("chain.pem", "key.pem")?;
    /// server.tls(acceptor).serve(service).await;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "rustls")]
    #[must_use]
    pub fn tls(mut self, acceptor: TlsAcceptor) -> Self {
        self.tls = Some(acceptor);
        self
    }

    /// Serves without an end.
    pub async fn serve(self, service: impl Service) {
        self.serve_until(service, std::future::pending()).await;
    }

    /// Serves until `shutdown` is ready, then accepts no more, closes every session with 1001 and
    /// terminates what has not ended within [`drain_timeout`](Self::drain_timeout). It returns one second
    /// after that at the latest, as [`ConnectionServer::shutdown`] does.
    pub async fn serve_until(
        mut self,
        service: impl Service,
        shutdown: impl Future<Output = ()>,
    ) -> ShutdownReport {
        let host = ConnectionServer::new(service, self.runtime.clone());
        let host = match self.max_per_peer {
            Some(count) => host.max_connections_per_peer(count),
            None => host,
        };
        let host = match self.memory_budget {
            Some(bytes) => host.memory_budget(bytes),
            None => host,
        };
        let mut shutdown = pin!(shutdown);
        let mut accepting = Accepting::new(self.runtime.clone(), self.max_connections);
        poll_fn(|cx| {
            if shutdown.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            for _ in 0..ACCEPTS {
                let accepted =
                    std::task::ready!(accepting.poll_next(&mut *self.listener, &host, cx));
                if let Some(accepted) = accepted {
                    self.runtime.spawn(self.serve_accepted(&host, accepted));
                }
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        drop((self.listener, accepting));
        host.shutdown(self.drain_timeout).await
    }

    fn serve_accepted(
        &self,
        host: &ConnectionServer,
        accepted: Accepted,
    ) -> BoxFuture<'static, ()> {
        let Accepted { transport, peer_addr, local_addr } = accepted;
        #[cfg(feature = "rustls")]
        if let Some(tls) = &self.tls {
            return Box::pin(host.serve_tls_connection(tls, transport, peer_addr, local_addr));
        }
        Box::pin(host.serve_connection(transport, peer_addr, local_addr))
    }
}

/// How many connections one poll accepts before the shutdown and the neighbours get their turn.
const ACCEPTS: usize = 64;

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("local_addr", &self.local_addr())
            .field("max_connections", &self.max_connections)
            .field("max_connections_per_peer", &self.max_per_peer)
            .field("drain_timeout", &self.drain_timeout)
            .finish_non_exhaustive()
    }
}

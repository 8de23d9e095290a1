//! One server for each of several threads, all on one address: they share the router, and no connection.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::thread;

use smol::channel;
use sockless::tls::TlsAcceptor;
use sockless::{ListenOptions, Router, Server, ShutdownReport};
use tokio::runtime::{Builder, Runtime};

/// Servers that listen already, each with the runtime of one thread.
pub(crate) struct Shards(Vec<(Runtime, Server)>);

/// Has `count` servers listen on `addr`.
pub(crate) fn bind(addr: &str, count: NonZeroUsize) -> io::Result<Shards> {
    let options = ListenOptions::default().reuse_port(true);
    let mut shards = Vec::new();
    let mut addr = addr.to_owned();
    for _ in 0..count.get() {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let server = runtime.block_on(sockless::tokio::bind_with(&addr, &options))?;
        // With port 0, the first gets one for all.
        addr = server.local_addr().map_or(addr, |addr| addr.to_string());
        shards.push((runtime, server));
    }
    Ok(Shards(shards))
}

impl Shards {
    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        self.0.first().and_then(|(_, server)| server.local_addr())
    }

    /// Takes connections by TLS; all show the same certificate.
    pub(crate) fn tls(self, acceptor: &TlsAcceptor) -> Self {
        let with_tls =
            |(runtime, server): (Runtime, Server)| (runtime, server.tls(acceptor.clone()));
        Self(self.0.into_iter().map(with_tls).collect())
    }

    /// Serves until `shutdown` is ready, then shuts them all down at once.
    pub(crate) fn serve_until(
        self,
        router: &Router,
        shutdown: impl Future<Output = ()>,
    ) -> ShutdownReport {
        let (stop, stopped) = channel::bounded::<()>(1);
        let serve = |(runtime, server): (Runtime, Server)| {
            let (router, stopped) = (router.clone(), stopped.clone());
            // Nothing is ever sent: the channel is closed, for all of them.
            let stopped = async move { while stopped.recv().await.is_ok() {} };
            thread::spawn(move || runtime.block_on(server.serve_until(router, stopped)))
        };
        let threads: Vec<_> = self.0.into_iter().map(serve).collect();
        smol::block_on(shutdown);
        drop(stop);
        let join = |thread: thread::JoinHandle<_>| thread.join().expect("a shard does not panic");
        threads.into_iter().map(join).sum()
    }
}

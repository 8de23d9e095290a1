//! Runtimes of one thread, on which servers and handlers do not have to be `Send`.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use futures_executor::LocalSpawner;
use futures_util::task::LocalSpawnExt;
use smol::Async;
use smol::channel;
use sockless_core::{Instant, Seed};
use sockless_driver::local::LocalBoxFuture;
use sockless_driver::{
    BoxFuture, Clock, Connect, Dial, Io, Server, Service, ShutdownReport, Spawn, Timer, async_io,
};

use crate::on::{Tokio, World};

/// A world of one thread.
pub(crate) trait OneThread: World {
    /// Runs `task` beside the scenario, on its thread.
    fn spawn_local(task: LocalBoxFuture<'static, ()>);
}

/// Serves on the thread of the scenario.
fn serve_on_this_thread<R: OneThread>(
    server: Server,
    service: impl Service,
    shutdown: BoxFuture<'static, ()>,
    reporting: channel::Sender<ShutdownReport>,
) {
    R::spawn_local(Box::pin(async move {
        let report = server.serve_local_until(service, shutdown, R::spawn_local).await;
        let _ = reporting.send(report).await;
    }));
}

/// tokio's `LocalSet`, on a runtime of one thread.
pub(crate) struct LocalSet;

impl World for LocalSet {
    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        tokio::task::LocalSet::new().block_on(&runtime.expect("tokio starts"), future)
    }

    fn driver() -> Arc<dyn sockless_driver::Runtime> {
        Tokio::driver()
    }

    async fn bind(addr: &str) -> io::Result<Server> {
        Tokio::bind(addr).await
    }

    fn connect(url: &str) -> Connect {
        Tokio::connect(url)
    }

    fn serve_until(
        server: Server,
        service: impl Service,
        shutdown: BoxFuture<'static, ()>,
        reporting: channel::Sender<ShutdownReport>,
    ) {
        serve_on_this_thread::<Self>(server, service, shutdown, reporting);
    }
}

impl OneThread for LocalSet {
    fn spawn_local(task: LocalBoxFuture<'static, ()>) {
        tokio::task::spawn_local(task);
    }
}

/// The `LocalPool` of futures, with the sockets and timers of async-io.
pub(crate) struct LocalPool;

thread_local! {
    static POOL: RefCell<Option<LocalSpawner>> = const { RefCell::new(None) };
}

impl World for LocalPool {
    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let mut pool = futures_executor::LocalPool::new();
        POOL.set(Some(pool.spawner()));
        let output = pool.run_until(future);
        POOL.set(None);
        output
    }

    fn driver() -> Arc<dyn sockless_driver::Runtime> {
        Arc::new(PoolRuntime)
    }

    async fn bind(addr: &str) -> io::Result<Server> {
        let addr: SocketAddr = addr.parse().expect("an address");
        let listener = Async::<std::net::TcpListener>::bind(addr)?;
        Ok(Server::new(async_io::listen_on(Arc::new(listener))?, Self::driver()))
    }

    fn connect(url: &str) -> Connect {
        Connect::new(url, Arc::new(PoolDial), Self::driver())
    }

    fn serve_until(
        server: Server,
        service: impl Service,
        shutdown: BoxFuture<'static, ()>,
        reporting: channel::Sender<ShutdownReport>,
    ) {
        serve_on_this_thread::<Self>(server, service, shutdown, reporting);
    }
}

impl OneThread for LocalPool {
    fn spawn_local(task: LocalBoxFuture<'static, ()>) {
        POOL.with_borrow(|pool| {
            let pool = pool.as_ref().expect("a pool runs on this thread");
            pool.spawn_local(task).expect("the pool runs");
        });
    }
}

/// Runs tasks on the pool of this thread.
struct PoolRuntime;

impl Clock for PoolRuntime {
    fn now(&self) -> Instant {
        async_io::now()
    }

    fn timer(&self, deadline: Instant) -> Box<dyn Timer> {
        async_io::timer(deadline)
    }
}

impl Spawn for PoolRuntime {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        LocalPool::spawn_local(task);
    }
}

impl sockless_driver::Runtime for PoolRuntime {
    fn seed(&self) -> Seed {
        async_io::seed()
    }
}

struct PoolDial;

impl Dial for PoolDial {
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        let host = host.to_owned();
        Box::pin(async move { smol::net::resolve((host, port)).await })
    }

    fn connect(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Io>>> {
        Box::pin(async_io::connect(addr))
    }
}

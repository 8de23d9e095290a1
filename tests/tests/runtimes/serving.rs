//! A server in a task of its own, and the handlers it serves.

use std::marker::PhantomData;
use std::net::SocketAddr;

use smol::channel::{self, Receiver, Sender};
use sockless_core::Message;
use sockless_driver::{Server, Service, Session, ShutdownReport};
use sockless_routing::{Router, WebSocketRoute};

use crate::on::World;

/// A server on a port of its own, which is shut down with this value.
pub(crate) struct Serving<R> {
    pub(crate) addr: SocketAddr,
    stop: Sender<()>,
    report: Receiver<ShutdownReport>,
    runtime: PhantomData<R>,
}

impl<R: World> Serving<R> {
    pub(crate) async fn start(service: impl Service) -> Self {
        Self::start_with(service, |server| server).await
    }

    /// A server of one route, at `/`.
    pub(crate) async fn one(route: WebSocketRoute) -> Self {
        Self::start(Router::new().route("/", route)).await
    }

    pub(crate) async fn start_with(
        service: impl Service,
        settings: impl FnOnce(Server) -> Server,
    ) -> Self {
        let server = settings(R::bind("127.0.0.1:0").await.expect("a port is free"));
        Self::run(server, service)
    }

    pub(crate) fn run(server: Server, service: impl Service) -> Self {
        let addr = R::addr_of(&server);
        Self::run_at(addr, server, service)
    }

    /// A server on something that has no such address: `addr` represents it.
    pub(crate) fn run_at(addr: SocketAddr, server: Server, service: impl Service) -> Self {
        let (stop, stopped) = channel::bounded::<()>(1);
        let (reporting, report) = channel::bounded(1);
        let shutdown = Box::pin(async move {
            // A message or the drop of the sender ends the server.
            let _ = stopped.recv().await;
        });
        R::serve_until(server, service, shutdown, reporting);
        Self { addr, stop, report, runtime: PhantomData }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/", self.addr)
    }

    pub(crate) async fn connect(&self) -> Session {
        R::connect(&self.url()).await.expect("the server answers")
    }

    /// Begins to shut down; the report comes when that is done.
    pub(crate) fn stop(self) -> Receiver<ShutdownReport> {
        drop(self.stop);
        self.report
    }
}

/// Sends `message`, and has it come back.
pub(crate) async fn exchange(session: &mut Session, message: impl Into<Message>) {
    let message = message.into();
    session.send(message.clone()).await.expect("the session is open");
    assert_eq!(session.recv().await.expect("the session is open"), message);
}

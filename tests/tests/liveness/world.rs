//! A session under test with all that is watched of it, and its peer.

use std::io;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::BytesMut;
use sockless_core::{Closed, Config, Instant, Role};
use sockless_driver::{ClientConnection, ConnectionServer, Ending, Io, Session, Upgrade};
use sockless_sim::{JoinHandle, Link, Sim, SimIo, WireDirection};
use tokio::sync::oneshot;

use crate::cell::Cell;
use crate::stand::{Log, stand, stand_raw};
use sockless_tests::opened::{Once, Peer, Run};

/// A session under test.
pub(crate) struct World {
    pub(crate) peer: Peer,
    /// When the session ended and how, seen from outside of its handler where it has other handles.
    pub(crate) closed: oneshot::Receiver<(Instant, Closed)>,
    /// Ready when the driver's task has ended, and with it the handler.
    pub(crate) driver: JoinHandle<()>,
    pub(crate) transport: Dropped,
    /// The host, of a server.
    pub(crate) host: Option<ConnectionServer>,
}

/// When the session let go of its transport, once it has.
#[derive(Clone, Default)]
pub(crate) struct Dropped(Arc<Mutex<Option<Instant>>>);

impl Dropped {
    pub(crate) fn at(&self) -> Option<Instant> {
        *self.0.lock().unwrap()
    }
}

/// An end of a pipe that reports when it is dropped.
struct Tracked {
    io: SimIo,
    sim: Sim,
    dropped: Dropped,
}

impl Drop for Tracked {
    fn drop(&mut self) {
        *self.dropped.0.lock().unwrap() = Some(self.sim.now());
    }
}

impl Io for Tracked {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        self.io.poll_read(cx, buffer)
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.io.poll_write(cx, slices)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_shutdown(cx)
    }

    fn poll_ending(&mut self, cx: &mut Context<'_>) -> Ending {
        self.io.poll_ending(cx)
    }
}

impl World {
    /// Opens the session of a cell, whose handler then stands where it is to stand.
    pub(crate) async fn of(sim: &Sim, cell: Cell, log: Log) -> Self {
        if cell.is_raw() {
            return Self::open_raw(sim, cell, log).await;
        }
        let stand = move |session| async move { drop(stand(cell, session, log).await) };
        Self::open(sim, cell.role, cell.links(sim), cell.config(), stand).await
    }

    /// Opens a session of `role` over a link to it and one from it.
    pub(crate) async fn open<F, Fut>(
        sim: &Sim,
        role: Role,
        links: [Link; 2],
        config: Config,
        handler: F,
    ) -> Self
    where
        F: FnOnce(Session) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let (tell, closed) = oneshot::channel();
        let watching = sim.clone();
        let handler = move |session: Session| {
            let sender = session.sender();
            let sim = watching.clone();
            watching.spawn(async move {
                let closed = sender.closed().await;
                let _ = tell.send((sim.now(), closed));
            });
            handler(session)
        };
        match role {
            Role::Server => {
                let run: Run = Box::new(|request, upgrade, config| {
                    Upgrade::websocket(request, upgrade, config, handler)
                });
                Self::serve(sim, links, config, run, closed).await
            }
            Role::Client => {
                let (near, far, transport) = pipe(sim, links);
                let runtime = sim.runtime();
                let driver = sim.spawn(async move {
                    let upgrade = http::Request::get("ws://server/").body(()).unwrap();
                    let connected =
                        ClientConnection::handshake(near, upgrade, Arc::new(config), runtime);
                    connected.await.expect("the handshake succeeds").run(handler).await;
                });
                Self { peer: Peer::of_a_client(far).await, closed, driver, transport, host: None }
            }
        }
    }

    async fn open_raw(sim: &Sim, cell: Cell, log: Log) -> Self {
        let (tell, closed) = oneshot::channel();
        let watching = sim.clone();
        let handler = move |session| async move {
            let closed = stand_raw(cell, session, log).await;
            let _ = tell.send((watching.now(), closed));
        };
        let run: Run =
            Box::new(|request, upgrade, config| Upgrade::raw(request, upgrade, config, handler));
        Self::serve(sim, cell.links(sim), cell.config(), run, closed).await
    }

    async fn serve(
        sim: &Sim,
        links: [Link; 2],
        config: Config,
        run: Run,
        closed: oneshot::Receiver<(Instant, Closed)>,
    ) -> Self {
        let (near, far, transport) = pipe(sim, links);
        let (host, driver) = Self::serve_over(sim, near, config, run);
        let peer = Peer::of_a_server(far).await;
        Self { peer, closed, driver, transport, host: Some(host) }
    }

    /// Serves one call over one transport.
    pub(crate) fn serve_over(
        sim: &Sim,
        near: Box<dyn Io>,
        config: Config,
        run: Run,
    ) -> (ConnectionServer, JoinHandle<()>) {
        let service = Once::upgrading(config, run);
        let host = ConnectionServer::new(service, sim.runtime());
        let driver = sim.spawn(host.serve_connection(near, None, None));
        (host, driver)
    }
}

fn pipe(sim: &Sim, [inbound, outbound]: [Link; 2]) -> (Box<dyn Io>, SimIo, Dropped) {
    let (near, far) = sim.pipe_over(&outbound);
    near.wire().set_link(WireDirection::Inbound, inbound);
    let dropped = Dropped::default();
    (Box::new(Tracked { io: near, sim: sim.clone(), dropped: dropped.clone() }), far, dropped)
}

//! A session under test with all that is watched of it, and its peer.

use std::io;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::BytesMut;
use sockless_core::{Closed, Config, Instant, Role};
use sockless_driver::{
    BoxFuture, ClientConnection, ConnectionServer, Ending, Io, RawSession, Sender, Session, Upgrade,
};
use sockless_sim::{JoinHandle, Link, Sim, SimIo, WireDirection};
use tokio::sync::oneshot;

use crate::cell::{Cell, Stand};
use crate::stand::{Log, receive_frames, stand, stand_raw};
use sockless_tests::opened::{Once, Peer, Run};

/// A session under test.
pub(crate) struct World {
    pub(crate) peer: Peer,
    /// Another handle of a session of messages.
    pub(crate) sender: oneshot::Receiver<Sender>,
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

/// Runs a session with its handler: for a server one that it grants, for a client one that it has opened.
pub(crate) enum Runs {
    Server(Run),
    Client(Box<dyn FnOnce(ClientConnection) -> BoxFuture<'static, ()> + Send>),
}

impl Runs {
    /// Runs a session of messages.
    fn messages<F, Fut>(role: Role, handler: F) -> Self
    where
        F: FnOnce(Session) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        match role {
            Role::Server => Self::Server(Box::new(|request, upgrade, config| {
                Upgrade::websocket(request, upgrade, config, handler)
            })),
            Role::Client => Self::Client(Box::new(|connected| Box::pin(connected.run(handler)))),
        }
    }

    /// Runs a session of frames.
    pub(crate) fn frames<F, Fut>(role: Role, handler: F) -> Self
    where
        F: FnOnce(RawSession) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        match role {
            Role::Server => Self::Server(Box::new(|request, upgrade, config| {
                Upgrade::raw(request, upgrade, config, handler)
            })),
            Role::Client => {
                Self::Client(Box::new(|connected| Box::pin(connected.run_raw(handler))))
            }
        }
    }
}

/// A session that is being driven, and its peer.
pub(crate) struct Driven {
    pub(crate) peer: Peer,
    host: Option<ConnectionServer>,
    driver: JoinHandle<()>,
}

impl Driven {
    /// Opens a session at `near` with a peer at `far`.
    pub(crate) async fn open(
        sim: &Sim,
        near: Box<dyn Io>,
        far: SimIo,
        config: Config,
        runs: Runs,
    ) -> Self {
        match runs {
            Runs::Server(run) => {
                let service = Once::upgrading(config, run);
                let host = ConnectionServer::new(service, sim.runtime());
                let driver = drive(sim, host.serve_connection(near, None, None));
                Self { peer: Peer::of_a_server(far).await, host: Some(host), driver }
            }
            Runs::Client(run) => {
                let runtime = sim.runtime();
                let driver = drive(sim, async move {
                    let upgrade = http::Request::get("ws://server/").body(()).unwrap();
                    let connected =
                        ClientConnection::handshake(near, upgrade, Arc::new(config), runtime);
                    run(connected.await.expect("the handshake succeeds")).await;
                });
                Self { peer: Peer::of_a_client(far).await, host: None, driver }
            }
        }
    }
}

/// The machine on which sessions run.
pub(crate) const MACHINE: &str = "session";

/// Runs a driver on its machine.
fn drive(sim: &Sim, driving: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    let (tell, ended) = oneshot::channel();
    let program = Mutex::new(Some((driving, tell)));
    sim.machine(MACHINE).run(move |_| {
        let program = program.lock().unwrap().take();
        async move {
            let (driving, tell) = program.expect("it is started once");
            driving.await;
            let _ = tell.send(());
        }
    });
    sim.spawn(async move { drop(ended.await) })
}

impl World {
    /// Opens the session of a cell, whose handler then stands where it is to stand.
    pub(crate) async fn of(sim: &Sim, cell: Cell, log: Log) -> Self {
        if cell.is_raw() {
            return Self::open_raw(sim, cell, log).await;
        }
        let stand = move |session| stand(cell, session, log);
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
        let (lend, lent) = oneshot::channel();
        let watching = sim.clone();
        let handler = move |session: Session| {
            let _ = lend.send(session.sender());
            let sender = session.sender();
            let sim = watching.clone();
            watching.spawn(async move {
                let closed = sender.closed().await;
                let _ = tell.send((sim.now(), closed));
            });
            handler(session)
        };
        Self::run(sim, links, config, Runs::messages(role, handler), lent, closed).await
    }

    /// The same for frames. What receives has the only handle, and reports the end itself.
    async fn open_raw(sim: &Sim, cell: Cell, log: Log) -> Self {
        let (tell, closed) = oneshot::channel();
        let watching = sim.clone();
        let handler = move |session: RawSession| async move {
            if cell.stand == Stand::RawRecv {
                let closed = receive_frames(session, log).await;
                let _ = tell.send((watching.now(), closed));
                return;
            }
            let session = Arc::new(session);
            let (watched, sim) = (Arc::clone(&session), watching.clone());
            watching.spawn(async move {
                let closed = watched.closed().await;
                let _ = tell.send((sim.now(), closed));
            });
            stand_raw(cell, &session, log).await;
        };
        let runs = Runs::frames(cell.role, handler);
        let (_, lent) = oneshot::channel();
        Self::run(sim, cell.links(sim), cell.config(), runs, lent, closed).await
    }

    async fn run(
        sim: &Sim,
        [inbound, outbound]: [Link; 2],
        config: Config,
        runs: Runs,
        sender: oneshot::Receiver<Sender>,
        closed: oneshot::Receiver<(Instant, Closed)>,
    ) -> Self {
        let (near, far) = sim.pipe_over(&outbound);
        near.wire().set_link(WireDirection::Inbound, inbound);
        let transport = Dropped::default();
        let near = Tracked { io: near, sim: sim.clone(), dropped: transport.clone() };
        let driven = Driven::open(sim, Box::new(near), far, config, runs).await;
        let Driven { peer, host, driver } = driven;
        Self { peer, sender, closed, driver, transport, host }
    }
}

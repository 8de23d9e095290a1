//! The runtimes under test behind one trait, and the simulator behind the part of it that needs no socket.

use std::cell::RefCell;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
#[cfg(unix)]
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use smol::channel;
use sockless_core::Config;
use sockless_driver::sockets::ListenOptions;
use sockless_driver::{
    AcceptError, BoxFuture, Connect, IncomingUpgrade, Io, Server, Service, Session, ShutdownReport,
};
use sockless_sim::Sim;

/// Where a scenario runs: on a runtime, or in the simulator.
pub(crate) trait World: 'static {
    fn block_on<T>(future: impl Future<Output = T>) -> T;
    /// The runtime as the driver sees it.
    fn driver() -> Arc<dyn sockless_driver::Runtime>;
    fn bind(addr: &str) -> impl Future<Output = io::Result<Server>> + Send;
    /// Where the server was bound that was bound last.
    fn addr_of(server: &Server) -> SocketAddr {
        server.local_addr().expect("a TCP listener has an address")
    }
    fn connect(url: &str) -> Connect;

    /// Runs `task` beside the scenario.
    fn spawn(task: BoxFuture<'static, ()>) {
        Self::driver().spawn(task);
    }

    /// Serves beside the scenario until `shutdown` is ready, and sends the report to `reporting`.
    fn serve_until(
        server: Server,
        service: impl Service,
        shutdown: BoxFuture<'static, ()>,
        reporting: channel::Sender<ShutdownReport>,
    ) {
        Self::spawn(Box::pin(async move {
            let report = server.serve_until(service, shutdown).await;
            let _ = reporting.send(report).await;
        }));
    }
}

/// The program's decision about a stream that asks to become a session.
pub(crate) type Decide = fn(&mut IncomingUpgrade) -> Result<(), http::Response<bytes::Bytes>>;

/// A runtime over real sockets, with all that its adapter offers.
pub(crate) trait Runtime: World {
    /// The runtime's own TCP stream as the driver sees it.
    fn transport(stream: TcpStream) -> Box<dyn Io>;
    #[cfg(unix)]
    fn unix_transport(stream: UnixStream) -> Box<dyn Io>;

    #[cfg(unix)]
    fn bind_unix(path: &Path) -> io::Result<Server>;
    #[cfg(unix)]
    fn connect_unix(path: &Path, url: &str) -> impl Future<Output = io::Result<Connect>>;
    fn connect_over(stream: TcpStream, url: &str) -> Connect;
    fn accept(stream: TcpStream) -> impl Future<Output = Result<Session, AcceptError>>;
    fn accept_with(
        stream: TcpStream,
        config: Config,
        decide: Decide,
    ) -> impl Future<Output = Result<Session, AcceptError>>;
    fn listen_on(listener: TcpListener) -> io::Result<Server>;
    fn bind_with(
        addr: SocketAddr,
        options: &ListenOptions,
    ) -> impl Future<Output = io::Result<Server>> + Send;
    fn serve(addr: SocketAddr, service: impl Service) -> impl Future<Output = io::Result<()>>;
    fn serve_connection(
        stream: TcpStream,
        service: impl Service,
    ) -> impl Future<Output = ()> + Send + 'static;
}

/// Longer than any scenario takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs a scenario, and fails when it hangs.
pub(crate) fn run(scenario: fn()) {
    let (running, ended) = mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        let _running = running;
        scenario();
    });
    if ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
        panic!("the scenario hangs");
    }
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Runs `future` in a task of its own, at once; what is returned waits for its end.
pub(crate) fn spawn<R: World, T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> impl Future<Output = T> + Send + 'static {
    let (sender, receiver) = channel::bounded(1);
    let task = async move {
        // The receiver may be gone.
        let _ = sender.send(future.await).await;
    };
    R::spawn(Box::pin(task));
    async move { receiver.recv().await.expect("the task ends without a panic") }
}

pub(crate) struct AsyncStd;

impl World for AsyncStd {
    fn block_on<T>(future: impl Future<Output = T>) -> T {
        async_std::task::block_on(future)
    }

    fn driver() -> Arc<dyn sockless_driver::Runtime> {
        Arc::new(sockless_async_std::AsyncStdRuntime)
    }

    async fn bind(addr: &str) -> io::Result<Server> {
        sockless_async_std::bind(addr).await
    }

    fn connect(url: &str) -> Connect {
        sockless_async_std::connect(url)
    }
}

impl Runtime for AsyncStd {
    fn transport(stream: TcpStream) -> Box<dyn Io> {
        Box::new(sockless_async_std::AsyncStdTransport::new(async_std::net::TcpStream::from(
            stream,
        )))
    }

    #[cfg(unix)]
    fn unix_transport(stream: UnixStream) -> Box<dyn Io> {
        let stream = async_std::os::unix::net::UnixStream::from(stream);
        Box::new(sockless_async_std::AsyncStdTransport::new(stream))
    }

    #[cfg(unix)]
    fn bind_unix(path: &Path) -> io::Result<Server> {
        sockless_async_std::bind_unix(path)
    }

    #[cfg(unix)]
    async fn connect_unix(path: &Path, url: &str) -> io::Result<Connect> {
        sockless_async_std::connect_unix(path, url).await
    }

    fn connect_over(stream: TcpStream, url: &str) -> Connect {
        let stream = async_std::net::TcpStream::from(stream);
        sockless_async_std::connect_over(stream, url)
    }

    async fn accept(stream: TcpStream) -> Result<Session, AcceptError> {
        sockless_async_std::accept(async_std::net::TcpStream::from(stream)).await
    }

    async fn accept_with(
        stream: TcpStream,
        config: Config,
        decide: Decide,
    ) -> Result<Session, AcceptError> {
        let stream = async_std::net::TcpStream::from(stream);
        sockless_async_std::accept_with(stream, config, decide).await
    }

    fn listen_on(listener: TcpListener) -> io::Result<Server> {
        sockless_async_std::listen_on(listener.into())
    }

    async fn bind_with(addr: SocketAddr, options: &ListenOptions) -> io::Result<Server> {
        sockless_async_std::bind_with(addr, options).await
    }

    async fn serve(addr: SocketAddr, service: impl Service) -> io::Result<()> {
        sockless_async_std::serve(addr, service).await
    }

    async fn serve_connection(stream: TcpStream, service: impl Service) {
        let stream = async_std::net::TcpStream::from(stream);
        sockless_async_std::serve_connection(stream, service).await;
    }
}

pub(crate) struct Smol;

impl World for Smol {
    fn block_on<T>(future: impl Future<Output = T>) -> T {
        smol::block_on(future)
    }

    fn driver() -> Arc<dyn sockless_driver::Runtime> {
        Arc::new(sockless_smol::SmolRuntime)
    }

    async fn bind(addr: &str) -> io::Result<Server> {
        sockless_smol::bind(addr).await
    }

    fn connect(url: &str) -> Connect {
        sockless_smol::connect(url)
    }
}

impl Runtime for Smol {
    fn transport(stream: TcpStream) -> Box<dyn Io> {
        let stream = smol::net::TcpStream::try_from(stream).expect("the stream is sound");
        Box::new(sockless_smol::SmolTransport::new(stream))
    }

    #[cfg(unix)]
    fn unix_transport(stream: UnixStream) -> Box<dyn Io> {
        let stream = smol::net::unix::UnixStream::try_from(stream).expect("the stream is sound");
        Box::new(sockless_smol::SmolTransport::new(stream))
    }

    #[cfg(unix)]
    fn bind_unix(path: &Path) -> io::Result<Server> {
        sockless_smol::bind_unix(path)
    }

    #[cfg(unix)]
    async fn connect_unix(path: &Path, url: &str) -> io::Result<Connect> {
        sockless_smol::connect_unix(path, url).await
    }

    fn connect_over(stream: TcpStream, url: &str) -> Connect {
        let stream = smol::net::TcpStream::try_from(stream).expect("the stream is sound");
        sockless_smol::connect_over(stream, url)
    }

    async fn accept(stream: TcpStream) -> Result<Session, AcceptError> {
        let stream = smol::net::TcpStream::try_from(stream).expect("the stream is sound");
        sockless_smol::accept(stream).await
    }

    async fn accept_with(
        stream: TcpStream,
        config: Config,
        decide: Decide,
    ) -> Result<Session, AcceptError> {
        let stream = smol::net::TcpStream::try_from(stream).expect("the stream is sound");
        sockless_smol::accept_with(stream, config, decide).await
    }

    fn listen_on(listener: TcpListener) -> io::Result<Server> {
        sockless_smol::listen_on(listener.try_into()?)
    }

    async fn bind_with(addr: SocketAddr, options: &ListenOptions) -> io::Result<Server> {
        sockless_smol::bind_with(addr, options).await
    }

    async fn serve(addr: SocketAddr, service: impl Service) -> io::Result<()> {
        sockless_smol::serve(addr, service).await
    }

    async fn serve_connection(stream: TcpStream, service: impl Service) {
        let stream = smol::net::TcpStream::try_from(stream).expect("the stream is sound");
        sockless_smol::serve_connection(stream, service).await;
    }
}

pub(crate) struct Tokio;

impl World for Tokio {
    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(2).enable_all().build().expect("tokio starts").block_on(future)
    }

    fn driver() -> Arc<dyn sockless_driver::Runtime> {
        Arc::new(sockless_tokio::TokioRuntime)
    }

    async fn bind(addr: &str) -> io::Result<Server> {
        sockless_tokio::bind(addr).await
    }

    fn connect(url: &str) -> Connect {
        sockless_tokio::connect(url)
    }
}

impl Runtime for Tokio {
    fn transport(stream: TcpStream) -> Box<dyn Io> {
        Box::new(sockless_tokio::TokioTransport::new(tokio_stream(stream)))
    }

    #[cfg(unix)]
    fn unix_transport(stream: UnixStream) -> Box<dyn Io> {
        Box::new(sockless_tokio::TokioTransport::new(tokio_unix_stream(stream)))
    }

    #[cfg(unix)]
    fn bind_unix(path: &Path) -> io::Result<Server> {
        sockless_tokio::bind_unix(path)
    }

    #[cfg(unix)]
    async fn connect_unix(path: &Path, url: &str) -> io::Result<Connect> {
        sockless_tokio::connect_unix(path, url).await
    }

    fn connect_over(stream: TcpStream, url: &str) -> Connect {
        let stream = tokio_stream(stream);
        sockless_tokio::connect_over(stream, url)
    }

    async fn accept(stream: TcpStream) -> Result<Session, AcceptError> {
        sockless_tokio::accept(tokio_stream(stream)).await
    }

    async fn accept_with(
        stream: TcpStream,
        config: Config,
        decide: Decide,
    ) -> Result<Session, AcceptError> {
        sockless_tokio::accept_with(tokio_stream(stream), config, decide).await
    }

    fn listen_on(listener: TcpListener) -> io::Result<Server> {
        listener.set_nonblocking(true)?;
        sockless_tokio::listen_on(tokio::net::TcpListener::from_std(listener)?)
    }

    async fn bind_with(addr: SocketAddr, options: &ListenOptions) -> io::Result<Server> {
        sockless_tokio::bind_with(addr, options).await
    }

    async fn serve(addr: SocketAddr, service: impl Service) -> io::Result<()> {
        sockless_tokio::serve(addr, service).await
    }

    async fn serve_connection(stream: TcpStream, service: impl Service) {
        sockless_tokio::serve_connection(tokio_stream(stream), service).await;
    }
}

/// The simulator: what is bound on it has an address by name only.
pub(crate) struct Simulated;

thread_local! {
    static SIM: RefCell<Option<(Sim, u16)>> = const { RefCell::new(None) };
}

impl Simulated {
    fn sim() -> Sim {
        let sim = SIM.with_borrow(|world| world.as_ref().map(|(sim, _)| sim.clone()));
        sim.expect("the scenario runs")
    }

    fn addr() -> SocketAddr {
        let port = SIM.with_borrow(|world| world.as_ref().map_or(0, |(_, port)| *port));
        SocketAddr::from(([127, 0, 0, 1], port))
    }
}

impl World for Simulated {
    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let sim = Sim::new(7);
        // Some handlers panic, which is the driver's to catch.
        sim.tolerate_panics();
        SIM.set(Some((sim.clone(), 4000)));
        let output = sim.run(future);
        SIM.set(None);
        output
    }

    fn driver() -> Arc<dyn sockless_driver::Runtime> {
        Self::sim().runtime()
    }

    async fn bind(_addr: &str) -> io::Result<Server> {
        SIM.with_borrow_mut(|world| world.iter_mut().for_each(|(_, port)| *port += 1));
        Ok(Self::sim().bind(&Self::addr().to_string()))
    }

    fn addr_of(_server: &Server) -> SocketAddr {
        Self::addr()
    }

    fn connect(url: &str) -> Connect {
        Self::sim().connect(url)
    }
}

fn tokio_stream(stream: TcpStream) -> tokio::net::TcpStream {
    stream.set_nonblocking(true).expect("the stream is sound");
    tokio::net::TcpStream::from_std(stream).expect("the stream is sound")
}

#[cfg(unix)]
fn tokio_unix_stream(stream: UnixStream) -> tokio::net::UnixStream {
    stream.set_nonblocking(true).expect("the stream is sound");
    tokio::net::UnixStream::from_std(stream).expect("the stream is sound")
}

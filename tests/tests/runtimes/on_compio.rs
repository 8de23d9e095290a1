//! compio, with the driver that the system allows, and with polling.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
#[cfg(unix)]
use std::path::Path;
use std::sync::Arc;

use compio::driver::{DriverType, ProactorBuilder};
use compio::runtime::RuntimeBuilder;
use smol::channel;
use sockless_compio::{CompioRuntime, CompioTransport};
use sockless_core::Config;
use sockless_driver::local::{LocalBoxFuture, SendWrapper};
use sockless_driver::sockets::ListenOptions;
use sockless_driver::{
    AcceptError, BoxFuture, Connect, Io, Server, Service, Session, ShutdownReport,
};

use crate::on::{Decide, Runtime, World};
use crate::one_thread::OneThread;

/// io_uring on Linux, or polling where it is refused.
pub(crate) type Compio = CompioBy<false>;

/// Polling, where another driver is the default too.
pub(crate) type CompioPolling = CompioBy<true>;

pub(crate) struct CompioBy<const POLLING: bool>;

impl<const POLLING: bool> CompioBy<POLLING> {
    fn runtime() -> compio::runtime::Runtime {
        let mut driver = ProactorBuilder::new();
        if POLLING {
            driver.driver_type(DriverType::Poll);
        }
        RuntimeBuilder::new().with_proactor(driver).build().expect("compio starts")
    }
}

impl<const POLLING: bool> World for CompioBy<POLLING> {
    fn block_on<T>(future: impl Future<Output = T>) -> T {
        Self::runtime().block_on(future)
    }

    fn driver() -> Arc<dyn sockless_driver::Runtime> {
        Arc::new(CompioRuntime)
    }

    async fn bind(addr: &str) -> io::Result<Server> {
        sockless_compio::bind(addr).await
    }

    fn connect(url: &str) -> Connect {
        sockless_compio::connect(url)
    }

    /// On a thread of its own: a scenario may block the one on which it runs.
    fn serve_until(
        server: Server,
        service: impl Service,
        shutdown: BoxFuture<'static, ()>,
        reporting: channel::Sender<ShutdownReport>,
    ) {
        std::thread::spawn(|| {
            Self::block_on(async move {
                let report = server.serve_until(service, shutdown).await;
                let _ = reporting.send(report).await;
            });
        });
    }
}

impl<const POLLING: bool> OneThread for CompioBy<POLLING> {
    fn spawn_local(task: LocalBoxFuture<'static, ()>) {
        sockless_compio::spawn_local(task);
    }
}

impl<const POLLING: bool> Runtime for CompioBy<POLLING> {
    fn transport(stream: TcpStream) -> Box<dyn Io> {
        Box::new(CompioTransport::new(compio_stream(stream)))
    }

    #[cfg(unix)]
    fn unix_transport(stream: UnixStream) -> Box<dyn Io> {
        let stream = compio::net::UnixStream::from_std(stream).expect("the stream is sound");
        Box::new(CompioTransport::new(stream))
    }

    #[cfg(unix)]
    fn bind_unix(path: &Path) -> io::Result<Server> {
        sockless_compio::bind_unix(path)
    }

    #[cfg(unix)]
    async fn connect_unix(path: &Path, url: &str) -> io::Result<Connect> {
        sockless_compio::connect_unix(path, url).await
    }

    fn connect_over(stream: TcpStream, url: &str) -> Connect {
        sockless_compio::connect_over(compio_stream(stream), url)
    }

    async fn accept(stream: TcpStream) -> Result<Session, AcceptError> {
        sockless_compio::accept(compio_stream(stream)).await
    }

    async fn accept_with(
        stream: TcpStream,
        config: Config,
        decide: Decide,
    ) -> Result<Session, AcceptError> {
        sockless_compio::accept_with(compio_stream(stream), config, decide).await
    }

    fn listen_on(listener: TcpListener) -> io::Result<Server> {
        sockless_compio::listen_on(listener)
    }

    async fn bind_with(addr: SocketAddr, options: &ListenOptions) -> io::Result<Server> {
        sockless_compio::bind_with(addr, options).await
    }

    async fn serve(addr: SocketAddr, service: impl Service) -> io::Result<()> {
        sockless_compio::serve(addr, service).await
    }

    fn serve_connection(
        stream: TcpStream,
        service: impl Service,
    ) -> impl Future<Output = ()> + Send + 'static {
        SendWrapper::new(sockless_compio::serve_connection(compio_stream(stream), service))
    }
}

fn compio_stream(stream: TcpStream) -> compio::net::TcpStream {
    compio::net::TcpStream::from_std(stream).expect("the stream is sound")
}

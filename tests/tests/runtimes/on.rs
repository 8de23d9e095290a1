//! The runtimes under test, behind one trait.

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
use sockless_driver::{Connect, Io, Server, Service};

/// A runtime, with what its adapter offers.
pub(crate) trait Runtime: 'static {
    fn block_on<T>(future: impl Future<Output = T>) -> T;
    /// The runtime as the driver sees it.
    fn driver() -> Arc<dyn sockless_driver::Runtime>;
    /// The runtime's own TCP stream as the driver sees it.
    fn transport(stream: TcpStream) -> Box<dyn Io>;
    #[cfg(unix)]
    fn unix_transport(stream: UnixStream) -> Box<dyn Io>;

    fn bind(addr: &str) -> impl Future<Output = io::Result<Server>> + Send;
    #[cfg(unix)]
    fn bind_unix(path: &Path) -> io::Result<Server>;
    fn connect(url: &str) -> Connect;
    #[cfg(unix)]
    fn connect_unix(path: &Path, url: &str) -> impl Future<Output = io::Result<Connect>>;
    fn connect_over(stream: TcpStream, url: &str) -> Connect;
    fn listen_on(listener: TcpListener) -> io::Result<Server>;
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
pub(crate) fn spawn<R: Runtime, T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> impl Future<Output = T> + Send + 'static {
    let (sender, receiver) = channel::bounded(1);
    let task = async move {
        // Nobody may be interested.
        let _ = sender.send(future.await).await;
    };
    R::driver().spawn(Box::pin(task));
    async move { receiver.recv().await.expect("the task ends without a panic") }
}

pub(crate) struct AsyncStd;

impl Runtime for AsyncStd {
    fn block_on<T>(future: impl Future<Output = T>) -> T {
        async_std::task::block_on(future)
    }

    fn driver() -> Arc<dyn sockless_driver::Runtime> {
        Arc::new(sockless_async_std::AsyncStdRuntime)
    }

    fn transport(stream: TcpStream) -> Box<dyn Io> {
        Box::new(sockless_async_std::Stream::new(async_std::net::TcpStream::from(stream)))
    }

    #[cfg(unix)]
    fn unix_transport(stream: UnixStream) -> Box<dyn Io> {
        let stream = async_std::os::unix::net::UnixStream::from(stream);
        Box::new(sockless_async_std::Stream::new(stream))
    }

    async fn bind(addr: &str) -> io::Result<Server> {
        sockless_async_std::bind(addr).await
    }

    #[cfg(unix)]
    fn bind_unix(path: &Path) -> io::Result<Server> {
        sockless_async_std::bind_unix(path)
    }

    fn connect(url: &str) -> Connect {
        sockless_async_std::connect(url)
    }

    #[cfg(unix)]
    async fn connect_unix(path: &Path, url: &str) -> io::Result<Connect> {
        sockless_async_std::connect_unix(path, url).await
    }

    fn connect_over(stream: TcpStream, url: &str) -> Connect {
        let stream = async_std::net::TcpStream::from(stream);
        sockless_async_std::connect_over(stream, url)
    }

    fn listen_on(listener: TcpListener) -> io::Result<Server> {
        sockless_async_std::listen_on(listener.into())
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

impl Runtime for Smol {
    fn block_on<T>(future: impl Future<Output = T>) -> T {
        smol::block_on(future)
    }

    fn driver() -> Arc<dyn sockless_driver::Runtime> {
        Arc::new(sockless_smol::SmolRuntime)
    }

    fn transport(stream: TcpStream) -> Box<dyn Io> {
        let stream = smol::net::TcpStream::try_from(stream).expect("the stream is sound");
        Box::new(sockless_smol::Stream::new(stream))
    }

    #[cfg(unix)]
    fn unix_transport(stream: UnixStream) -> Box<dyn Io> {
        let stream = smol::net::unix::UnixStream::try_from(stream).expect("the stream is sound");
        Box::new(sockless_smol::Stream::new(stream))
    }

    async fn bind(addr: &str) -> io::Result<Server> {
        sockless_smol::bind(addr).await
    }

    #[cfg(unix)]
    fn bind_unix(path: &Path) -> io::Result<Server> {
        sockless_smol::bind_unix(path)
    }

    fn connect(url: &str) -> Connect {
        sockless_smol::connect(url)
    }

    #[cfg(unix)]
    async fn connect_unix(path: &Path, url: &str) -> io::Result<Connect> {
        sockless_smol::connect_unix(path, url).await
    }

    fn connect_over(stream: TcpStream, url: &str) -> Connect {
        let stream = smol::net::TcpStream::try_from(stream).expect("the stream is sound");
        sockless_smol::connect_over(stream, url)
    }

    fn listen_on(listener: TcpListener) -> io::Result<Server> {
        sockless_smol::listen_on(listener.try_into()?)
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

impl Runtime for Tokio {
    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(2).enable_all().build().expect("tokio starts").block_on(future)
    }

    fn driver() -> Arc<dyn sockless_driver::Runtime> {
        Arc::new(sockless_tokio::TokioRuntime)
    }

    fn transport(stream: TcpStream) -> Box<dyn Io> {
        Box::new(sockless_tokio::Stream::new(tokio_stream(stream)))
    }

    #[cfg(unix)]
    fn unix_transport(stream: UnixStream) -> Box<dyn Io> {
        Box::new(sockless_tokio::Stream::new(tokio_unix_stream(stream)))
    }

    async fn bind(addr: &str) -> io::Result<Server> {
        sockless_tokio::bind(addr).await
    }

    #[cfg(unix)]
    fn bind_unix(path: &Path) -> io::Result<Server> {
        sockless_tokio::bind_unix(path)
    }

    fn connect(url: &str) -> Connect {
        sockless_tokio::connect(url)
    }

    #[cfg(unix)]
    async fn connect_unix(path: &Path, url: &str) -> io::Result<Connect> {
        sockless_tokio::connect_unix(path, url).await
    }

    fn connect_over(stream: TcpStream, url: &str) -> Connect {
        let stream = tokio_stream(stream);
        sockless_tokio::connect_over(stream, url)
    }

    fn listen_on(listener: TcpListener) -> io::Result<Server> {
        listener.set_nonblocking(true)?;
        sockless_tokio::listen_on(tokio::net::TcpListener::from_std(listener)?)
    }

    async fn serve(addr: SocketAddr, service: impl Service) -> io::Result<()> {
        sockless_tokio::serve(addr, service).await
    }

    async fn serve_connection(stream: TcpStream, service: impl Service) {
        sockless_tokio::serve_connection(tokio_stream(stream), service).await;
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

//! Dialling with tokio's sockets.

use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::Path;

use sockless_driver::{BoxFuture, Dial, Io};
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::net::{TcpStream, lookup_host};

use crate::TokioRuntime;
#[cfg(unix)]
use crate::stream::TokioTransport;
use crate::stream::tcp;

impl Dial for TokioRuntime {
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        let host = host.to_owned();
        Box::pin(async move { Ok(lookup_host((host, port)).await?.collect()) })
    }

    fn connect(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Io>>> {
        Box::pin(async move { Ok(tcp(TcpStream::connect(addr).await?)) })
    }

    #[cfg(unix)]
    fn connect_unix(&self, path: &Path) -> BoxFuture<'static, io::Result<Box<dyn Io>>> {
        let path = path.to_owned();
        Box::pin(async move { connect_unix(&path).await })
    }
}

#[cfg(unix)]
pub(crate) async fn connect_unix(path: &Path) -> io::Result<Box<dyn Io>> {
    let stream = UnixStream::connect(path).await;
    let stream = stream.map_err(|error| sockless_driver::sockets::at_path(path, &error))?;
    Ok(Box::new(TokioTransport::new(stream)))
}

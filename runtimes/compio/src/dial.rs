//! Dialling with compio's sockets.

use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::Path;

#[cfg(unix)]
use compio::net::UnixStream;
use compio::net::{TcpStream, ToSocketAddrsAsync};
use sockless_driver::local::SendWrapper;
use sockless_driver::{BoxFuture, Dial, Io};

use crate::CompioRuntime;
#[cfg(unix)]
use crate::stream::CompioTransport;
use crate::stream::tcp;

impl Dial for CompioRuntime {
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        let host = host.to_owned();
        Box::pin(SendWrapper::new(async move {
            Ok((&*host, port).to_socket_addrs_async().await?.collect())
        }))
    }

    fn connect(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Io>>> {
        Box::pin(SendWrapper::new(async move { Ok(tcp(TcpStream::connect(addr).await?)) }))
    }

    #[cfg(unix)]
    fn connect_unix(&self, path: &Path) -> BoxFuture<'static, io::Result<Box<dyn Io>>> {
        let path = path.to_owned();
        Box::pin(async move { connect_unix(&path).await })
    }
}

#[cfg(unix)]
pub(crate) async fn connect_unix(path: &Path) -> io::Result<Box<dyn Io>> {
    let stream = SendWrapper::new(UnixStream::connect(path)).await;
    let stream = stream.map_err(|error| sockless_driver::sockets::at_path(path, &error))?;
    Ok(Box::new(CompioTransport::new(stream)))
}

//! Dialling with the sockets of async-io, on which smol's are built.

use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::Path;

use sockless_driver::{BoxFuture, Dial, Io, async_io};

use crate::SmolRuntime;

#[cfg(unix)]
pub(crate) use async_io::connect_unix;

impl Dial for SmolRuntime {
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        let host = host.to_owned();
        Box::pin(async move { smol::net::resolve((host, port)).await })
    }

    fn connect(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Io>>> {
        Box::pin(async_io::connect(addr))
    }

    #[cfg(unix)]
    fn connect_unix(&self, path: &Path) -> BoxFuture<'static, io::Result<Box<dyn Io>>> {
        let path = path.to_owned();
        Box::pin(async move { connect_unix(&path).await })
    }
}

//! Replaces the peers where they are not compiled.

use tokio::net::TcpListener;

use super::{Job, Server};
use crate::Result;

pub async fn serve(server: Server, _job: Job, _listener: TcpListener) -> Result<()> {
    Err(format!("{} is not compiled in: enable the feature `peers`", server.name()).into())
}

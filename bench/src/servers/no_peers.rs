//! Replaces the peers where they are not compiled.

use super::{Job, Listener, Server};
use crate::Result;

pub async fn serve(server: Server, _job: Job, _listener: Listener) -> Result<()> {
    Err(format!("{} is not compiled in: enable the feature `peers`", server.name()).into())
}

//! Our server, as a user would write it.

use sockless_routing::{Router, websocket};
use sockless_tokio::{Closed, Session};
use tokio::net::TcpListener;

use crate::Result;

/// Echoes at `/`.
pub async fn serve(listener: TcpListener) -> Result<()> {
    let router = Router::new().route("/", websocket(echo));
    sockless_tokio::listen_on(listener)?.serve(router).await;
    Ok(())
}

async fn echo(mut session: Session) -> Result<(), Closed> {
    loop {
        let message = session.recv().await?;
        session.send(message).await?;
    }
}

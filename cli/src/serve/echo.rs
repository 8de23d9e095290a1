//! Sends every message back.

use sockless::{Closed, Session};

pub(crate) async fn serve(mut session: Session) -> Result<(), Closed> {
    loop {
        let message = session.recv().await?;
        session.send(message).await?;
    }
}

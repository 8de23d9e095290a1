//! Our server, as a program would have it.

use std::sync::{Arc, Mutex, PoisonError};

use sockless::{
    Broadcast, Closed, Config, Deflate, Router, Sender, Session, TrySendError, websocket,
};
use tokio::net::TcpListener;

use super::Job;
use crate::Result;

/// Does `job` at `/`.
pub async fn serve(listener: TcpListener, job: Job) -> Result<()> {
    let mut config = Config::default();
    if job.deflate {
        config = config.extension(Deflate::default());
    }
    let router = if job.fan_out {
        let room = Arc::new(Room::default());
        // High enough that no member misses a message: the load waits for all deliveries.
        let router = Router::new().websockets(config.high_water(HIGH_WATER));
        router.route("/", websocket(move |session| room.clone().serve(session)))
    } else {
        Router::new().websockets(config).route("/", websocket(echo))
    };
    sockless::tokio::listen_on(listener)?.serve(router).await;
    Ok(())
}

async fn echo(mut session: Session) -> Result<(), Closed> {
    loop {
        let message = session.recv().await?;
        session.send(message).await?;
    }
}

const HIGH_WATER: usize = 64 << 20;

/// Members that receive each other's messages.
#[derive(Default)]
struct Room {
    members: Mutex<Vec<Sender>>,
}

impl Room {
    async fn serve(self: Arc<Self>, mut session: Session) -> Result<(), Closed> {
        self.lock().push(session.sender());
        loop {
            let news = Broadcast::new(session.recv().await?);
            let is_open = |member: &mut Sender| {
                !matches!(member.try_send(&news), Err(TrySendError::Closed { .. }))
            };
            self.lock().retain_mut(is_open);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Sender>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

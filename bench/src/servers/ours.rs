//! Our server, as a user would write it.

use std::sync::{Arc, Mutex, PoisonError};

use sockless_core::{Broadcast, Config, Deflate};
use sockless_driver::{Sender, TrySendError};
use sockless_routing::{Router, websocket};
use sockless_core::Closed;
use sockless_driver::Session;
use tokio::net::TcpListener;

use super::Job;
use crate::Result;

/// Does the job at `/`.
pub async fn serve(listener: TcpListener, job: Job) -> Result<()> {
    let mut config = Config::default();
    if job.deflate {
        config = config.extension(Deflate::default());
    }
    let router = if job.fan_out {
        let room = Arc::new(Room::default());
        // Nobody is to be left out: in the load that waits for all of them a message would be missing.
        let router = Router::new().websockets(config.high_water(HIGH_WATER));
        router.route("/", websocket(move |session| room.clone().serve(session)))
    } else {
        Router::new().websockets(config).route("/", websocket(echo))
    };
    sockless_tokio::listen_on(listener)?.serve(router).await;
    Ok(())
}

async fn echo(mut session: Session) -> Result<(), Closed> {
    loop {
        let message = session.recv().await?;
        session.send(message).await?;
    }
}

const HIGH_WATER: usize = 64 << 20;

/// Everybody hears everybody.
#[derive(Default)]
struct Room {
    members: Mutex<Vec<Sender>>,
}

impl Room {
    async fn serve(self: Arc<Self>, mut session: Session) -> Result<(), Closed> {
        self.lock().push(session.sender());
        loop {
            let news = Broadcast::new(session.recv().await?);
            let is_there = |member: &mut Sender| {
                !matches!(member.try_send(&news), Err(TrySendError::Closed(_)))
            };
            self.lock().retain_mut(is_there);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Sender>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

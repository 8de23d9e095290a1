//! Our server, as a program would have it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sockless::driver::{Answer, Upgrade};
use sockless::tls::TlsAcceptor;
use sockless::{
    BoxFuture, Broadcast, Closed, Config, Deflate, Origins, Request, Router, Sender, Service,
    Session, TrySendError, websocket,
};

use super::{Job, Listener};
use crate::Result;

/// Does `job` at `/`.
pub async fn serve(listener: Listener, job: Job) -> Result<()> {
    let config = config(job);
    let router = if job.fan_out {
        let room = Arc::new(Room::default());
        // High enough that no member misses a message: the load waits for all deliveries.
        let router = Router::new().websockets(config.high_water(HIGH_WATER));
        router.route("/", websocket(move |session| room.clone().serve(session)))
    } else {
        Router::new().websockets(config).route("/", websocket(echo))
    };
    listen_on(listener)?.serve(router).await;
    Ok(())
}

/// Echoes all messages of all requests.
pub async fn serve_bare(listener: Listener, job: Job) -> Result<()> {
    listen_on(listener)?.serve(Bare(Arc::new(config(job)))).await;
    Ok(())
}

/// Echoes at `/`, with what a program for browsers has besides.
pub async fn serve_guarded(listener: Listener, job: Job) -> Result<()> {
    let router = Router::new()
        .websockets(config(job))
        .origins(Origins::same_origin())
        .state(Arc::new(()))
        .guard(async |request: Request| Ok(request))
        .route("/", websocket(echo));
    listen_on(listener)?.serve(router).await;
    Ok(())
}

fn listen_on(listener: Listener) -> Result<sockless::driver::Server> {
    let server = sockless::tokio::listen_on(listener.tcp)?;
    Ok(match listener.acceptor {
        Some(acceptor) => server.tls(TlsAcceptor::from(Arc::clone(acceptor.config()))),
        None => server,
    })
}

fn config(job: Job) -> Config {
    let config = Config::default().ping_interval(job.pings.map(Duration::from_secs));
    if job.deflate { config.extension(Deflate::default()) } else { config }
}

struct Bare(Arc<Config>);

impl Service for Bare {
    fn call(&self, request: Request) -> BoxFuture<'_, Answer> {
        let answer = match request.upgrade() {
            Ok(upgrade) => {
                Answer::Upgrade(Upgrade::websocket(request, upgrade, self.config(), echo))
            }
            Err(error) => Answer::Respond(error.response()),
        };
        Box::pin(std::future::ready(answer))
    }

    fn config(&self) -> Arc<Config> {
        Arc::clone(&self.0)
    }
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

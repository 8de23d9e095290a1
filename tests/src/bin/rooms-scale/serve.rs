//! The servers that are measured, each in a process with one thread.

use std::io::{self, Read};
use std::sync::{Arc, Mutex};

use sockless::rooms::{History, Namespace, RoomConfig, Rooms};
use sockless::tokio::TokioRuntime;
use sockless::{
    BoxError, Broadcast, Closed, Config, Router, Sender, Session, TrySendError, websocket,
};

/// High enough that no member lags: the load waits for all deliveries.
const HIGH_WATER: usize = 64 << 20;

/// Serves until the standard input ends.
pub(crate) fn run(kind: &str, url: Option<&str>) -> io::Result<()> {
    std::thread::spawn(|| {
        let _ = io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let router = match (kind, url) {
            ("senders", _) => {
                let members = Members::default();
                routes(websocket(move |session| by_senders(session, members.clone())))
            }
            ("redis", Some(url)) => {
                let rooms = Rooms::redis(url, TokioRuntime).map_err(io::Error::other)?;
                routes(members_of(&rooms, History::last(1000)))
            }
            _ => routes(members_of(&Rooms::local(TokioRuntime), History::NONE)),
        };
        let server = sockless::bind("127.0.0.1:0").await?;
        println!(
            "{} {}",
            std::process::id(),
            server.local_addr().unwrap_or(([127, 0, 0, 1], 0).into())
        );
        server.serve(router).await;
        Ok(())
    })
}

fn routes(handler: sockless::WebSocketRoute) -> Router {
    Router::new().websockets(Config::default().high_water(HIGH_WATER)).route("/{room}", handler)
}

fn members_of(rooms: &Rooms, history: History) -> sockless::WebSocketRoute {
    let chat = rooms.namespace("chat", RoomConfig::default().history(history));
    websocket(move |session| by_rooms(session, chat.clone()))
}

async fn by_rooms(mut session: Session, chat: Namespace) -> Result<(), BoxError> {
    let room = session.request().param_str("room").unwrap_or_default().to_owned();
    let member = chat.join(&session, &room).await?;
    loop {
        let message = session.recv().await?;
        member.publish(message).await?;
    }
}

/// The members of one room, as a program would keep them itself.
type Members = Arc<Mutex<Vec<Sender>>>;

async fn by_senders(mut session: Session, members: Members) -> Result<(), Closed> {
    members.lock().unwrap().push(session.sender());
    loop {
        let news = Broadcast::new(session.recv().await?);
        let is_open = |member: &mut Sender| {
            !matches!(member.try_send(&news), Err(TrySendError::Closed { .. }))
        };
        members.lock().unwrap().retain_mut(is_open);
    }
}

//! A chat on one thread, with its room in an `Rc`, on two executors: tokio's `LocalSet` and the `LocalPool`
//! of `futures`.
//!
//! ```console
//! $ cargo run -p sockless-examples --example one_thread -- local-set
//! $ cargo run -p sockless-examples --example one_thread -- local-pool
//! ```

use std::cell::RefCell;
use std::future::pending;
use std::io::{Error, Result};
use std::rc::Rc;

use sockless::local::{LocalRouter, websocket_local};
use sockless::{Sender, Session};

fn main() -> Result<()> {
    let addr = "127.0.0.1:8080";
    match std::env::args().nth(1).as_deref() {
        Some("local-set") => local_set::serve(addr, println_url, pending()),
        Some("local-pool") => local_pool::serve(addr, println_url, pending()),
        _ => Err(Error::other("expected an executor: local-set or local-pool")),
    }
}

/// Prints where the chat is, for a program that connects to it.
fn println_url(url: String) {
    println!("chat at {url}");
}

/// The members of a room. No lock guards it: all handlers run on one thread.
#[derive(Clone, Default)]
struct Room(Rc<RefCell<Vec<Sender>>>);

impl Room {
    /// Sends each message of `session` to every member.
    async fn chat(self, mut session: Session) {
        self.0.borrow_mut().push(session.sender());
        while let Ok(message) = session.recv().await {
            // A member whose queue is full, or who has left, is removed.
            self.0.borrow_mut().retain(|member| member.try_send(message.clone()).is_ok());
        }
    }
}

fn router() -> LocalRouter {
    let room = Room::default();
    LocalRouter::new().route("/chat", websocket_local(move |session| room.clone().chat(session)))
}

/// The URL of the chat on `server`.
fn url(server: &sockless::Server) -> String {
    format!("ws://{}/chat", server.local_addr().expect("a TCP listener has an address"))
}

mod local_set {
    //! tokio, with tasks that stay on its one thread.

    use tokio::task::{LocalSet, spawn_local};

    pub(crate) fn serve(
        addr: &str,
        is_listening: impl FnOnce(String),
        stop: impl Future<Output = ()>,
    ) -> super::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        LocalSet::new().block_on(&runtime, async {
            let server = sockless::bind(addr).await?;
            is_listening(super::url(&server));
            let spawn = |task| drop(spawn_local(task));
            server.serve_local_until(super::router(), stop, spawn).await;
            Ok(())
        })
    }
}

mod local_pool {
    //! An executor that has tasks and nothing else: sockets, timers and random numbers are those of
    //! async-io.

    use std::net::{SocketAddr, TcpListener};
    use std::sync::Arc;

    use futures_executor::LocalPool;
    use futures_util::StreamExt;
    use futures_util::task::LocalSpawnExt;
    use smol::Async;
    use smol::channel::{self, Sender};
    use sockless::driver::{Clock, Runtime, Server, Spawn, Timer, async_io};
    use sockless::local::LocalBoxFuture;
    use sockless::proto::Seed;
    use sockless::{BoxFuture, Instant};

    /// The parts of a server besides the tasks of its thread.
    struct PoolRuntime {
        /// The tasks of [`sockless::Session::spawn`], which may be started on any thread.
        tasks: Sender<BoxFuture<'static, ()>>,
    }

    impl Clock for PoolRuntime {
        fn now(&self) -> Instant {
            async_io::now()
        }

        fn timer(&self, deadline: Instant) -> Box<dyn Timer> {
            async_io::timer(deadline)
        }
    }

    impl Spawn for PoolRuntime {
        fn spawn(&self, task: BoxFuture<'static, ()>) {
            // Once the pool has ended, tasks are dropped.
            let _ = self.tasks.try_send(task);
        }
    }

    impl Runtime for PoolRuntime {
        fn seed(&self) -> Seed {
            async_io::seed()
        }
    }

    pub(crate) fn serve(
        addr: &str,
        is_listening: impl FnOnce(String),
        stop: impl Future<Output = ()>,
    ) -> super::Result<()> {
        let addr: SocketAddr = addr.parse().map_err(super::Error::other)?;
        let listener = Arc::new(Async::<TcpListener>::bind(addr)?);
        let (tasks, waiting) = channel::unbounded();
        let server = Server::new(async_io::listen_on(listener)?, Arc::new(PoolRuntime { tasks }));
        is_listening(super::url(&server));

        let mut pool = LocalPool::new();
        let spawner = pool.spawner();
        // It fails only once the pool has ended.
        let spawn = move |task: LocalBoxFuture<'static, ()>| drop(spawner.spawn_local(task));
        let started = waiting.for_each({
            let spawn = spawn.clone();
            move |task| {
                spawn(task);
                std::future::ready(())
            }
        });
        spawn(Box::pin(started));
        pool.run_until(server.serve_local_until(super::router(), stop, spawn));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use smol::channel;
    use smol::future::block_on;
    use sockless::{CloseCode, CloseReason};

    use super::*;

    /// Two members read each other's messages, and leave when the server stops.
    fn two_members_chat(serve: Serve) {
        let (telling, url) = channel::bounded(1);
        let (stopping, stopped) = channel::bounded::<()>(1);
        let server = thread::spawn(move || {
            let is_listening = Box::new(move |url| telling.try_send(url).expect("it is awaited"));
            let stop = Box::pin(async move {
                let _ = stopped.recv().await;
            });
            serve("127.0.0.1:0", is_listening, stop)
        });
        block_on(async {
            let url = url.recv().await.unwrap();
            let (mut ada, mut bob) = (connect(&url).await, connect(&url).await);
            assert_eq!(ada.recv().await.unwrap().as_text(), Some("here"));
            for (from, text) in [(0, "hello"), (1, "hi")] {
                let members = [&mut ada, &mut bob];
                members[from].send(text).await.unwrap();
                for member in members {
                    assert_eq!(member.recv().await.unwrap().as_text(), Some(text));
                }
            }
            drop(stopping);
            for mut member in [ada, bob] {
                let closed = member.recv().await.unwrap_err();
                assert_eq!(
                    closed.received().and_then(CloseReason::code),
                    Some(CloseCode::GOING_AWAY)
                );
            }
        });
        server.join().unwrap().unwrap();
    }

    type Serve = fn(&str, Listening, Stop) -> Result<()>;
    type Listening = Box<dyn FnOnce(String)>;
    type Stop = std::pin::Pin<Box<dyn Future<Output = ()>>>;

    /// Connects, and waits until the room has the member.
    async fn connect(url: &str) -> Session {
        let mut session = sockless::smol::connect(url).await.unwrap();
        session.send("here").await.unwrap();
        assert_eq!(session.recv().await.unwrap().as_text(), Some("here"));
        session
    }

    #[test]
    fn members_chat_on_a_local_set() {
        two_members_chat(local_set::serve);
    }

    #[test]
    fn members_chat_on_a_local_pool() {
        two_members_chat(local_pool::serve);
    }
}

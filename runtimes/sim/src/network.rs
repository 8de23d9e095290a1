//! A network of names: [`SimListener`], and [`Sim::dial`] to reach it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use crate::executor::Sim;
use crate::link::Link;
use crate::lock;
use crate::names::{Names, host_of};
use crate::pipe::SimIo;

impl Sim {
    /// Listens at `name`, over the default [`Link`].
    ///
    /// # Panics
    ///
    /// When something listens there already.
    #[track_caller]
    pub fn listen(&self, name: &str) -> SimListener {
        self.listen_over(name, &Link::default())
    }

    /// Listens at `name`; each connection is a pipe over `link`, and takes its latency there and back
    /// to come about.
    ///
    /// # Panics
    ///
    /// When something listens there already.
    #[track_caller]
    pub fn listen_over(&self, name: &str, link: &Link) -> SimListener {
        let listening = Listening { link: link.clone(), arrived: VecDeque::new(), acceptor: None };
        let mut listeners = lock(&self.network().listeners);
        assert!(!listeners.contains_key(name), "something listens at {name:?} already");
        listeners.insert(name.to_owned(), listening);
        lock(&self.network().names).give_address(host_of(name));
        SimListener { name: name.to_owned(), network: Arc::clone(self.network()) }
    }

    /// Opens a pipe to whoever listens at `name`.
    ///
    /// Cancel-safe: dropped on its way, it leaves the listener nothing, or a connection that ends at
    /// once.
    ///
    /// # Errors
    ///
    /// `ConnectionRefused` when nobody listens.
    pub async fn dial(&self, name: &str) -> io::Result<SimIo> {
        let link = self.network().link(name)?;
        self.sleep(link.latency).await;
        let (client, server) = self.pipe_over(&link);
        self.network().deliver(name, server)?;
        self.sleep(link.latency).await;
        Ok(client)
    }

    /// The name that a URL's host and port mean: `host:port` where something listens there, and else
    /// `host`, which stands for port 80.
    pub(crate) fn name_of(&self, host: &str, port: u16) -> String {
        let full = format!("{host}:{port}");
        if port == 80 && !lock(&self.network().listeners).contains_key(&full) {
            return host.to_owned();
        }
        full
    }
}

/// Where connections arrive, from [`Sim::listen`]. Dropping it frees its name and ends the
/// connections that were not accepted.
pub struct SimListener {
    name: String,
    network: Arc<Network>,
}

impl SimListener {
    /// The server's end of the next connection, in the order in which they arrived.
    ///
    /// Cancel-safe: a connection that was not returned is there for the next call.
    pub async fn accept(&mut self) -> SimIo {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    pub(crate) fn poll_next(&self, cx: &Context<'_>) -> Poll<SimIo> {
        self.network.poll_accept(&self.name, cx)
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        // The lock is released before the connections are dropped: they wake their clients.
        let listening = lock(&self.network.listeners).remove(&self.name);
        drop(listening);
    }
}

impl fmt::Debug for SimListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimListener({:?})", self.name)
    }
}

/// Who listens where. A name is there as long as its [`SimListener`] is.
#[derive(Default)]
pub(crate) struct Network {
    listeners: Mutex<BTreeMap<String, Listening>>,
    pub(crate) names: Mutex<Names>,
}

struct Listening {
    link: Link,
    arrived: VecDeque<SimIo>,
    acceptor: Option<Waker>,
}

impl Network {
    fn link(&self, name: &str) -> io::Result<Link> {
        let listeners = lock(&self.listeners);
        let listening = listeners.get(name).ok_or_else(refused)?;
        Ok(listening.link.clone())
    }

    fn deliver(&self, name: &str, server: SimIo) -> io::Result<()> {
        let acceptor = {
            let mut listeners = lock(&self.listeners);
            let listening = listeners.get_mut(name).ok_or_else(refused)?;
            listening.arrived.push_back(server);
            listening.acceptor.take()
        };
        if let Some(acceptor) = acceptor {
            acceptor.wake();
        }
        Ok(())
    }

    fn poll_accept(&self, name: &str, cx: &Context<'_>) -> Poll<SimIo> {
        let replaced = {
            let mut listeners = lock(&self.listeners);
            let listening = listeners.get_mut(name).expect("a listener keeps its name");
            match listening.arrived.pop_front() {
                Some(server) => return Poll::Ready(server),
                None => listening.acceptor.replace(cx.waker().clone()),
            }
        };
        drop(replaced);
        Poll::Pending
    }
}

fn refused() -> io::Error {
    io::ErrorKind::ConnectionRefused.into()
}

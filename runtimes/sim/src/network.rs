//! The simulated network: its listeners, [`SimListener`], and its names.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use sockless_driver::{Accepted, Listen};

use crate::io::SimIo;
use crate::link::Link;
use crate::names::{Lookup, Names, Reachability, without_port};
use crate::{lock, waits};

/// A listener on the simulated network, from [`Sim::listen`](crate::Sim::listen).
///
/// Dropping it releases its name and ends the connections that were not accepted.
pub struct SimListener {
    name: String,
    network: Arc<Network>,
}

impl SimListener {
    /// Waits for the next connection and returns the server's end of it, in the order of arrival.
    ///
    /// Cancel-safe: a connection that was not returned is kept for the next call.
    pub async fn accept(&mut self) -> SimIo {
        poll_fn(|cx| self.network.poll_accept(&self.name, cx)).await
    }
}

impl Listen for SimListener {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        if let Some(error) = self.network.take_failure(&self.name) {
            return Poll::Ready(Err(error));
        }
        let accepted = self.network.poll_accept(&self.name, cx);
        if accepted.is_pending() && waits::is_searching() {
            waits::found_connection(format!("a connection to {}", self.name));
        }
        accepted
            .map(|io| Ok(Accepted { transport: Box::new(io), peer_addr: None, local_addr: None }))
    }

    /// Returns `None`: a simulated listener has a name and no address.
    fn local_addr(&self) -> Option<SocketAddr> {
        None
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

/// The listeners by name, and the names with their addresses.
#[derive(Default)]
pub(crate) struct Network {
    listeners: Mutex<BTreeMap<String, Listening>>,
    names: Mutex<Names>,
}

struct Listening {
    link: Link,
    arrived: VecDeque<SimIo>,
    acceptor: Option<Waker>,
    /// The errors of the next accepts.
    failures: VecDeque<io::Error>,
}

impl Network {
    #[track_caller]
    pub(crate) fn listen(self: &Arc<Self>, name: &str, link: &Link) -> SimListener {
        let (arrived, failures) = (VecDeque::new(), VecDeque::new());
        let listening = Listening { link: link.clone(), arrived, acceptor: None, failures };
        let mut listeners = lock(&self.listeners);
        assert!(!listeners.contains_key(name), "the name {name:?} is already in use by a listener");
        listeners.insert(name.to_owned(), listening);
        lock(&self.names).assign_address(without_port(name));
        SimListener { name: name.to_owned(), network: Arc::clone(self) }
    }

    /// Returns the name of the listener for a URL's host and port: `host:port` if there is one,
    /// otherwise `host` for port 80.
    pub(crate) fn name_of(&self, host: &str, port: u16) -> String {
        let full = format!("{host}:{port}");
        if port == 80 && !lock(&self.listeners).contains_key(&full) {
            return host.to_owned();
        }
        full
    }

    pub(crate) fn set_lookup(&self, name: &str, lookup: Lookup) {
        lock(&self.names).set_lookup(name, lookup);
    }

    pub(crate) fn set_reachability(&self, addr: IpAddr, reachability: Reachability) {
        lock(&self.names).set_reachability(addr, reachability);
    }

    pub(crate) fn lookup(&self, name: &str) -> Option<Lookup> {
        lock(&self.names).lookup(name)
    }

    /// Returns the name that has the address `addr`, and how it is reached.
    pub(crate) fn destination(&self, addr: IpAddr) -> (String, Reachability) {
        lock(&self.names).destination(addr)
    }

    pub(crate) fn link(&self, name: &str) -> io::Result<Link> {
        let listeners = lock(&self.listeners);
        let listening = listeners.get(name).ok_or_else(refused)?;
        Ok(listening.link.clone())
    }

    pub(crate) fn deliver(&self, name: &str, server: SimIo) -> io::Result<()> {
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

    /// Makes accepts at `name` fail, if there is a listener.
    pub(crate) fn fail_accepts(&self, name: &str, errors: impl Iterator<Item = io::Error>) {
        if let Some(listening) = lock(&self.listeners).get_mut(name) {
            listening.failures.extend(errors);
        }
    }

    /// Returns the error of an accept, once a connection has arrived.
    fn take_failure(&self, name: &str) -> Option<io::Error> {
        let mut listeners = lock(&self.listeners);
        let listening = listeners.get_mut(name)?;
        if listening.arrived.is_empty() { None } else { listening.failures.pop_front() }
    }

    fn poll_accept(&self, name: &str, cx: &Context<'_>) -> Poll<SimIo> {
        let replaced = {
            let mut listeners = lock(&self.listeners);
            let listening =
                listeners.get_mut(name).expect("a listener keeps its name until it is dropped");
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

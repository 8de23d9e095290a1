//! Names, their addresses, and the ways to those: [`Lookup`] and [`Reachability`], which a test may spoil.

use std::collections::BTreeMap;
use std::future::pending;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use sockless_driver::{BoxFuture, Dial, Io};

use crate::executor::Sim;
use crate::lock;

/// What looking up a name comes to; see [`Sim::set_lookup`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// These addresses, in this order. Who listens at the name is reached at each of them.
    Addrs(Vec<IpAddr>),
    /// An error of this kind.
    Fails(io::ErrorKind),
    /// Nothing, for ever.
    Hangs,
}

/// What becomes of those who connect to an address; see [`Sim::set_reachability`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reachability {
    /// They reach who listens there, or are refused. What it is by default.
    Open,
    /// An error of this kind, such as `HostUnreachable`.
    Fails(io::ErrorKind),
    /// Nothing, for ever: what is sent there is lost.
    Lost,
}

impl Sim {
    /// Says what looking up `name` comes to. By default, whoever listens at a name gives it an address
    /// of its own, which it keeps, and other names have none.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use sockless_core::Instant;
    /// use sockless_driver::ConnectError;
    /// use sockless_sim::{Lookup, Reachability, Sim};
    ///
    /// Sim::check(0..3, |sim| async move {
    ///     let (dead, refused) = ("2001:db8::1".parse().unwrap(), "192.0.2.1".parse().unwrap());
    ///     sim.set_lookup("server", Lookup::Addrs(vec![dead, refused]));
    ///     sim.set_reachability(dead, Reachability::Lost);
    ///     let error = sim.connect("ws://server/").await.unwrap_err();
    ///     assert!(matches!(error, ConnectError::Timeout { attempts, .. } if attempts.len() == 2));
    ///     assert_eq!(sim.now(), Instant::EPOCH + Duration::from_secs(10));
    /// });
    /// ```
    pub fn set_lookup(&self, name: &str, lookup: Lookup) {
        let mut names = lock(&self.network().names);
        if let Lookup::Addrs(addrs) = &lookup {
            names.hosts.extend(addrs.iter().map(|addr| (*addr, name.to_owned())));
        }
        names.lookups.insert(name.to_owned(), lookup);
    }

    /// Says what becomes of those who connect to `addr` from now on.
    pub fn set_reachability(&self, addr: IpAddr, route: Reachability) {
        lock(&self.network().names).routes.insert(addr, route);
    }
}

/// By the names and the routes of this world.
impl Dial for Sim {
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        let lookup = lock(&self.network().names).lookups.get(host).cloned();
        Box::pin(async move {
            match lookup {
                Some(Lookup::Addrs(addrs)) => {
                    Ok(addrs.into_iter().map(|addr| SocketAddr::new(addr, port)).collect())
                }
                Some(Lookup::Fails(kind)) => Err(kind.into()),
                Some(Lookup::Hangs) => pending().await,
                None => Err(io::Error::new(io::ErrorKind::NotFound, "nobody has this name")),
            }
        })
    }

    fn connect(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Io>>> {
        let (route, host) = {
            let names = lock(&self.network().names);
            let route = names.routes.get(&addr.ip()).copied().unwrap_or(Reachability::Open);
            let host = names.hosts.get(&addr.ip()).cloned();
            (route, host.unwrap_or_else(|| addr.ip().to_string()))
        };
        let sim = self.clone();
        Box::pin(async move {
            match route {
                Reachability::Open => {
                    let io: Box<dyn Io> =
                        Box::new(sim.dial(&sim.name_of(&host, addr.port())).await?);
                    Ok(io)
                }
                Reachability::Fails(kind) => Err(kind.into()),
                Reachability::Lost => pending().await,
            }
        })
    }
}

/// Which names have which addresses, and how those are reached.
#[derive(Default)]
pub(crate) struct Names {
    lookups: BTreeMap<String, Lookup>,
    hosts: BTreeMap<IpAddr, String>,
    routes: BTreeMap<IpAddr, Reachability>,
    given: u32,
}

impl Names {
    /// Gives `host` an address of its own, unless it has one or is one.
    pub(crate) fn give_address(&mut self, host: &str) {
        if self.lookups.contains_key(host) || host.parse::<IpAddr>().is_ok() {
            return;
        }
        self.given += 1;
        let addr = IpAddr::from(Ipv4Addr::from_bits(FIRST.to_bits() + self.given));
        self.hosts.insert(addr, host.to_owned());
        self.lookups.insert(host.to_owned(), Lookup::Addrs(vec![addr]));
    }
}

/// Where the addresses begin that are given out (RFC 2544).
const FIRST: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);

/// The name without the port that may follow it.
pub(crate) fn host_of(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => host,
        _ => name,
    }
}

//! Names and addresses, with the faults of lookups and connections: [`Lookup`], [`Reachability`].

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};

/// The result of a name lookup, for [`Sim::set_lookup`](crate::Sim::set_lookup).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lookup {
    /// These addresses, in this order. The listener of the name is reached at each of them.
    Addrs(Vec<IpAddr>),
    /// An error of this kind.
    Fails(io::ErrorKind),
    /// The lookup never completes.
    Hangs,
}

/// The result of connecting to an address, for
/// [`Sim::set_reachability`](crate::Sim::set_reachability).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reachability {
    /// The connection reaches the listener, or is refused without one. This is the default.
    Open,
    /// An error of this kind, such as `HostUnreachable`.
    Fails(io::ErrorKind),
    /// Connecting never completes, since all packets are lost.
    Lost,
}

/// The addresses of names, and how they are reached.
#[derive(Default)]
pub(crate) struct Names {
    lookups: BTreeMap<String, Lookup>,
    names: BTreeMap<IpAddr, String>,
    reachability: BTreeMap<IpAddr, Reachability>,
    assigned: u32,
}

impl Names {
    pub(crate) fn set_lookup(&mut self, name: &str, lookup: Lookup) {
        if let Lookup::Addrs(addrs) = &lookup {
            self.names.extend(addrs.iter().map(|addr| (*addr, name.to_owned())));
        }
        self.lookups.insert(name.to_owned(), lookup);
    }

    pub(crate) fn set_reachability(&mut self, addr: IpAddr, reachability: Reachability) {
        self.reachability.insert(addr, reachability);
    }

    pub(crate) fn lookup(&self, name: &str) -> Option<Lookup> {
        self.lookups.get(name).cloned()
    }

    pub(crate) fn destination(&self, addr: IpAddr) -> (String, Reachability) {
        let name = self.names.get(&addr).cloned().unwrap_or_else(|| addr.to_string());
        (name, self.reachability.get(&addr).copied().unwrap_or(Reachability::Open))
    }

    /// Assigns an address to `name`, unless it has one or is one.
    pub(crate) fn assign_address(&mut self, name: &str) {
        if self.lookups.contains_key(name) || name.parse::<IpAddr>().is_ok() {
            return;
        }
        self.assigned += 1;
        let addr = IpAddr::from(Ipv4Addr::from_bits(FIRST.to_bits() + self.assigned));
        self.set_lookup(name, Lookup::Addrs(vec![addr]));
    }
}

/// The address before the first assigned one, of the network for benchmarks (RFC 2544).
const FIRST: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);

/// Returns `name` without its port, if it has one.
pub(crate) fn without_port(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => host,
        _ => name,
    }
}

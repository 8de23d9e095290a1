//! Networks in the settings of a program, such as `10.0.0.0/8`.

use std::net::IpAddr;

use ipnet::IpNet;

/// Parses an address, or a network in the notation of RFC 4632. IPv4-mapped addresses and networks
/// become those of IPv4, as [`IpAddr::to_canonical`] does for an address. `None` if the text is
/// neither, or a network also has addresses that are not mapped.
pub(crate) fn parse(text: &str) -> Option<IpNet> {
    let address = text.parse::<IpAddr>().ok().map(|ip| IpNet::from(ip.to_canonical()));
    address.or_else(|| canonical(text.parse().ok()?))
}

fn canonical(network: IpNet) -> Option<IpNet> {
    match network.addr().to_canonical() {
        address @ IpAddr::V4(_) if network.addr().is_ipv6() => {
            IpNet::new(address, network.prefix_len().checked_sub(96)?).ok()
        }
        _ => Some(network),
    }
}

//! Networks of IP addresses.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Bits of an IPv6 address that identify the network: a client may choose the rest.
const NETWORK_BITS: u32 = 64;

/// A network in CIDR notation (`10.0.0.0/8`), or one address.
///
/// An IPv4-mapped IPv6 address (`::ffff:10.0.0.1`) is treated as the IPv4 address, here and in
/// [`Network::contains`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network(IpNet);

/// The text is not a network.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a network; write it as \"10.0.0.0/8\", \"fd00::/8\" or a single address")]
pub struct NoNetwork(String);

impl Network {
    /// Whether the address lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

/// What is counted as one client: an IPv4 address, or the /64 network of an IPv6 address, since whoever has one address of
/// it has all.
pub fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let host = u128::MAX.checked_shr(NETWORK_BITS).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !host))
        }
    }
}

impl FromStr for Network {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let network = match text.parse::<IpAddr>() {
            Ok(address) => Some(IpNet::from(address.to_canonical())),
            Err(_) => text.parse::<IpNet>().ok(),
        };
        network
            .map(|network| Self(network.trunc()))
            .ok_or_else(|| NoNetwork(text.to_owned()))
    }
}

impl TryFrom<String> for Network {
    type Error = NoNetwork;

    fn try_from(text: String) -> Result<Self, NoNetwork> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_parsed_and_displayed() {
        for (text, shown) in [
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("10.1.2.3", "10.1.2.3/32"),
            ("::1", "::1/128"),
            ("fd00::1/8", "fd00::/8"),
            ("::ffff:10.1.2.3", "10.1.2.3/32"),
        ] {
            let network: Network = text.parse().unwrap();
            assert_eq!(network.to_string(), shown);
            assert_eq!(shown.parse::<Network>().unwrap(), network);
        }
        for wrong in ["", "10.0.0.0/33", "localhost", "10.0.0", "10.0.0.1:80"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn mapped_addresses_are_in_the_ipv4_network() {
        let network: Network = "10.0.0.0/8".parse().unwrap();
        for inside in ["10.9.8.7", "::ffff:10.9.8.7"] {
            assert!(network.contains(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["11.0.0.1", "::ffff:11.0.0.1", "::1"] {
            assert!(!network.contains(outside.parse().unwrap()), "{outside}");
        }
    }
}

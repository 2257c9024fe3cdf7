//! Ports for a demo's nodes.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use rand::Rng as _;

use crate::cli::Failure;
use crate::config::Config;

/// The file with the range of ports for outgoing connections.
const EPHEMERAL_RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// The start of that range if the file can't be read.
const EPHEMERAL_START: u16 = 32_768;

/// Lowest port that is chosen: lower ones belong to well-known services, and to people.
const LOWEST: u16 = 12_000;

/// Attempts to find a free port.
const ATTEMPTS: usize = 1_000;

/// Chooses ports that are free for TCP and UDP on loopback.
///
/// Not by port 0: the system's choice is in the range of outgoing connections, one of which may take the port of a killed
/// node before it is restarted.
pub struct Free {
    taken: HashSet<u16>,
    below: u16,
}

impl Free {
    /// Ports other than these.
    pub fn avoiding(ports: impl IntoIterator<Item = u16>) -> Self {
        let start = fs::read_to_string(EPHEMERAL_RANGE)
            .ok()
            .and_then(|range| range.split_whitespace().next()?.parse().ok())
            .unwrap_or(EPHEMERAL_START);
        Self {
            taken: ports.into_iter().collect(),
            // Where the range covers nearly everything, the usual one is as good as any.
            below: if start > LOWEST + 1_000 {
                start
            } else {
                EPHEMERAL_START
            },
        }
    }

    /// Another free port.
    ///
    /// # Errors
    /// Where none is found.
    pub fn choose(&mut self) -> Result<u16, Failure> {
        let mut random = rand::rng();
        for _ in 0..ATTEMPTS {
            let port = random.random_range(LOWEST..self.below);
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            if !self.taken.contains(&port) && tcp(address).is_ok() && udp(address).is_ok() {
                self.taken.insert(port);
                return Ok(port);
            }
        }
        Err(Failure::plain("there is no free port on 127.0.0.1"))
    }
}

/// Checks that every address of the configuration is free, for a clear message in the usual case: another process may still
/// take one before the node does.
pub(super) fn check(config: &Config) -> Result<(), Failure> {
    for (index, node) in config.nodes.iter().enumerate() {
        for (key, address, result) in [
            ("shop", node.shop, tcp(node.shop)),
            ("operator", node.operator, tcp(node.operator)),
            ("cluster", node.cluster, tcp(node.cluster)),
            ("gossip", node.gossip, udp(node.gossip)),
        ] {
            result.map_err(|error| {
                Failure::failed(
                    format!("nodes[{index}].{key} can't listen on {address}: stop the process that does, or choose another --port"),
                    error,
                )
            })?;
        }
    }
    Ok(())
}

fn tcp(address: SocketAddr) -> io::Result<()> {
    TcpListener::bind(address).map(drop)
}

fn udp(address: SocketAddr) -> io::Result<()> {
    UdpSocket::bind(address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_different_free_and_outside_the_range_of_outgoing_connections() {
        let mut free = Free::avoiding([]);
        let ports: HashSet<u16> = (0..64).map(|_| free.choose().unwrap()).collect();
        assert_eq!(ports.len(), 64);
        assert!(ports.iter().all(|port| (LOWEST..free.below).contains(port)));
    }

    #[test]
    fn a_port_in_use_is_named_with_its_key() {
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = holder.local_addr().unwrap();
        let mut free = Free::avoiding([]);
        let mut text = include_str!("../../../cluster.toml").to_owned();
        for port in [
            8080, 8081, 8082, 9080, 9081, 9082, 7080, 7081, 7082, 7180, 7181, 7182,
        ] {
            let replacement = if port == 9081 {
                address.port()
            } else {
                free.choose().unwrap()
            };
            text = text.replace(
                &format!("= \"127.0.0.1:{port}\""),
                &format!("= \"127.0.0.1:{replacement}\""),
            );
        }
        let config = Config::parse(&text, std::path::Path::new("cluster.toml"), []).unwrap();
        let error = check(&config).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("nodes[1].operator can't listen on {address}")),
            "{error}"
        );
        drop(holder);
        assert!(check(&config).is_ok());
    }
}

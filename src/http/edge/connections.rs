//! Limits the connections of each address at one listener.

use std::net::IpAddr;

use crate::http::edge::client_address::{ClientAddress, TrustedProxies};
use crate::http::edge::shares::{Share, Shares};

/// Counts connections by address, so that no single client takes every connection of a listener, by sending half a
/// request on each, for example.
pub struct Connections {
    open: Shares,
    /// Proxies: all clients come through them.
    exempt: TrustedProxies,
}

/// A counted connection, released when dropped.
pub struct ConnectionPermit {
    _share: Option<Share>,
}

impl Connections {
    /// At most `limit` for each address that is not `exempt`.
    pub fn new(limit: usize, exempt: TrustedProxies) -> Self {
        Self {
            open: Shares::per_address(limit),
            exempt,
        }
    }

    /// Counts a connection of this peer; `None` where it has as many as it may.
    pub fn enter(&self, peer: IpAddr) -> Option<ConnectionPermit> {
        if self.exempt.contains(peer) {
            return Some(ConnectionPermit { _share: None });
        }
        let share = self.open.take(Some(ClientAddress(peer)), 1);
        if share.is_none() {
            metrics::counter!("souk_http_connections_refused_total").increment(1);
        }
        share.map(|share| ConnectionPermit { _share: Some(share) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn connections_are_counted_per_address() {
        let connections = Connections::new(2, TrustedProxies::new(&["10.0.0.0/8".parse().unwrap()]));
        let first = connections.enter(address("203.0.113.1")).unwrap();
        let _second = connections.enter(address("::ffff:203.0.113.1")).unwrap();
        assert!(connections.enter(address("203.0.113.1")).is_none());
        let other = connections.enter(address("203.0.113.2")).unwrap();
        drop(first);
        assert!(connections.enter(address("203.0.113.1")).is_some());
        drop(other);
        assert_eq!(connections.open.addresses(), 1, "only who is there is remembered");
    }

    #[test]
    fn what_is_refused_is_counted() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            let connections = Connections::new(1, TrustedProxies::default());
            let _held = connections.enter(address("203.0.113.1")).unwrap();
            for _ in 0..3 {
                assert!(connections.enter(address("203.0.113.1")).is_none());
            }
        });
        let shown = recorder.handle().render();
        assert!(shown.contains("souk_http_connections_refused_total 3"), "{shown}");
    }

    #[test]
    fn ipv6_networks_count_as_one_client() {
        let connections = Connections::new(1, TrustedProxies::new(&["10.0.0.0/8".parse().unwrap()]));
        let _one = connections.enter(address("2001:db8::1")).unwrap();
        assert!(connections.enter(address("2001:db8::2")).is_none());
        let proxied: Vec<_> = (0..5).map(|_| connections.enter(address("10.1.1.1"))).collect();
        assert!(proxied.iter().all(Option::is_some));
    }
}

//! `[gateway]`: trusted proxies, CORS, compression and rate limits.

use serde::{Deserialize, Serialize};

use super::error::Problems;
use super::network::Network;
use super::section::{Milliseconds, Settings, within};

/// Every origin, in `gateway.cors_origins`.
pub const ANY_ORIGIN: &str = "*";

/// `[gateway]`: trusted proxies, CORS, compression and rate limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gateway {
    /// The proxies whose forwarding headers are believed.
    pub trusted_proxies: Vec<Network>,
    /// Origins whose pages may call the shop from a browser; `"*"` alone for all.
    pub cors_origins: Vec<String>,
    /// Whether large replies are compressed for clients that accept it.
    pub compression: bool,
    /// Most requests of one account, or of one guest's cart, in a minute, on all nodes together; 0 for any number.
    pub requests_per_minute: u32,
    /// Most requests from one address (IPv6: one /64 network) in a minute, on all nodes together; 0 for any number.
    pub requests_per_minute_per_address: u32,
    /// Longest time for the store to count a request; after it, each node counts its own for a while.
    pub request_count_ms: Milliseconds,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            trusted_proxies: loopback(),
            cors_origins: Vec::new(),
            compression: true,
            requests_per_minute: 1_200,
            requests_per_minute_per_address: 12_000,
            request_count_ms: Milliseconds(200),
        }
    }
}

/// This machine.
fn loopback() -> Vec<Network> {
    // Both are written out here and well-formed, so that nothing is left out.
    ["127.0.0.0/8", "::1/128"]
        .iter()
        .filter_map(|text| text.parse().ok())
        .collect()
}

impl Settings for Gateway {
    fn check(&self, problems: &mut Problems) {
        let count = self.request_count_ms.0;
        within("gateway.request_count_ms", count, &(10..=60_000), problems);
        let any = self.cors_origins.iter().any(|origin| origin == ANY_ORIGIN);
        if any && self.cors_origins.len() > 1 {
            problems.add(
                "gateway.cors_origins",
                "has \"*\" and other origins",
                "write [\"*\"] for all origins, or name each",
            );
        }
        for origin in self.cors_origins.iter().filter(|origin| *origin != ANY_ORIGIN) {
            if !is_origin(origin) {
                problems.add(
                    "gateway.cors_origins",
                    format!("has {origin:?}, which no browser sends"),
                    "write scheme, host and port unless it is the scheme's default, as in \"https://shop.example\"",
                );
            }
        }
    }
}

/// Whether it is an origin as a browser serialises it: lower case, no path, no default port.
fn is_origin(text: &str) -> bool {
    reqwest::Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https") && url.origin().ascii_serialization() == text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(gateway: &Gateway) -> Problems {
        let mut problems = Problems::default();
        gateway.check(&mut problems);
        problems
    }

    #[test]
    fn only_origins_of_browsers_are_accepted() {
        let with = |origins: &[&str]| Gateway {
            cors_origins: origins.iter().map(|origin| (*origin).to_owned()).collect(),
            ..Gateway::default()
        };
        for good in [
            &[][..],
            &["*"],
            &["https://shop.example", "http://127.0.0.1:3000"],
        ] {
            assert!(problems(&with(good)).keys().is_empty(), "{good:?}");
        }
        for bad in [
            &["https://shop.example/"][..],
            &["https://Shop.example"],
            &["https://shop.example:443"],
            &["shop.example"],
            &["null"],
            &["ftp://shop.example"],
            &["*", "https://shop.example"],
        ] {
            assert_eq!(problems(&with(bad)).keys(), ["gateway.cors_origins"], "{bad:?}");
        }
    }

    #[test]
    fn the_time_for_counting_is_bounded() {
        let with = |milliseconds| Gateway {
            request_count_ms: Milliseconds(milliseconds),
            ..Gateway::default()
        };
        assert!(problems(&with(10)).keys().is_empty() && problems(&with(60_000)).keys().is_empty());
        for bad in [0, 9, 60_001] {
            assert_eq!(problems(&with(bad)).keys(), ["gateway.request_count_ms"], "{bad}");
        }
    }
}

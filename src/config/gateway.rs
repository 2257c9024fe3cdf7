//! `[gateway]` and `[tls]`: what stands between clients and the listeners.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::Problem;
use super::network::Network;
use super::settings::{Milliseconds, within};

/// Every origin, as `gateway.cors_origins` says it.
pub const ANY_ORIGIN: &str = "*";

/// `[gateway]`: who is believed, and what replies to browsers carry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gateway {
    /// The proxies whose word on a client's address counts.
    pub trusted_proxies: Vec<Network>,
    /// Origins whose pages may call the shop from a browser; `"*"` alone for all.
    pub cors_origins: Vec<String>,
    /// Whether large replies are compressed for clients that accept it.
    pub compression: bool,
    /// Requests that one account, or one guest's cart, may make in a minute, on all nodes together; 0 for any number.
    pub requests_per_minute: u32,
    /// Requests that may come from one address (of IPv6: one /64 network) in a minute, on all nodes together; 0 for any
    /// number.
    pub requests_per_minute_per_address: u32,
    /// How long the store may take to add up a caller's requests, before each node counts its own for a while.
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

impl Gateway {
    pub(super) fn check(&self, problems: &mut Vec<Problem>) {
        let range = 10..=60_000;
        within(
            "gateway",
            "request_count_ms",
            self.request_count_ms.0,
            range,
            problems,
        );
        let any = self.cors_origins.iter().any(|origin| origin == ANY_ORIGIN);
        if any && self.cors_origins.len() > 1 {
            problems.push(Problem::new(
                "gateway.cors_origins",
                "has \"*\" and others beside it",
                "write [\"*\"] for all origins, or name each",
            ));
        }
        for origin in self.cors_origins.iter().filter(|origin| *origin != ANY_ORIGIN) {
            if !is_origin(origin) {
                problems.push(Problem::new(
                    "gateway.cors_origins",
                    format!("has {origin:?}, which no browser sends"),
                    "write scheme, host and port where it is not the scheme's own, as in \"https://shop.example\"",
                ));
            }
        }
    }
}

/// Whether a browser serialises an origin just so: lower case, no path, no default port.
fn is_origin(text: &str) -> bool {
    reqwest::Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https") && url.origin().ascii_serialization() == text
    })
}

/// What `[tls]` says, before it is checked.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawTls {
    shop_certificate: Option<String>,
    shop_key: Option<String>,
    operator_certificate: Option<String>,
    operator_key: Option<String>,
    authority: Option<String>,
}

/// `[tls]`: which listeners speak TLS, and how other nodes' are verified.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tls {
    /// The shop's listener (`shop_certificate`, `shop_key`); plain HTTP without.
    pub shop: Option<CertificateFiles>,
    /// The operator's listener (`operator_certificate`, `operator_key`); plain HTTP without.
    pub operator: Option<CertificateFiles>,
    /// Who signed the operator's certificates (PEM, one or many); without it, `ca.pem` of `cluster.certificates`.
    #[serde(serialize_with = "super::shown_option")]
    pub authority: Option<PathBuf>,
}

/// The two PEM files of a listener with TLS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CertificateFiles {
    /// The certificate, followed by those that lead from it to its authority.
    #[serde(serialize_with = "super::shown")]
    pub certificate: PathBuf,
    /// Its private key.
    #[serde(serialize_with = "super::shown")]
    pub key: PathBuf,
}

impl RawTls {
    pub(super) fn check(self, base: &Path, problems: &mut Vec<Problem>) -> Tls {
        Tls {
            shop: pair("shop", self.shop_certificate, self.shop_key, base, problems),
            operator: pair(
                "operator",
                self.operator_certificate,
                self.operator_key,
                base,
                problems,
            ),
            authority: self
                .authority
                .map(|file| readable("tls.authority", &file, base, problems)),
        }
    }
}

fn pair(
    listener: &str,
    certificate: Option<String>,
    key: Option<String>,
    base: &Path,
    problems: &mut Vec<Problem>,
) -> Option<CertificateFiles> {
    let (certificate_place, key_place) = (
        format!("tls.{listener}_certificate"),
        format!("tls.{listener}_key"),
    );
    match (certificate, key) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some(CertificateFiles {
            certificate: readable(&certificate_place, &certificate, base, problems),
            key: readable(&key_place, &key, base, problems),
        }),
        (certificate, _) => {
            let (missing, there) = if certificate.is_none() {
                (certificate_place, key_place)
            } else {
                (key_place, certificate_place)
            };
            problems.push(Problem::new(
                missing,
                format!("is missing, and {there} is there"),
                "name both files for TLS, neither for plain HTTP",
            ));
            None
        }
    }
}

/// The path of a file that this user may read.
fn readable(place: &str, file: &str, base: &Path, problems: &mut Vec<Problem>) -> PathBuf {
    let path = base.join(file);
    if let Err(error) = fs::File::open(&path) {
        problems.push(Problem::new(
            place,
            format!("({}) can't be read: {error}", path.display()),
            "name a PEM file that this user may read",
        ));
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys_of(gateway: &Gateway) -> Vec<String> {
        let mut problems = Vec::new();
        gateway.check(&mut problems);
        problems.into_iter().map(|problem| problem.key).collect()
    }

    #[test]
    fn only_origins_that_a_browser_sends_are_accepted() {
        let with = |origins: &[&str]| Gateway {
            cors_origins: origins.iter().map(|origin| (*origin).to_owned()).collect(),
            ..Gateway::default()
        };
        for good in [
            &[][..],
            &["*"],
            &["https://shop.example", "http://127.0.0.1:3000"],
        ] {
            assert!(keys_of(&with(good)).is_empty(), "{good:?}");
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
            assert_eq!(keys_of(&with(bad)), ["gateway.cors_origins"], "{bad:?}");
        }
    }

    #[test]
    fn a_count_is_waited_for_at_least_a_moment_and_not_for_ever() {
        let with = |milliseconds| Gateway {
            request_count_ms: Milliseconds(milliseconds),
            ..Gateway::default()
        };
        assert!(keys_of(&with(10)).is_empty() && keys_of(&with(60_000)).is_empty());
        for bad in [0, 9, 60_001] {
            assert_eq!(keys_of(&with(bad)), ["gateway.request_count_ms"], "{bad}");
        }
    }

    #[test]
    fn a_listener_needs_both_files_and_they_must_be_there() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.pem", "a.key"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let check = |raw: RawTls| {
            let mut problems = Vec::new();
            let tls = raw.check(folder.path(), &mut problems);
            (
                tls,
                problems
                    .into_iter()
                    .map(|problem| problem.key)
                    .collect::<Vec<_>>(),
            )
        };
        let (certificate, key) = (Some("a.pem".to_owned()), Some("a.key".to_owned()));
        let (tls, problems) = check(RawTls {
            shop_certificate: certificate.clone(),
            shop_key: key.clone(),
            ..RawTls::default()
        });
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(tls.shop.unwrap().key, folder.path().join("a.key"));
        assert_eq!(tls.operator, None);
        let half = |shop_certificate, operator_key| RawTls {
            shop_certificate,
            operator_key,
            ..RawTls::default()
        };
        assert_eq!(check(half(certificate, None)).1, ["tls.shop_key"]);
        assert_eq!(check(half(None, key)).1, ["tls.operator_certificate"]);
        let missing = RawTls {
            authority: Some("none.pem".to_owned()),
            ..RawTls::default()
        };
        assert_eq!(check(missing).1, ["tls.authority"]);
    }
}

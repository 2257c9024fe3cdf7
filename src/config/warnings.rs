//! Valid settings that are weak.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;

use super::Config;
use super::error::Warning;

/// The key in the example `cluster.toml`, known to everyone.
pub const EXAMPLE_KEY: &str = "c291ay1leGFtcGxlLWtleS1tYWtlLXlvdXItb3duLTE=";

/// The operator token in the example `cluster.toml`.
pub(super) const EXAMPLE_TOKEN: &str = "souk-example-token-make-your-own";

/// Shorter operator tokens are warned of: 128 bits in hexadecimal.
const LONG_TOKEN: usize = 32;

/// Permission bits of everyone except a file's owner.
const OTHERS: u32 = 0o077;

/// Whether the address is of this machine, a private network (RFC 1918, RFC 4193) or a link. A wildcard is not: it includes
/// every public address of the machine.
fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_loopback() || address.is_private() || address.is_link_local(),
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
    }
}

pub(super) fn warnings(config: &Config) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut warn = |key: &str, message: String| {
        warnings.push(Warning {
            key: key.into(),
            message,
        });
    };
    let holds_example = config.cluster.key.to_base64() == EXAMPLE_KEY;
    if holds_example {
        warn(
            "cluster.key",
            "is that of the example, known to everyone; make your own with `head -c 32 /dev/urandom | base64`"
                .into(),
        );
    }
    let token = config.operator.token.expose();
    if token == EXAMPLE_TOKEN {
        warn(
            "operator.token",
            "is that of the example, known to everyone; make your own with `openssl rand -hex 24`".into(),
        );
    } else if token.len() < LONG_TOKEN {
        warn(
            "operator.token",
            format!(
                "has {} characters; use at least {LONG_TOKEN} random ones",
                token.len()
            ),
        );
    }
    if config.sealing.keys.first().is_none_or(|key| key.key.is_none()) {
        warn(
            "sealing.keys",
            "is not given: personal data is sealed under a key that is derived from cluster.key, so that cluster.key opens it \
             and can't be changed; write keys = [{ id = \"k1\", key_file = \"k1.key\" }]"
                .into(),
        );
    }
    for (index, node) in config.nodes.iter().enumerate() {
        if config.tls.shop.is_none() && !is_private(node.shop.ip()) {
            warn(
                &format!("nodes[{index}].shop"),
                format!(
                    "({}) is public and speaks plain HTTP; give it a certificate in [tls], or put a proxy with TLS before a private address",
                    node.shop
                ),
            );
        }
        if config.tls.operator.is_none() && !node.operator.ip().is_loopback() {
            let by = if node.operator.ip().is_unspecified() {
                "listens on every interface"
            } else {
                "can be reached from other machines"
            };
            warn(
                &format!("nodes[{index}].operator"),
                format!(
                    "({}) {by} and speaks plain HTTP, which does not protect the token; give it a certificate in [tls], or use it in a trusted network only",
                    node.operator
                ),
            );
        }
    }
    if config.nodes.len() == 2 {
        warn(
            "nodes",
            "has two entries: one of two is not a majority, so that the loss of a node always takes the longer minority wait; \
             use three or one"
                .into(),
        );
    }
    let mut secrets = vec![
        ("cluster.key".to_owned(), config.cluster.key_file.as_ref()),
        ("operator.token".to_owned(), config.operator.token_file.as_ref()),
    ];
    for (index, key) in config.sealing.keys.iter().enumerate() {
        if key.key.is_some() {
            secrets.push((format!("sealing.keys[{index}]"), key.key_file.as_ref()));
        }
    }
    for (key, file) in secrets {
        let file = file.unwrap_or(&config.file);
        // The example's secrets are public, and it is warned of already.
        if !holds_example && fs::metadata(file).is_ok_and(|file| file.permissions().mode() & OTHERS != 0) {
            warn(
                &key,
                format!(
                    "can be read by other users of this machine: `chmod 600 {0}`, or keep it in a separate file",
                    file.display()
                ),
            );
        }
    }
    warnings
}

//! Nodes on several hosts share no file.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use super::error::Problems;
use super::{Config, Node};

/// The hosts of the nodes, by the addresses at which they reach each other. All addresses of a loopback are one host.
fn hosts(nodes: &[Node]) -> BTreeSet<IpAddr> {
    let host = |address: IpAddr| match address.to_canonical() {
        address if address.is_loopback() => Ipv4Addr::LOCALHOST.into(),
        address => address,
    };
    nodes.iter().map(|node| host(node.cluster.ip())).collect()
}

/// Reports stores in files where the nodes are on several hosts, and nobody says that these are one machine.
pub(super) fn check(config: &Config, problems: &mut Problems) {
    let embedded = config.stores.embedded();
    let hosts = hosts(&config.nodes);
    if config.cluster.one_machine || embedded.is_empty() || hosts.len() < 2 {
        return;
    }
    let hosts: Vec<String> = hosts.iter().map(IpAddr::to_string).collect();
    problems.add(
        "stores",
        format!(
            "keeps {} in files of one machine, and the nodes have several addresses ({})",
            embedded.join(", "),
            hosts.join(", ")
        ),
        "give each of these stores the URL of a server, or write one_machine = true in [cluster] where the nodes share the folder \
         cluster.data of one machine",
    );
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{ConfigError, Problem};

    /// A configuration whose nodes reach each other at these addresses.
    fn parse(more: &str, stores: &str, addresses: &[&str]) -> Result<Config, ConfigError> {
        let mut text = format!(
            "[cluster]\nkey = \"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\"\n{more}\n\
             [operator]\ntoken = \"0123456789abcdef0123456789abcdef\"\n[stores]\n{stores}\n"
        );
        for (index, address) in addresses.iter().enumerate() {
            text.push_str(&format!(
                "[[nodes]]\nname = \"n{index}\"\nshop = \"{address}:808{index}\"\noperator = \"{address}:908{index}\"\n\
                 cluster = \"{address}:708{index}\"\ngossip = \"{address}:718{index}\"\n"
            ));
        }
        Config::parse(&text, Path::new("/etc/souk/cluster.toml"), [])
    }

    fn problem(parsed: Result<Config, ConfigError>) -> Problem {
        match parsed {
            Err(ConfigError::Invalid { mut problems, .. }) if problems.len() == 1 => problems.remove(0),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn files_are_for_one_machine() {
        let several = ["10.0.0.1", "10.0.0.2", "10.0.0.2"];
        let refused = problem(parse("", "", &several));
        assert_eq!(refused.key, "stores");
        assert!(
            refused.what.contains("carts, orders,") && refused.what.contains("(10.0.0.1, 10.0.0.2)"),
            "{refused}"
        );
        assert!(
            parse("one_machine = true", "", &several)
                .unwrap()
                .cluster
                .one_machine
        );
        for one in [
            &["10.0.0.1", "10.0.0.1"][..],
            &["127.0.0.1", "127.0.0.2", "[::1]"],
            &["10.0.0.1"],
        ] {
            parse("", "", one).unwrap();
        }
    }

    /// Of stores on servers nothing is said; one in a file is enough.
    #[cfg(feature = "full")]
    #[test]
    fn servers_are_for_several_hosts() {
        let file = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/cluster.full.toml"));
        let servers: toml::Table = std::fs::read_to_string(file).unwrap().parse().unwrap();
        let servers = servers["stores"].as_table().unwrap();
        let all: Vec<&str> = crate::config::StoreUrls::default()
            .all()
            .iter()
            .map(|(name, _)| *name)
            .collect();
        for embedded in all {
            let mut stores = servers.clone();
            stores.insert(embedded.into(), "sqlite:".into());
            let refused = problem(parse("", &stores.to_string(), &["10.0.0.1", "10.0.0.2"]));
            assert!(refused.what.contains(embedded), "{embedded}: {refused}");
            assert!(!refused.what.contains("carts, orders"), "{refused}");
        }
    }
}

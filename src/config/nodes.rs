//! `[[nodes]]`: the nodes with their addresses and roles.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};
use toml::Value;

use super::error::Problems;
use super::reader::Reader;
use super::section::Section;
use souk_cluster::placement::SHARDS;
use souk_cluster::view::Role;

/// Most nodes of a cluster: with one for each shard, each node has one shard of each kind.
const NODE_LIMIT: usize = SHARDS as usize;

const ADDRESS_EXAMPLE: &str = "write it as \"127.0.0.1:8080\" or \"[::1]:8080\"";

/// One of `[[nodes]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Node {
    /// Its name: lower-case letters, digits and `-`, at most 32 bytes.
    pub name: String,
    /// Where shoppers reach it (TCP).
    pub shop: SocketAddr,
    /// Where operators reach it (TCP).
    pub operator: SocketAddr,
    /// Where other nodes reach it (TCP).
    pub cluster: SocketAddr,
    /// Where it gossips (UDP).
    pub gossip: SocketAddr,
    /// Its roles.
    pub roles: Vec<Role>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Raw {
    name: Option<String>,
    shop: Option<String>,
    operator: Option<String>,
    cluster: Option<String>,
    gossip: Option<String>,
    roles: Option<Vec<Role>>,
}

impl Section for Vec<Node> {
    fn read(section: &str, reader: &mut Reader) -> Option<Self> {
        let raw: Vec<Raw> = reader.list(section);
        let problems = &mut reader.problems;
        if raw.is_empty() {
            problems.add("nodes", "is missing", "add at least one [[nodes]] section");
        }
        if raw.len() > NODE_LIMIT {
            problems.add(
                "nodes",
                format!("has {} entries", raw.len()),
                format!("a cluster has at most {NODE_LIMIT}"),
            );
        }
        let count = raw.len();
        let mut taken = Taken::default();
        let nodes: Self = raw
            .into_iter()
            .enumerate()
            .filter_map(|(index, raw)| read_node(index, raw, &mut taken, problems))
            .collect();
        for (role, name) in [(Role::Front, "front"), (Role::Entities, "entities")] {
            // Only where all nodes are valid: an invalid one may have the role.
            let lacks_role = || !nodes.iter().any(|node| node.roles.contains(&role));
            if count > 0 && nodes.len() == count && lacks_role() {
                problems.add(
                    "nodes",
                    format!("has none with the role {name:?}"),
                    "give it to at least one node",
                );
            }
        }
        Some(nodes)
    }

    fn write(&self, _: &Path) -> Result<Value, toml::ser::Error> {
        Value::try_from(self)
    }
}

/// Names and addresses of the nodes read so far, each with the place that has it.
#[derive(Default)]
struct Taken {
    names: HashMap<String, usize>,
    addresses: HashMap<(&'static str, SocketAddr), String>,
}

fn read_node(index: usize, raw: Raw, taken: &mut Taken, problems: &mut Problems) -> Option<Node> {
    let path = |key: &str| format!("nodes[{index}].{key}");
    match &raw.name {
        Some(name) => {
            problems.check_name(&path("name"), name);
            if let Some(first) = taken.names.insert(name.clone(), index) {
                problems.add(
                    path("name"),
                    format!("({name}) is the name of nodes[{first}] too"),
                    "give each node its own name",
                );
            }
        }
        None => problems.add(path("name"), "is missing", "add it, as in name = \"n1\""),
    }
    let mut address =
        |key, protocol, wildcard, text| read_address(&path(key), protocol, wildcard, text, taken, problems);
    let shop = address("shop", "TCP", true, raw.shop);
    let operator = address("operator", "TCP", true, raw.operator);
    let cluster = address("cluster", "TCP", false, raw.cluster);
    let gossip = address("gossip", "UDP", false, raw.gossip);
    let mut roles = raw.roles.unwrap_or_else(|| vec![Role::Front, Role::Entities]);
    roles.sort_unstable();
    roles.dedup();
    if roles.is_empty() {
        problems.add(
            path("roles"),
            "is empty",
            "write [\"front\"], [\"entities\"] or both",
        );
    }
    Some(Node {
        name: raw.name?,
        shop: shop?,
        operator: operator?,
        cluster: cluster?,
        gossip: gossip?,
        roles,
    })
}

/// Reads an address that no other key has. `wildcard`: whether 0.0.0.0 and :: are allowed, which others can't dial.
fn read_address(
    path: &str,
    protocol: &'static str,
    wildcard: bool,
    text: Option<String>,
    taken: &mut Taken,
    problems: &mut Problems,
) -> Option<SocketAddr> {
    let Some(text) = text else {
        problems.add(path, "is missing", format!("add it; {ADDRESS_EXAMPLE}"));
        return None;
    };
    let Ok(address) = text.parse::<SocketAddr>() else {
        problems.add(
            path,
            format!("({text:?}) is not an IP address with a port"),
            ADDRESS_EXAMPLE,
        );
        return None;
    };
    if address.port() == 0 {
        problems.add(path, "has port 0", "name a port: others must know it");
    }
    if !wildcard && address.ip().is_unspecified() {
        problems.add(
            path,
            format!("({address}) is not an address that other nodes can reach"),
            "name the address of one interface",
        );
    }
    if let Some(first) = taken.addresses.insert((protocol, address), path.to_owned()) {
        problems.add(
            path,
            format!("({address}) is the address of {first} too"),
            "give each its own",
        );
    }
    Some(address)
}

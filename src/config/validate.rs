//! From the raw sections to a [`Config`]: everything is checked, and everything that is wrong is reported.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use tracing_subscriber::EnvFilter;

use super::decode::{Raw, RawCluster, RawNode, RawOperator};
use super::error::Problem;
use super::sealing::sealing;
use super::{Cluster, ClusterKey, Config, Log, Node, Operator, Secret};
use souk_cluster::view::Role;

/// Longest name of a cluster or node in bytes: it stands in certificates and in the names of files.
const NAME_BYTES: usize = 32;

/// Fewest characters of an operator token.
const TOKEN_CHARACTERS: usize = 16;

/// Most characters of an operator token: it must fit into a header.
const TOKEN_LIMIT: usize = 512;

/// Most nodes of a cluster: as many as there are shards would leave one shard of each kind to a node.
const NODE_LIMIT: usize = souk_cluster::placement::SHARDS as usize;

/// How one makes a cluster key.
pub(super) const MAKE_KEY: &str =
    "write the base64 of 32 random bytes, as `head -c 32 /dev/urandom | base64` prints it";

/// How one makes an operator token.
const MAKE_TOKEN: &str = "write at least 16 random characters, as `openssl rand -hex 24` prints them";

/// Checks all of it. On `Err` there is at least one problem.
pub(super) fn validate(raw: Raw, file: &Path, problems: &mut Vec<Problem>) -> Result<Config, ()> {
    let base = file.parent().unwrap_or_else(|| Path::new("."));
    let cluster = cluster(raw.cluster, base, problems);
    let operator = operator(raw.operator, base, problems);
    let sealing = sealing(raw.sealing, base, problems);
    let nodes = nodes(raw.nodes, problems);
    let stores = raw.stores.check(problems);
    raw.limits.check(problems);
    raw.membership.check(problems);
    raw.transport.check(problems);
    raw.accounts.check(problems);
    raw.gateway.check(problems);
    let tls = raw.tls.check(base, problems);
    log(&raw.log, problems);
    match (cluster, operator) {
        (Some(cluster), Some(operator)) if problems.is_empty() => Ok(Config {
            file: file.to_owned(),
            cluster,
            operator,
            sealing,
            nodes,
            stores,
            limits: raw.limits,
            membership: raw.membership,
            transport: raw.transport,
            accounts: raw.accounts,
            gateway: raw.gateway,
            tls,
            log: raw.log,
        }),
        _ => Err(()),
    }
}

fn cluster(raw: RawCluster, base: &Path, problems: &mut Vec<Problem>) -> Option<Cluster> {
    let name = raw.name.unwrap_or_else(|| "souk".into());
    check_name("cluster.name", &name, problems);
    let key_file = raw.key_file.map(|name| base.join(name));
    let key = secret("cluster.key", raw.key, key_file.as_deref(), MAKE_KEY, problems).and_then(
        |(place, secret)| {
            let key = ClusterKey::from_base64(secret.expose());
            if key.is_none() {
                problems.push(Problem::new(place, "is not the base64 of 32 bytes", MAKE_KEY));
            }
            key
        },
    );
    let certificates = base.join(raw.certificates.unwrap_or_else(|| "certs".into()));
    let data = base.join(raw.data.unwrap_or_else(|| "data".into()));
    for (place, folder) in [("cluster.certificates", &certificates), ("cluster.data", &data)] {
        if folder.exists() && !folder.is_dir() {
            problems.push(Problem::new(
                place,
                format!("({}) is no folder", folder.display()),
                "name a folder, or one that does not exist yet",
            ));
        }
    }
    key.map(|key| Cluster {
        name,
        key,
        key_file,
        certificates,
        data,
    })
}

fn operator(raw: RawOperator, base: &Path, problems: &mut Vec<Problem>) -> Option<Operator> {
    let token_file = raw.token_file.map(|name| base.join(name));
    let (place, token) = secret(
        "operator.token",
        raw.token,
        token_file.as_deref(),
        MAKE_TOKEN,
        problems,
    )?;
    let length = token.expose().chars().count();
    let fault = if !token.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
        "has characters that do not fit into a header".to_owned()
    } else if !(TOKEN_CHARACTERS..=TOKEN_LIMIT).contains(&length) {
        format!("has {length} characters, and must have {TOKEN_CHARACTERS} to {TOKEN_LIMIT}")
    } else {
        return Some(Operator { token, token_file });
    };
    problems.push(Problem::new(place, fault, MAKE_TOKEN));
    None
}

/// A secret from the file itself or from the file that it names; with the key that gave it.
pub(super) fn secret(
    key: &str,
    inline: Option<Secret>,
    file: Option<&Path>,
    remedy: &str,
    problems: &mut Vec<Problem>,
) -> Option<(String, Secret)> {
    match (inline, file) {
        (Some(secret), None) => Some((key.to_owned(), secret)),
        (None, Some(path)) => {
            let place = format!("{key}_file");
            match fs::read_to_string(path) {
                Ok(text) => Some((place, Secret::new(text.trim()))),
                Err(error) => {
                    problems.push(Problem::new(
                        place,
                        format!("({}) can't be read: {error}", path.display()),
                        "name a file that this user may read",
                    ));
                    None
                }
            }
        }
        (Some(_), Some(_)) => {
            problems.push(Problem::new(
                key,
                format!("is given twice, here and by {key}_file"),
                "remove one of the two",
            ));
            None
        }
        (None, None) => {
            problems.push(Problem::new(
                key,
                "is missing",
                format!("{remedy}, or name a file that holds it with {key}_file"),
            ));
            None
        }
    }
}

pub(super) fn check_name(place: &str, name: &str, problems: &mut Vec<Problem>) {
    let safe = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let ends = |byte: Option<&u8>| byte.is_some_and(|byte| *byte != b'-');
    let bytes = name.as_bytes();
    if !(bytes.len() <= NAME_BYTES
        && bytes.iter().copied().all(safe)
        && ends(bytes.first())
        && ends(bytes.last()))
    {
        problems.push(Problem::new(
            place,
            format!("is {name:?}"),
            format!("write 1 to {NAME_BYTES} lower-case letters, digits and inner hyphens"),
        ));
    }
}

fn nodes(raw: Vec<RawNode>, problems: &mut Vec<Problem>) -> Vec<Node> {
    if raw.is_empty() {
        problems.push(Problem::new(
            "nodes",
            "is missing",
            "add at least one [[nodes]] section",
        ));
    }
    if raw.len() > NODE_LIMIT {
        problems.push(Problem::new(
            "nodes",
            format!("has {} entries", raw.len()),
            format!("a cluster has at most {NODE_LIMIT}"),
        ));
    }
    let mut names = HashMap::new();
    let mut addresses = HashMap::new();
    let mut roles = Vec::new();
    let count = raw.len();
    let nodes: Vec<Node> = raw
        .into_iter()
        .enumerate()
        .filter_map(|(index, raw)| node(index, raw, &mut names, &mut addresses, &mut roles, problems))
        .collect();
    for (role, name) in [(Role::Front, "front"), (Role::Entities, "entities")] {
        // Said only where all nodes were read: else it may be the one that is wrong for another reason.
        if count > 0 && nodes.len() == count && !roles.contains(&role) {
            problems.push(Problem::new(
                "nodes",
                format!("has none with the role {name:?}"),
                "give it to at least one node",
            ));
        }
    }
    nodes
}

fn node(
    index: usize,
    raw: RawNode,
    names: &mut HashMap<String, usize>,
    addresses: &mut HashMap<(&'static str, SocketAddr), String>,
    all_roles: &mut Vec<Role>,
    problems: &mut Vec<Problem>,
) -> Option<Node> {
    let place = |key: &str| format!("nodes[{index}].{key}");
    let name = match raw.name {
        Some(name) => {
            check_name(&place("name"), &name, problems);
            if let Some(first) = names.insert(name.clone(), index) {
                problems.push(Problem::new(
                    place("name"),
                    format!("({name}) is the name of nodes[{first}] too"),
                    "give each node a name of its own",
                ));
            }
            Some(name)
        }
        None => {
            problems.push(Problem::new(
                place("name"),
                "is missing",
                "add it, as in name = \"n1\"",
            ));
            None
        }
    };
    let shop = address(&place("shop"), "TCP", true, raw.shop, addresses, problems);
    let operator = address(&place("operator"), "TCP", true, raw.operator, addresses, problems);
    let cluster = address(&place("cluster"), "TCP", false, raw.cluster, addresses, problems);
    let gossip = address(&place("gossip"), "UDP", false, raw.gossip, addresses, problems);
    let mut roles = raw.roles.unwrap_or_else(|| vec![Role::Front, Role::Entities]);
    roles.sort_unstable();
    roles.dedup();
    if roles.is_empty() {
        problems.push(Problem::new(
            place("roles"),
            "is empty",
            "write [\"front\"], [\"entities\"] or both",
        ));
    }
    all_roles.extend_from_slice(&roles);
    Some(Node {
        name: name?,
        shop: shop?,
        operator: operator?,
        cluster: cluster?,
        gossip: gossip?,
        roles,
    })
}

/// Reads an address that no other key has. `wildcard`: whether 0.0.0.0 or :: will do, which others can't dial.
fn address(
    place: &str,
    protocol: &'static str,
    wildcard: bool,
    text: Option<String>,
    taken: &mut HashMap<(&'static str, SocketAddr), String>,
    problems: &mut Vec<Problem>,
) -> Option<SocketAddr> {
    let example = "write it as \"127.0.0.1:8080\" or \"[::1]:8080\"";
    let Some(text) = text else {
        problems.push(Problem::new(place, "is missing", format!("add it; {example}")));
        return None;
    };
    let Ok(address) = text.parse::<SocketAddr>() else {
        problems.push(Problem::new(
            place,
            format!("({text:?}) is no IP address with a port"),
            example,
        ));
        return None;
    };
    if address.port() == 0 {
        problems.push(Problem::new(
            place,
            "has port 0",
            "name a port: others must know it",
        ));
    }
    if !wildcard && address.ip().is_unspecified() {
        problems.push(Problem::new(
            place,
            format!("({address}) is no address that other nodes can reach"),
            "name the address of one interface",
        ));
    }
    if let Some(first) = taken.insert((protocol, address), place.to_owned()) {
        problems.push(Problem::new(
            place,
            format!("({address}) is the address of {first} too"),
            "give each its own",
        ));
    }
    Some(address)
}

fn log(log: &Log, problems: &mut Vec<Problem>) {
    if let Err(error) = EnvFilter::try_new(&log.filter) {
        problems.push(Problem::new(
            "log.filter",
            format!("({:?}) is no filter: {error}", log.filter),
            "write directives as in \"info,souk=debug\"",
        ));
    }
    let Some(address) = &log.otlp else {
        return;
    };
    if !cfg!(feature = "otlp") {
        problems.push(Problem::new(
            "log.otlp",
            "is set, and this build can't send traces",
            "build with the feature otlp (`cargo build --features otlp`), or remove it",
        ));
    }
    if !reqwest::Url::parse(address).is_ok_and(|url| url.scheme() == "http" && url.has_host()) {
        problems.push(Problem::new(
            "log.otlp",
            format!("({address:?}) is no address of a collector"),
            "name one nearby that speaks plain HTTP, as in \"http://127.0.0.1:4318\"",
        ));
    }
}

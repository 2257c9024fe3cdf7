//! From TOML and environment to the raw sections. Every key is decoded on its own, so that all that do not fit are
//! reported at once, and a bad one does not hide the good ones beside it.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::error::Problem;
use super::gateway::RawTls;
use super::store::RawStores;
use super::{Accounts, Gateway, Limits, Log, Membership, Secret, Transport};
use souk_cluster::view::Role;

/// How the names of overriding variables begin.
const PREFIX: &str = "SOUK_";

/// What parts section and key in the name of an overriding variable.
const SEPARATOR: &str = "__";

/// Keys whose values must not appear in an error.
const SECRET_KEYS: [&str; 2] = ["key", "token"];

/// The list of keys of `[sealing]`.
const SEALING_KEYS: &str = "keys";

/// What the file says, each key of the right type, nothing checked yet.
#[derive(Debug, Default)]
pub(super) struct Raw {
    pub(super) cluster: RawCluster,
    pub(super) operator: RawOperator,
    pub(super) sealing: RawSealing,
    pub(super) nodes: Vec<RawNode>,
    pub(super) stores: RawStores,
    pub(super) limits: Limits,
    pub(super) membership: Membership,
    pub(super) transport: Transport,
    pub(super) accounts: Accounts,
    pub(super) gateway: Gateway,
    pub(super) tls: RawTls,
    pub(super) log: Log,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawCluster {
    pub(super) name: Option<String>,
    pub(super) key: Option<Secret>,
    pub(super) key_file: Option<String>,
    pub(super) certificates: Option<String>,
    pub(super) data: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawOperator {
    pub(super) token: Option<Secret>,
    pub(super) token_file: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawSealing {
    pub(super) keys: Option<Vec<RawSealingKey>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawSealingKey {
    pub(super) id: Option<String>,
    pub(super) key: Option<Secret>,
    pub(super) key_file: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawNode {
    pub(super) name: Option<String>,
    pub(super) shop: Option<String>,
    pub(super) operator: Option<String>,
    pub(super) cluster: Option<String>,
    pub(super) gossip: Option<String>,
    pub(super) roles: Option<Vec<Role>>,
}

/// The sections of the file, with `nodes` among them.
const SECTIONS: [&str; 12] = [
    "cluster",
    "operator",
    "sealing",
    "nodes",
    "stores",
    "limits",
    "membership",
    "transport",
    "accounts",
    "gateway",
    "tls",
    "log",
];

/// An environment variable that overrides a key.
struct Override {
    variable: String,
    key: String,
    text: String,
}

pub(super) fn decode(
    mut root: Table,
    environment: impl IntoIterator<Item = (String, String)>,
    problems: &mut Vec<Problem>,
) -> Raw {
    let mut overrides = overrides(environment, problems);
    let mut of = |section: &str| -> Vec<Override> {
        let (these, others) = std::mem::take(&mut overrides)
            .into_iter()
            .partition(|(name, _)| name == section);
        overrides = others;
        these.into_iter().map(|(_, one)| one).collect()
    };
    let raw = Raw {
        cluster: section(&mut root, "cluster", of("cluster"), problems),
        operator: section(&mut root, "operator", of("operator"), problems),
        sealing: section(&mut root, "sealing", of("sealing"), problems),
        nodes: nodes(&mut root, of("nodes"), problems),
        stores: section(&mut root, "stores", of("stores"), problems),
        limits: section(&mut root, "limits", of("limits"), problems),
        membership: section(&mut root, "membership", of("membership"), problems),
        transport: section(&mut root, "transport", of("transport"), problems),
        accounts: section(&mut root, "accounts", of("accounts"), problems),
        gateway: section(&mut root, "gateway", of("gateway"), problems),
        tls: section(&mut root, "tls", of("tls"), problems),
        log: section(&mut root, "log", of("log"), problems),
    };
    for unknown in root.keys() {
        problems.push(Problem::new(
            unknown,
            "is no section",
            format!("remove it, or write one of {}", SECTIONS.join(", ")),
        ));
    }
    raw
}

/// The overriding variables, each with its section.
fn overrides(
    environment: impl IntoIterator<Item = (String, String)>,
    problems: &mut Vec<Problem>,
) -> Vec<(String, Override)> {
    let mut found = Vec::new();
    for (variable, text) in environment {
        let Some((section, key)) = variable
            .strip_prefix(PREFIX)
            .and_then(|name| name.split_once(SEPARATOR))
        else {
            continue;
        };
        let (section, key) = (section.to_ascii_lowercase(), key.to_ascii_lowercase());
        if SECTIONS.contains(&section.as_str()) {
            found.push((section, Override { variable, key, text }));
        } else {
            problems.push(Problem::new(
                variable,
                format!("overrides nothing: there is no section {section}"),
                format!("unset it, or name one of {}", SECTIONS.join(", ")),
            ));
        }
    }
    // The environment has no order of its own; reports shall have one.
    found.sort_by(|(_, left), (_, right)| left.variable.cmp(&right.variable));
    found
}

fn section<T: DeserializeOwned + Default>(
    root: &mut Table,
    name: &str,
    overrides: Vec<Override>,
    problems: &mut Vec<Problem>,
) -> T {
    let table = match root.remove(name) {
        None => Table::new(),
        Some(Value::Table(table)) => table,
        Some(other) => {
            problems.push(Problem::new(
                name,
                format!("is a value of type {}", other.type_str()),
                format!("write it as a section, [{name}]"),
            ));
            Table::new()
        }
    };
    keys(table, name, overrides, problems)
}

fn nodes(root: &mut Table, overrides: Vec<Override>, problems: &mut Vec<Problem>) -> Vec<RawNode> {
    let list = match root.remove("nodes") {
        None => Vec::new(),
        Some(Value::Array(list)) => list,
        Some(other) => {
            problems.push(Problem::new(
                "nodes",
                format!("is a value of type {}", other.type_str()),
                "write each node as a section, [[nodes]]",
            ));
            Vec::new()
        }
    };
    let mut remaining = overrides;
    let mut decoded = Vec::with_capacity(list.len());
    for (index, entry) in list.into_iter().enumerate() {
        let path = format!("nodes[{index}]");
        let Value::Table(table) = entry else {
            problems.push(Problem::new(
                path,
                "is no section",
                "write each node as a section, [[nodes]]",
            ));
            decoded.push(RawNode::default());
            continue;
        };
        let prefix = table.get("name").and_then(Value::as_str).map(|name| {
            let name = name.to_ascii_lowercase().replace('-', "_");
            format!("{name}{SEPARATOR}")
        });
        let (these, others): (Vec<_>, Vec<_>) = remaining
            .into_iter()
            .partition(|one| prefix.as_ref().is_some_and(|prefix| one.key.starts_with(prefix)));
        remaining = others;
        let these = these
            .into_iter()
            .map(|one| Override {
                key: one.key[prefix.as_ref().map_or(0, String::len)..].to_owned(),
                ..one
            })
            .collect();
        decoded.push(keys(table, &path, these, problems));
    }
    for unmatched in remaining {
        problems.push(Problem::new(
            unmatched.variable,
            "overrides nothing: there is no such node",
            "unset it, or name it SOUK_NODES__<NAME>__<KEY> after a node of the file",
        ));
    }
    decoded
}

/// Decodes a section key by key.
fn keys<T: DeserializeOwned + Default>(
    table: Table,
    path: &str,
    overrides: Vec<Override>,
    problems: &mut Vec<Problem>,
) -> T {
    let mut good = Table::new();
    for (key, value) in table {
        if overrides.iter().any(|one| one.key == key) {
            continue;
        }
        match fits::<T>(&key, &value) {
            Ok(()) => {
                good.insert(key, value);
            }
            Err(message) => problems.push(misfit(&format!("{path}.{key}"), &key, &message)),
        }
    }
    for Override { variable, key, text } in overrides {
        let as_toml = format!("value = {text}")
            .parse::<Table>()
            .ok()
            .and_then(|mut table| table.remove("value"));
        let as_text = Value::String(text);
        let candidates = as_toml.iter().chain([&as_text]);
        match first_fit::<T>(&key, candidates) {
            Ok(value) => {
                good.insert(key, value);
            }
            Err(message) => problems.push(misfit(&variable, &key, &message)),
        }
    }
    T::deserialize(Value::Table(good)).unwrap_or_else(|error| {
        problems.push(Problem::new(
            path,
            format!("does not decode: {}", error.message()),
            "correct it",
        ));
        T::default()
    })
}

/// The first of the candidates that `T` accepts under `key`; else what is wrong with the first.
fn first_fit<'a, T: DeserializeOwned>(
    key: &str,
    candidates: impl Iterator<Item = &'a Value>,
) -> Result<Value, String> {
    let mut message = None;
    for candidate in candidates {
        match fits::<T>(key, candidate) {
            Ok(()) => return Ok(candidate.clone()),
            Err(error) => {
                message.get_or_insert(error);
            }
        }
    }
    Err(message.unwrap_or_default())
}

/// Whether `T`, all of whose fields have defaults, accepts this value under this key.
fn fits<T: DeserializeOwned>(key: &str, value: &Value) -> Result<(), String> {
    let alone = Table::from_iter([(key.to_owned(), value.clone())]);
    T::deserialize(Value::Table(alone))
        .map(drop)
        .map_err(|error| error.message().trim().to_owned())
}

fn misfit(place: &str, key: &str, message: &str) -> Problem {
    if key == SEALING_KEYS {
        // What serde says would quote a key that is written in the wrong place.
        return Problem::new(
            place,
            "is no list of keys, each with an id and with a key or a key_file",
            "write it as in keys = [{ id = \"k1\", key_file = \"k1.key\" }]",
        );
    }
    if let Some((_, known)) = message
        .strip_prefix("unknown field")
        .and_then(|rest| rest.split_once("expected "))
    {
        let known = known.trim_start_matches("one of ").replace('`', "");
        return Problem::new(
            place,
            "is no setting",
            format!("remove it, or write one of {known}"),
        );
    }
    if SECRET_KEYS.contains(&key) {
        return Problem::new(place, "is no string", "put it in quotes");
    }
    Problem::new(
        place,
        format!("does not fit: {message}"),
        "write a value of the type that is expected",
    )
}

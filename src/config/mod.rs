//! `cluster.toml`: what a cluster is made of, read, overridden by the environment, validated.
//!
//! A setting comes from, in this order: an environment variable, the file, the default. The variable of
//! `key` in `[section]` is `SOUK_<SECTION>__<KEY>` (`SOUK_LIMITS__BODY_BYTES=65536`), that of a node's key
//! `SOUK_NODES__<NAME>__<KEY>` with the node's name in capitals and `-` as `_` (`SOUK_NODES__N1__SHOP=10.0.0.1:8080`).
//! Its text is read as a TOML value, and as a plain string where that does not fit. Relative paths are relative to the
//! folder of the file. All that is wrong is reported at once, each with its key and remedy.

mod decode;
mod error;
mod gateway;
mod network;
mod sealing;
mod secret;
mod settings;
mod store;
mod validate;
mod warnings;
mod write;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize, Serializer};

pub use error::{ConfigError, Problem, Warning};
pub use gateway::{ANY_ORIGIN, CertificateFiles, Gateway, Tls};
pub use network::{Network, NoNetwork, counted};
pub use secret::{CLUSTER_KEY_BYTES, ClusterKey, REDACTED, SealingSecret, Secret};
pub use settings::{Accounts, Limits, Membership, Milliseconds, Seconds, Transport};
pub use store::{Scheme, StoreUrl, StoreUrls};
pub use warnings::EXAMPLE_KEY;

use souk_cluster::view::Role;

/// The whole configuration of a cluster; every node reads the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Config {
    /// The file that it was read from.
    #[serde(serialize_with = "shown")]
    pub file: PathBuf,
    /// `[cluster]`
    pub cluster: Cluster,
    /// `[operator]`
    pub operator: Operator,
    /// `[sealing]`
    pub sealing: Sealing,
    /// `[[nodes]]`, in the order of the file; at least one.
    pub nodes: Vec<Node>,
    /// `[stores]`
    pub stores: StoreUrls,
    /// `[limits]`
    pub limits: Limits,
    /// `[membership]`
    pub membership: Membership,
    /// `[transport]`
    pub transport: Transport,
    /// `[accounts]`
    pub accounts: Accounts,
    /// `[gateway]`
    pub gateway: Gateway,
    /// `[tls]`
    pub tls: Tls,
    /// `[log]`
    pub log: Log,
}

/// `[cluster]`: what all nodes have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cluster {
    /// Its name: nodes of another one are not talked to.
    pub name: String,
    /// The secret that all nodes share (`key` or `key_file`).
    pub key: ClusterKey,
    /// The file that holds the key, where it does not stand in the configuration itself.
    #[serde(serialize_with = "shown_option")]
    pub key_file: Option<PathBuf>,
    /// Folder of `ca.pem` and each node's `<name>.pem` and `<name>.key`.
    #[serde(serialize_with = "shown")]
    pub certificates: PathBuf,
    /// Folder of the embedded stores.
    #[serde(serialize_with = "shown")]
    pub data: PathBuf,
}

/// `[operator]`: who may look inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Operator {
    /// The bearer token of the operator's interface (`token` or `token_file`).
    pub token: Secret,
    /// The file that holds the token, where it does not stand in the configuration itself.
    #[serde(serialize_with = "shown_option")]
    pub token_file: Option<PathBuf>,
}

/// `[sealing]`: the keys that personal data is sealed under at rest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sealing {
    /// The first seals, all of them open. Empty: one that is derived from the cluster's key does both.
    pub keys: Vec<SealingKey>,
}

/// One of `sealing.keys`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SealingKey {
    /// Its name, which stands in everything that it seals.
    pub id: String,
    /// The key (`key` or `key_file`); `None` for the one that is derived from the cluster's.
    pub key: Option<SealingSecret>,
    /// The file that holds the key, where it does not stand in the configuration itself.
    #[serde(serialize_with = "shown_option")]
    pub key_file: Option<PathBuf>,
}

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
    /// What it does.
    pub roles: Vec<Role>,
}

/// `[log]`: what goes to stderr.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// For people or for machines.
    pub format: LogFormat,
    /// Directives as in `RUST_LOG`, which overrides them.
    pub filter: String,
    /// The address of a collector that takes traces by OTLP over HTTP; no traces without. Needs the feature `otlp`.
    pub otlp: Option<String>,
    /// Of requests that belong to no trace, one in so many is recorded; 0 for none.
    pub otlp_one_in: u32,
}

/// Everything that is worth a line, but for one a request: at thousands of requests a second that is the most costly part
/// of each.
const DEFAULT_FILTER: &str = "info,souk::access=off";

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            filter: DEFAULT_FILTER.into(),
            otlp: None,
            otlp_one_in: 1,
        }
    }
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// Reads a file and the environment of this process.
    ///
    /// # Errors
    /// [`ConfigError`], with all that is wrong.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(file).map_err(|source| ConfigError::Read {
            file: file.to_owned(),
            source,
        })?;
        let environment = std::env::vars_os().map(|(name, value)| {
            // A name or value that is no UTF-8 fits no setting: what is lost here is reported as a bad value.
            (
                name.to_string_lossy().into_owned(),
                value.to_string_lossy().into_owned(),
            )
        });
        Self::parse(&text, file, environment)
    }

    /// Reads the text of `file` (whose folder relative paths start from) with overrides from `environment`: pairs of
    /// name and value, of which only those named as in the documentation of this module count.
    ///
    /// # Errors
    /// [`ConfigError`], with all that is wrong.
    pub fn parse(
        text: &str,
        file: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        // The file's own folder, as an absolute path: a node that is started elsewhere finds the same files.
        let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        let table: toml::Table = text.parse().map_err(|source| ConfigError::Syntax {
            file: file.clone(),
            source,
        })?;
        let mut problems = Vec::new();
        let raw = decode::decode(table, environment, &mut problems);
        validate::validate(raw, &file, &mut problems).map_err(|()| ConfigError::Invalid { file, problems })
    }

    /// The node with this name.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// Who signed the certificates of the operator's listeners.
    pub fn operator_authority(&self) -> PathBuf {
        self.tls
            .authority
            .clone()
            .unwrap_or_else(|| self.cluster.certificates.join("ca.pem"))
    }

    /// What works but should not be left so.
    pub fn warnings(&self) -> Vec<Warning> {
        warnings::warnings(self)
    }

    /// All of it without its secrets: what an operator may see.
    pub fn redacted(&self) -> serde_json::Value {
        // Keys are field names and paths are written lossily, so that nothing here fails to serialise.
        serde_json::to_value(self).unwrap_or_default()
    }

    /// The text of a file that reads as this configuration, **secrets included**, for a file beside [`Config::file`].
    /// Settings at their defaults are left out, so that a later version's better default applies.
    ///
    /// # Errors
    /// [`ConfigError::Write`] where a number exceeds what TOML can hold.
    pub fn to_toml(&self) -> Result<String, ConfigError> {
        write::to_toml(self)
    }
}

/// Paths are shown lossily: one that is no UTF-8 must not hide the rest.
fn shown<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

fn shown_option<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    match path {
        Some(path) => shown(path, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests;

//! `cluster.toml`: the configuration of a cluster, with overrides from the environment. Each section is a file of its own,
//! which owns its keys, their defaults and their checks.
//!
//! A setting comes from the first of: an environment variable, the file, the default. The variable of `key` in `[section]`
//! is `SOUK_<SECTION>__<KEY>` (`SOUK_LIMITS__BODY_BYTES=65536`), that of a node's key `SOUK_NODES__<NAME>__<KEY>` with the
//! node's name in capitals and `-` as `_` (`SOUK_NODES__N1__SHOP=10.0.0.1:8080`). Its text is read as a TOML value, and
//! otherwise as a plain string. Relative paths start at the folder of the file. All problems are reported at once, each with
//! its key and what would be right.

mod accounts;
mod cluster;
mod error;
mod gateway;
mod hosts;
mod limits;
mod log;
mod membership;
mod network;
mod nodes;
mod operator;
mod reader;
mod sealing;
mod secret;
mod section;
mod stores;
mod tls;
mod transport;
mod warnings;

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

pub use accounts::Accounts;
pub use cluster::Cluster;
pub use error::{ConfigError, Problem, Warning};
pub use gateway::{ANY_ORIGIN, Gateway};
pub use limits::{BATCH_ROWS_LIMIT, Limits};
pub use log::{Log, LogFormat};
pub use membership::Membership;
pub use network::{Network, NoNetwork, counted};
pub use nodes::Node;
pub use operator::Operator;
pub use sealing::{DERIVED_KEY, Sealing, SealingKey};
pub use secret::{KEY_BYTES, REDACTED, Secret, SecretKey};
pub use section::{Milliseconds, Seconds};
pub use stores::{Scheme, StoreUrl, StoreUrls};
pub use tls::{CertificateFiles, Tls};
pub use transport::Transport;

use reader::Reader;
use section::Section;

/// Declares the sections of the file, in its order.
macro_rules! sections {
    ($( $(#[$documentation:meta])* $name:ident: $type:ty; )*) => {
        /// The configuration of a cluster; every node reads the same.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
        pub struct Config {
            /// The file that it was read from.
            #[serde(serialize_with = "display")]
            pub file: PathBuf,
            $( $(#[$documentation])* pub $name: $type, )*
        }

        const SECTIONS: &[&str] = &[$( stringify!($name) ),*];

        impl Config {
            fn read(file: &Path, reader: &mut Reader) -> Option<Self> {
                // All sections before the first `?`, so that all problems are found.
                $( let $name = <$type>::read(stringify!($name), reader); )*
                Some(Self { file: file.to_owned(), $( $name: $name?, )* })
            }

            fn table(&self) -> Result<toml::Table, toml::ser::Error> {
                let folder = folder(&self.file);
                let mut table = toml::Table::new();
                $( table.insert(stringify!($name).into(), self.$name.write(folder)?); )*
                table.retain(|_, section| section.as_table().is_none_or(|keys| !keys.is_empty()));
                Ok(table)
            }
        }
    };
}

sections! {
    /// `[cluster]`
    cluster: Cluster;
    /// `[operator]`
    operator: Operator;
    /// `[sealing]`
    sealing: Sealing;
    /// `[[nodes]]`, in the order of the file; at least one.
    nodes: Vec<Node>;
    /// `[stores]`
    stores: StoreUrls;
    /// `[limits]`
    limits: Limits;
    /// `[membership]`
    membership: Membership;
    /// `[transport]`
    transport: Transport;
    /// `[accounts]`
    accounts: Accounts;
    /// `[gateway]`
    gateway: Gateway;
    /// `[tls]`
    tls: Tls;
    /// `[log]`
    log: Log;
}

impl Config {
    /// Reads a file and the environment of this process.
    ///
    /// # Errors
    /// [`ConfigError`], with all problems.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(file).map_err(|source| ConfigError::Read {
            file: file.to_owned(),
            source,
        })?;
        let environment = std::env::vars_os().map(|(name, value)| {
            // Nothing valid is lost: a name or value that is not UTF-8 fits no setting.
            (
                name.to_string_lossy().into_owned(),
                value.to_string_lossy().into_owned(),
            )
        });
        Self::parse(&text, file, environment)
    }

    /// Reads the text of `file` with overrides from `environment`: pairs of name and value, of which those are used that
    /// are named as described in the documentation of this module.
    ///
    /// # Errors
    /// [`ConfigError`], with all problems.
    pub fn parse(
        text: &str,
        file: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        // An absolute path: a node that is started in another folder finds the same files.
        let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        let table: toml::Table = text.parse().map_err(|source| ConfigError::Syntax {
            file: file.clone(),
            source,
        })?;
        let mut reader = Reader::new(table, environment, SECTIONS, folder(&file));
        let config = Self::read(&file, &mut reader);
        if let Some(config) = &config {
            section::ordered(
                ("transport.redial_ms", config.transport.redial_ms.duration()),
                (
                    "membership.unreachable_ms",
                    config.membership.unreachable_ms.duration(),
                ),
                "a node whose link is only being opened again must not leave the view",
                &mut reader.problems,
            );
            hosts::check(config, &mut reader.problems);
        }
        match config {
            Some(config) if reader.problems.0.is_empty() => Ok(config),
            _ => Err(ConfigError::Invalid {
                file,
                problems: reader.problems.0,
            }),
        }
    }

    /// The node with this name.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// The authority that signed the certificates of the operator's listeners.
    pub fn operator_authority(&self) -> PathBuf {
        self.tls
            .authority
            .clone()
            .unwrap_or_else(|| self.cluster.certificates.join("ca.pem"))
    }

    /// The same, where those listeners have certificates.
    pub fn operator_tls_authority(&self) -> Option<PathBuf> {
        self.tls.operator.is_some().then(|| self.operator_authority())
    }

    /// Valid settings that are weak.
    pub fn warnings(&self) -> Vec<Warning> {
        warnings::warnings(self)
    }

    /// All settings, without secrets.
    pub fn redacted(&self) -> serde_json::Value {
        // This can't fail: keys are field names, and paths are written lossily.
        serde_json::to_value(self).unwrap_or_default()
    }

    /// The text of a file that reads as this configuration, **secrets included**, for a file beside [`Config::file`].
    ///
    /// # Errors
    /// [`ConfigError::Write`] where a number exceeds what TOML can hold.
    pub fn to_toml(&self) -> Result<String, ConfigError> {
        Ok(toml::to_string(&self.table()?)?)
    }
}

fn folder(file: &Path) -> &Path {
    file.parent().unwrap_or_else(|| Path::new("."))
}

/// Serialises a path lossily: one that is not UTF-8 must not hide the rest.
fn display<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

fn display_option<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    match path {
        Some(path) => display(path, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests;

//! `[cluster]`: what all nodes have in common.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::reader::Reader;
use super::secret::{Secret, SecretKey};
use super::section::{Section, relative, text};
use souk_cluster::key::ClusterKey;

/// `[cluster]`: what all nodes have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cluster {
    /// Its name. Nodes ignore nodes of a cluster with another name.
    pub name: String,
    /// The secret that all nodes share (`key` or `key_file`). Each use derives a key of its own from it.
    pub key: SecretKey,
    /// The file that holds the key, where the configuration itself does not.
    #[serde(serialize_with = "super::display_option")]
    pub key_file: Option<PathBuf>,
    /// Folder of `ca.pem` and each node's `<name>.pem` and `<name>.key`.
    #[serde(serialize_with = "super::display")]
    pub certificates: PathBuf,
    /// Folder of the embedded stores.
    #[serde(serialize_with = "super::display")]
    pub data: PathBuf,
    /// Whether all nodes share that folder although they have several addresses, as containers of one machine have.
    pub one_machine: bool,
}

impl Cluster {
    /// The key that keys for single purposes are derived from.
    pub fn shared_key(&self) -> ClusterKey {
        ClusterKey::new(*self.key.expose()).expect("32 bytes are enough for a cluster key")
    }
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Raw {
    name: String,
    key: Option<Secret>,
    key_file: Option<PathBuf>,
    certificates: PathBuf,
    data: PathBuf,
    one_machine: bool,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            name: "souk".into(),
            key: None,
            key_file: None,
            certificates: "certs".into(),
            data: "data".into(),
            one_machine: false,
        }
    }
}

impl Section for Cluster {
    fn read(section: &str, reader: &mut Reader) -> Option<Self> {
        let raw: Raw = reader.section(section);
        reader.problems.check_name("cluster.name", &raw.name);
        let key_file = raw.key_file.map(|file| reader.folder.join(file));
        let key = reader.secret_key("cluster.key", raw.key, key_file.as_deref());
        let certificates = reader.folder.join(raw.certificates);
        let data = reader.folder.join(raw.data);
        for (key, folder) in [("cluster.certificates", &certificates), ("cluster.data", &data)] {
            if folder.exists() && !folder.is_dir() {
                reader.problems.add(
                    key,
                    format!("({}) is not a folder", folder.display()),
                    "name a folder, or one that does not exist yet",
                );
            }
        }
        Some(Self {
            name: raw.name,
            key: key?,
            key_file,
            certificates,
            data,
            one_machine: raw.one_machine,
        })
    }

    fn write(&self, folder: &Path) -> Result<Value, toml::ser::Error> {
        let mut table = Table::new();
        table.insert("name".into(), text(&self.name));
        match &self.key_file {
            Some(file) => table.insert("key_file".into(), relative(file, folder)),
            None => table.insert("key".into(), text(self.key.to_base64())),
        };
        table.insert("certificates".into(), relative(&self.certificates, folder));
        table.insert("data".into(), relative(&self.data, folder));
        if self.one_machine {
            table.insert("one_machine".into(), Value::Boolean(true));
        }
        Ok(Value::Table(table))
    }
}

//! `[sealing]`: the keys that encrypt personal data at rest.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::reader::Reader;
use super::secret::{MAKE_KEY, Secret, SecretKey};
use super::section::{Section, relative, text};

/// The id of the key that is derived from `cluster.key`.
pub const DERIVED_KEY: &str = "cluster";

/// Most keys of a keyring; a rotation needs two.
const KEY_LIMIT: usize = 16;

/// `[sealing]`: the keys that encrypt personal data at rest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sealing {
    /// The first one seals, all of them open. Empty: a key that is derived from the cluster's key does both.
    pub keys: Vec<SealingKey>,
}

/// One of `sealing.keys`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SealingKey {
    /// Its id, which stands in everything that it seals.
    pub id: String,
    /// The key (`key` or `key_file`); `None` for the one that is derived from the cluster's.
    pub key: Option<SecretKey>,
    /// The file that holds the key, where the configuration itself does not.
    #[serde(serialize_with = "super::display_option")]
    pub key_file: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Raw {
    keys: Option<Vec<RawKey>>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawKey {
    id: Option<String>,
    key: Option<Secret>,
    key_file: Option<PathBuf>,
}

impl Section for Sealing {
    fn read(section: &str, reader: &mut Reader) -> Option<Self> {
        let raw: Raw = reader.section(section);
        let Some(entries) = raw.keys else {
            return Some(Self::default());
        };
        if !(1..=KEY_LIMIT).contains(&entries.len()) {
            reader.problems.add(
                "sealing.keys",
                format!("has {} entries", entries.len()),
                format!(
                    "list 1 to {KEY_LIMIT} keys, or leave it out for one that is derived from cluster.key"
                ),
            );
        }
        let mut keys: Vec<SealingKey> = Vec::new();
        for (index, entry) in entries.into_iter().enumerate() {
            let path = format!("sealing.keys[{index}]");
            let Some(key) = read_key(entry, &path, reader) else {
                continue;
            };
            if keys.iter().any(|earlier| earlier.id == key.id) {
                reader.problems.add(
                    format!("{path}.id"),
                    format!("({}) is the id of an earlier key too", key.id),
                    "give each key its own id, and never reuse one",
                );
            }
            if let Some(earlier) = keys
                .iter()
                .find(|earlier| earlier.key.is_some() && earlier.key == key.key)
            {
                reader.problems.add(
                    format!("{path}.key"),
                    format!("is the same key as that of {}", earlier.id),
                    MAKE_KEY,
                );
            }
            keys.push(key);
        }
        Some(Self { keys })
    }

    fn write(&self, folder: &Path) -> Result<Value, toml::ser::Error> {
        let mut section = Table::new();
        if self.keys.is_empty() {
            return Ok(Value::Table(section));
        }
        let keys = self.keys.iter().map(|entry| {
            let mut key = Table::new();
            key.insert("id".into(), text(&entry.id));
            match (&entry.key_file, &entry.key) {
                (Some(file), _) => key.insert("key_file".into(), relative(file, folder)),
                (None, Some(secret)) => key.insert("key".into(), text(secret.to_base64())),
                (None, None) => None,
            };
            Value::Table(key)
        });
        section.insert("keys".into(), Value::Array(keys.collect()));
        Ok(Value::Table(section))
    }
}

fn read_key(raw: RawKey, path: &str, reader: &mut Reader) -> Option<SealingKey> {
    let id_key = format!("{path}.id");
    let Some(id) = raw.id else {
        reader
            .problems
            .add(id_key, "is missing", "name the key, as in id = \"k1\"");
        return None;
    };
    reader.problems.check_name(&id_key, &id);
    let key_file = raw.key_file.map(|file| reader.folder.join(file));
    if id == DERIVED_KEY {
        if raw.key.is_some() || key_file.is_some() {
            reader.problems.add(
                id_key,
                format!("is {DERIVED_KEY:?}, the id of the key that is derived from cluster.key"),
                "give the key another id, or leave key and key_file out",
            );
        }
        return Some(SealingKey {
            id,
            key: None,
            key_file: None,
        });
    }
    let key = reader.secret_key(&format!("{path}.key"), raw.key, key_file.as_deref())?;
    Some(SealingKey {
        id,
        key: Some(key),
        key_file,
    })
}

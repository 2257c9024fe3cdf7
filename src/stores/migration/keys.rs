//! Whether a configuration can read what another one has written. Sealed values, hashes of tokens and of guests' addresses are
//! moved as they are.

use crate::config::{Config, DERIVED_KEY, SealingKey};

/// Keys that the target lacks.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// Another cluster's key.
    #[error(
        "cluster.key of {to} is not that of {from}, from which keys of tokens and of sealed values are derived: write the same in both"
    )]
    Cluster {
        /// The source's configuration.
        from: String,
        /// The target's configuration.
        to: String,
    },
    /// A key that seals.
    #[error(
        "sealing.keys of {to} lacks the key {id:?} of {from}, under which there may be rows: add it there, behind the first one if it shall seal nothing new"
    )]
    Sealing {
        /// The id of the key.
        id: String,
        /// The source's configuration.
        from: String,
        /// The target's configuration.
        to: String,
    },
}

/// Whether everything that was written with the keys of `from` can be read with those of `to`.
pub(super) fn check(from: &Config, to: &Config) -> Result<(), KeysError> {
    let name = |config: &Config| config.file.display().to_string();
    if from.cluster.key != to.cluster.key {
        return Err(KeysError::Cluster {
            from: name(from),
            to: name(to),
        });
    }
    let theirs = keys(to);
    let missing = keys(from).into_iter().find(|key| {
        let same = |other: &SealingKey| other.id == key.id && other.key == key.key;
        !theirs.iter().any(same)
    });
    match missing {
        None => Ok(()),
        Some(key) => Err(KeysError::Sealing {
            id: key.id,
            from: name(from),
            to: name(to),
        }),
    }
}

/// The keys of a configuration, with the one that stands for none.
fn keys(config: &Config) -> Vec<SealingKey> {
    let keys = &config.sealing.keys;
    if keys.is_empty() {
        return vec![SealingKey {
            id: DERIVED_KEY.to_owned(),
            key: None,
            key_file: None,
        }];
    }
    keys.clone()
}

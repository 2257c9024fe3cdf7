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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::tests::config;
    use super::*;
    use crate::config::SecretKey;

    #[test]
    fn the_target_needs_every_key_of_the_source() {
        let keys: Vec<SecretKey> = (0..3).map(|_| SecretKey::random()).collect();
        let sealing = |entries: &[(&str, &SecretKey)]| {
            let entry = |(id, key): &(&str, &SecretKey)| {
                format!("{{ id = \"{id}\", key = \"{}\" }}", key.to_base64())
            };
            let entries: Vec<String> = entries.iter().map(entry).collect();
            format!("[sealing]\nkeys = [{}]\n", entries.join(", "))
        };
        let folder = Path::new("/nowhere");
        let check = |from: &str, to: &str| {
            let error = check(&config(folder, &keys[0], from), &config(folder, &keys[0], to)).err();
            error.map(|error| error.to_string())
        };
        let (one, other) = (sealing(&[("k1", &keys[1])]), sealing(&[("k1", &keys[2])]));
        let both = sealing(&[("k2", &keys[2]), ("k1", &keys[1])]);
        assert_eq!(check("", ""), None);
        assert_eq!(check(&one, &both), None);
        for (from, to, id) in [
            (both.as_str(), one.as_str(), "k2"),
            (&one, &other, "k1"),
            ("", &one, "cluster"),
            (&one, "", "k1"),
        ] {
            let error = check(from, to).unwrap();
            assert!(error.contains(&format!("lacks the key {id:?}")), "{error}");
        }
        let other = super::check(&config(folder, &keys[0], ""), &config(folder, &keys[1], ""));
        assert!(matches!(other, Err(KeysError::Cluster { .. })));
    }
}

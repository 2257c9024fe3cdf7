//! `[sealing]`, checked.

use std::path::Path;

use super::decode::{RawSealing, RawSealingKey};
use super::error::Problem;
use super::validate::{MAKE_KEY, check_name, secret};
use super::{Sealing, SealingKey, SealingSecret};
use crate::sealing::DERIVED_KEY;

/// Most keys of a keyring: a rotation needs two.
const SEALING_KEY_LIMIT: usize = 16;

pub(super) fn sealing(raw: RawSealing, base: &Path, problems: &mut Vec<Problem>) -> Sealing {
    let Some(entries) = raw.keys else {
        return Sealing::default();
    };
    if !(1..=SEALING_KEY_LIMIT).contains(&entries.len()) {
        problems.push(Problem::new(
            "sealing.keys",
            format!("has {} entries", entries.len()),
            format!(
                "list 1 to {SEALING_KEY_LIMIT} keys, or leave it out for one that is derived from cluster.key"
            ),
        ));
    }
    let mut keys: Vec<SealingKey> = Vec::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let place = |key: &str| format!("sealing.keys[{index}].{key}");
        let Some(key) = sealing_key(entry, &place, base, problems) else {
            continue;
        };
        if keys.iter().any(|earlier| earlier.id == key.id) {
            problems.push(Problem::new(
                place("id"),
                format!("({}) is the id of an earlier key too", key.id),
                "give each key an id of its own, and never use one again",
            ));
        }
        if let Some(earlier) = keys
            .iter()
            .find(|earlier| earlier.key.is_some() && earlier.key == key.key)
        {
            problems.push(Problem::new(
                place("key"),
                format!("is the same key as that of {}", earlier.id),
                MAKE_KEY,
            ));
        }
        keys.push(key);
    }
    Sealing { keys }
}

fn sealing_key(
    raw: RawSealingKey,
    place: &dyn Fn(&str) -> String,
    base: &Path,
    problems: &mut Vec<Problem>,
) -> Option<SealingKey> {
    let Some(id) = raw.id else {
        problems.push(Problem::new(
            place("id"),
            "is missing",
            "name the key, as in id = \"k1\"",
        ));
        return None;
    };
    check_name(&place("id"), &id, problems);
    let key_file = raw.key_file.map(|name| base.join(name));
    if id == DERIVED_KEY {
        if raw.key.is_some() || key_file.is_some() {
            problems.push(Problem::new(
                place("id"),
                format!("is {DERIVED_KEY:?}, the name of the key that is derived from cluster.key"),
                "give the key another id, or leave key and key_file out",
            ));
        }
        return Some(SealingKey {
            id,
            key: None,
            key_file: None,
        });
    }
    let (said, secret) = secret(&place("key"), raw.key, key_file.as_deref(), MAKE_KEY, problems)?;
    let key = SealingSecret::from_base64(secret.expose());
    if key.is_none() {
        problems.push(Problem::new(said, "is not the base64 of 32 bytes", MAKE_KEY));
    }
    Some(SealingKey {
        id,
        key: Some(key?),
        key_file,
    })
}

//! The keyring: seals and opens values.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::error::Unspecified;
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::cipher::{Cipher, NONCE_BYTES};
use super::text::{self, SealedText};
use crate::config::{DERIVED_KEY, KEY_BYTES, Sealing};
use souk_cluster::key::ClusterKey;

/// Label of the derived key.
const DERIVATION: &str = "souk sealing 1";
/// Distinguishes this associated data from any other use of the keys.
const PURPOSE: &str = "souk sealed value 1";
/// Longest id of a key, in bytes.
const ID_BYTES: usize = 32;

/// The place of a value. It opens nowhere else, so that write access to a store does not allow moving it to another row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The store's name, as in `orders`.
    pub store: &'a str,
    /// The primary key of the row.
    pub row: &'a str,
    /// The column, or the JSON pointer within it.
    pub field: &'a str,
}

/// Why a value can't be sealed or opened. No message contains anything of the value.
#[derive(Debug, thiserror::Error)]
pub enum SealingError {
    /// The keyring lacks the key.
    #[error("it is sealed under the key {id:?}, which is not configured (the configured ones are {known})")]
    UnknownKey {
        /// The key that is missing.
        id: String,
        /// The ids of the configured keys.
        known: String,
    },
    /// Not a sealed value, or one of a later version.
    #[error("it is not a sealed value of a known version")]
    Malformed,
    /// It was changed or moved, or its key is another one with the same id.
    #[error(
        "it does not open under the key {id:?}: it was changed or moved, or sealed under another key with this id"
    )]
    DoesNotOpen {
        /// The key.
        id: String,
        /// The error of the cipher.
        #[source]
        cause: Unspecified,
    },
    /// The system has no randomness, or the cipher failed.
    #[error("the system's cryptography failed")]
    Cryptography(#[from] Unspecified),
    /// The id of a key is invalid.
    #[error(
        "{0:?} is not an id of a key: write 1 to {ID_BYTES} lower-case letters, digits and inner hyphens"
    )]
    KeyId(String),
    /// A value can't be written as JSON.
    #[error("it can't be written as JSON")]
    Encode(#[source] serde_json::Error),
    /// The value has another type than expected. The cause is left out because it would quote the value.
    #[error("the sealed value has an unexpected type ({0:?})")]
    Decode(serde_json::error::Category),
}

/// A key with its id. Debug output shows the id alone; the key is wiped when it is dropped.
pub struct Key {
    id: String,
    cipher: Cipher,
}

impl Key {
    /// A key with an id, which stands in each value that it seals.
    ///
    /// # Errors
    /// [`SealingError::KeyId`]; [`SealingError::Cryptography`].
    pub fn new(id: impl Into<String>, key: &[u8; KEY_BYTES]) -> Result<Self, SealingError> {
        let id = id.into();
        if !is_key_id(&id) {
            return Err(SealingError::KeyId(id));
        }
        Ok(Self {
            id,
            cipher: Cipher::new(key)?,
        })
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }
}

fn is_key_id(id: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=ID_BYTES).contains(&id.len()) && id.bytes().all(inner) && !id.starts_with('-') && !id.ends_with('-')
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

/// The keys: the first one seals, all of them open.
#[derive(Debug)]
pub struct Keyring {
    first: Key,
    others: Vec<Key>,
}

impl Keyring {
    /// A keyring. Of two keys with the same id the earlier is used.
    pub fn new(first: Key, others: Vec<Key>) -> Self {
        Self { first, others }
    }

    /// The configured keys in their order, and the one that is derived from the cluster's key, last unless it is listed.
    ///
    /// # Errors
    /// [`SealingError::Cryptography`].
    pub fn of(config: &Sealing, cluster: &ClusterKey) -> Result<Arc<Self>, SealingError> {
        let derived = || Key::new(DERIVED_KEY, &Zeroizing::new(cluster.derive(DERIVATION)));
        let mut keys = Vec::new();
        for entry in &config.keys {
            keys.push(match &entry.key {
                Some(key) => Key::new(&entry.id, key.expose())?,
                None => derived()?,
            });
        }
        if keys.iter().all(|key| key.id != DERIVED_KEY) {
            keys.push(derived()?);
        }
        let first = keys.remove(0);
        Ok(Arc::new(Self::new(first, keys)))
    }

    /// The id of the key that seals.
    pub fn first(&self) -> &str {
        &self.first.id
    }

    /// The ids of all keys, the one that seals first.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys().map(Key::id)
    }

    fn keys(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// Whether a value is sealed under the first key.
    pub fn is_current(&self, text: &str) -> bool {
        SealedText::key_of(text) == Some(self.first())
    }

    /// Seals bytes.
    ///
    /// # Errors
    /// [`SealingError::Cryptography`].
    pub fn seal(&self, plain: &[u8], place: Place<'_>) -> Result<SealedText, SealingError> {
        let mut nonce = [0; NONCE_BYTES];
        aws_lc_rs::rand::fill(&mut nonce)?;
        let mut message = plain.to_vec();
        let Key { id, cipher } = &self.first;
        cipher.seal(&nonce, &associated(id, place), &mut message)?;
        message.splice(..0, nonce);
        Ok(SealedText::new(id, &message))
    }

    /// Opens a value that was sealed for this place under any of the keys.
    ///
    /// # Errors
    /// [`SealingError`]
    pub fn open(&self, sealed: &str, place: Place<'_>) -> Result<Zeroizing<Vec<u8>>, SealingError> {
        let (id, nonce, message) = text::parts(sealed)?;
        let Some(key) = self.keys().find(|key| key.id == id) else {
            return Err(SealingError::UnknownKey {
                id: id.to_owned(),
                known: self.ids().collect::<Vec<_>>().join(", "),
            });
        };
        let mut message = Zeroizing::new(message);
        let length = key
            .cipher
            .open(&nonce, &associated(id, place), &mut message)
            .map_err(|cause| SealingError::DoesNotOpen {
                id: id.to_owned(),
                cause,
            })?
            .len();
        message.truncate(length);
        Ok(message)
    }

    /// Seals a value as JSON.
    ///
    /// # Errors
    /// [`SealingError::Encode`]; [`SealingError::Cryptography`].
    pub fn seal_json<T: Serialize + ?Sized>(
        &self,
        value: &T,
        place: Place<'_>,
    ) -> Result<SealedText, SealingError> {
        let plain = Zeroizing::new(serde_json::to_vec(value).map_err(SealingError::Encode)?);
        self.seal(&plain, place)
    }

    /// Opens a value that was sealed as JSON.
    ///
    /// # Errors
    /// [`SealingError`]
    pub fn open_json<T: DeserializeOwned>(&self, sealed: &str, place: Place<'_>) -> Result<T, SealingError> {
        let plain = self.open(sealed, place)?;
        serde_json::from_slice(&plain).map_err(|error| SealingError::Decode(error.classify()))
    }
}

/// The associated data: each part with its length before it, so that no two lists of parts look alike.
fn associated(key: &str, place: Place<'_>) -> Vec<u8> {
    let parts = [PURPOSE, key, place.store, place.row, place.field];
    let length = parts.iter().map(|part| part.len() + size_of::<u64>()).sum();
    let mut bytes = Vec::with_capacity(length);
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    bytes
}

#[cfg(test)]
#[path = "keyring_tests.rs"]
mod tests;

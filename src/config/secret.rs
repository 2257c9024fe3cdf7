//! Secrets of the configuration: kept out of logs, of `Debug` and of everything that is serialised.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::sealing::KEY_BYTES;

/// What stands in the place of a secret wherever one would be shown.
pub const REDACTED: &str = "[redacted]";

/// Bytes of a cluster key.
pub const CLUSTER_KEY_BYTES: usize = 32;

/// A text that must not be shown. `Debug` and `Serialize` write [`REDACTED`] instead.
#[derive(Clone, Default)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself: for the one place that needs it, never for a log or a reply.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Compares with what a stranger sent, in a time that does not tell how much of it was right.
    pub fn matches(&self, candidate: &str) -> bool {
        self.0.as_bytes().ct_eq(candidate.as_bytes()).into()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.matches(&other.0)
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

/// The key that all nodes of a cluster share. As it is configured: each purpose derives a key of its own
/// from it.
#[derive(Clone)]
pub struct ClusterKey([u8; CLUSTER_KEY_BYTES]);

impl ClusterKey {
    /// From its bytes.
    pub const fn from_bytes(bytes: [u8; CLUSTER_KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// A new one from the system's source of randomness.
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// From base64 with padding (RFC 4648, section 4). `None` for anything but [`CLUSTER_KEY_BYTES`] bytes.
    pub fn from_base64(text: &str) -> Option<Self> {
        let bytes = STANDARD.decode(text.trim()).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }

    /// As it stands in a configuration file: a secret.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }

    /// The bytes themselves, for the derivation of keys.
    pub const fn expose(&self) -> &[u8; CLUSTER_KEY_BYTES] {
        &self.0
    }
}

/// A key that rows are sealed under, as it is configured. Wiped when it goes.
#[derive(Clone)]
pub struct SealingSecret(Zeroizing<[u8; KEY_BYTES]>);

impl SealingSecret {
    /// A new one from the system's source of randomness.
    pub fn random() -> Self {
        Self(Zeroizing::new(rand::random()))
    }

    /// From base64 with padding (RFC 4648, section 4). `None` for anything but [`KEY_BYTES`] bytes.
    pub fn from_base64(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(STANDARD.decode(text.trim()).ok()?);
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        if bytes.len() != key.len() {
            return None;
        }
        key.copy_from_slice(&bytes);
        Some(Self(key))
    }

    /// As it stands in a configuration file: a secret.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(*self.0)
    }

    /// The bytes themselves: for the keyring.
    pub fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

impl PartialEq for SealingSecret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&*other.0).into()
    }
}

impl Eq for SealingSecret {}

impl fmt::Debug for SealingSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl Serialize for SealingSecret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}

impl PartialEq for ClusterKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for ClusterKey {}

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl Serialize for ClusterKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_neither_printed_nor_serialised() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?}"), REDACTED);
        assert_eq!(serde_json::to_value(&secret).unwrap(), REDACTED);
        let key = ClusterKey::from_bytes([7; 32]);
        assert_eq!(format!("{key:?}"), REDACTED);
        assert_eq!(serde_json::to_value(&key).unwrap(), REDACTED);
        let key = SealingSecret::random();
        assert_eq!(format!("{key:?}"), REDACTED);
        assert_eq!(serde_json::to_value(&key).unwrap(), REDACTED);
    }

    #[test]
    fn a_secret_matches_only_itself() {
        let secret = Secret::new("hunter2");
        assert!(secret.matches("hunter2"));
        assert!(!secret.matches("hunter22"));
        assert!(!secret.matches(""));
    }

    #[test]
    fn keys_travel_through_base64_and_have_one_length() {
        let key = ClusterKey::random();
        assert_eq!(ClusterKey::from_base64(&key.to_base64()), Some(key));
        assert_eq!(ClusterKey::from_base64(&STANDARD.encode([1; 31])), None);
        assert_eq!(ClusterKey::from_base64("not base64!"), None);
        let key = SealingSecret::random();
        assert_eq!(SealingSecret::from_base64(&key.to_base64()), Some(key));
        assert_eq!(SealingSecret::from_base64(&STANDARD.encode([1; 33])), None);
    }
}

//! Secrets of the configuration: kept out of logs, of `Debug` and of everything that is serialised.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize, Serializer};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// What is shown in place of a secret.
pub const REDACTED: &str = "[redacted]";

/// Bytes of a [`SecretKey`].
pub const KEY_BYTES: usize = 32;

/// How to make a [`SecretKey`].
pub(super) const MAKE_KEY: &str =
    "write the base64 of 32 random bytes, as `head -c 32 /dev/urandom | base64` prints it";

/// A text that must not be shown. `Debug` and `Serialize` write [`REDACTED`] instead.
#[derive(Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself: never for a log or a reply.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Compares with a stranger's text in constant time.
    pub fn matches(&self, candidate: &str) -> bool {
        self.0.as_bytes().ct_eq(candidate.as_bytes()).into()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.matches(&other.0)
    }
}

/// A key of [`KEY_BYTES`] bytes that is wiped when it is dropped: the cluster's, or one that seals.
#[derive(Clone)]
pub struct SecretKey(Zeroizing<[u8; KEY_BYTES]>);

impl SecretKey {
    /// A new one from the system's source of randomness.
    pub fn random() -> Self {
        Self(Zeroizing::new(rand::random()))
    }

    /// From base64 with padding (RFC 4648, section 4). `None` for anything but [`KEY_BYTES`] bytes.
    pub fn from_base64(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(STANDARD.decode(text.trim()).ok()?);
        Some(Self(Zeroizing::new(bytes.as_slice().try_into().ok()?)))
    }

    /// As it stands in a configuration file: a secret.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(*self.0)
    }

    /// The bytes themselves: for the derivation of keys and for the keyring.
    pub fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

impl PartialEq for SecretKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&*other.0).into()
    }
}

macro_rules! redacted {
    ($($secret:ident)*) => { $(
        impl Eq for $secret {}

        impl fmt::Debug for $secret {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(REDACTED)
            }
        }

        impl Serialize for $secret {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(REDACTED)
            }
        }
    )* };
}

redacted! { Secret SecretKey }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let (secret, key) = (Secret::new("hunter2"), SecretKey::random());
        assert_eq!(format!("{secret:?} {key:?}"), format!("{REDACTED} {REDACTED}"));
        assert_eq!(serde_json::to_value(&secret).unwrap(), REDACTED);
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
    fn keys_are_base64_of_32_bytes() {
        let key = SecretKey::random();
        assert_eq!(SecretKey::from_base64(&key.to_base64()), Some(key));
        assert_eq!(SecretKey::from_base64(&STANDARD.encode([1; 31])), None);
        assert_eq!(SecretKey::from_base64(&STANDARD.encode([1; 33])), None);
        assert_eq!(SecretKey::from_base64("not base64!"), None);
    }
}

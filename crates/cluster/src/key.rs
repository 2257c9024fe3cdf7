//! The secret that all nodes of a cluster share, and the keys derived from it. The secret itself is never used as a key.

use std::fmt;

use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};

/// Shortest secret, in bytes, that is accepted: 128 bits.
pub const SECRET_MINIMUM: usize = 16;

/// The secret is too short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the cluster key has {0} bytes; at least {SECRET_MINIMUM} are needed")]
pub struct SecretTooShort(usize);

/// The cluster's shared secret. Neither debug output nor errors contain it.
#[derive(Clone)]
pub struct ClusterKey(Vec<u8>);

impl ClusterKey {
    /// Makes a key of the configured secret.
    ///
    /// # Errors
    /// [`SecretTooShort`] below [`SECRET_MINIMUM`] bytes.
    pub fn new(secret: impl Into<Vec<u8>>) -> Result<Self, SecretTooShort> {
        let secret = secret.into();
        if secret.len() < SECRET_MINIMUM {
            return Err(SecretTooShort(secret.len()));
        }
        Ok(Self(secret))
    }

    /// 32 bytes for one purpose: HKDF with SHA-256 (RFC 5869), no salt, the label as its info.
    pub fn derive(&self, label: &str) -> [u8; 32] {
        let mut derived = [0; 32];
        Salt::new(HKDF_SHA256, &[])
            .extract(&self.0)
            .expand(&[label.as_bytes()], HKDF_SHA256)
            .and_then(|output| output.fill(&mut derived))
            .expect("HKDF-SHA256 outputs up to 255 blocks, and this is one");
        derived
    }

    /// The cookie of ractor's own challenge, which mutual TLS precedes.
    pub fn cookie(&self) -> String {
        hex::encode(self.derive("souk ractor cookie 1"))
    }
}

impl fmt::Debug for ClusterKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ClusterKey(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derivation_is_hkdf_sha256() {
        // RFC 5869, test case 3: 22 times 0x0b, no salt, no info; the first 32 bytes of the output.
        let key = ClusterKey::new(vec![0x0b; 22]).unwrap();
        assert_eq!(
            hex::encode(key.derive("")),
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
        );
    }

    #[test]
    fn labels_and_secrets_give_different_keys() {
        let one = ClusterKey::new("sixteen bytes ok").unwrap();
        let other = ClusterKey::new("sixteen bytes no").unwrap();
        assert_ne!(one.derive("a"), one.derive("b"));
        assert_ne!(one.derive("a"), other.derive("a"));
        assert_eq!(one.cookie(), one.clone().cookie());
        assert_eq!(format!("{one:?}"), "ClusterKey(redacted)");
    }

    #[test]
    fn a_short_secret_is_refused() {
        assert_eq!(
            ClusterKey::new("fifteen bytes !").unwrap_err(),
            SecretTooShort(15)
        );
    }
}

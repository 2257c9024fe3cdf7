//! Seals private signing keys at rest: AES-256-GCM under a key derived from the cluster's. Nobody can sign by reading the store
//! without the cluster's key, or pass one key off as another by writing to it.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use zeroize::Zeroizing;

use souk_cluster::key::ClusterKey;

/// The label that the key is derived with.
const LABEL: &str = "souk signing keys at rest 1";
/// The first byte of a sealed seed: the format of the rest.
const FORMAT: u8 = 1;
/// Bytes of an Ed25519 seed.
pub const SEED_LENGTH: usize = 32;

/// The seed of a signing key, from which both of its parts follow. Wiped when dropped.
pub type Seed = Zeroizing<[u8; SEED_LENGTH]>;

/// Why a seed could not be sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The format is unknown to this version.
    #[error("the sealed key has an unknown format")]
    Format,
    /// Sealed under another cluster's key, for another key id, or changed since.
    #[error("the sealed key can't be opened with this cluster's key")]
    Unopened,
    /// The cryptography library failed.
    #[error("the cryptography library failed to seal a key")]
    Library,
}

/// Seals and opens.
pub struct Sealer {
    key: RandomizedNonceKey,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(redacted)")
    }
}

impl Sealer {
    /// Derives the key.
    ///
    /// # Errors
    /// [`SealError::Library`]
    pub fn new(cluster: &ClusterKey) -> Result<Self, SealError> {
        let derived = Zeroizing::new(cluster.derive(LABEL));
        RandomizedNonceKey::new(&AES_256_GCM, derived.as_slice())
            .map(|key| Self { key })
            .map_err(|_| SealError::Library)
    }

    /// Seals a seed for the key with that id: format, random nonce (96 bits), ciphertext, tag.
    ///
    /// # Errors
    /// [`SealError::Library`], such as where there are no random bytes.
    pub fn seal(&self, id: &str, seed: &Seed) -> Result<Vec<u8>, SealError> {
        let mut text = seed.to_vec();
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(id.as_bytes()), &mut text)
            .map_err(|_| SealError::Library)?;
        let mut sealed = vec![FORMAT];
        sealed.extend_from_slice(nonce.as_ref());
        sealed.append(&mut text);
        Ok(sealed)
    }

    /// Opens a seed that [`Self::seal`] sealed for the same id.
    ///
    /// # Errors
    /// [`SealError::Format`] and [`SealError::Unopened`].
    pub fn open(&self, id: &str, sealed: &[u8]) -> Result<Seed, SealError> {
        let Some((&FORMAT, rest)) = sealed.split_first() else {
            return Err(SealError::Format);
        };
        let (nonce, text) = rest.split_at_checked(NONCE_LEN).ok_or(SealError::Format)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Format)?;
        let mut text = Zeroizing::new(text.to_vec());
        let seed = self
            .key
            .open_in_place(nonce, Aad::from(id.as_bytes()), &mut text)
            .map_err(|_| SealError::Unopened)?;
        <[u8; SEED_LENGTH]>::try_from(&*seed)
            .map(Zeroizing::new)
            .map_err(|_| SealError::Format)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sealer(secret: u8) -> Sealer {
        Sealer::new(&ClusterKey::new([secret; 32]).unwrap()).unwrap()
    }

    #[test]
    fn nonces_are_unique_and_seeds_hidden() {
        let seed = Zeroizing::new([5; SEED_LENGTH]);
        let (one, other) = (
            sealer(1).seal("a", &seed).unwrap(),
            sealer(1).seal("a", &seed).unwrap(),
        );
        assert_ne!(one[..=NONCE_LEN], other[..=NONCE_LEN]);
        assert!(!one.windows(4).any(|window| window == [5; 4]));
        assert_eq!(format!("{:?}", sealer(1)), "Sealer(redacted)");
    }

    proptest! {
        #[test]
        fn opens_for_its_own_id_and_key_only(seed: [u8; SEED_LENGTH], id in ".{0,40}", other in ".{0,40}") {
            let seed = Zeroizing::new(seed);
            let sealed = sealer(1).seal(&id, &seed).unwrap();
            prop_assert_eq!(sealer(1).open(&id, &sealed), Ok(seed));
            prop_assert_eq!(sealer(2).open(&id, &sealed), Err(SealError::Unopened));
            if id != other {
                prop_assert_eq!(sealer(1).open(&other, &sealed), Err(SealError::Unopened));
            }
        }

        #[test]
        fn any_change_is_detected(seed: [u8; SEED_LENGTH], at: prop::sample::Index, by in 1_u8..) {
            let mut sealed = sealer(1).seal("a", &Zeroizing::new(seed)).unwrap();
            let at = at.index(sealed.len());
            sealed[at] ^= by;
            prop_assert!(sealer(1).open("a", &sealed).is_err());
            sealed[at] ^= by;
            prop_assert!(sealer(1).open("a", &sealed[..at]).is_err());
            prop_assert!(sealer(1).open("a", &sealed).is_ok());
        }

        #[test]
        fn arbitrary_bytes_do_not_open(bytes: Vec<u8>) {
            prop_assert!(sealer(1).open("a", &bytes).is_err());
        }
    }
}

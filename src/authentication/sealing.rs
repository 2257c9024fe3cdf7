//! How the private part of a signing key rests in a store: AES-256-GCM under a key of its own that is derived from the
//! cluster's. Who reads the store without the cluster's key can't sign; who writes to it can't pass one key off as another.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use zeroize::Zeroizing;

use souk_cluster::key::ClusterKey;

/// What the key is derived for.
const LABEL: &str = "souk signing keys at rest 1";
/// The first byte of what is sealed: the form of the rest.
const FORM: u8 = 1;
/// Bytes of what is sealed: the seed of an Ed25519 key.
pub const SEED_LENGTH: usize = 32;

/// The seed of a signing key: the private part, from which the public one follows. Wiped when dropped.
pub type Seed = Zeroizing<[u8; SEED_LENGTH]>;

/// Why something was not sealed or not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// In no form that this version knows.
    #[error("what is sealed has a form that is not known here")]
    Form,
    /// Sealed under another cluster's key, for another key id, or changed since.
    #[error("what is sealed does not open under this cluster's key")]
    Closed,
    /// The cryptography library refused.
    #[error("the cryptography library refused to seal")]
    Refused,
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
    /// Derives the key for this purpose.
    ///
    /// # Errors
    /// [`SealError::Refused`] where the library does not take the key, which has the length that it asks for.
    pub fn new(cluster: &ClusterKey) -> Result<Self, SealError> {
        let derived = Zeroizing::new(cluster.derive(LABEL));
        RandomizedNonceKey::new(&AES_256_GCM, derived.as_slice())
            .map(|key| Self { key })
            .map_err(|_| SealError::Refused)
    }

    /// Seals a seed for the key of that id: form, nonce (random, 96 bits), ciphertext, tag.
    ///
    /// # Errors
    /// [`SealError::Refused`], as where no random bytes are to be had.
    pub fn seal(&self, id: &str, seed: &Seed) -> Result<Vec<u8>, SealError> {
        let mut text = seed.to_vec();
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(id.as_bytes()), &mut text)
            .map_err(|_| SealError::Refused)?;
        let mut sealed = vec![FORM];
        sealed.extend_from_slice(nonce.as_ref());
        sealed.append(&mut text);
        Ok(sealed)
    }

    /// Opens what [`Self::seal`] made for the same id.
    ///
    /// # Errors
    /// [`SealError::Form`] and [`SealError::Closed`].
    pub fn open(&self, id: &str, sealed: &[u8]) -> Result<Seed, SealError> {
        let Some((&FORM, rest)) = sealed.split_first() else {
            return Err(SealError::Form);
        };
        let (nonce, text) = rest.split_at_checked(NONCE_LEN).ok_or(SealError::Form)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Form)?;
        let mut text = Zeroizing::new(text.to_vec());
        let seed = self
            .key
            .open_in_place(nonce, Aad::from(id.as_bytes()), &mut text)
            .map_err(|_| SealError::Closed)?;
        <[u8; SEED_LENGTH]>::try_from(&*seed)
            .map(Zeroizing::new)
            .map_err(|_| SealError::Form)
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
    fn no_nonce_comes_twice_and_nothing_is_shown() {
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
        fn it_opens_for_its_own_id_under_its_own_key_only(seed: [u8; SEED_LENGTH], id in ".{0,40}", other in ".{0,40}") {
            let seed = Zeroizing::new(seed);
            let sealed = sealer(1).seal(&id, &seed).unwrap();
            prop_assert_eq!(sealer(1).open(&id, &sealed), Ok(seed));
            prop_assert_eq!(sealer(2).open(&id, &sealed), Err(SealError::Closed));
            if id != other {
                prop_assert_eq!(sealer(1).open(&other, &sealed), Err(SealError::Closed));
            }
        }

        #[test]
        fn no_changed_byte_passes(seed: [u8; SEED_LENGTH], at: prop::sample::Index, by in 1_u8..) {
            let mut sealed = sealer(1).seal("a", &Zeroizing::new(seed)).unwrap();
            let at = at.index(sealed.len());
            sealed[at] ^= by;
            prop_assert!(sealer(1).open("a", &sealed).is_err());
            sealed[at] ^= by;
            prop_assert!(sealer(1).open("a", &sealed[..at]).is_err());
            prop_assert!(sealer(1).open("a", &sealed).is_ok());
        }

        #[test]
        fn nothing_made_up_opens(bytes: Vec<u8>) {
            prop_assert!(sealer(1).open("a", &bytes).is_err());
        }
    }
}

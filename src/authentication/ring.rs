//! A node's in-memory ring of the keys that sign access tokens. Pure.
//!
//! Every key verifies; one signs. A node that has not loaded the newest yet would refuse its tokens, so a key signs only when
//! every node has had time to load it ([`RingRules::settle`]). A key is removable when its successor has signed for so long
//! that all of its tokens have expired.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::error::KeyRejected;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use jsonwebtoken::{DecodingKey, EncodingKey};
use serde::Serialize;
use utoipa::ToSchema;

use super::sealing::Seed;
use souk_domain::Timestamp;

/// Why a seed is not a key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Not a seed of Ed25519.
    #[error("a signing key was rejected")]
    Rejected(#[from] KeyRejected),
    /// The library could not encode it.
    #[error("a signing key could not be encoded")]
    Encoding(#[from] aws_lc_rs::error::Unspecified),
    /// It has no thumbprint.
    #[error("a signing key has no thumbprint")]
    Thumbprint(#[from] jsonwebtoken::errors::Error),
}

/// One Ed25519 key.
pub struct SigningKey {
    /// Its identifier in tokens (`kid`).
    pub(super) id: String,
    pub(super) created_at: Timestamp,
    /// The public key, as in a JWK.
    public: String,
    pub(super) signing: EncodingKey,
    pub(super) verifying: DecodingKey,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("id", &self.id)
            .field("created_at", &self.created_at)
            .finish_non_exhaustive()
    }
}

impl SigningKey {
    /// The key of a seed. Its id is the thumbprint of its public key (RFC 7638), so that no key passes for another.
    ///
    /// # Errors
    /// Where the cryptography library rejects the seed.
    pub fn from_seed(seed: &Seed, created_at: Timestamp) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_slice())?;
        let public = pair.public_key().as_ref();
        let document = pair.to_pkcs8v1()?;
        let verifying = DecodingKey::from_ed_der(public);
        Ok(Self {
            id: Jwk::from_decoding_key(&verifying, None)?.thumbprint(ThumbprintHash::SHA256)?,
            created_at,
            public: URL_SAFE_NO_PAD.encode(public),
            signing: EncodingKey::from_ed_der(document.as_ref()),
            verifying,
        })
    }
}

/// The ring's intervals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingRules {
    /// The age from which a key signs, the first one excepted: the time that every node needs to load it, and clock skew.
    pub settle: Duration,
    /// How long a token is accepted after it was signed: its lifetime and the leeway.
    pub longest_life: Duration,
}

/// The keys, newest first.
#[derive(Debug, Default)]
pub struct Ring {
    keys: Vec<SigningKey>,
}

impl Ring {
    /// A ring of these keys, in any order.
    pub fn new(mut keys: Vec<SigningKey>) -> Self {
        keys.sort_by(|one, other| {
            (other.created_at, other.id.as_str()).cmp(&(one.created_at, one.id.as_str()))
        });
        keys.dedup_by(|one, other| one.id == other.id);
        Self { keys }
    }

    /// All of them, newest first.
    pub fn keys(&self) -> &[SigningKey] {
        &self.keys
    }

    /// The key that signs: the newest that every node knows. Where none is old enough, the oldest, which most nodes know.
    pub fn signer(&self, now: Timestamp, rules: RingRules) -> Option<&SigningKey> {
        self.keys
            .iter()
            .find(|key| key.created_at.plus(rules.settle) <= now)
            .or(self.keys.last())
    }

    /// The key of that id.
    pub fn find(&self, id: &str) -> Option<&SigningKey> {
        self.keys.iter().find(|key| key.id == id)
    }

    /// The time before which every key may be removed; `None` where none may. The last key never is.
    pub fn removable_before(&self, now: Timestamp, rules: RingRules) -> Option<Timestamp> {
        // A node may sign with the older key until it has loaded this one and it has settled; as long again for clock skew
        // and failed loads.
        let outlived = rules.settle.saturating_mul(3).saturating_add(rules.longest_life);
        let successor = self
            .keys
            .iter()
            .find(|key| key.created_at.plus(outlived) <= now)?;
        let oldest = self.keys.last()?;
        (oldest.created_at < successor.created_at).then_some(successor.created_at)
    }

    /// The public keys as a JWK set (RFC 7517, RFC 8037). Keys that don't sign yet are included, so that caches know them by
    /// the time they do.
    pub fn public(&self) -> PublicKeys<'_> {
        PublicKeys {
            keys: self
                .keys
                .iter()
                .map(|key| PublicKey {
                    kty: "OKP",
                    crv: "Ed25519",
                    r#use: "sig",
                    alg: "EdDSA",
                    kid: &key.id,
                    x: &key.public,
                })
                .collect(),
        }
    }
}

/// A JWK set.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PublicKeySet)]
pub struct PublicKeys<'a> {
    keys: Vec<PublicKey<'a>>,
}

/// A key of a JWK set.
#[derive(Debug, Serialize, ToSchema)]
pub struct PublicKey<'a> {
    kty: &'static str,
    crv: &'static str,
    r#use: &'static str,
    alg: &'static str,
    kid: &'a str,
    x: &'a str,
}

/// The node's ring. Reading takes no lock, but what was read is not to be held over an `await`; clones share it.
pub type SharedRing = Arc<ArcSwap<Ring>>;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zeroize::Zeroizing;

    use super::*;
    use souk_domain::fixtures::at;

    const RULES: RingRules = RingRules {
        settle: Duration::from_secs(5),
        longest_life: Duration::from_secs(930),
    };

    fn key(seed: u8, created_at: Timestamp) -> SigningKey {
        SigningKey::from_seed(&Zeroizing::new([seed; 32]), created_at).unwrap()
    }

    fn id(seed: u8) -> String {
        key(seed, at(0)).id
    }

    /// The ring of a node that loaded it at that second: the `n`th key was created at the `n`th of `times`.
    fn loaded(times: &[i64], second: i64) -> Ring {
        let known = times.iter().enumerate().filter(|(_, made)| **made <= second);
        Ring::new(
            known
                .map(|(index, made)| key(u8::try_from(index).unwrap(), at(*made)))
                .collect(),
        )
    }

    #[test]
    fn keys_and_ids_follow_rfc_8037() {
        // RFC 8037, appendices A.1 to A.3.
        let seed = URL_SAFE_NO_PAD
            .decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")
            .unwrap();
        let key = SigningKey::from_seed(&Zeroizing::new(seed.try_into().unwrap()), at(0)).unwrap();
        assert_eq!(key.public, "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        assert_eq!(key.id, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        assert!(!format!("{key:?}").contains("nWGx"));
        let ring = Ring::new(vec![key]);
        assert_eq!(
            serde_json::to_value(ring.public()).unwrap(),
            serde_json::json!({"keys": [{
                "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA",
                "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
                "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
            }]})
        );
    }

    #[test]
    fn a_later_key_signs_when_it_has_settled() {
        let ring = Ring::new(vec![key(1, at(0))]);
        assert_eq!(ring.signer(at(0), RULES).unwrap().id, id(1));
        let ring = Ring::new(vec![key(1, at(0)), key(2, at(100))]);
        assert_eq!(ring.signer(at(104), RULES).unwrap().id, id(1));
        assert_eq!(ring.signer(at(105), RULES).unwrap().id, id(2));
        assert_eq!(ring.keys()[0].id, id(2), "newest first");
        assert!(Ring::default().signer(at(0), RULES).is_none());
    }

    #[test]
    fn the_last_key_is_never_removable() {
        let ring = Ring::new(vec![key(1, at(0)), key(2, at(100))]);
        assert_eq!(ring.removable_before(at(100 + 15 + 929), RULES), None);
        assert_eq!(
            ring.removable_before(at(100 + 15 + 930), RULES),
            Some(at(100)),
            "the second one stays"
        );
        let last = Ring::new(vec![key(1, at(0))]);
        assert_eq!(last.removable_before(at(1_000_000), RULES), None);
    }

    /// When keys were created, in seconds below `end`.
    fn history(end: i64) -> impl Strategy<Value = Vec<i64>> {
        prop::collection::vec(0..end, 1..6).prop_map(|mut times| {
            times.sort_unstable();
            // A cluster has its first key before anything is signed.
            times[0] = 0;
            times
        })
    }

    proptest! {
        // Nodes reload every 2 s; the last load that worked may be as old as the rules allow for.
        #[test]
        fn every_node_knows_the_signer(
            times in history(40), now in 0..50_i64, own_lag in 0..=5_i64, other_lag in 0..=5_i64,
        ) {
            let own = loaded(&times, (now - own_lag).max(0));
            let other = loaded(&times, (now - other_lag).max(0));
            let signer = own.signer(at(now), RULES).unwrap();
            prop_assert!(other.find(&signer.id).is_some());
        }

        #[test]
        fn no_key_with_live_tokens_is_removable(
            times in history(2_000), signed in 0..3_000_i64, later in 0..3_000_i64, lag in 0..=5_i64,
        ) {
            let node = loaded(&times, (signed - lag).max(0));
            let signer = node.signer(at(signed), RULES).unwrap();
            let now = signed + later;
            if let Some(before) = loaded(&times, now).removable_before(at(now), RULES) {
                let alive = at(now) < at(signed).plus(RULES.longest_life);
                prop_assert!(!alive || signer.created_at >= before);
            }
        }

        #[test]
        fn a_key_always_remains(times in history(2_000), now in 0..10_000_i64) {
            let ring = loaded(&times, now);
            if let Some(before) = ring.removable_before(at(now), RULES) {
                prop_assert!(ring.keys().iter().any(|key| key.created_at >= before));
                prop_assert!(ring.keys().iter().any(|key| key.created_at < before));
            }
        }
    }
}

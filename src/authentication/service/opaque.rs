//! Opaque tokens: random, known to their holder alone, and stored as hashes.

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::stores::TokenHash;
use souk_cluster::key::ClusterKey;

/// Random bytes of a refresh token and of a one-time code: 256 bits can't be guessed, and need no slow hash.
const TOKEN_BYTES: usize = 32;

/// The longest opaque token that is accepted, in characters.
const TOKEN_LIMIT: usize = 64;

/// The label that the key of [`Successors`] is derived with.
const SUCCESSORS: &str = "souk refresh tokens 1";

/// A new opaque token with its hash.
pub(super) fn opaque_token() -> (String, TokenHash) {
    with_hash(&rand::random::<[u8; TOKEN_BYTES]>())
}

fn with_hash(bytes: &[u8]) -> (String, TokenHash) {
    let token = URL_SAFE_NO_PAD.encode(bytes);
    let hash = TokenHash::of(&token);
    (token, hash)
}

/// Derives the refresh token that takes the place of another. So whoever exchanges a token twice gets the same successor,
/// from any node, and no store has it in the clear.
pub struct Successors(Key);

impl Successors {
    /// The successors are the same on every node of the cluster.
    pub fn new(cluster: &ClusterKey) -> Self {
        Self(Key::new(HMAC_SHA256, &cluster.derive(SUCCESSORS)))
    }

    /// The successor of a refresh token, with its hash.
    pub(super) fn of(&self, token: &str) -> (String, TokenHash) {
        with_hash(sign(&self.0, token.as_bytes()).as_ref())
    }
}

/// The hash of a token that a client sent; `None` for what can't be one.
pub(super) fn token_hash(token: &str) -> Option<TokenHash> {
    let plausible =
        !token.is_empty() && token.len() <= TOKEN_LIMIT && token.bytes().all(|byte| byte.is_ascii_graphic());
    plausible.then(|| TokenHash::of(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_unique_and_found_by_their_hash() {
        let (token, hash) = opaque_token();
        assert_eq!(token_hash(&token), Some(hash));
        assert_ne!(opaque_token().0, token);
        assert_eq!(token.len(), 43);
    }

    #[test]
    fn a_token_has_one_successor_in_a_cluster() {
        let successors = |secret: u8| Successors::new(&ClusterKey::new([secret; 32]).unwrap());
        let (first, second) = (opaque_token().0, opaque_token().0);
        assert_eq!(successors(1).of(&first), successors(1).of(&first));
        assert_ne!(successors(1).of(&first), successors(1).of(&second));
        assert_ne!(successors(1).of(&first), successors(2).of(&first));
        let (successor, hash) = successors(1).of(&first);
        assert_eq!(token_hash(&successor), Some(hash));
    }

    #[test]
    fn implausible_tokens_have_no_hash() {
        for bad in ["", "a b", "é", &"a".repeat(TOKEN_LIMIT + 1)] {
            assert_eq!(token_hash(bad), None, "{bad:?}");
        }
    }
}

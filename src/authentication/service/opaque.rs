//! Opaque tokens: random, known to whoever got them, and kept as hashes.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::RngCore;
use sha2::{Digest, Sha256};

use crate::stores::TokenHash;

/// Random bytes of a refresh token and of a one-time token: 256 bits can't be guessed, and need no slow hash.
const TOKEN_BYTES: usize = 32;

/// Longest opaque token that is looked at, in characters.
const TOKEN_LIMIT: usize = 64;

/// A new opaque token and the hash under which it is kept.
pub(super) fn opaque_token() -> (String, TokenHash) {
    let mut bytes = [0; TOKEN_BYTES];
    rand::rng().fill_bytes(&mut bytes);
    let token = URL_SAFE_NO_PAD.encode(bytes);
    let hash = TokenHash(Sha256::digest(token.as_bytes()).into());
    (token, hash)
}

/// The hash of a token that a client sent; `None` for what can't be one.
pub(super) fn token_hash(token: &str) -> Option<TokenHash> {
    let plausible =
        !token.is_empty() && token.len() <= TOKEN_LIMIT && token.bytes().all(|byte| byte.is_ascii_graphic());
    plausible.then(|| TokenHash(Sha256::digest(token.as_bytes()).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_by_its_hash_and_no_two_are_alike() {
        let (token, hash) = opaque_token();
        assert_eq!(token_hash(&token), Some(hash));
        assert_ne!(opaque_token().0, token);
        assert_eq!(token.len(), 43);
    }

    #[test]
    fn what_can_be_no_token_is_not_looked_at() {
        for bad in ["", "a b", "é", &"a".repeat(TOKEN_LIMIT + 1)] {
            assert_eq!(token_hash(bad), None, "{bad:?}");
        }
    }
}

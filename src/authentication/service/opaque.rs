//! Opaque tokens: random, known to their holder alone, and stored as hashes.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::stores::TokenHash;

/// Random bytes of a refresh token and of a one-time code: 256 bits can't be guessed, and need no slow hash.
const TOKEN_BYTES: usize = 32;

/// The longest opaque token that is accepted, in characters.
const TOKEN_LIMIT: usize = 64;

/// A new opaque token with its hash.
pub(super) fn opaque_token() -> (String, TokenHash) {
    let token = URL_SAFE_NO_PAD.encode(rand::random::<[u8; TOKEN_BYTES]>());
    let hash = TokenHash::of(&token);
    (token, hash)
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
    fn implausible_tokens_have_no_hash() {
        for bad in ["", "a b", "é", &"a".repeat(TOKEN_LIMIT + 1)] {
            assert_eq!(token_hash(bad), None, "{bad:?}");
        }
    }
}

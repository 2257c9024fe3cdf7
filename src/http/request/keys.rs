//! Signatures and derived identifiers: cart tokens, cursors, fingerprints of requests, ids of carts and orders.
//!
//! Each purpose has its own key, derived from the shop's secret, so that no signature is valid for another purpose.
//! HMAC-SHA-256 throughout (RFC 2104).

use std::net::IpAddr;

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;

use crate::digest;
use souk_domain::{CartId, CommandId, OrderId};

/// Length of the shop's secret in bytes.
pub const SECRET_LENGTH: usize = 32;

/// Random bytes in a cart token.
const NONCE_LENGTH: usize = 16;
/// Bytes of a truncated signature, and of the hash in an identifier: 128 bits.
const TAG_LENGTH: usize = 16;

/// One derived key.
#[derive(Clone)]
struct Key(hmac::Key);

impl Key {
    fn new(bytes: &[u8; SECRET_LENGTH]) -> Self {
        Self(hmac::Key::new(HMAC_SHA256, bytes))
    }

    fn derive(&self, purpose: &str) -> Self {
        Self::new(&self.sign(&[purpose.as_bytes()]))
    }

    /// Signs `parts`, each prefixed with its length, so that different lists of parts never have the same encoding.
    fn sign(&self, parts: &[&[u8]]) -> [u8; SECRET_LENGTH] {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut signature = [0; SECRET_LENGTH];
        signature.copy_from_slice(context.sign().as_ref());
        signature
    }

    fn tag(&self, parts: &[&[u8]]) -> [u8; TAG_LENGTH] {
        let mut tag = [0; TAG_LENGTH];
        tag.copy_from_slice(&self.sign(parts)[..TAG_LENGTH]);
        tag
    }
}

/// The keys of the shop.
pub struct Keys {
    cart_token: Key,
    cart_id: Key,
    account_cart: Key,
    cursor: Key,
    order_id: Key,
    fingerprint: Key,
    kept_for: Key,
}

impl Keys {
    /// Derives the keys from the shop's secret, which all nodes share.
    pub fn derive(secret: &[u8; SECRET_LENGTH]) -> Self {
        let root = Key::new(secret);
        Self {
            cart_token: root.derive("souk/cart-token/1"),
            cart_id: root.derive("souk/cart-id/1"),
            account_cart: root.derive("souk/account-cart/1"),
            cursor: root.derive("souk/cursor/1"),
            order_id: root.derive("souk/order-id/1"),
            fingerprint: root.derive("souk/fingerprint/1"),
            kept_for: root.derive("souk/kept-for/1"),
        }
    }

    /// A new guest's token and the cart that it opens. The cart's id does not reveal the token.
    pub fn mint_cart(&self) -> (String, CartId) {
        let nonce: [u8; NONCE_LENGTH] = rand::random();
        let token = [nonce, self.cart_token.tag(&[&nonce])].concat();
        (URL_SAFE_NO_PAD.encode(token), self.cart_of(&nonce))
    }

    /// The cart that a token opens; `None` for a token that this shop did not sign.
    pub fn open_cart(&self, token: &str) -> Option<CartId> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (nonce, tag) = bytes.split_at_checked(NONCE_LENGTH)?;
        let genuine: bool = self.cart_token.tag(&[nonce]).ct_eq(tag).into();
        genuine.then(|| self.cart_of(nonce))
    }

    /// The cart of an account: the same one on every node and after every sign-in.
    pub fn account_cart(&self, user: &str) -> CartId {
        CartId::from_suffix(hex::encode(self.account_cart.tag(&[user.as_bytes()])))
    }

    fn cart_of(&self, nonce: &[u8]) -> CartId {
        CartId::from_suffix(hex::encode(self.cart_id.tag(&[nonce])))
    }

    /// The order that `buyer` places under the idempotency key `key`: always the same (invariant 9).
    pub fn order_id(&self, buyer: &str, key: &str) -> OrderId {
        OrderId::from_suffix(hex::encode(
            self.order_id.tag(&[buyer.as_bytes(), key.as_bytes()]),
        ))
    }

    /// The fingerprint of a body, in hexadecimal. It is stored instead of the body: without the shop's secret, no guess
    /// of a body (an address, a password) can be verified against it.
    pub fn fingerprint(&self, body: &[u8]) -> String {
        hex::encode(self.fingerprint.sign(&[body]))
    }

    /// What the replies to this buyer are kept under: without the shop's secret, it does not reveal who that is.
    pub fn owner(&self, buyer: &str) -> String {
        hex::encode(self.kept_for.tag(&[b"owner", buyer.as_bytes()]))
    }

    /// What the replies to this address count for, likewise.
    pub fn network(&self, address: IpAddr) -> String {
        hex::encode(self.kept_for.tag(&[b"network", address.to_string().as_bytes()]))
    }

    /// A cursor: `position` in the list that `list` describes, signed.
    pub fn seal_cursor(&self, list: &str, position: &str) -> String {
        let tag = self.cursor.tag(&[list.as_bytes(), position.as_bytes()]);
        URL_SAFE_NO_PAD.encode([&tag[..], position.as_bytes()].concat())
    }

    /// The position that a cursor names; `None` unless this shop made it for the same list.
    pub fn open_cursor(&self, list: &str, cursor: &str) -> Option<String> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (tag, position) = bytes.split_at_checked(TAG_LENGTH)?;
        let genuine: bool = self.cursor.tag(&[list.as_bytes(), position]).ct_eq(tag).into();
        genuine
            .then(|| String::from_utf8(position.to_vec()).ok())
            .flatten()
    }
}

/// The id of the command of a request under an idempotency key: the same on every node and in every attempt. Another
/// body under the same key is another command, so that no entity answers it with the reply to the first. Since the
/// fingerprint depends on the shop's secret, the id reveals nothing of either.
pub fn command_id(scope: &str, fingerprint: &str) -> CommandId {
    let mut digits = digest::of_parts(&[scope.as_bytes(), fingerprint.as_bytes()]);
    digits.truncate(2 * TAG_LENGTH);
    CommandId::from_suffix(digits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys() -> Keys {
        Keys::derive(&[7; SECRET_LENGTH])
    }

    #[test]
    fn a_cart_token_needs_the_same_secret() {
        let (token, cart) = keys().mint_cart();
        assert_eq!(keys().open_cart(&token), Some(cart.clone()));
        assert_eq!(CartId::parse(cart.as_str()), Ok(cart));
        assert_eq!(Keys::derive(&[8; SECRET_LENGTH]).open_cart(&token), None);
    }

    #[test]
    fn no_changed_letter_passes() {
        let (token, _) = keys().mint_cart();
        for at in 0..token.len() {
            let mut forged = token.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(
                keys().open_cart(std::str::from_utf8(&forged).unwrap()),
                None,
                "position {at}"
            );
        }
        assert_eq!(keys().open_cart(&token[..token.len() - 1]), None);
        assert_eq!(keys().open_cart(&format!("{token}A")), None);
        assert_eq!(keys().open_cart(""), None);
    }

    #[test]
    fn order_ids_depend_on_each_part() {
        assert_eq!(keys().order_id("a", "bc"), keys().order_id("a", "bc"));
        assert_ne!(keys().order_id("a", "bc"), keys().order_id("ab", "c"));
    }

    #[test]
    fn fingerprints_are_stable_and_need_the_secret() {
        let (body, other) = (b"{\"pin\":1}", b"{\"pin\":2}");
        let fingerprint = keys().fingerprint(body);
        assert_eq!(keys().fingerprint(body), fingerprint);
        assert_ne!(keys().fingerprint(other), fingerprint);
        // Whoever tries all bodies has to have the secret, whatever else of the shop they have.
        assert_ne!(Keys::derive(&[8; SECRET_LENGTH]).fingerprint(body), fingerprint);
        assert_ne!(digest::of_parts(&[body]), fingerprint);
        assert_ne!(hex::encode(digest::sha256(body)), fingerprint);
        assert_ne!(
            hex::encode(Key::new(&[7; SECRET_LENGTH]).sign(&[body])),
            fingerprint
        );
        assert_eq!(fingerprint.len(), 64);
    }

    #[test]
    fn a_signature_is_the_standard_one() {
        // hmac.new(bytes([7]) * 32, (3).to_bytes(8, "big") + b"abc", "sha256").hexdigest() in Python
        assert_eq!(
            hex::encode(Key::new(&[7; SECRET_LENGTH]).sign(&[b"abc"])),
            "5d94cf78b32361191eaa6ec0faacbefa0c583c0a06446429423f475d1ceae8ba"
        );
    }

    proptest! {
        #[test]
        fn a_cursor_opens_in_its_own_list_only(list in ".{0,40}", other in ".{0,40}", position in ".{0,40}") {
            let cursor = keys().seal_cursor(&list, &position);
            prop_assert_eq!(keys().open_cursor(&list, &cursor), Some(position));
            if list != other {
                prop_assert_eq!(keys().open_cursor(&other, &cursor), None);
            }
        }

        #[test]
        fn nothing_made_up_is_opened(text in ".{0,80}") {
            prop_assert_eq!(keys().open_cursor("", &text), None);
            prop_assert_eq!(keys().open_cart(&text), None);
        }
    }
}

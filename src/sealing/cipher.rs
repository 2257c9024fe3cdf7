//! XAES-256-GCM (C2SP): AES-256-GCM with a separate key for each message, derived from a nonce of 24 bytes.
//!
//! Random nonces of plain AES-256-GCM are limited to 2³² messages under one key (NIST SP 800-38D, section 8.3), and a row is
//! sealed again at each write. With 192 random bits, 2⁸⁰ messages may be sealed under one key, by any number of independent
//! processes.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_256, EncryptingKey, UnboundCipherKey};
use aws_lc_rs::error::Unspecified;
use zeroize::Zeroizing;

use crate::config::KEY_BYTES;

/// Bytes of a nonce, which is random for each message.
pub(super) const NONCE_BYTES: usize = 24;
/// Bytes of an AES block.
const BLOCK: usize = 16;

/// An expanded key, wiped when it is dropped.
pub(super) struct Cipher {
    /// AES, for the derivation alone.
    blocks: EncryptingKey,
    /// The first subkey of CMAC (NIST SP 800-38B, section 6.1).
    mask: Zeroizing<[u8; BLOCK]>,
}

impl Cipher {
    pub(super) fn new(key: &[u8; KEY_BYTES]) -> Result<Self, Unspecified> {
        let blocks = EncryptingKey::ecb(UnboundCipherKey::new(&AES_256, key)?)?;
        let mut block = Zeroizing::new([0; BLOCK]);
        blocks.encrypt(&mut *block)?;
        let doubled = u128::from_be_bytes(*block) << 1;
        // Without a branch, since the bit is part of a secret.
        let carry = u128::from(block[0] >> 7) * 0x87;
        Ok(Self {
            blocks,
            mask: Zeroizing::new((doubled ^ carry).to_be_bytes()),
        })
    }

    /// The key for the message with this nonce: two blocks of a KDF in counter mode with CMAC (NIST SP 800-108).
    fn message_key(&self, nonce: &[u8; NONCE_BYTES]) -> Result<LessSafeKey, Unspecified> {
        let mut derived = Zeroizing::new([0; KEY_BYTES]);
        for (counter, block) in (1_u8..).zip(derived.chunks_exact_mut(BLOCK)) {
            block[..4].copy_from_slice(&[0, counter, b'X', 0]);
            block[4..].copy_from_slice(&nonce[..NONCE_LEN]);
            for (byte, mask) in block.iter_mut().zip(self.mask.iter()) {
                *byte ^= mask;
            }
        }
        self.blocks.encrypt(&mut *derived)?;
        Ok(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &*derived)?))
    }

    /// Encrypts in place and appends the tag.
    pub(super) fn seal(
        &self,
        nonce: &[u8; NONCE_BYTES],
        associated: &[u8],
        message: &mut Vec<u8>,
    ) -> Result<(), Unspecified> {
        self.message_key(nonce)?.seal_in_place_append_tag(
            Nonce::try_assume_unique_for_key(&nonce[NONCE_LEN..])?,
            Aad::from(associated),
            message,
        )
    }

    /// Decrypts in place and returns the plain text.
    pub(super) fn open<'a>(
        &self,
        nonce: &[u8; NONCE_BYTES],
        associated: &[u8],
        message: &'a mut [u8],
    ) -> Result<&'a [u8], Unspecified> {
        let plain = self.message_key(nonce)?.open_in_place(
            Nonce::try_assume_unique_for_key(&nonce[NONCE_LEN..])?,
            Aad::from(associated),
            message,
        )?;
        Ok(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of the specification, <https://c2sp.org/XAES-256-GCM>.
    #[test]
    fn it_is_the_published_construction() {
        let nonce = b"ABCDEFGHIJKLMNOPQRSTUVWX";
        for (key, associated, sealed) in [
            (
                1_u8,
                "",
                "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271",
            ),
            (
                3,
                "c2sp.org/XAES-256-GCM",
                "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d",
            ),
        ] {
            let cipher = Cipher::new(&[key; KEY_BYTES]).unwrap();
            let mut message = b"XAES-256-GCM".to_vec();
            cipher.seal(nonce, associated.as_bytes(), &mut message).unwrap();
            assert_eq!(hex::encode(&message), sealed);
            let plain = cipher.open(nonce, associated.as_bytes(), &mut message).unwrap();
            assert_eq!(plain, b"XAES-256-GCM");
        }
    }
}

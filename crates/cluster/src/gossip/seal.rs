//! Datagrams sealed under the cluster's key, so that nobody else can read them, or make a member appear or disappear.
//!
//! AES-256-GCM with a 96-bit nonce: 64 random bits drawn once for a process, then a 32-bit counter. Purely random nonces
//! under one key for all nodes would use up the bound of 2³² messages (NIST SP 800-38D, section 8.3) within months of a
//! small cluster's gossip; with prefixes two nonces are the same only where two of k processes draw the same prefix, which
//! has probability k²/2⁶⁵. When a counter is used up, a new prefix is drawn.
//!
//! A recorded datagram can be replayed. That does no harm: heartbeats and versions only grow, and who is a member is
//! decided in the coordination store.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::error::Unspecified;

use crate::key::ClusterKey;

/// First byte of every datagram; authenticated with it.
const VERSION: u8 = 1;
const HEADER: usize = 1 + NONCE_LEN;
const PREFIX: usize = 8;

/// A datagram could not be sealed: the system has no randomness, or the cipher failed.
#[derive(Debug, thiserror::Error)]
#[error("the system's cryptography failed")]
pub struct SealError;

impl From<Unspecified> for SealError {
    fn from(_: Unspecified) -> Self {
        Self
    }
}

/// Why a datagram was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// Too short, or another version.
    Malformed,
    /// Not sealed under this key, or modified in transit.
    Forged,
}

impl Rejection {
    /// The value of the metric's label `kind`.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Forged => "forged",
        }
    }
}

/// Seals and opens datagrams.
pub struct Seal {
    key: LessSafeKey,
    prefix: [u8; PREFIX],
    counter: u32,
}

impl Seal {
    /// Derives the key for gossip and draws a nonce prefix.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn new(key: &ClusterKey) -> Result<Self, SealError> {
        let key = UnboundKey::new(&AES_256_GCM, &key.derive("souk gossip 1"))?;
        let mut seal = Self {
            key: LessSafeKey::new(key),
            prefix: [0; PREFIX],
            counter: 0,
        };
        seal.draw_prefix()?;
        Ok(seal)
    }

    fn draw_prefix(&mut self) -> Result<(), SealError> {
        aws_lc_rs::rand::fill(&mut self.prefix)?;
        self.counter = 0;
        Ok(())
    }

    /// A datagram that [`Seal::open`] with the same key turns back into `plain`.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn seal(&mut self, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE_LEN];
        nonce[..PREFIX].copy_from_slice(&self.prefix);
        nonce[PREFIX..].copy_from_slice(&self.counter.to_be_bytes());
        match self.counter.checked_add(1) {
            Some(next) => self.counter = next,
            None => self.draw_prefix()?,
        }
        let mut body = plain.to_vec();
        self.key.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from([VERSION]),
            &mut body,
        )?;
        Ok([&[VERSION][..], &nonce, &body].concat())
    }

    /// The plain text. Decrypts in place.
    ///
    /// # Errors
    /// [`Rejection`].
    pub fn open<'a>(&self, datagram: &'a mut [u8]) -> Result<&'a [u8], Rejection> {
        let (header, body) = datagram
            .split_at_mut_checked(HEADER)
            .ok_or(Rejection::Malformed)?;
        let (version, nonce) = header.split_at(1);
        if version != [VERSION] {
            return Err(Rejection::Malformed);
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Rejection::Malformed)?;
        let plain = self
            .key
            .open_in_place(nonce, Aad::from([VERSION]), body)
            .map_err(|_| Rejection::Forged)?;
        Ok(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn seal(secret: &str) -> Seal {
        Seal::new(&ClusterKey::new(secret).unwrap()).unwrap()
    }

    const SECRET: &str = "the cluster's secret";

    proptest! {
        #[test]
        fn only_the_same_key_opens(plain: Vec<u8>) {
            let mut datagram = seal(SECRET).seal(&plain).unwrap();
            let mut copy = datagram.clone();
            prop_assert_eq!(seal("another cluster's secret").open(&mut copy), Err(Rejection::Forged));
            prop_assert_eq!(seal(SECRET).open(&mut datagram), Ok(&plain[..]));
        }

        #[test]
        fn every_changed_bit_is_noticed(plain: Vec<u8>, at: prop::sample::Index, bit in 0..8u8) {
            let mut datagram = seal(SECRET).seal(&plain).unwrap();
            let at = at.index(datagram.len());
            datagram[at] ^= 1 << bit;
            prop_assert!(seal(SECRET).open(&mut datagram).is_err());
        }

        #[test]
        fn garbage_does_not_open(mut garbage: Vec<u8>) {
            prop_assert!(seal(SECRET).open(&mut garbage).is_err());
        }
    }

    #[test]
    fn nonces_stay_unique_when_the_counter_overflows() {
        let mut seal = seal(SECRET);
        seal.counter = u32::MAX - 2;
        let first_prefix = seal.prefix;
        let nonces: HashSet<Vec<u8>> = (0..6)
            .map(|_| seal.seal(b"same").unwrap()[1..HEADER].to_vec())
            .collect();
        assert_eq!(nonces.len(), 6);
        assert_ne!(seal.prefix, first_prefix);
    }
}

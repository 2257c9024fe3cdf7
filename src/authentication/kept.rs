//! The sessions store as signing keys and revocations see it.

use std::sync::Arc;

use async_trait::async_trait;

use super::revocations::{RevocationPage, RevocationSource};
use super::signing::SigningKeyStore;
use crate::stores::StoreError;
use crate::stores::sessions::{SessionStore, SigningKeyRow};
use souk_domain::Timestamp;

/// What is kept in the sessions store.
pub struct Kept(pub Arc<dyn SessionStore>);

#[async_trait]
impl SigningKeyStore for Kept {
    async fn signing_keys(&self) -> Result<Vec<SigningKeyRow>, StoreError> {
        self.0.signing_keys().await
    }

    async fn add_signing_key(
        &self,
        key: &SigningKeyRow,
        unless_newer_than: Timestamp,
    ) -> Result<bool, StoreError> {
        self.0.add_signing_key(key, unless_newer_than).await
    }

    async fn remove_signing_keys(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.0.remove_signing_keys(before).await
    }
}

#[async_trait]
impl RevocationSource for Kept {
    async fn revoked_since(&self, sequence: i64, limit: usize) -> Result<RevocationPage, StoreError> {
        let revoked = self.0.revoked_since(sequence, limit).await?;
        Ok(RevocationPage {
            sessions: revoked
                .sessions
                .iter()
                .map(|session| session.as_str().to_owned())
                .collect(),
            sequence: revoked.sequence,
        })
    }
}

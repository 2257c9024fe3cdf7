//! Seals the bodies of kept replies, which may hold orders and cart tokens.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Claim, IdempotencyStore, KeptReply};
use crate::sealing::Keyring;
use crate::sealing::layout::{self, Layout, RowError};
use crate::stores::StoreError;
use souk_domain::Timestamp;

/// The store's name, in errors and in the table of layouts.
const STORE: &str = "idempotency";

/// Seals bodies on their way into the inner store and opens them on their way out.
pub struct SealedReplies {
    inner: Arc<dyn IdempotencyStore>,
    layout: &'static Layout,
    keyring: Arc<Keyring>,
}

impl SealedReplies {
    /// Wraps `store`.
    pub fn before(store: Arc<dyn IdempotencyStore>, keyring: &Arc<Keyring>) -> Arc<dyn IdempotencyStore> {
        match layout::layout(STORE) {
            None => store,
            Some(layout) => Arc::new(Self {
                inner: store,
                layout,
                keyring: Arc::clone(keyring),
            }),
        }
    }
}

/// The key in the error is a digest, which reveals nothing about the request.
fn failed(key: &str, cause: RowError) -> StoreError {
    StoreError::Sealing {
        store: STORE,
        row: key.to_owned(),
        cause,
    }
}

#[async_trait]
impl IdempotencyStore for SealedReplies {
    fn technology(&self) -> &'static str {
        self.inner.technology()
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.inner.ping().await
    }

    async fn claim(
        &self,
        key: &str,
        fingerprint: &str,
        holder: &str,
        now: Timestamp,
        lease: Duration,
        keep: Duration,
    ) -> Result<Claim, StoreError> {
        let claim = self
            .inner
            .claim(key, fingerprint, holder, now, lease, keep)
            .await?;
        let Claim::Answered(mut reply) = claim else {
            return Ok(claim);
        };
        let opened = self
            .layout
            .open(&self.keyring, key, &reply.body)
            .map_err(|cause| failed(key, cause))?;
        if let Some(opened) = opened {
            reply.body = opened;
        }
        Ok(Claim::Answered(reply))
    }

    async fn answer(&self, key: &str, holder: &str, reply: &KeptReply) -> Result<(), StoreError> {
        let sealed = self
            .layout
            .seal(&self.keyring, key, &reply.body)
            .map_err(|cause| failed(key, cause))?;
        let sealed = KeptReply {
            status: reply.status,
            headers: reply.headers.clone(),
            body: sealed.unwrap_or_else(|| reply.body.clone()),
        };
        self.inner.answer(key, holder, &sealed).await
    }

    async fn release(&self, key: &str, holder: &str) -> Result<(), StoreError> {
        self.inner.release(key, holder).await
    }

    async fn sweep(&self, before: Timestamp, limit: usize) -> Result<u64, StoreError> {
        self.inner.sweep(before, limit).await
    }
}

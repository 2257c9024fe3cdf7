//! Compresses and seals the bodies of kept replies, which may be large and hold orders and cart tokens.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Attempt, BODY_LIMIT, Claim, IdempotencyStore, KeptReply};
use crate::sealing::Keyring;
use crate::sealing::layout::{self, Layout, RowError};
use crate::stores::StoreError;
use souk_domain::Timestamp;

/// The store's name, in errors and in the table of layouts.
const STORE: &str = "idempotency";

/// Bodies below this length are not compressed, in bytes.
const COMPRESSED_FROM: usize = 512;
/// zstd's fastest: JSON with many similar lines shrinks to a tenth already.
const LEVEL: i32 = 1;
/// What every compressed body begins with (RFC 8878, section 3.1.1), and no JSON does.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Compresses and seals bodies on their way into the inner store, and restores them on their way out.
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

fn compressed(body: &[u8]) -> Result<Vec<u8>, StoreError> {
    if body.len() < COMPRESSED_FROM {
        return Ok(body.to_vec());
    }
    zstd::bulk::compress(body, LEVEL).map_err(|cause| StoreError::Refused {
        store: STORE,
        cause: cause.into(),
    })
}

fn restored(key: &str, body: Vec<u8>) -> Result<Vec<u8>, StoreError> {
    if !body.starts_with(&MAGIC) {
        return Ok(body);
    }
    zstd::bulk::decompress(&body, BODY_LIMIT).map_err(|cause| StoreError::Corrupt {
        store: STORE,
        what: format!("the body under {key} can't be restored: {cause}"),
    })
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
        attempt: &Attempt<'_>,
        now: Timestamp,
        lease: Duration,
        keep: Duration,
    ) -> Result<Claim, StoreError> {
        let key = attempt.key;
        let claim = self.inner.claim(attempt, now, lease, keep).await?;
        let Claim::Answered(mut reply) = claim else {
            return Ok(claim);
        };
        let opened = self
            .layout
            .open(&self.keyring, key, &reply.body)
            .map_err(|cause| failed(key, cause))?;
        reply.body = restored(key, opened.unwrap_or(reply.body))?;
        Ok(Claim::Answered(reply))
    }

    async fn answer(
        &self,
        key: &str,
        holder: &str,
        owner: Option<&str>,
        reply: &KeptReply,
    ) -> Result<(), StoreError> {
        let body = compressed(&reply.body)?;
        let sealed = self
            .layout
            .seal(&self.keyring, key, &body)
            .map_err(|cause| failed(key, cause))?;
        let sealed = KeptReply {
            status: reply.status,
            headers: reply.headers.clone(),
            body: sealed.unwrap_or(body),
        };
        self.inner.answer(key, holder, owner, &sealed).await
    }

    async fn release(&self, key: &str, holder: &str) -> Result<(), StoreError> {
        self.inner.release(key, holder).await
    }

    async fn forget(&self, owner: &str, limit: usize) -> Result<u64, StoreError> {
        self.inner.forget(owner, limit).await
    }

    async fn sweep(&self, before: Timestamp, limit: usize) -> Result<u64, StoreError> {
        self.inner.sweep(before, limit).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::KEY_BYTES;
    use crate::sealing::Key;
    use crate::stores::idempotency::contract::attempt;
    use crate::stores::idempotency::sqlite::SqliteIdempotency;
    use crate::stores::testing::open_database;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
    const DAY: Duration = Duration::from_secs(24 * 3_600);

    #[tokio::test(flavor = "multi_thread")]
    async fn a_large_body_is_kept_small() {
        let (database, _folder) = open_database("idempotency").await;
        let inner: Arc<dyn IdempotencyStore> = Arc::new(SqliteIdempotency(database));
        let key = Key::new("test", &[7; KEY_BYTES]).unwrap();
        let keyring = Arc::new(Keyring::new(key, Vec::new()));
        let store = SealedReplies::before(Arc::clone(&inner), &keyring);
        let lines: Vec<String> = (0..100)
            .map(|number| format!("{{\"sku\":\"SKU-{number:05}\",\"title\":\"A kettle of copper, number {number}\",\"quantity\":1}}"))
            .collect();
        let large = format!("[{}]", lines.join(",")).into_bytes();
        for (name, body) in [
            ("large", large.clone()),
            ("small", b"{}".to_vec()),
            ("none", Vec::new()),
        ] {
            let claimed = store
                .claim(&attempt(name, "body", "one"), NOW, DAY, DAY)
                .await
                .unwrap();
            assert_eq!(claimed, Claim::Ours);
            let reply = KeptReply {
                status: 200,
                headers: Vec::new(),
                body,
            };
            store.answer(name, "one", None, &reply).await.unwrap();
            let found = store
                .claim(&attempt(name, "body", "two"), NOW, DAY, DAY)
                .await
                .unwrap();
            assert_eq!(found, Claim::Answered(reply));
        }
        let Claim::Answered(kept) = inner
            .claim(&attempt("large", "body", "two"), NOW, DAY, DAY)
            .await
            .unwrap()
        else {
            panic!("no reply is kept");
        };
        assert!(
            kept.body.len() * 4 < large.len(),
            "{} of {}",
            kept.body.len(),
            large.len()
        );

        // As the version before kept it.
        let layout = layout::layout(STORE).unwrap();
        inner
            .claim(&attempt("old", "body", "one"), NOW, DAY, DAY)
            .await
            .unwrap();
        let sealed = layout.seal(&keyring, "old", &large).unwrap().unwrap();
        let old = KeptReply { body: sealed, ..kept };
        inner.answer("old", "one", None, &old).await.unwrap();
        let Claim::Answered(found) = store
            .claim(&attempt("old", "body", "two"), NOW, DAY, DAY)
            .await
            .unwrap()
        else {
            panic!("no reply is kept");
        };
        assert_eq!(found.body, large);
    }
}

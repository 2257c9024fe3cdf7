//! Writes whose answer is lost on the way. What they find holds of every store that is reached over a network.

use super::write;
use crate::stores::StoreError;
use crate::stores::documents::{DocumentStore, WriteOutcome};
use crate::stores::testing::proxy::Proxy;
use crate::stores::testing::until;

/// A write of two rows whose outcome is unknown.
pub struct LostWrite {
    /// Its mark.
    pub mark: String,
    /// The rows: one that it replaces, and one that it creates.
    pub ids: [String; 2],
    /// The version of the first before.
    pub version: u64,
}

impl LostWrite {
    /// Writes, with faults, until the outcome of a write is unknown.
    async fn lose(store: &dyn DocumentStore, fault: impl Fn()) -> Self {
        for version in 0.. {
            // The first one opens a connection, and prepares the statement. Where that was idle for too long, a new one is used,
            // which loses nothing.
            if version > 0 {
                fault();
            }
            let (mark, ids) = (
                format!("mark-{version}"),
                ["row".to_owned(), format!("new-{version}")],
            );
            let batch = [write(&ids[0], version), write(&ids[1], 0)];
            match store.write(&mark, &batch).await {
                Ok(outcomes) => assert_eq!(outcomes, [WriteOutcome::Applied, WriteOutcome::Applied]),
                Err(StoreError::OutcomeUnknown { .. }) => return Self { mark, ids, version },
                Err(error) => panic!("{error:?}"),
            }
        }
        unreachable!()
    }

    /// Asserts that the store says of both rows whether they were written. Connections that are stuck too may be given up one
    /// after the other.
    async fn was_applied(&self, store: &dyn DocumentStore, expected: bool) {
        let applied = until("an answer", async || {
            store.applied(&self.mark, &self.ids).await.ok()
        })
        .await;
        assert_eq!(applied, [expected, expected], "{}", self.mark);
    }

    async fn versions(&self, store: &dyn DocumentStore) -> Vec<u64> {
        until("an answer", async || store.versions(&self.ids).await.ok()).await
    }
}

/// The server writes, and the answer to the request with this text gets lost.
pub async fn is_found(store: &dyn DocumentStore, proxy: &Proxy, with: &'static str) {
    let lost = LostWrite::lose(store, || proxy.mute(with)).await;
    lost.was_applied(store, true).await;
    assert_eq!(lost.versions(store).await, [lost.version + 1, 1]);
    let next = [write(&lost.ids[0], lost.version + 1), write(&lost.ids[1], 1)];
    let next = store.write("next", &next).await.unwrap();
    assert_eq!(next, [WriteOutcome::Applied, WriteOutcome::Applied]);
}

/// The request with this text lies on its way to the server while its outcome is asked for, and arrives after the answer.
pub async fn is_not_applied_late(store: &dyn DocumentStore, proxy: &Proxy, with: &'static str) -> LostWrite {
    let lost = LostWrite::lose(store, || proxy.hold(with)).await;
    lost.was_applied(store, false).await;
    proxy.release().await;
    assert_eq!(lost.versions(store).await, [lost.version, 0]);
    lost.was_applied(store, false).await;
    lost
}

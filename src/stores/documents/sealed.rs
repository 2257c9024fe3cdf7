//! Documents whose personal fields are sealed: between any adapter and everybody else.

use std::ops::RangeInclusive;
use std::sync::Arc;

use async_trait::async_trait;

use super::{Document, DocumentStore, DocumentWrite, Row, Unreadable, WriteOutcome};
use crate::sealing::Keyring;
use crate::sealing::layout::{self, Layout, RowError};
use crate::stores::StoreError;
use souk_domain::Timestamp;
use souk_error_chain::Chain;

/// Rows that are sealed or opened before others get a turn on this thread: some hundred microseconds of work.
const ROWS_A_TURN: usize = 16;

/// A document store that seals bodies on their way in and opens them on their way out, by the store's [`Layout`]. What
/// was written before there was a key is read as it is, and sealed by its next write.
pub struct SealedDocuments {
    inner: Arc<dyn DocumentStore>,
    layout: &'static Layout,
    keyring: Arc<Keyring>,
}

impl SealedDocuments {
    /// Puts itself before `store` where that store has something to seal; the others, carts among them, are given back
    /// as they are, and cost nothing more.
    pub fn before(store: Arc<dyn DocumentStore>, keyring: &Arc<Keyring>) -> Arc<dyn DocumentStore> {
        match layout::layout(store.name()) {
            None => store,
            Some(layout) => Arc::new(Self {
                inner: store,
                layout,
                keyring: Arc::clone(keyring),
            }),
        }
    }

    fn failed(&self, id: &str, cause: RowError) -> StoreError {
        StoreError::Sealing {
            store: self.inner.name(),
            row: id.to_owned(),
            cause,
        }
    }

    fn body(&self, id: &str, bytes: Vec<u8>) -> Result<String, StoreError> {
        String::from_utf8(bytes).map_err(|error| StoreError::Corrupt {
            store: self.inner.name(),
            what: format!("{id}: its body is no text: {}", error.utf8_error()),
        })
    }

    fn sealed(&self, write: &DocumentWrite) -> Result<DocumentWrite, StoreError> {
        let Document { id, body, .. } = &write.document;
        let sealed = self
            .layout
            .seal(&self.keyring, id, body.as_bytes())
            .map_err(|cause| self.failed(id, cause))?;
        let body = match sealed {
            Some(sealed) => self.body(id, sealed)?,
            None => body.clone(),
        };
        Ok(DocumentWrite {
            document: Document {
                id: id.clone(),
                owner: write.document.owner.clone(),
                body,
                ..write.document
            },
            expected: write.expected,
            events: write.events.clone(),
        })
    }

    fn open(&self, document: &mut Document) -> Result<(), StoreError> {
        let opened = self
            .layout
            .open(&self.keyring, &document.id, document.body.as_bytes())
            .map_err(|cause| self.failed(&document.id, cause))?;
        if let Some(opened) = opened {
            document.body = self.body(&document.id, opened)?;
        }
        Ok(())
    }

    async fn open_each(&self, mut rows: Vec<Row>) -> Vec<Row> {
        for turn in rows.chunks_mut(ROWS_A_TURN) {
            for row in turn {
                if let Ok(document) = row
                    && let Err(error) = self.open(document)
                {
                    *row = Err(Unreadable {
                        id: std::mem::take(&mut document.id),
                        due_at: document.due_at,
                        error,
                    });
                }
            }
            tokio::task::yield_now().await;
        }
        rows
    }
}

#[async_trait]
impl DocumentStore for SealedDocuments {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn technology(&self) -> &'static str {
        self.inner.technology()
    }

    fn batches_in_flight(&self) -> usize {
        self.inner.batches_in_flight()
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.inner.ping().await
    }

    async fn load_many(&self, ids: &[String]) -> Result<Vec<Row>, StoreError> {
        Ok(self.open_each(self.inner.load_many(ids).await?).await)
    }

    async fn versions(&self, ids: &[String]) -> Result<Vec<u64>, StoreError> {
        self.inner.versions(ids).await
    }

    async fn write(&self, mark: &str, batch: &[DocumentWrite]) -> Result<Vec<WriteOutcome>, StoreError> {
        let mut sealed = Vec::with_capacity(batch.len());
        let mut outcomes: Vec<Option<WriteOutcome>> = Vec::with_capacity(batch.len());
        for turn in batch.chunks(ROWS_A_TURN) {
            for write in turn {
                match self.sealed(write) {
                    Ok(write) => {
                        sealed.push(write);
                        outcomes.push(None);
                    }
                    Err(error) => outcomes.push(Some(WriteOutcome::Refused(Chain(&error).to_string()))),
                }
            }
            if batch.len() > ROWS_A_TURN {
                tokio::task::yield_now().await;
            }
        }
        let mut written = self.inner.write(mark, &sealed).await?.into_iter();
        Ok(outcomes
            .into_iter()
            .filter_map(|refused| refused.or_else(|| written.next()))
            .collect())
    }

    async fn applied(&self, mark: &str, ids: &[String]) -> Result<Vec<bool>, StoreError> {
        self.inner.applied(mark, ids).await
    }

    async fn due(
        &self,
        shards: &[u16],
        due: RangeInclusive<Timestamp>,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        self.inner.due(shards, due, limit).await
    }

    async fn by_owner(
        &self,
        owner: &str,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let rows = self.inner.by_owner(owner, before, limit).await?;
        Ok(self.open_each(rows).await)
    }

    async fn scan(&self, after: Option<&str>, limit: usize) -> Result<Vec<Row>, StoreError> {
        Ok(self.open_each(self.inner.scan(after, limit).await?).await)
    }
}

#[cfg(test)]
#[path = "sealed_tests.rs"]
mod tests;

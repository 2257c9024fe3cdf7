//! The projection of stock badges: how many of a SKU can be bought, as the catalogue shows it (invariant 14).

use std::sync::Arc;

use async_trait::async_trait;

use crate::actors::entity::Record;
use crate::projections::relay::{Consumer, Failures, Receipt, Unavailable, rows};
use crate::stores::StoreError;
use crate::stores::documents::{Document, DocumentStore, LedgerEvent, outbox};
use crate::stores::products::{Badge, ProductStore};
use souk_domain::stock::Stock;
use souk_domain::{Aggregate, Sku};

/// Replaces the badge of every SKU that emitted an event by what its stock says now. Badges carry the stock's version,
/// so that repetitions and late events change nothing.
pub struct BadgeProjector {
    /// The stock.
    pub inventory: Arc<dyn DocumentStore>,
    /// The badges.
    pub products: Arc<dyn ProductStore>,
}

/// The badge of a row of the inventory.
///
/// # Errors
/// [`StoreError::Corrupt`] where the row does not decode.
pub fn badge(document: &Document) -> Result<Badge, StoreError> {
    let corrupt = |what: String| StoreError::Corrupt {
        store: "inventory",
        what: format!("{}: {what}", document.id),
    };
    let record: Record<Stock> = Record::decode(document).map_err(|error| corrupt(error.to_string()))?;
    Ok(Badge {
        sku: Sku::parse(&document.id).map_err(|error| corrupt(error.to_string()))?,
        available: u32::try_from(record.state.view().available).unwrap_or(u32::MAX),
        version: document.version,
    })
}

#[async_trait]
impl Consumer for BadgeProjector {
    fn name(&self) -> &'static str {
        outbox::STOCK_BADGES
    }

    async fn consume(&self, events: &[LedgerEvent]) -> Result<Vec<Receipt>, Unavailable> {
        let mut failures = Failures::default();
        let mut badges = Vec::new();
        for (entity, row) in rows(&*self.inventory, events).await? {
            match row.map_err(|row| row.error).and_then(|document| badge(&document)) {
                Ok(badge) => badges.push(badge),
                Err(error) => failures.note(&entity, &error)?,
            }
        }
        if self.products.put_badges(&badges).await.is_err() {
            // One by one, to find those at fault.
            for badge in &badges {
                if let Err(error) = self.products.put_badges(std::slice::from_ref(badge)).await {
                    failures.note(badge.sku.as_str(), &error)?;
                }
            }
        }
        Ok(failures.receipts(events))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::documents::contract::write;
    use crate::stores::documents::faulty::FaultyDocuments;
    use crate::stores::testing::embedded_stores;
    use souk_domain::fixtures::{raw_event, sku};
    use souk_domain::{EventId, Timestamp};

    fn event(sku: &Sku) -> LedgerEvent {
        LedgerEvent {
            sequence: 1,
            id: EventId {
                entity: sku.as_str().to_owned(),
                version: 1,
                ordinal: 0,
            },
            shard: 0,
            at: Timestamp::default(),
            event: raw_event("stock.received", serde_json::Value::Null),
        }
    }

    /// The event whose row can't be read is at fault, and not the first of the batch.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_row_that_does_not_decode_fails_its_own_event() {
        let (stores, _directory) = embedded_stores().await;
        let inventory = FaultyDocuments::new("inventory").await;
        let skus = [0, 1, 2].map(sku);
        let batch = [0, 1, 2].map(|index| {
            let mut write = write(skus[index].as_str(), 0);
            let record = Record::<Stock>::initial(skus[index].as_str());
            if index != 1 {
                write.document.body = serde_json::to_string(&record).unwrap();
            }
            write
        });
        inventory.write("m", &batch).await.unwrap();
        let projector = BadgeProjector {
            inventory: Arc::clone(&inventory) as Arc<dyn DocumentStore>,
            products: Arc::clone(&stores.products),
        };
        let events = [&skus[0], &skus[1], &skus[2], &skus[1]].map(event);
        let receipts = projector.consume(&events).await.unwrap();
        let failed: Vec<bool> = receipts
            .iter()
            .map(|receipt| *receipt != Receipt::Delivered)
            .collect();
        assert_eq!(failed, [false, true, false, true]);
        let badges = stores.products.badges(&skus).await.unwrap();
        assert_eq!(badges.len(), 2);
        // A store that does not answer is no event's fault.
        inventory.set_available(false);
        assert!(projector.consume(&events).await.is_err());
    }
}

//! The projector of stock badges: how many of a SKU can be bought, as the catalogue shows it (invariant 14).

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;

use super::entity::Record;
use super::relay::{Consumer, Undelivered, entities};
use crate::domain::stock::Stock;
use crate::domain::{Aggregate, Sku};
use crate::stores::StoreError;
use crate::stores::catalogue::{Badge, Catalogue};
use crate::stores::documents::{Document, DocumentStore, OutboxEvent, Row, row_id};

/// Replaces the badge of every SKU that an event speaks of by what its stock says now. Badges carry the stock's
/// version, so that repetitions and late comers change nothing.
pub struct BadgeProjector {
    /// The stock.
    pub inventory: Arc<dyn DocumentStore>,
    /// The badges.
    pub catalogue: Arc<dyn Catalogue>,
}

/// The badge that a row of the inventory calls for.
pub fn badge(document: &Document) -> Option<Badge> {
    let record: Record<Stock> = Record::decode(document).ok()?;
    Some(Badge {
        sku: Sku::parse(&document.id).ok()?,
        available: u32::try_from(record.state.view().available).unwrap_or(u32::MAX),
        version: document.version,
    })
}

#[async_trait]
impl Consumer for BadgeProjector {
    fn name(&self) -> &'static str {
        "stock badges"
    }

    async fn consume(&self, events: &[OutboxEvent]) -> Result<(), Undelivered> {
        let entities = entities(events);
        if entities.is_empty() {
            return Ok(());
        }
        let skus: Vec<String> = entities.iter().map(|(_, sku)| (*sku).to_owned()).collect();
        let failed = |error: StoreError| Undelivered::by(&error, 0);
        let mut rows: HashMap<String, Row> = self
            .inventory
            .load_each(&skus)
            .await
            .map_err(failed)?
            .into_iter()
            .map(|row| (row_id(&row).to_owned(), row))
            .collect();
        let mut badges = Vec::with_capacity(skus.len());
        let mut refused = None;
        for (position, sku) in entities {
            match rows.remove(sku) {
                Some(Ok(document)) => badges.extend(badge(&document)),
                Some(Err(unreadable)) => {
                    refused = Some(Undelivered::by(&unreadable.error, position));
                    break;
                }
                None => {}
            }
        }
        // Those before it are to be taken.
        self.catalogue.put_badges(&badges).await.map_err(failed)?;
        refused.map_or(Ok(()), Err)
    }
}

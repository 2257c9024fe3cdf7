//! The projector of stock badges: how many of a SKU can be bought, as the catalogue shows it (invariant 14).

use std::sync::Arc;

use async_trait::async_trait;

use crate::actors::entity::Record;
use crate::projections::relay::{Consumer, Undelivered, rows};
use crate::stores::documents::{Document, DocumentStore, OutboxEvent};
use crate::stores::products::{Badge, ProductStore};
use souk_domain::stock::Stock;
use souk_domain::{Aggregate, Sku};

/// Replaces the badge of every SKU that an event speaks of by what its stock says now. Badges carry the stock's
/// version, so that repetitions and late comers change nothing.
pub struct BadgeProjector {
    /// The stock.
    pub inventory: Arc<dyn DocumentStore>,
    /// The badges.
    pub products: Arc<dyn ProductStore>,
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
        let rows = rows(&*self.inventory, events).await?;
        if rows.is_empty() {
            return Ok(());
        }
        let mut badges = Vec::with_capacity(rows.len());
        let mut refused = None;
        for (position, row) in rows {
            match row {
                Ok(document) => badges.extend(badge(&document)),
                Err(unreadable) => {
                    refused = Some(Undelivered::by(&unreadable.error, position));
                    break;
                }
            }
        }
        // Those before it are to be taken.
        let put = self.products.put_badges(&badges).await;
        put.map_err(|error| Undelivered::by(&error, 0))?;
        refused.map_or(Ok(()), Err)
    }
}

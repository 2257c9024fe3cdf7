//! The projector of purchase histories: what an account has bought (invariant 14), and which orders of guests wait for
//! whoever proves their address.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;

use super::clock::Clock;
use super::entity::Record;
use super::relay::{Consumer, Undeliverable};
use crate::authentication::guests::Guests;
use crate::domain::account::email_key;
use crate::domain::{Order, OrderView, Purchase, PurchasedItem, UserId};
use crate::stores::StoreError;
use crate::stores::documents::{Document, DocumentStore, OutboxEvent};
use crate::stores::users::UserStore;

/// Orders read at once when everything is projected again.
const PAGE: usize = 500;

/// Shows every order that an event speaks of as it stands now. Purchases carry the order's version, so that repetitions
/// and late comers change nothing.
pub struct PurchaseProjector {
    /// The orders.
    pub orders: Arc<dyn DocumentStore>,
    /// The histories.
    pub users: Arc<dyn UserStore>,
    /// Names guests.
    pub guests: Guests,
    /// The time.
    pub clock: Clock,
}

impl PurchaseProjector {
    /// Projects every order anew; returns how many.
    ///
    /// # Errors
    /// [`StoreError`]; what was projected until then stays.
    pub async fn rebuild(&self) -> Result<u64, StoreError> {
        let mut after: Option<String> = None;
        let mut count = 0;
        loop {
            let page = self.orders.scan(after.as_deref(), PAGE).await?;
            for document in &page {
                self.project(document).await?;
                count += 1;
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some(last.id.clone()),
                _ => return Ok(count),
            }
        }
    }

    async fn project(&self, document: &Document) -> Result<(), StoreError> {
        let record: Record<Order> = Record::decode(document).map_err(|error| StoreError::Corrupt {
            store: "orders",
            what: format!("{}: {error}", document.id),
        })?;
        let Some(order) = record.state.placed() else {
            return Ok(());
        };
        // What never was confirmed is no purchase.
        if order.payment_id.is_none() {
            return Ok(());
        }
        match UserId::parse(&order.buyer) {
            Ok(user) => {
                let purchase = purchase(order, user, document.version, (self.clock)());
                self.users.put_purchase(&purchase).await?;
                self.users.forget_guest_order(&order.id).await
            }
            // An address that no account can have waits for nobody.
            Err(_) => match email_key(&order.email) {
                Ok(key) => {
                    let guest = self.guests.name(&key);
                    self.users
                        .put_guest_order(&guest, &order.id, order.created_at)
                        .await
                }
                Err(_) => Ok(()),
            },
        }
    }
}

fn purchase(order: &OrderView, user: UserId, version: u64, now: crate::domain::Timestamp) -> Purchase {
    Purchase {
        order_id: order.id.clone(),
        user_id: user,
        number: order.number.clone(),
        status: order.status,
        total: order.total,
        items: order
            .lines
            .iter()
            .map(|line| PurchasedItem {
                sku: line.sku.clone(),
                product_id: line.product_id.clone(),
                title: line.title.clone(),
                quantity: line.quantity,
                unit_price: line.unit_price,
            })
            .collect(),
        placed_at: order.created_at,
        updated_at: order.timeline.last().map_or(now, |entry| entry.at),
        version,
    }
}

#[async_trait]
impl Consumer for PurchaseProjector {
    fn name(&self) -> &'static str {
        "purchases"
    }

    async fn consume(&self, events: &[OutboxEvent]) -> Result<(), Undeliverable> {
        let orders: BTreeSet<&str> = events.iter().map(|event| event.entity.as_str()).collect();
        if orders.is_empty() {
            return Ok(());
        }
        let orders: Vec<String> = orders.into_iter().map(str::to_owned).collect();
        let failed = |error: StoreError| Undeliverable {
            position: 0,
            reason: error.to_string(),
        };
        for document in self.orders.load_many(&orders).await.map_err(failed)? {
            self.project(&document).await.map_err(failed)?;
        }
        Ok(())
    }
}

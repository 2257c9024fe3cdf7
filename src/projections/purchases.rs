//! The projection of purchase histories: what an account has bought (invariant 14), and which orders of guests wait for
//! whoever proves their address.

use std::sync::Arc;

use async_trait::async_trait;

use crate::actors::entity::Record;
use crate::authentication::guests::Guests;
use crate::clock::Clock;
use crate::projections::relay::{Consumer, Failures, Receipt, Unavailable, rows};
use crate::stores::StoreError;
use crate::stores::documents::{Document, DocumentStore, LedgerEvent, Row, outbox, row_id};
use crate::stores::users::UserStore;
use souk_domain::account::email_key;
use souk_domain::{Order, PlacedOrder, Purchase, PurchasedItem, UserId};
use souk_error_chain::Chain;

/// Orders read at once when everything is projected again.
const PAGE: usize = 500;

/// What became of a projection made anew.
#[derive(Debug, Default)]
pub struct Rebuilt {
    /// Orders that were looked at.
    pub orders: u64,
    /// Why orders among them can't be read, one line each.
    pub unreadable: Vec<String>,
}

/// Shows every order that emitted an event as it stands now. Purchases carry the order's version, so that repetitions
/// and late events change nothing.
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
    /// Projects every order anew, and goes on without those that can't be read.
    ///
    /// # Errors
    /// [`StoreError`] where a store is unavailable; what was projected until then stays.
    pub async fn rebuild(&self) -> Result<Rebuilt, StoreError> {
        let mut after: Option<String> = None;
        let mut rebuilt = Rebuilt::default();
        loop {
            let page = self.orders.scan(after.as_deref(), PAGE).await?;
            let is_last = page.len() < PAGE;
            after = page.last().map(|row| row_id(row).to_owned());
            for row in page {
                rebuilt.orders += 1;
                match self.project_row(row).await {
                    Ok(()) => {}
                    Err(error @ (StoreError::Corrupt { .. } | StoreError::Sealing { .. })) => {
                        rebuilt.unreadable.push(Chain(&error).to_string());
                    }
                    Err(error) => return Err(error),
                }
            }
            if is_last {
                return Ok(rebuilt);
            }
        }
    }

    async fn project_row(&self, row: Row) -> Result<(), StoreError> {
        match row {
            Ok(document) => self.project(&document).await,
            Err(unreadable) => Err(unreadable.error),
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
        if order.progress.phase.payment().is_none() {
            return Ok(());
        }
        match UserId::parse(&order.placement.buyer) {
            Ok(user) => {
                let purchase = purchase(order, user, document.version, (self.clock)());
                self.users.put_purchase(&purchase).await?;
                self.users.forget_guest_order(&order.placement.id).await
            }
            Err(_) => {
                let guest = self.guests.name(&email_key(&order.placement.email));
                self.users
                    .put_guest_order(&guest, &order.placement.id, order.progress.created_at)
                    .await
            }
        }
    }
}

fn purchase(order: &PlacedOrder, user: UserId, version: u64, now: souk_domain::Timestamp) -> Purchase {
    let PlacedOrder { placement, progress } = order;
    Purchase {
        order_id: placement.id.clone(),
        user_id: user,
        number: placement.number.clone(),
        status: progress.phase.status(),
        total: placement.total,
        items: placement
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
        placed_at: progress.created_at,
        updated_at: progress.timeline.last().map_or(now, |entry| entry.at),
        version,
    }
}

#[async_trait]
impl Consumer for PurchaseProjector {
    fn name(&self) -> &'static str {
        outbox::PURCHASES
    }

    async fn consume(&self, events: &[LedgerEvent]) -> Result<Vec<Receipt>, Unavailable> {
        let mut failures = Failures::default();
        for (entity, row) in rows(&*self.orders, events).await? {
            if let Err(error) = self.project_row(row).await {
                failures.note(&entity, &error)?;
            }
        }
        Ok(failures.receipts(events))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::stores::documents::faulty::FaultyDocuments;
    use crate::stores::documents::{DocumentWrite, WriteOutcome};
    use crate::stores::users::{Credential, UserRecord};
    use souk_cluster::key::ClusterKey;
    use souk_cluster::placement::shard_of;
    use souk_domain::fixtures::{at, order_id, payment_id, placement, run};
    use souk_domain::{Account, Aggregate, OrderCommand, Role};

    struct Rig {
        projector: PurchaseProjector,
        user: UserId,
        _folder: tempfile::TempDir,
    }

    async fn rig() -> Rig {
        let (stores, folder) = crate::stores::testing::embedded_stores().await;
        let users = stores.users;
        let user = UserId::from_suffix("1");
        let account = Account {
            id: user.clone(),
            email: placement(1, &[1]).email,
            name: "Ada Example".to_owned(),
            phone: None,
            roles: BTreeSet::from([Role::Customer]),
            email_verified: true,
            created_at: at(0),
            version: 1,
        };
        let credential = Credential::new("none");
        users.create(&UserRecord { account, credential }).await.unwrap();
        let projector = PurchaseProjector {
            orders: FaultyDocuments::new("orders").await,
            users,
            guests: Guests::new(&ClusterKey::new([7; 32]).unwrap()),
            clock: Arc::new(|| at(9)),
        };
        Rig {
            projector,
            user,
            _folder: folder,
        }
    }

    impl Rig {
        /// Puts an order into the store at `version`, after these commands.
        async fn put(&self, index: usize, buyer: Option<&str>, commands: &[OrderCommand], version: u64) {
            let mut placement = placement(index, &[1, 2]);
            if let Some(buyer) = buyer {
                placement.buyer = buyer.to_owned();
            }
            let id = placement.id.as_str().to_owned();
            let mut record = Record::<Order>::initial(&id);
            run(
                &mut record.state,
                &OrderCommand::Place(Box::new(placement)),
                at(1),
            );
            for command in commands {
                run(&mut record.state, command, at(2));
            }
            let document = Document {
                shard: shard_of(&id),
                version,
                fence: 0,
                due_at: None,
                owner: record.state.owner().map(str::to_owned),
                body: serde_json::to_string(&record).unwrap(),
                id,
            };
            let write = DocumentWrite {
                document,
                expected: version - 1,
                events: Vec::new(),
            };
            let outcomes = self.projector.orders.write("mark", &[write]).await.unwrap();
            assert_eq!(outcomes, [WriteOutcome::Applied]);
        }

        async fn bought(&self) -> Vec<(String, u64)> {
            let purchases = self
                .projector
                .users
                .purchases(&self.user, None, 10)
                .await
                .unwrap();
            purchases
                .into_iter()
                .map(|purchase| (purchase.order_id.as_str().to_owned(), purchase.version))
                .collect()
        }
    }

    fn confirm(index: usize) -> OrderCommand {
        OrderCommand::Confirm {
            payment: payment_id(index),
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_history_shows_what_was_confirmed_and_follows_its_orders() {
        let rig = rig().await;
        let user = rig.user.as_str().to_owned();
        rig.put(1, Some(&user), &[], 1).await;
        rig.put(2, Some(&user), &[confirm(2)], 1).await;
        assert_eq!(rig.projector.rebuild().await.unwrap().orders, 2);
        let second = order_id(2).as_str().to_owned();
        assert_eq!(rig.bought().await, [(second.clone(), 1)]);

        rig.put(2, Some(&user), &[confirm(2)], 2).await;
        assert_eq!(rig.projector.rebuild().await.unwrap().orders, 2);
        assert_eq!(rig.bought().await, [(second, 2)]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_guests_order_waits_until_it_is_an_accounts() {
        let rig = rig().await;
        rig.put(3, None, &[confirm(3)], 1).await;
        rig.projector.rebuild().await.unwrap();
        let key = email_key(&placement(3, &[1]).email);
        let guest = rig.projector.guests.name(&key);
        let waiting = async || rig.projector.users.guest_orders(&guest, 10).await.unwrap();
        assert_eq!(waiting().await, [order_id(3)]);
        assert!(rig.bought().await.is_empty());

        let claim = OrderCommand::Claim {
            buyer: rig.user.as_str().to_owned(),
        };
        rig.put(3, None, &[confirm(3), claim], 2).await;
        rig.projector.rebuild().await.unwrap();
        assert!(waiting().await.is_empty());
        assert_eq!(rig.bought().await, [(order_id(3).as_str().to_owned(), 2)]);
    }
}

//! Opens the configured stores.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use souk_cluster::views::Views;

use super::StoreError;
use super::at_rest::RowsAtRest;
use super::codes::CodeStore;
use super::codes::sqlite::SqliteCodes;
use super::counters::CounterStore;
use super::counters::sqlite::SqliteCounters;
use super::documents::DocumentStore;
use super::documents::outbox::Outbox;
use super::documents::sealed::SealedDocuments;
use super::documents::sqlite::SqliteDocuments;
use super::idempotency::IdempotencyStore;
use super::idempotency::sealed::SealedReplies;
use super::idempotency::sqlite::SqliteIdempotency;
use super::products::ProductStore;
use super::products::sqlite::SqliteProducts;
use super::revocations::RevocationStore;
use super::revocations::sqlite::SqliteRevocations;
use super::search::SearchIndex;
use super::search::sqlite::SqliteSearch;
use super::sessions::SessionStore;
use super::sessions::sqlite::SqliteSessions;
use super::signing_keys::SigningKeyStore;
use super::signing_keys::sqlite::SqliteSigningKeys;
use super::sqlite::{Database, ROWS, store_process_writer};
use super::users::UserStore;
use super::users::at_rest::{AddressesAtRest, PhonesAtRest};
use super::users::sqlite::SqliteUsers;
use super::views::sqlite::SqliteViews;
use crate::config::{Cluster, Sealing};
use crate::sealing::{Keyring, layout};
use souk_domain::Timestamp;
use souk_embedded::Writer;

/// All stores. Cheap to clone.
#[derive(Clone)]
pub struct Stores {
    rows: Arc<HashMap<&'static str, Arc<dyn DocumentStore>>>,
    /// `stores.carts`
    pub carts: Arc<dyn DocumentStore>,
    /// `stores.orders`
    pub orders: Arc<dyn DocumentStore>,
    /// `stores.inventory`
    pub inventory: Arc<dyn DocumentStore>,
    /// `stores.orders`: the events of orders.
    pub order_events: Arc<dyn Outbox>,
    /// `stores.inventory`: the events of stock.
    pub stock_events: Arc<dyn Outbox>,
    /// `stores.payments`
    pub payments: Arc<dyn DocumentStore>,
    /// `stores.sandbox`: the ledger of the sandbox payment provider.
    pub sandbox: Arc<dyn DocumentStore>,
    /// `stores.catalogue`
    pub products: Arc<dyn ProductStore>,
    /// `stores.catalogue`: the index of the products.
    pub search: Arc<dyn SearchIndex>,
    /// `stores.users`
    pub users: Arc<dyn UserStore>,
    /// `stores.users`: the keys that sign access tokens.
    pub signing_keys: Arc<dyn SigningKeyStore>,
    /// `stores.users`: sessions whose access tokens are no longer accepted.
    pub revocations: Arc<dyn RevocationStore>,
    /// `stores.sessions`
    pub sessions: Arc<dyn SessionStore>,
    /// `stores.sessions`: failed logins and rate limits.
    pub counters: Arc<dyn CounterStore>,
    /// `stores.sessions`: one-time codes.
    pub codes: Arc<dyn CodeStore>,
    /// `stores.sessions`
    pub idempotency: Arc<dyn IdempotencyStore>,
    /// `stores.views`
    pub views: Arc<dyn Views>,
}

impl Stores {
    /// A store of rows by its name.
    ///
    /// # Errors
    /// [`StoreError::Refused`] where [`ROWS`] has none of this name.
    pub fn rows(&self, name: &'static str) -> Result<Arc<dyn DocumentStore>, StoreError> {
        named(&self.rows, name)
    }

    /// Removes expired sessions, codes and counters, and revocations and ended sessions that were kept for
    /// `keep_revocations`: at most `limit` of each.
    ///
    /// # Errors
    /// [`StoreError`] of the first store that fails.
    pub async fn sweep_expired(
        &self,
        now: Timestamp,
        keep_revocations: Duration,
        limit: usize,
    ) -> Result<(), StoreError> {
        self.sessions.sweep(now, keep_revocations, limit).await?;
        self.codes.sweep(now, limit).await?;
        self.counters.sweep(now, limit).await?;
        let until = now.minus(keep_revocations);
        self.revocations.sweep(until, limit).await.map(drop)
    }

    /// Whether `stores.views` answers.
    ///
    /// # Errors
    /// [`StoreError`], where it does not.
    pub(super) async fn ping_views(&self) -> Result<(), StoreError> {
        self.view_number().await.map(drop)
    }

    /// The number of the current view; 0 before the first.
    ///
    /// # Errors
    /// [`StoreError`], where `stores.views` does not answer.
    pub async fn view_number(&self) -> Result<u64, StoreError> {
        match self.views.current().await {
            Ok(view) => Ok(view.map_or(0, |view| view.number)),
            Err(cause) => Err(cause.downcast().map_or_else(
                |cause| StoreError::Unavailable {
                    store: "views",
                    cause,
                },
                |own| *own,
            )),
        }
    }
}

fn named<T: Clone>(stores: &HashMap<&'static str, T>, name: &'static str) -> Result<T, StoreError> {
    stores.get(name).cloned().ok_or_else(|| StoreError::Refused {
        store: name,
        cause: "there is no store of rows by this name".into(),
    })
}

/// Opens every store. The configuration has been validated: every URL names a technology that this build has, and
/// this build has the embedded one.
///
/// # Errors
/// [`StoreError`] of the first store that does not open.
pub async fn open(cluster: &Cluster, sealing: &Sealing) -> Result<Stores, StoreError> {
    let directory = &cluster.data;
    let writer = store_process_writer(directory).await?;
    open_embedded(&writer, directory, &keyring(cluster, sealing)?).await
}

/// The keyring of a configuration.
///
/// # Errors
/// [`StoreError::Unavailable`] where the system's cryptography fails.
pub fn keyring(cluster: &Cluster, sealing: &Sealing) -> Result<Arc<Keyring>, StoreError> {
    Keyring::of(sealing, &cluster.shared_key()).map_err(|error| StoreError::Unavailable {
        store: "sealed",
        cause: error.into(),
    })
}

/// Opens the stores with sealed values, for the rotation of keys.
///
/// # Errors
/// [`StoreError`] of the first store that does not open.
pub async fn open_at_rest(directory: &Path) -> Result<Vec<Arc<dyn RowsAtRest>>, StoreError> {
    let writer = store_process_writer(directory).await?;
    let database = |name| Database::open(&writer, directory, name);
    let mut stores = Vec::new();
    for layout in layout::all() {
        let store: Arc<dyn RowsAtRest> = match layout.store() {
            "idempotency" => Arc::new(SqliteIdempotency(database("idempotency").await?)),
            "users" => Arc::new(PhonesAtRest(database("users").await?)),
            "addresses" => Arc::new(AddressesAtRest(database("users").await?)),
            name => Arc::new(SqliteDocuments::open(&writer, directory, name, &[]).await?),
        };
        stores.push(store);
    }
    Ok(stores)
}

/// Opens the embedded stores of `directory`, with values sealed under `keyring`.
///
/// # Errors
/// [`StoreError`] of the first store that does not open.
pub async fn open_embedded(
    writer: &Writer,
    directory: &Path,
    keyring: &Arc<Keyring>,
) -> Result<Stores, StoreError> {
    let (mut rows, mut outboxes) = (HashMap::new(), HashMap::new());
    for (name, consumers) in ROWS {
        let store = Arc::new(SqliteDocuments::open(writer, directory, name, consumers).await?);
        outboxes.insert(name, Arc::clone(&store) as Arc<dyn Outbox>);
        rows.insert(name, SealedDocuments::before(store, keyring));
    }
    let database = |name| Database::open(writer, directory, name);
    let replies = SqliteIdempotency(database("idempotency").await?);
    let catalogue = database("catalogue").await?;
    let users = database("users").await?;
    let sessions = database("sessions").await?;
    Ok(Stores {
        carts: named(&rows, "carts")?,
        orders: named(&rows, "orders")?,
        inventory: named(&rows, "inventory")?,
        order_events: named(&outboxes, "orders")?,
        stock_events: named(&outboxes, "inventory")?,
        payments: named(&rows, "payments")?,
        sandbox: named(&rows, "sandbox")?,
        rows: Arc::new(rows),
        products: Arc::new(SqliteProducts(catalogue.clone())),
        search: Arc::new(SqliteSearch(catalogue)),
        users: Arc::new(SqliteUsers::new(users.clone(), keyring)),
        signing_keys: Arc::new(SqliteSigningKeys(users.clone())),
        revocations: Arc::new(SqliteRevocations(users)),
        sessions: Arc::new(SqliteSessions(sessions.clone())),
        counters: Arc::new(SqliteCounters(sessions.clone())),
        codes: Arc::new(SqliteCodes(sessions)),
        idempotency: SealedReplies::before(Arc::new(replies), keyring),
        views: Arc::new(SqliteViews::open(writer, directory).await?),
    })
}

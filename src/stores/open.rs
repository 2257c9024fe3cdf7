//! Opens every store as the configuration says.

use std::path::Path;
use std::sync::Arc;

use super::StoreError;
use super::catalogue::Catalogue;
use super::catalogue::sqlite::SqliteCatalogue;
use super::documents::DocumentStore;
use super::documents::sqlite::SqliteDocuments;
use super::embedded::Writer;
use super::embedded::client::store_process;
use super::idempotency::IdempotencyStore;
use super::idempotency::sqlite::SqliteIdempotency;
use super::sessions::SessionStore;
use super::sessions::sqlite::SqliteSessions;
use super::users::UserStore;
use super::users::sqlite::SqliteUsers;
use super::views::Views;
use super::views::sqlite::SqliteViews;
use crate::config::Config;

/// Every store. Cheap to clone.
#[derive(Clone)]
pub struct Stores {
    /// `stores.carts`
    pub carts: Arc<dyn DocumentStore>,
    /// `stores.orders`
    pub orders: Arc<dyn DocumentStore>,
    /// `stores.inventory`
    pub inventory: Arc<dyn DocumentStore>,
    /// `stores.payments`
    pub payments: Arc<dyn DocumentStore>,
    /// `stores.sandbox`: the ledger of the sandbox payment provider.
    pub sandbox: Arc<dyn DocumentStore>,
    /// `stores.catalogue`
    pub catalogue: Arc<dyn Catalogue>,
    /// `stores.users`
    pub users: Arc<dyn UserStore>,
    /// `stores.sessions`
    pub sessions: Arc<dyn SessionStore>,
    /// `stores.sessions`
    pub idempotency: Arc<dyn IdempotencyStore>,
    /// `stores.views`
    pub views: Arc<dyn Views>,
}

impl Stores {
    /// Whether both parts of `stores.sessions` answer.
    ///
    /// # Errors
    /// [`StoreError`] of the first that does not.
    pub async fn ping_sessions(&self) -> Result<(), StoreError> {
        self.sessions.ping().await?;
        self.idempotency.ping().await
    }
}

/// Opens every store. The configuration has been validated: every URL names a technology that this build has, and
/// this build has the embedded one.
///
/// # Errors
/// [`StoreError`] of the first store that does not open.
pub async fn open(config: &Config) -> Result<Stores, StoreError> {
    let directory = &config.cluster.data;
    let writer = Writer::connect(directory, store_process(directory)).await?;
    open_embedded(&writer, directory).await
}

/// Opens every store in the files of `directory`.
///
/// # Errors
/// [`StoreError`] of the first store that does not open.
pub async fn open_embedded(writer: &Writer, directory: &Path) -> Result<Stores, StoreError> {
    let documents = async |name: &'static str| -> Result<Arc<dyn DocumentStore>, StoreError> {
        let store: Arc<dyn DocumentStore> = Arc::new(SqliteDocuments::open(writer, directory, name).await?);
        Ok(store)
    };
    Ok(Stores {
        carts: documents("carts").await?,
        orders: documents("orders").await?,
        inventory: documents("inventory").await?,
        payments: documents("payments").await?,
        sandbox: documents("sandbox").await?,
        catalogue: Arc::new(SqliteCatalogue::open(writer, directory).await?),
        users: Arc::new(SqliteUsers::open(writer, directory).await?),
        sessions: Arc::new(SqliteSessions::open(writer, directory).await?),
        idempotency: Arc::new(SqliteIdempotency::open(writer, directory).await?),
        views: Arc::new(SqliteViews::open(writer, directory).await?),
    })
}

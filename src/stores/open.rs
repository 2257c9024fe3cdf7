//! Opens every store as the configuration says.

use std::path::Path;
use std::sync::Arc;

use souk_cluster::views::Views;
use souk_embedded::Writer;

use super::StoreError;
use super::at_rest::RowsAtRest;
use super::catalogue::Catalogue;
use super::catalogue::sqlite::SqliteCatalogue;
use super::documents::DocumentStore;
use super::documents::sealed::SealedDocuments;
use super::documents::sqlite::SqliteDocuments;
use super::idempotency::IdempotencyStore;
use super::idempotency::sealed::SealedReplies;
use super::idempotency::sqlite::SqliteIdempotency;
use super::sessions::SessionStore;
use super::sessions::sqlite::SqliteSessions;
use super::sqlite::store_process_writer;
use super::users::UserStore;
use super::users::at_rest::{AddressesAtRest, PhonesAtRest};
use super::users::sqlite::SqliteUsers;
use super::views::sqlite::SqliteViews;
use crate::config::{Cluster, Sealing};
use crate::sealing::{Keyring, layout};

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
    /// Whether `stores.views` answers.
    ///
    /// # Errors
    /// [`StoreError`], where it does not.
    pub(super) async fn ping_views(&self) -> Result<(), StoreError> {
        match self.views.current().await {
            Ok(_) => Ok(()),
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

/// Opens what holds sealed values, as it lies there: for the rotation of keys.
///
/// # Errors
/// [`StoreError`] of the first store that does not open.
pub async fn open_at_rest(directory: &Path) -> Result<Vec<Arc<dyn RowsAtRest>>, StoreError> {
    let writer = store_process_writer(directory).await?;
    let mut stores = Vec::new();
    for layout in layout::all() {
        let store: Arc<dyn RowsAtRest> = match layout.store() {
            "idempotency" => Arc::new(SqliteIdempotency::open(&writer, directory).await?),
            "users" => Arc::new(PhonesAtRest::open(&writer, directory).await?),
            "addresses" => Arc::new(AddressesAtRest::open(&writer, directory).await?),
            name => Arc::new(SqliteDocuments::open(&writer, directory, name).await?),
        };
        stores.push(store);
    }
    Ok(stores)
}

/// Opens every store in the files of `directory`; what must be sealed is, under `keyring`.
///
/// # Errors
/// [`StoreError`] of the first store that does not open.
pub async fn open_embedded(
    writer: &Writer,
    directory: &Path,
    keyring: &Arc<Keyring>,
) -> Result<Stores, StoreError> {
    let documents = async |name: &'static str| -> Result<Arc<dyn DocumentStore>, StoreError> {
        let store: Arc<dyn DocumentStore> = Arc::new(SqliteDocuments::open(writer, directory, name).await?);
        Ok(SealedDocuments::before(store, keyring))
    };
    let replies = SqliteIdempotency::open(writer, directory).await?;
    Ok(Stores {
        carts: documents("carts").await?,
        orders: documents("orders").await?,
        inventory: documents("inventory").await?,
        payments: documents("payments").await?,
        sandbox: documents("sandbox").await?,
        catalogue: Arc::new(SqliteCatalogue::open(writer, directory).await?),
        users: Arc::new(SqliteUsers::open(writer, directory, keyring).await?),
        sessions: Arc::new(SqliteSessions::open(writer, directory).await?),
        idempotency: SealedReplies::before(Arc::new(replies), keyring),
        views: Arc::new(SqliteViews::open(writer, directory).await?),
    })
}

//! Stores for the tests of the modules above.

use std::sync::Arc;

use tempfile::TempDir;

use super::Stores;
use super::documents::DocumentStore;
use super::documents::memory::MemoryDocuments;
use super::open::open_embedded;
use super::sqlite;
use crate::config::KEY_BYTES;
use crate::sealing::{Key, Keyring};

/// Embedded stores in a folder of their own, which goes when the second part is dropped.
pub(crate) async fn embedded_stores() -> (Stores, TempDir) {
    let directory = TempDir::new().unwrap();
    let writer = sqlite::in_process_writer(directory.path()).unwrap();
    let key = Key::new("k1", &[1; KEY_BYTES]).unwrap();
    let keyring = Arc::new(Keyring::new(key, Vec::new()));
    let stores = open_embedded(&writer, directory.path(), &keyring).await.unwrap();
    (stores, directory)
}

/// The same with documents in memory, which answer without ever letting another task in between.
pub(crate) async fn memory_stores() -> (Stores, TempDir) {
    let (embedded, directory) = embedded_stores().await;
    let documents = |name| -> Arc<dyn DocumentStore> { Arc::new(MemoryDocuments::new(name)) };
    let stores = Stores {
        carts: documents("carts"),
        orders: documents("orders"),
        inventory: documents("inventory"),
        payments: documents("payments"),
        sandbox: documents("sandbox"),
        ..embedded
    };
    (stores, directory)
}

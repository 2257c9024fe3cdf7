//! Stores for the tests of the modules above.

use std::sync::Arc;

use tempfile::TempDir;

use super::Stores;
use super::open::open_embedded;
use super::sqlite;
use crate::sealing::{KEY_BYTES, Key, Keyring};

/// Embedded stores in a folder of their own, which goes when the second part is dropped.
pub(crate) async fn embedded_stores() -> (Stores, TempDir) {
    let directory = TempDir::new().unwrap();
    let writer = sqlite::in_process_writer(directory.path()).unwrap();
    let key = Key::new("k1", &[1; KEY_BYTES]).unwrap();
    let keyring = Arc::new(Keyring::new(key, Vec::new()));
    let stores = open_embedded(&writer, directory.path(), &keyring).await.unwrap();
    (stores, directory)
}

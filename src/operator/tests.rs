//! What the tests of this interface share.

use std::sync::Arc;

use tempfile::TempDir;

use crate::cluster::view::{Member, MemberState, Role};
use crate::sealing::{KEY_BYTES, Key, Keyring};
use crate::stores::Stores;
use crate::stores::documents::DocumentStore;
use crate::stores::documents::memory::MemoryDocuments;
use crate::stores::embedded::{Engine, Writer};
use crate::stores::open::open_embedded;

mod entities;
mod interface;
mod node;
mod rows;

/// A ready node of this name.
pub(super) fn member(name: &str) -> Member {
    let address = "127.0.0.1:1".parse().unwrap();
    Member {
        name: name.to_owned(),
        incarnation: 1,
        state: MemberState::Ready,
        roles: vec![Role::Front, Role::Entities],
        cluster_address: address,
        gossip_address: address,
        shop_address: address,
        operator_address: address,
        version: "0.1.0".to_owned(),
    }
}

/// Embedded stores in a folder of their own, which goes when the second part is dropped.
pub(super) async fn embedded_stores() -> (Stores, TempDir) {
    let directory = TempDir::new().unwrap();
    let writer = Writer::in_process(Engine::open(directory.path()).unwrap());
    let key = Key::new("k1", &[1; KEY_BYTES]).unwrap();
    let keyring = Arc::new(Keyring::new(key, Vec::new()));
    let stores = open_embedded(&writer, directory.path(), &keyring).await.unwrap();
    (stores, directory)
}

/// The same with documents in memory, which answer without ever letting another task in between.
pub(super) async fn memory_stores() -> (Stores, TempDir) {
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

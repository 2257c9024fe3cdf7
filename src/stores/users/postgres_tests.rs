//! The contract, and values at rest.

use std::sync::Arc;

use super::*;
use crate::config::KEY_BYTES;
use crate::sealing::{Key, Keyring};
use crate::stores::postgres::testing::TestDatabase;
use crate::stores::users::at_rest::{AddressesAtRest, PhonesAtRest};
use crate::stores::users::contract;

fn keyring(ids: &[&str]) -> Arc<Keyring> {
    let mut keys = ids
        .iter()
        .map(|id| Key::new(*id, &[id.as_bytes()[1]; KEY_BYTES]).unwrap());
    let first = keys.next().unwrap();
    Arc::new(Keyring::new(first, keys.collect()))
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract() {
    let Some(database) = TestDatabase::create().await else {
        return;
    };
    let pool = database.open("users", MIGRATIONS).await;
    contract::suite(Arc::new(PostgresUsers::new(pool, &keyring(&["k1"])))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn personal_values_are_sealed() {
    let Some(database) = TestDatabase::create().await else {
        return;
    };
    let pool = database.open("users", MIGRATIONS).await;
    let open = |keys: &[&str]| Arc::new(PostgresUsers::new(pool.clone(), &keyring(keys)));
    let stores = contract::at_rest::Stores {
        before: open(&["k1"]),
        between: open(&["k2", "k1"]),
        after: open(&["k2"]),
        keyring: keyring(&["k2", "k1"]),
        phones: Arc::new(PhonesAtRest(pool.clone())),
        addresses: Arc::new(AddressesAtRest(pool.clone())),
    };
    contract::at_rest::suite(stores).await;
}

//! Phone numbers and addresses at rest: sealed, under a key that can be rotated while the store is in use.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::super::{AddressChange, Change, SavedAddress, UserRecord, UserStore};
use super::{addresses, registered};
use crate::sealing::{Keyring, SealedText};
use crate::stores::StoreError;
use crate::stores::at_rest::{Resealed, RowAtRest, RowsAtRest};
use crate::stores::rotation::{rotate, status};
use souk_domain::{Account, UserId};

/// The limit of addresses in this suite.
const LIMIT: usize = 4;

/// One store, which must be empty, opened under several keyrings, and its rows at rest.
pub struct Stores {
    /// `k1` alone.
    pub before: Arc<dyn UserStore>,
    /// `k2` seals, `k1` opens too.
    pub between: Arc<dyn UserStore>,
    /// `k2` alone.
    pub after: Arc<dyn UserStore>,
    /// That of `between`.
    pub keyring: Arc<Keyring>,
    /// The phone numbers.
    pub phones: Arc<dyn RowsAtRest>,
    /// The addresses.
    pub addresses: Arc<dyn RowsAtRest>,
}

/// Runs everything.
pub async fn suite(stores: Stores) {
    rows_are_sealed_and_sorted(&stores).await;
    only_an_unchanged_row_is_resealed(&stores).await;
    rotation_reseals_everything(&stores).await;
}

/// An account with a phone number and an address.
pub async fn sample(store: &dyn UserStore, id: &str) -> (UserRecord, SavedAddress) {
    let record = registered(store, id).await;
    let user = &record.account.id;
    assert_eq!(addresses::add(store, user, "home").await, AddressChange::Applied);
    let address = store.addresses(user).await.unwrap().remove(0);
    (record, address)
}

async fn ids(rows: &dyn RowsAtRest, after: Option<&str>, limit: usize) -> Vec<String> {
    let rows = rows.rows_at_rest(after, limit).await.unwrap();
    rows.into_iter().map(|row| row.id).collect()
}

async fn rows_are_sealed_and_sorted(stores: &Stores) {
    let Stores {
        phones,
        addresses: rests,
        ..
    } = stores;
    let store = &*stores.before;
    assert!(phones.rows_at_rest(None, 9).await.unwrap().is_empty());
    assert!(rests.rows_at_rest(None, 9).await.unwrap().is_empty());
    // In an order in which identifiers and what they are put together to would sort differently, were it done carelessly.
    for id in ["rest-b", "rest", "rest.c"] {
        sample(store, id).await;
    }
    addresses::add(store, &super::user("rest-b"), "away").await;
    // What has no phone number has no row.
    let mut silent = super::record("rest-silent", "rest-silent@example.org");
    silent.account.phone = None;
    store.create(&silent).await.unwrap();

    assert_eq!(
        ids(&**phones, None, 9).await,
        ["usr_rest", "usr_rest-b", "usr_rest.c"]
    );
    assert_eq!(ids(&**phones, Some("usr_rest"), 1).await, ["usr_rest-b"]);
    let all = ids(&**rests, None, 9).await;
    assert_eq!(
        all,
        [
            "usr_rest adr_home",
            "usr_rest-b adr_away",
            "usr_rest-b adr_home",
            "usr_rest.c adr_home"
        ]
    );
    assert!(all.is_sorted());
    for (number, id) in all.iter().enumerate() {
        assert_eq!(ids(&**rests, Some(id), 9).await, all[number + 1..]);
        assert_eq!(ids(&**rests, Some(id), 1).await.len(), usize::from(number < 3));
    }
    for rest in [phones, rests] {
        for row in rest.rows_at_rest(None, 9).await.unwrap() {
            let content = String::from_utf8(row.content).unwrap();
            assert_eq!(SealedText::key_of(&content), Some("k1"), "{}", row.id);
        }
    }
}

async fn only_an_unchanged_row_is_resealed(stores: &Stores) {
    for rest in [&stores.phones, &stores.addresses] {
        let rows = rest.rows_at_rest(None, 2).await.unwrap();
        let mut changes: Vec<Resealed> = rows
            .iter()
            .map(|row| Resealed {
                row: row.clone(),
                content: b"other".to_vec(),
            })
            .collect();
        changes[1].row.content.push(b'!');
        changes.push(Resealed {
            row: RowAtRest {
                id: "usr_missing adr_missing".to_owned(),
                content: b"any".to_vec(),
            },
            content: b"other".to_vec(),
        });
        assert_eq!(rest.reseal(&changes).await.unwrap(), [true, false, false]);
        assert_eq!(rest.reseal(&changes).await.unwrap(), [false, false, false]);
        let now = rest.rows_at_rest(None, 2).await.unwrap();
        assert_eq!(now[0].content, b"other");
        assert_eq!(now[1], rows[1]);
        let back = Resealed {
            row: now[0].clone(),
            content: rows[0].content.clone(),
        };
        assert_eq!(rest.reseal(&[back]).await.unwrap(), [true]);
        assert_eq!(rest.rows_at_rest(None, 2).await.unwrap(), rows);
        assert!(rest.reseal(&[]).await.unwrap().is_empty());
    }
}

/// What somebody writes.
enum Race {
    Account(Account),
    Address(UserId, SavedAddress),
}

/// Rows into which somebody writes after they were read and before they are replaced.
struct Raced {
    rows: Arc<dyn RowsAtRest>,
    writer: Arc<dyn UserStore>,
    race: Mutex<Option<Race>>,
}

impl Raced {
    fn before(rows: &Arc<dyn RowsAtRest>, writer: &Arc<dyn UserStore>, race: Race) -> Arc<dyn RowsAtRest> {
        Arc::new(Self {
            rows: Arc::clone(rows),
            writer: Arc::clone(writer),
            race: Mutex::new(Some(race)),
        })
    }
}

#[async_trait]
impl RowsAtRest for Raced {
    fn store(&self) -> &'static str {
        self.rows.store()
    }

    async fn rows_at_rest(&self, after: Option<&str>, limit: usize) -> Result<Vec<RowAtRest>, StoreError> {
        self.rows.rows_at_rest(after, limit).await
    }

    async fn reseal(&self, rows: &[Resealed]) -> Result<Vec<bool>, StoreError> {
        let race = self.race.lock().unwrap().take();
        match race {
            Some(Race::Account(account)) => {
                let change = self.writer.update(&account, None, 1).await;
                assert_eq!(change.unwrap(), Change::Applied);
            }
            Some(Race::Address(user, address)) => {
                let change = self.writer.put_address(&user, &address, Some(1), LIMIT).await;
                assert_eq!(change.unwrap(), AddressChange::Applied);
            }
            None => {}
        }
        self.rows.reseal(rows).await
    }
}

async fn rotation_reseals_everything(stores: &Stores) {
    let Stores {
        before,
        between,
        after,
        keyring,
        ..
    } = stores;
    let mut account = sample(&**before, "raced").await.0.account;
    let mut address = before.addresses(&account.id).await.unwrap().remove(0);
    account.phone = Some("+44 20 5550199".to_owned());
    account.version = 2;
    address.address.city = "Shelbyville".to_owned();
    address.version = 2;
    let accounts = ["rest", "rest-b", "rest.c", "rest-silent"].map(super::user);
    let mut expected = Vec::new();
    for user in &accounts {
        expected.push((
            before.by_id(user).await.unwrap(),
            before.addresses(user).await.unwrap(),
        ));
    }

    let rests = [Arc::clone(&stores.phones), Arc::clone(&stores.addresses)];
    let counted = status(&rests, keyring).await.unwrap();
    let figures: Vec<_> = counted
        .iter()
        .map(|store| (store.store.as_str(), store.rows, store.left, store.under["k1"]))
        .collect();
    assert_eq!(figures, [("users", 4, 4, 4), ("addresses", 5, 5, 5)]);

    // Number and address are written while the rotation has read their rows, by a node that still seals under the old key.
    let moved = Race::Address(account.id.clone(), address.clone());
    let raced = [
        Raced::before(&stores.phones, before, Race::Account(account.clone())),
        Raced::before(&stores.addresses, before, moved),
    ];
    let rotated = rotate(&raced, keyring, |_| ()).await.unwrap();
    for (store, rows) in rotated.iter().zip([4, 5]) {
        assert_eq!((store.resealed, store.status.left), (rows, 0), "{store:?}");
        assert_eq!(store.status.under.get("k2"), Some(&rows));
        assert_eq!(store.status.under.len(), 1);
    }

    // Under either keyring that has the new key all reads the same, at the version that it had.
    for (user, expected) in accounts.iter().zip(expected) {
        for store in [between, after] {
            let found = (
                store.by_id(user).await.unwrap(),
                store.addresses(user).await.unwrap(),
            );
            assert_eq!(found, expected, "{user}");
        }
    }
    let found = after.by_id(&account.id).await.unwrap().unwrap().account;
    assert_eq!(found, account);
    assert_eq!(after.addresses(&account.id).await.unwrap(), [address]);
    account.version = 3;
    assert_eq!(after.update(&account, None, 2).await.unwrap(), Change::Applied);
}

//! Addresses: an account that has any has exactly one default among them, whatever happens.

use std::sync::Arc;

use futures::future::join_all;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{NOW, is_refused, registered};
use crate::stores::users::{AddressChange, SavedAddress, UserStore};
use souk_domain::{Address, AddressId, Timestamp, UserId};

/// The limit of addresses in this suite.
const LIMIT: usize = 4;

pub(super) async fn suite(store: &Arc<dyn UserStore>) {
    an_address_is_added_and_replaced_at_its_version(&**store).await;
    the_default_passes_on(&**store).await;
    addresses_are_limited_and_private(&**store).await;
    concurrent_additions_keep_limit_and_default(store).await;
    random_sequences_agree_with_the_model(&**store).await;
}

fn address(id: &str, city: &str, default: bool) -> SavedAddress {
    SavedAddress {
        id: AddressId::from_suffix(id),
        address: Address {
            name: "Ada \"Countess\" Lovelace".into(),
            line1: "1 Test Street".into(),
            line2: None,
            city: city.into(),
            region: Some("Åland".into()),
            postcode: Some("62701".into()),
            country: "US".into(),
            phone: Some("+1 217 5550100".into()),
        },
        default,
        created_at: NOW,
        version: 1,
    }
}

/// Adds an address that does not ask to be the default one.
pub(super) async fn add(store: &dyn UserStore, user: &UserId, id: &str) -> AddressChange {
    put(store, user, &address(id, "Springfield", false), None).await
}

async fn put(
    store: &dyn UserStore,
    user: &UserId,
    address: &SavedAddress,
    expected: Option<u64>,
) -> AddressChange {
    store.put_address(user, address, expected, LIMIT).await.unwrap()
}

async fn defaults(store: &dyn UserStore, user: &UserId) -> Vec<String> {
    let addresses = store.addresses(user).await.unwrap();
    addresses
        .iter()
        .filter(|address| address.default)
        .map(|address| address.id.to_string())
        .collect()
}

async fn an_address_is_added_and_replaced_at_its_version(store: &dyn UserStore) {
    let user = registered(store, "mover").await.account.id;
    assert_eq!(store.addresses(&user).await.unwrap(), []);
    let mut home = address("home", "Springfield", false);
    assert_eq!(put(store, &user, &home, Some(0)).await, AddressChange::Missing);
    assert_eq!(put(store, &user, &home, None).await, AddressChange::Applied);
    // The first one is the default.
    home.default = true;
    assert_eq!(store.addresses(&user).await.unwrap(), [home.clone()]);
    assert_eq!(put(store, &user, &home, None).await, AddressChange::Conflict);

    let mut moved = address("home", "Shelbyville", true);
    moved.version = 2;
    moved.created_at = Timestamp::from_millis(1);
    assert_eq!(put(store, &user, &moved, Some(1)).await, AddressChange::Applied);
    moved.created_at = NOW;
    assert_eq!(store.addresses(&user).await.unwrap(), [moved.clone()]);
    assert_eq!(put(store, &user, &moved, Some(1)).await, AddressChange::Conflict);
    moved.id = AddressId::from_suffix("nowhere");
    assert_eq!(put(store, &user, &moved, Some(1)).await, AddressChange::Missing);
    moved.version = 9;
    assert!(is_refused(
        &store.put_address(&user, &moved, Some(1), LIMIT).await
    ));
    assert!(is_refused(&store.put_address(&user, &moved, None, LIMIT).await));

    let nobody = UserId::from_suffix("nobody");
    assert_eq!(add(store, &nobody, "home").await, AddressChange::Missing);
    assert_eq!(store.addresses(&nobody).await.unwrap(), []);
}

async fn the_default_passes_on(store: &dyn UserStore) {
    let user = registered(store, "default").await.account.id;
    for (number, id) in ["oldest", "middle", "newest"].into_iter().enumerate() {
        let mut address = address(id, "Springfield", id == "newest");
        address.created_at = NOW.plus(std::time::Duration::from_secs(number as u64));
        assert_eq!(put(store, &user, &address, None).await, AddressChange::Applied);
    }
    assert_eq!(defaults(store, &user).await, ["adr_newest"]);
    // It can be taken but not laid down.
    let mut newest = address("newest", "Springfield", false);
    newest.version = 2;
    assert_eq!(put(store, &user, &newest, Some(1)).await, AddressChange::Applied);
    assert_eq!(defaults(store, &user).await, ["adr_newest"]);
    // What does not take place makes nothing the default: a lost race, an address that stands there already.
    assert_eq!(
        put(store, &user, &address("middle", "x", true), None).await,
        AddressChange::Conflict
    );
    let mut late = address("middle", "x", true);
    late.version = 3;
    assert_eq!(put(store, &user, &late, Some(2)).await, AddressChange::Conflict);
    assert_eq!(defaults(store, &user).await, ["adr_newest"]);

    // Where it goes, the oldest follows; where another goes, it stays.
    let delete = async |id: &str| {
        store
            .delete_address(&user, &AddressId::from_suffix(id))
            .await
            .unwrap()
    };
    assert!(delete("newest").await);
    assert_eq!(defaults(store, &user).await, ["adr_oldest"]);
    assert!(delete("middle").await);
    assert_eq!(defaults(store, &user).await, ["adr_oldest"]);
    assert!(!delete("middle").await);
    assert!(delete("oldest").await);
    assert_eq!(store.addresses(&user).await.unwrap(), []);
    // And the next one begins anew.
    assert_eq!(add(store, &user, "next").await, AddressChange::Applied);
    assert_eq!(defaults(store, &user).await, ["adr_next"]);
}

async fn addresses_are_limited_and_private(store: &dyn UserStore) {
    let [owner, other] = ["owner", "stranger"].map(UserId::from_suffix);
    registered(store, "owner").await;
    registered(store, "stranger").await;
    for number in 0..LIMIT {
        assert_eq!(
            add(store, &owner, &number.to_string()).await,
            AddressChange::Applied
        );
    }
    let more = address("more", "Springfield", true);
    assert_eq!(put(store, &owner, &more, None).await, AddressChange::Full);
    assert_eq!(defaults(store, &owner).await, ["adr_0"]);
    // At the limit one may still move, and make room.
    let mut replaced = address("1", "Shelbyville", false);
    replaced.version = 2;
    assert_eq!(
        put(store, &owner, &replaced, Some(1)).await,
        AddressChange::Applied
    );

    // Of another account's addresses nothing is to be seen, changed or removed.
    let before = store.addresses(&owner).await.unwrap();
    let mut theirs = address("1", "Elsewhere", true);
    theirs.version = 3;
    assert_eq!(put(store, &other, &theirs, Some(2)).await, AddressChange::Missing);
    assert!(!store.delete_address(&other, &theirs.id).await.unwrap());
    assert_eq!(store.addresses(&other).await.unwrap(), []);
    assert_eq!(store.addresses(&owner).await.unwrap(), before);

    assert!(store.delete_address(&owner, &before[0].id).await.unwrap());
    assert_eq!(put(store, &owner, &more, None).await, AddressChange::Applied);
    assert_eq!(defaults(store, &owner).await, ["adr_more"]);
}

async fn concurrent_additions_keep_limit_and_default(store: &Arc<dyn UserStore>) {
    let user = registered(&**store, "hasty").await.account.id;
    let changes = join_all((0..16).map(|number| {
        let (store, user) = (Arc::clone(store), user.clone());
        tokio::spawn(async move {
            let address = address(&number.to_string(), "Springfield", number % 2 == 0);
            put(&*store, &user, &address, None).await
        })
    }))
    .await;
    let changes: Vec<AddressChange> = changes.into_iter().map(Result::unwrap).collect();
    let count = |wanted| changes.iter().filter(|change| **change == wanted).count();
    assert_eq!(
        (count(AddressChange::Applied), count(AddressChange::Full)),
        (LIMIT, 16 - LIMIT)
    );
    assert_eq!(store.addresses(&user).await.unwrap().len(), LIMIT);
    assert_eq!(defaults(&**store, &user).await.len(), 1);
}

/// What an account's addresses should be: oldest first.
#[derive(Default)]
struct Model(Vec<SavedAddress>);

impl Model {
    fn put(&mut self, address: &SavedAddress, expected: Option<u64>) -> AddressChange {
        let place = self.0.iter().position(|known| known.id == address.id);
        let place = match (place, expected) {
            (Some(place), Some(expected)) if self.0[place].version == expected => {
                self.0[place].address = address.address.clone();
                self.0[place].version = address.version;
                place
            }
            (Some(_), _) => return AddressChange::Conflict,
            (None, Some(_)) => return AddressChange::Missing,
            (None, None) if self.0.len() >= LIMIT => return AddressChange::Full,
            (None, None) => {
                let added = SavedAddress {
                    default: false,
                    ..address.clone()
                };
                self.0.push(added);
                self.0.len() - 1
            }
        };
        if address.default || self.0.iter().all(|known| !known.default) {
            for (number, known) in self.0.iter_mut().enumerate() {
                known.default = number == place;
            }
        }
        self.0.sort_by_key(|known| (known.created_at, known.id.clone()));
        AddressChange::Applied
    }

    fn delete(&mut self, id: &AddressId) -> bool {
        let before = self.0.len();
        self.0.retain(|known| known.id != *id);
        if self.0.iter().all(|known| !known.default)
            && let Some(oldest) = self.0.first_mut()
        {
            oldest.default = true;
        }
        self.0.len() < before
    }
}

async fn random_sequences_agree_with_the_model(store: &dyn UserStore) {
    for seed in 0..6 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let user = registered(store, &format!("random-{seed}")).await.account.id;
        let mut model = Model::default();
        for step in 0..60 {
            let id = random.random_range(0..6).to_string();
            let mut address = address(&id, &format!("City {step}"), random.random_bool(0.3));
            address.created_at = Timestamp::from_millis(random.random_range(0..4));
            let what = format!("seed {seed}, step {step}, address {id}");
            match random.random_range(0..3) {
                0 => {
                    let change = put(store, &user, &address, None).await;
                    assert_eq!(change, model.put(&address, None), "{what}");
                }
                1 => {
                    let expected = random.random_range(1..4);
                    address.version = expected + 1;
                    let change = put(store, &user, &address, Some(expected)).await;
                    assert_eq!(change, model.put(&address, Some(expected)), "{what}");
                }
                _ => {
                    let deleted = store.delete_address(&user, &address.id).await.unwrap();
                    assert_eq!(deleted, model.delete(&address.id), "{what}");
                }
            }
            let addresses = store.addresses(&user).await.unwrap();
            assert_eq!(addresses, model.0, "{what}");
            let defaults = addresses.iter().filter(|address| address.default).count();
            assert_eq!(defaults, usize::from(!addresses.is_empty()), "{what}");
        }
    }
}

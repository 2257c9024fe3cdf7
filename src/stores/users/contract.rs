//! The contract suite of the users port.

mod addresses;
pub mod at_rest;

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::join_all;

use super::{Change, Creation, Credential, UserRecord, UserStore};
use crate::stores::StoreError;
use souk_domain::account::email_key;
use souk_domain::preferences::Channels;
use souk_domain::{
    Account, Currency, EmailAddress, Money, OrderId, OrderStatus, Preferences, ProductId, Purchase,
    PurchasedItem, Role, Sku, Timestamp, UserId,
};

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// Runs everything against `store`, which must be empty.
pub async fn suite(store: Arc<dyn UserStore>) {
    store.ping().await.unwrap();
    an_account_is_found_as_it_was_created(&*store).await;
    an_email_address_has_one_account(&*store).await;
    one_of_concurrent_creations_wins(&store).await;
    an_update_replaces_the_version_it_expects(&*store).await;
    one_of_concurrent_updates_wins(&store).await;
    preferences_are_replaced_at_their_version(&*store).await;
    purchases_keep_the_newest_version(&store).await;
    purchases_are_paged_newest_first(&*store).await;
    addresses::suite(&store).await;
    erasure_leaves_nothing(&*store).await;
}

fn user(name: &str) -> UserId {
    UserId::from_suffix(name)
}

fn record(id: &str, email: &str) -> UserRecord {
    UserRecord {
        account: Account {
            id: user(id),
            email: EmailAddress::parse(email).unwrap(),
            name: "Ada \"Countess\" Lovelace".into(),
            phone: Some("+44 20 5550100".into()),
            roles: BTreeSet::from([Role::Customer, Role::Merchant]),
            email_verified: false,
            created_at: NOW,
            version: 1,
        },
        credential: Credential::new("$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA"),
    }
}

/// Adds an account whose e-mail address is made of its identifier.
async fn registered(store: &dyn UserStore, id: &str) -> UserRecord {
    let record = record(id, &format!("{id}@example.org"));
    assert_eq!(store.create(&record).await.unwrap(), Creation::Created);
    record
}

async fn stored(store: &dyn UserStore, id: &str) -> Option<UserRecord> {
    store.by_id(&user(id)).await.unwrap()
}

fn is_refused<T>(outcome: &Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::Refused { .. }))
}

async fn an_account_is_found_as_it_was_created(store: &dyn UserStore) {
    let mut ada = record("ada", "Ada.Lovelace@Example.org");
    let key = email_key(&EmailAddress::parse("ada.lovelace@example.ORG").unwrap());
    assert_eq!(stored(store, "ada").await, None);
    assert_eq!(store.by_email(&key).await.unwrap(), None);
    assert_eq!(store.create(&ada).await.unwrap(), Creation::Created);
    assert_eq!(stored(store, "ada").await, Some(ada.clone()));
    assert_eq!(store.by_email(&key).await.unwrap(), Some(ada.clone()));

    // What is missing or empty stays so.
    ada.account.id = user("plain");
    ada.account.email = EmailAddress::parse("plain@example.org").unwrap();
    ada.account.phone = None;
    ada.account.roles = BTreeSet::new();
    ada.account.email_verified = true;
    store.create(&ada).await.unwrap();
    assert_eq!(stored(store, "plain").await, Some(ada));
}

async fn an_email_address_has_one_account(store: &dyn UserStore) {
    let first = registered(store, "first").await;
    for email in ["first@example.org", "FIRST@EXAMPLE.ORG"] {
        let second = record("second", email);
        assert_eq!(store.create(&second).await.unwrap(), Creation::EmailTaken);
    }
    assert_eq!(stored(store, "second").await, None);

    // A lost answer is asked for again: nothing changes, also where the account has moved on.
    let mut again = first.clone();
    again.account.name = "Somebody Else".into();
    assert_eq!(store.create(&again).await.unwrap(), Creation::Created);
    assert_eq!(stored(store, "first").await, Some(first.clone()));

    // One account with two addresses is a defect of the caller.
    assert!(is_refused(
        &store.create(&record("first", "third@example.org")).await
    ));
    assert_eq!(stored(store, "first").await, Some(first));
}

async fn one_of_concurrent_creations_wins(store: &Arc<dyn UserStore>) {
    for round in 0..4 {
        let outcomes = join_all((0..20).map(|racer| {
            let store = Arc::clone(store);
            let email = format!("race-{round}@example.org");
            let email = if racer % 2 == 0 {
                email.to_uppercase()
            } else {
                email
            };
            tokio::spawn(async move {
                let record = record(&format!("race-{round}-{racer}"), &email);
                (record.clone(), store.create(&record).await.unwrap())
            })
        }))
        .await;
        let (won, lost): (Vec<_>, Vec<_>) = outcomes
            .into_iter()
            .map(Result::unwrap)
            .partition(|(_, outcome)| *outcome == Creation::Created);
        assert_eq!((won.len(), lost.len()), (1, 19));
        let winner = &won[0].0;
        let key = email_key(&winner.account.email);
        assert_eq!(store.by_email(&key).await.unwrap().as_ref(), Some(winner));
        for (loser, _) in lost {
            assert_eq!(store.by_id(&loser.account.id).await.unwrap(), None);
        }
    }
}

async fn an_update_replaces_the_version_it_expects(store: &dyn UserStore) {
    let mut record = registered(store, "changing").await;
    let account = &mut record.account;
    account.email = EmailAddress::parse("Changing@Example.org").unwrap();
    account.name = "Grace Hopper".into();
    account.phone = None;
    account.roles = BTreeSet::from([Role::Admin]);
    account.email_verified = true;
    account.version = 2;
    assert_eq!(store.update(account, None, 1).await.unwrap(), Change::Applied);
    assert_eq!(stored(store, "changing").await, Some(record.clone()));

    // The version that was expected is gone; nothing is changed by halves.
    let mut late = record.account.clone();
    late.name = "Late".into();
    let credential = Credential::new("$late");
    assert_eq!(
        store.update(&late, Some(&credential), 1).await.unwrap(),
        Change::Conflict
    );
    late.version = 9;
    assert_eq!(store.update(&late, None, 8).await.unwrap(), Change::Conflict);
    assert_eq!(stored(store, "changing").await, Some(record.clone()));

    record.credential = Credential::new("$next");
    record.account.version = 3;
    let change = store.update(&record.account, Some(&record.credential), 2).await;
    assert_eq!(change.unwrap(), Change::Applied);
    assert_eq!(stored(store, "changing").await, Some(record.clone()));

    // Neither a gap in the versions nor another address.
    record.account.version = 5;
    assert!(is_refused(&store.update(&record.account, None, 3).await));
    record.account.version = 4;
    record.account.email = EmailAddress::parse("elsewhere@example.org").unwrap();
    assert!(is_refused(&store.update(&record.account, None, 3).await));

    // An account keeps the time of its creation.
    record.account.email = EmailAddress::parse("changing@example.org").unwrap();
    record.account.created_at = Timestamp::from_millis(1);
    assert_eq!(
        store.update(&record.account, None, 3).await.unwrap(),
        Change::Applied
    );
    record.account.created_at = NOW;
    assert_eq!(stored(store, "changing").await, Some(record.clone()));

    record.account.id = user("nobody");
    assert_eq!(
        store.update(&record.account, None, 3).await.unwrap(),
        Change::Missing
    );
}

async fn one_of_concurrent_updates_wins(store: &Arc<dyn UserStore>) {
    let first = registered(&**store, "contended").await;
    for expected in 1..5 {
        let outcomes = join_all((0..16).map(|racer| {
            let (store, mut account) = (Arc::clone(store), first.account.clone());
            tokio::spawn(async move {
                account.version = expected + 1;
                account.name = format!("Racer {racer}");
                (
                    account.name.clone(),
                    store.update(&account, None, expected).await.unwrap(),
                )
            })
        }))
        .await;
        let (won, lost): (Vec<_>, Vec<_>) = outcomes
            .into_iter()
            .map(Result::unwrap)
            .partition(|(_, outcome)| *outcome == Change::Applied);
        assert_eq!(won.len(), 1);
        assert!(lost.iter().all(|(_, outcome)| *outcome == Change::Conflict));
        let account = stored(&**store, "contended").await.unwrap().account;
        assert_eq!((account.name, account.version), (won[0].0.clone(), expected + 1));
    }
}

async fn preferences_are_replaced_at_their_version(store: &dyn UserStore) {
    registered(store, "choosy").await;
    let user = user("choosy");
    let nobody = UserId::from_suffix("nobody");
    let chosen = Preferences {
        marketing: Channels {
            sms: true,
            ..Channels::default()
        },
        ..Preferences::default()
    };
    let other = Preferences::default();
    let stands = async || store.preferences(&user).await.unwrap();
    let put =
        async |preferences, expected| store.put_preferences(&user, preferences, expected).await.unwrap();
    assert_eq!(stands().await, None);
    assert_eq!(put(&chosen, Some(1)).await, Change::Conflict);
    assert_eq!(put(&chosen, None).await, Change::Applied);
    assert_eq!(stands().await, Some((chosen, 1)));
    assert_eq!(put(&other, None).await, Change::Conflict);
    assert_eq!(put(&other, Some(2)).await, Change::Conflict);
    assert_eq!(stands().await, Some((chosen, 1)));
    assert_eq!(put(&other, Some(1)).await, Change::Applied);
    assert_eq!(stands().await, Some((other, 2)));
    for expected in [None, Some(1)] {
        let change = store.put_preferences(&nobody, &other, expected).await;
        assert_eq!(change.unwrap(), Change::Missing);
    }
    assert_eq!(store.preferences(&nobody).await.unwrap(), None);
}

fn purchase(user: &UserId, order: &str, placed_at: i64, version: u64) -> Purchase {
    let price = Money::new(1_299, Currency::USD);
    Purchase {
        order_id: OrderId::from_suffix(order),
        user_id: user.clone(),
        number: "S-1".into(),
        status: OrderStatus::Confirmed,
        total: price,
        items: vec![PurchasedItem {
            sku: Sku::parse("SKU-1").unwrap(),
            product_id: ProductId::from_suffix(1),
            title: "It's a \"thing\" ü".into(),
            quantity: 2,
            unit_price: price,
        }],
        placed_at: Timestamp::from_millis(placed_at),
        updated_at: NOW,
        version,
    }
}

async fn purchases_keep_the_newest_version(store: &Arc<dyn UserStore>) {
    let buyer = registered(&**store, "buyer").await.account.id;
    let all = async || store.purchases(&buyer, None, 10).await.unwrap();
    // Events come twice, late, and in any order; here from many tasks at once.
    let versions = [5, 1, 9, 3, 9, 7, 2, 8, 1, 4, 6];
    let writes = join_all(versions.map(|version| {
        let (store, purchase) = (Arc::clone(store), purchase(&buyer, "raced", 1, version));
        tokio::spawn(async move { store.put_purchase(&purchase).await.unwrap() })
    }));
    for write in writes.await {
        write.unwrap();
    }
    assert_eq!(all().await, [purchase(&buyer, "raced", 1, 9)]);

    let cancelled = Purchase {
        status: OrderStatus::Cancelled,
        ..purchase(&buyer, "raced", 1, 9)
    };
    // Not newer: as it was.
    store.put_purchase(&cancelled).await.unwrap();
    assert_eq!(all().await, [purchase(&buyer, "raced", 1, 9)]);
    let newer = Purchase {
        version: 10,
        ..cancelled
    };
    store.put_purchase(&newer).await.unwrap();
    assert_eq!(all().await, std::slice::from_ref(&newer));

    // An order has one buyer, and one who is not known has no history.
    let other = registered(&**store, "other-buyer").await.account.id;
    store
        .put_purchase(&purchase(&other, "raced", 1, 11))
        .await
        .unwrap();
    assert_eq!(all().await, [newer]);
    assert_eq!(store.purchases(&other, None, 10).await.unwrap(), []);
    let nobody = user("nobody");
    store
        .put_purchase(&purchase(&nobody, "lost", 1, 1))
        .await
        .unwrap();
    assert_eq!(store.purchases(&nobody, None, 10).await.unwrap(), []);
}

async fn purchases_are_paged_newest_first(store: &dyn UserStore) {
    let reader = registered(store, "reader").await.account.id;
    let neighbour = registered(store, "neighbour").await.account.id;
    // Three of each age.
    let mut expected: Vec<Purchase> = (0..12)
        .map(|number| purchase(&reader, &format!("page-{number:02}"), i64::from(number / 3), 1))
        .collect();
    for purchase in &expected {
        store.put_purchase(purchase).await.unwrap();
    }
    store
        .put_purchase(&purchase(&neighbour, "page-xx", 2, 1))
        .await
        .unwrap();
    expected.reverse();
    for limit in [1, 2, 5, 12, 20] {
        let mut pages: Vec<Purchase> = Vec::new();
        loop {
            let last = pages.last().cloned();
            let before = last.as_ref().map(|last| (last.placed_at, &last.order_id));
            let page = store.purchases(&reader, before, limit).await.unwrap();
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            pages.extend(page);
        }
        assert_eq!(pages, expected, "{limit} a page");
    }
}

async fn erasure_leaves_nothing(store: &dyn UserStore) {
    let gone = registered(store, "gone").await.account.id;
    let stays = registered(store, "stays").await.account.id;
    for user in [&gone, &stays] {
        addresses::add(store, user, "home").await;
        store
            .put_preferences(user, &Preferences::default(), None)
            .await
            .unwrap();
        store
            .put_purchase(&purchase(user, &format!("of-{user}"), 1, 1))
            .await
            .unwrap();
    }
    assert!(store.erase(&gone).await.unwrap());
    assert!(!store.erase(&gone).await.unwrap());
    assert!(!store.erase(&user("nobody")).await.unwrap());
    assert_eq!(stored(store, "gone").await, None);
    // What comes late does not bring anything back.
    store
        .put_purchase(&purchase(&gone, "of-usr_gone", 1, 2))
        .await
        .unwrap();

    // The address is free, and the new account has nothing of the old one.
    registered(store, "gone").await;
    for (user, left) in [(&gone, 0), (&stays, 1)] {
        assert_eq!(store.addresses(user).await.unwrap().len(), left);
        assert_eq!(store.purchases(user, None, 10).await.unwrap().len(), left);
        assert_eq!(
            store.preferences(user).await.unwrap().is_some(),
            left == 1,
            "{user}"
        );
    }
}

//! A server that is killed in the middle of writes, or not to be reached; writes whose answers get lost, or that arrive late.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

use super::testing::{TestIndexes, own_server, url};
use crate::stores::StoreError;
use crate::stores::products::contract::{product, sku};
use crate::stores::products::elasticsearch::ElasticProducts;
use crate::stores::products::{Badge, ProductStore};
use crate::stores::search::{ProductQuery, SearchIndex};
use crate::stores::testing::until;
use souk_domain::catalogue::Product;

/// Products of one writer, whom nobody disturbs.
const PRODUCTS: usize = 5;

/// What one writer knows: the acknowledged version of each product and badge, and the next one, of which there was no answer.
struct Known {
    acknowledged: BTreeMap<usize, u64>,
    tried: u64,
}

fn products_of(writer: usize, version: u64) -> Vec<Product> {
    (0..PRODUCTS)
        .map(|number| {
            let id = format!("w{writer}-{number}");
            Product {
                version,
                ..product(&id, "Written", "home", "Acme", &[1])
            }
        })
        .collect()
}

fn badges_of(writer: usize, version: u64) -> Vec<Badge> {
    (0..PRODUCTS)
        .map(|number| Badge {
            sku: sku(&format!("w{writer}-{number}-0")),
            available: u32::from(version.is_multiple_of(2)),
            version,
        })
        .collect()
}

/// Writes one version after the other until the server is gone.
async fn write_on(store: Arc<ElasticProducts>, writer: usize, done: Arc<AtomicUsize>) -> Known {
    let mut acknowledged = BTreeMap::new();
    for version in 1.. {
        let written = async {
            store.put_products(&products_of(writer, version)).await?;
            store.put_badges(&badges_of(writer, version)).await
        };
        if let Err(error) = written.await {
            assert!(error.is_transient(), "{error:?}");
            return Known {
                acknowledged,
                tried: version,
            };
        }
        for number in 0..PRODUCTS {
            acknowledged.insert(number, version);
        }
        done.fetch_add(1, Ordering::Relaxed);
    }
    unreachable!()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_kill_and_the_adapter_recovers() {
    let Some(mut process) = own_server().await else {
        return;
    };
    let url = url(&process);
    let store = until("opening", async || ElasticProducts::open(&url).await.ok()).await;
    let store = Arc::new(store);
    let done = Arc::new(AtomicUsize::new(0));
    let writers: Vec<_> = (0..6)
        .map(|writer| tokio::spawn(write_on(Arc::clone(&store), writer, Arc::clone(&done))))
        .collect();
    until("writing", async || {
        (done.load(Ordering::Relaxed) >= 30).then_some(())
    })
    .await;
    process.kill().await;
    let mut all = Vec::new();
    for writer in writers {
        all.push(writer.await.unwrap());
    }
    let down = store.ping().await;
    assert!(matches!(down, Err(StoreError::Unavailable { .. })), "{down:?}");
    process.restart().await;
    until("recovery", async || store.ping().await.ok()).await;
    for (writer, known) in all.into_iter().enumerate() {
        let expected = products_of(writer, 0);
        let ids: Vec<_> = expected.iter().map(|product| product.id.clone()).collect();
        let found = until("products", async || store.products(&ids).await.ok()).await;
        let skus: Vec<_> = badges_of(writer, 0).into_iter().map(|badge| badge.sku).collect();
        let mut badges = until("badges", async || store.badges(&skus).await.ok()).await;
        badges.sort_by(|a, b| a.sku.cmp(&b.sku));
        assert_eq!((found.len(), badges.len()), (PRODUCTS, PRODUCTS));
        for number in 0..PRODUCTS {
            let least = known.acknowledged[&number];
            for version in [found[number].version, badges[number].version] {
                assert!(
                    (least..=known.tried).contains(&version),
                    "{version} of {least} to {}",
                    known.tried
                );
            }
        }
        // What was lost is repeated, and what follows from it is right afterwards.
        store
            .put_products(&products_of(writer, known.tried))
            .await
            .unwrap();
        store.put_badges(&badges_of(writer, known.tried)).await.unwrap();
        let query = ProductQuery {
            text: Some("written".to_owned()),
            in_stock: true,
            limit: 100,
            ..ProductQuery::default()
        };
        let search = store.search();
        until("the index", async || {
            let in_stock = search.search(&query).await.ok()?.ids;
            let own = in_stock.iter().filter(|id| ids.contains(id)).count();
            let expected = if known.tried.is_multiple_of(2) {
                PRODUCTS
            } else {
                0
            };
            (own == expected).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_down_is_unavailable() {
    let Some(mut process) = own_server().await else {
        return;
    };
    let url = url(&process);
    let store = until("opening", async || ElasticProducts::open(&url).await.ok()).await;
    let search = store.search();
    let item = product("one", "One", "home", "Acme", &[1]);
    let ids = [item.id.clone()];
    store.put_products(std::slice::from_ref(&item)).await.unwrap();
    process.kill().await;
    // The first may meet a connection that was open, and can't know what became of it.
    until("noticing", async || {
        let outcome = store.put_products(std::slice::from_ref(&item)).await;
        matches!(outcome, Err(StoreError::Unavailable { .. })).then_some(())
    })
    .await;
    let read = store.products(&ids).await;
    assert!(matches!(read, Err(StoreError::Unavailable { .. })), "{read:?}");
    let found = search.search(&ProductQuery::default()).await;
    assert!(matches!(found, Err(StoreError::Unavailable { .. })), "{found:?}");
    let opened = ElasticProducts::open(&url).await.err().unwrap();
    assert!(matches!(opened, StoreError::Unavailable { .. }), "{opened:?}");
    process.restart().await;
    let found = until("recovery", async || store.products(&ids).await.ok()).await;
    assert_eq!(found, std::slice::from_ref(&item));
    until("writing", async || {
        store.put_products(std::slice::from_ref(&item)).await.ok()
    })
    .await;
}

/// A badge whose product was in stock is sold out; the write of that to the product is kept by the network, and arrives after a newer
/// badge that says again what the product says already.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_write_that_arrives_late_does_not_undo_a_newer_one() {
    let Some(indexes) = TestIndexes::create() else {
        return;
    };
    let Some((proxy, url)) = indexes.proxied().await else {
        return;
    };
    let store = ElasticProducts::open(&url).await.unwrap();
    let item = product("late", "Late", "home", "Acme", &[1]);
    store.put_products(std::slice::from_ref(&item)).await.unwrap();
    let badge = |available, version| Badge {
        sku: sku("late-0"),
        available,
        version,
    };
    store.put_badges(&[badge(1, 1)]).await.unwrap();
    // The update of the product alone.
    proxy.hold_all("\"in_stock\":false");
    let lost = store.put_badges(&[badge(0, 2)]).await;
    assert!(matches!(lost, Err(StoreError::OutcomeUnknown { .. })), "{lost:?}");
    store.put_badges(&[badge(3, 3)]).await.unwrap();
    let writes = async || {
        let stats = indexes
            .ask(Method::GET, "products/_stats/bulk", Value::Null)
            .await;
        stats["_all"]["primaries"]["bulk"]["total_operations"]
            .as_u64()
            .unwrap()
    };
    let before = writes().await;
    proxy.release().await;
    until("the late write", async || (writes().await > before).then_some(())).await;
    let query = ProductQuery {
        in_stock: true,
        limit: 10,
        ..ProductQuery::default()
    };
    indexes.ask(Method::POST, "products/_refresh", Value::Null).await;
    let found = store.search().search(&query).await.unwrap();
    assert_eq!(found.ids, std::slice::from_ref(&item.id));
}

/// One node has looked at the badges before a newer one came, and writes after another node has found nothing to do for that one.
#[tokio::test(flavor = "multi_thread")]
async fn who_writes_last_looks_again() {
    let Some(indexes) = TestIndexes::create() else {
        return;
    };
    let Some((proxy, url)) = indexes.proxied().await else {
        return;
    };
    let slow = Arc::new(ElasticProducts::open(&url).await.unwrap());
    let fast = indexes.products().await;
    let item = product("last", "Last", "home", "Acme", &[1]);
    fast.put_products(std::slice::from_ref(&item)).await.unwrap();
    let badge = |available, version| Badge {
        sku: sku("last-0"),
        available,
        version,
    };
    for version in (1..).step_by(3) {
        fast.put_badges(&[badge(1, version)]).await.unwrap();
        proxy.hold_all("\"in_stock\":false");
        let store = Arc::clone(&slow);
        let sold_out = badge(0, version + 1);
        let writing = tokio::spawn(async move { store.put_badges(&[sold_out]).await });
        proxy.holds_one().await;
        fast.put_badges(&[badge(3, version + 2)]).await.unwrap();
        proxy.pass_on();
        match writing.await.unwrap() {
            Ok(()) => break,
            // The machine was so slow that it was lost meanwhile: once more.
            Err(error) => assert!(error.is_transient(), "{error:?}"),
        }
        proxy.release().await;
    }
    let query = ProductQuery {
        in_stock: true,
        limit: 10,
        ..ProductQuery::default()
    };
    indexes.ask(Method::POST, "products/_refresh", Value::Null).await;
    let found = fast.search().search(&query).await.unwrap();
    assert_eq!(found.ids, std::slice::from_ref(&item.id));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_leaves_the_outcome_unknown_and_a_repetition_completes_it() {
    let Some(indexes) = TestIndexes::create() else {
        return;
    };
    let Some((proxy, url)) = indexes.proxied().await else {
        return;
    };
    let store = ElasticProducts::open(&url).await.unwrap();
    let item = product("lost", "Lost", "home", "Acme", &[1]);
    proxy.mute("_bulk");
    let lost = store.put_products(std::slice::from_ref(&item)).await;
    assert!(matches!(lost, Err(StoreError::OutcomeUnknown { .. })), "{lost:?}");
    // Over new connections, once those that there were have ended.
    until("repeating", async || {
        store.put_products(std::slice::from_ref(&item)).await.ok()
    })
    .await;
    let found = store.products_of(&[sku("lost-0")]).await.unwrap();
    assert_eq!(found, [item]);
}

/// A port where something listens that never answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_server_is_unavailable_within_the_time_limit() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "elasticsearch://127.0.0.1:{}",
        silent.local_addr().unwrap().port()
    );
    let opened = tokio::time::timeout(Duration::from_secs(60), ElasticProducts::open(&url));
    let error = opened.await.unwrap().err().unwrap();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
}

//! The server's side: indexes that several nodes make, items that fail, texts of all kinds.

use std::sync::Arc;

use reqwest::Method;
use serde_json::{Value, json};

use super::index::Index;
use super::testing::TestIndexes;
use super::*;
use crate::stores::products::contract::{category, product, sku};
use crate::stores::products::elasticsearch::ElasticProducts;
use crate::stores::products::{Badge, ProductStore};
use crate::stores::search::{ProductQuery, SearchIndex};
use crate::stores::testing::{AWKWARD_TEXTS, until};
use souk_domain::catalogue::Product;

const FIRST: Index = Index {
    name: "products",
    generation: 1,
    analysis: "{}",
    steps: &[r#"{"a": {"type": "keyword"}}"#],
};
const SECOND: Index = Index {
    steps: &[r#"{"a": {"type": "keyword"}}"#, r#"{"b": {"type": "long"}}"#],
    ..FIRST
};

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_start_together_make_the_indexes_once() {
    let Some(indexes) = TestIndexes::create() else {
        return;
    };
    let url = indexes.url();
    let opened = futures::future::join_all((0..6).map(|_| ElasticProducts::open(&url))).await;
    let item = product("one", "One", "home", "Acme", &[1]);
    for products in &opened {
        let products = products.as_ref().unwrap();
        products.put_products(std::slice::from_ref(&item)).await.unwrap();
        let found = products.products(std::slice::from_ref(&item.id)).await.unwrap();
        assert_eq!(found, std::slice::from_ref(&item));
    }
    // Made with what it needs, by whomever.
    let made = indexes
        .ask(Method::GET, "products?flat_settings=true", Value::Null)
        .await;
    let made = made.as_object().unwrap();
    assert_eq!(made.len(), 1);
    let made = made.values().next().unwrap();
    assert_eq!(made["settings"]["index.translog.durability"], "request");
    assert_eq!(made["mappings"]["dynamic"], "strict");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mapping_gets_the_steps_that_it_lacks() {
    let Some(indexes) = TestIndexes::create() else {
        return;
    };
    let url = indexes.url();
    let server = Server::open("catalogue", &url, &[&FIRST]).await.unwrap();
    let write = async |document: Value| {
        let operation = Operation::put("row", &document).unwrap();
        server.bulk(&FIRST, &[operation]).await.unwrap().pop().unwrap()
    };
    assert!(matches!(
        write(json!({ "a": "x" })).await,
        Outcome::Applied { version: 1 }
    ));
    let refused = write(json!({ "b": 1 })).await;
    assert!(
        matches!(refused, Outcome::Failed(StoreError::Refused { .. })),
        "{refused:?}"
    );
    let opened = futures::future::join_all((0..3).map(|_| Server::open("catalogue", &url, &[&SECOND]))).await;
    assert!(opened.iter().all(Result::is_ok));
    assert!(matches!(
        write(json!({ "b": 1 })).await,
        Outcome::Applied { version: 2 }
    ));
    // A program that does not know the second step.
    let error = Server::open("catalogue", &url, &[&FIRST]).await.err().unwrap();
    let StoreError::Refused { cause, .. } = error else {
        panic!("{error:?}");
    };
    assert!(cause.to_string().contains("version 2"), "{cause}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_is_not_ours_is_refused() {
    let Some(indexes) = TestIndexes::create() else {
        return;
    };
    let body = json!({ "aliases": { format!("{}-products", indexes.prefix()): {} } });
    indexes.ask(Method::PUT, "products-1", body).await;
    let error = Server::open("catalogue", &indexes.url(), &[&FIRST])
        .await
        .err()
        .unwrap();
    assert!(matches!(error, StoreError::Refused { .. }), "{error:?}");
}

/// As of one that another node has made a moment ago.
#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_does_not_answer_yet_is_waited_for() {
    let Some(indexes) = TestIndexes::create() else {
        return;
    };
    let url = indexes.url();
    let mut body = FIRST.creation(&format!("{}-products", indexes.prefix())).unwrap();
    // No node of the server may have its shard.
    body["settings"]["index"]["routing"] = json!({ "allocation": { "require": { "_name": "nobody" } } });
    let path = "products-1?wait_for_active_shards=0";
    let made = indexes.ask(Method::PUT, path, body).await;
    assert_eq!(made["acknowledged"], true, "{made}");

    let opening = Server::open("catalogue", &url, &[&FIRST]);
    tokio::pin!(opening);
    let early = timeout(Duration::from_secs(1), &mut opening).await;
    assert!(early.is_err(), "opened without the shard");
    let anybody = json!({ "index.routing.allocation.require._name": null });
    let (opened, allowed) = tokio::join!(opening, indexes.ask(Method::PUT, "products-1/_settings", anybody));
    assert_eq!(allowed["acknowledged"], true, "{allowed}");
    opened.unwrap().ping(&FIRST).await.unwrap();
}

/// A write must not bring an index into being, which would lack its mapping.
#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_was_removed_is_not_made_by_a_write() {
    let Some(indexes) = TestIndexes::create() else {
        return;
    };
    let products = indexes.products().await;
    indexes.ask(Method::DELETE, "badges-1", Value::Null).await;
    let badge = badge("one", 1, 1);
    let error = products.put_badges(&[badge]).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused { .. }), "{error:?}");
    let read = products.badges(&[sku("one")]).await;
    assert!(matches!(read, Err(StoreError::Refused { .. })), "{read:?}");
    let there = indexes.ask(Method::GET, "badges", Value::Null).await;
    assert_eq!(there["status"], 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_item_of_a_bulk_has_its_outcome() {
    let Some(indexes) = TestIndexes::create() else {
        return;
    };
    let server = Server::open("catalogue", &indexes.url(), &[&FIRST])
        .await
        .unwrap();
    let fine = json!({ "a": "x" });
    let large = json!({ "a": "x".repeat(super::bulk::DOCUMENT_LIMIT) });
    let first = [
        Operation::create("new", &fine),
        Operation::create("new", &fine),
        Operation::newer("versioned", 7, &fine),
        Operation::newer("versioned", 7, &fine),
        Operation::newer("versioned", 6, &fine),
        Operation::put("large", &large),
        Operation::put("wrong", &json!({ "unknown": 1 })),
        Operation::replace("absent", (1, 1), &fine),
        Operation::update("absent", (1, 1), &fine),
        Operation::put("last", &fine),
    ]
    .map(Result::unwrap);
    let outcomes = server.bulk(&FIRST, &first).await.unwrap();
    let told: Vec<&str> = outcomes
        .iter()
        .map(|outcome| match outcome {
            Outcome::Applied { .. } => "applied",
            Outcome::Conflict => "conflict",
            Outcome::Failed(StoreError::Refused { .. }) => "refused",
            Outcome::Failed(error) => panic!("{error:?}"),
        })
        .collect();
    assert_eq!(
        told,
        [
            "applied", "conflict", "applied", "conflict", "conflict", "refused", "refused", "conflict",
            "conflict", "applied"
        ]
    );
    assert!(matches!(outcomes[2], Outcome::Applied { version: 7 }));
    assert!(matches!(
        outcome_of_all(outcomes),
        Err(StoreError::Refused { .. })
    ));

    let found = server.documents::<Value>(&FIRST, &["new"], &["a"]).await.unwrap();
    let change = found["new"].change;
    let replace = || Operation::replace("new", change, &fine).unwrap();
    let outcomes = server.bulk(&FIRST, &[replace(), replace()]).await.unwrap();
    assert!(matches!(
        outcomes[..],
        [Outcome::Applied { version: 2 }, Outcome::Conflict]
    ));
}

#[test]
fn of_several_failures_the_least_certain_counts() {
    let store = "catalogue";
    let failed = |error: StoreError| Outcome::Failed(error);
    let refused = || failed(super::refused(store, "no"));
    let unavailable = || {
        failed(StoreError::Unavailable {
            store,
            cause: "away".into(),
        })
    };
    let unknown = || {
        failed(StoreError::OutcomeUnknown {
            store,
            cause: "lost".into(),
        })
    };
    let applied = || Outcome::Applied { version: 1 };
    let of = |outcomes: Vec<Outcome>| outcome_of_all(outcomes);
    assert!(of(vec![applied(), Outcome::Conflict]).is_ok());
    assert!(matches!(
        of(vec![refused(), applied()]),
        Err(StoreError::Refused { .. })
    ));
    assert!(matches!(
        of(vec![refused(), unavailable()]),
        Err(StoreError::Unavailable { .. })
    ));
    // Something was written.
    assert!(matches!(
        of(vec![applied(), unavailable()]),
        Err(StoreError::OutcomeUnknown { .. })
    ));
    assert!(matches!(
        of(vec![unavailable(), unknown(), refused()]),
        Err(StoreError::OutcomeUnknown { .. })
    ));
}

fn badge(text: &str, available: u32, version: u64) -> Badge {
    Badge {
        sku: sku(text),
        available,
        version,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_of_all_kinds_come_back_as_they_were() {
    let Some(indexes) = TestIndexes::create() else {
        return;
    };
    let products = indexes.products().await;
    // Longer than a term of the index may be.
    let long = "\u{1f6d2}".repeat(10_000);
    let texts = AWKWARD_TEXTS.into_iter().chain([long.as_str()]);
    let awkward: Vec<Product> = texts
        .enumerate()
        .map(|(number, text)| {
            let mut awkward = product(
                &format!("awkward{number}"),
                text,
                text,
                text,
                &[i64::MAX, i64::MIN],
            );
            awkward.attributes = [(text.to_owned(), text.to_owned())].into();
            awkward.images = vec![text.to_owned()];
            awkward.variants[0].options = [(text.to_owned(), text.to_owned())].into();
            awkward
        })
        .collect();
    products.put_products(&awkward).await.unwrap();
    let ids: Vec<_> = awkward.iter().map(|product| product.id.clone()).collect();
    assert_eq!(products.products(&ids).await.unwrap(), awkward);
    let categories: Vec<_> = awkward
        .iter()
        .map(|product| category(&product.category, &product.title, Some(&product.brand)))
        .collect();
    products.put_categories(&categories).await.unwrap();
    let mut stored = products.categories().await.unwrap();
    stored.sort_by(|a, b| a.slug.cmp(&b.slug));
    let mut expected = categories;
    expected.sort_by(|a, b| a.slug.cmp(&b.slug));
    assert_eq!(stored, expected);
    let search = products.search();
    let endless = ProductQuery {
        text: Some(long.clone()),
        category: Some(long.clone()),
        limit: 10,
        ..ProductQuery::default()
    };
    let branded = ProductQuery {
        brand: Some(long.clone()),
        ..endless.clone()
    };
    for query in [endless, branded] {
        assert_eq!(search.search(&query).await.unwrap().total, 0);
    }
    for product in &awkward[..AWKWARD_TEXTS.len()] {
        let query = ProductQuery {
            brand: Some(product.brand.clone()),
            category: Some(product.category.clone()),
            limit: 10,
            ..ProductQuery::default()
        };
        let ids = [product.id.clone()];
        until("the index", async || {
            (search.search(&query).await.unwrap().ids == ids).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_of_the_largest_size_is_stored_and_a_larger_one_refused_alone() {
    let Some(indexes) = TestIndexes::create() else {
        return;
    };
    let products = indexes.products().await;
    let sized = |id: &str, bytes: usize| {
        let mut sized = product(id, "Sized", "home", "Acme", &[1]);
        // The description is there twice: for searches, and in the product.
        sized.description = "d".repeat(bytes / 2);
        sized
    };
    let limit = super::bulk::DOCUMENT_LIMIT;
    let most: Vec<Product> = (0..4)
        .map(|number| sized(&format!("most{number}"), limit - 2_000))
        .collect();
    let large = sized("large", limit + 2_000);
    let small = product("small", "Small", "home", "Acme", &[1]);
    let mut all = most.clone();
    all.extend([large.clone(), small.clone()]);
    let error = products.put_products(&all).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused { .. }), "{error:?}");
    let ids: Vec<_> = all.iter().map(|product| product.id.clone()).collect();
    let mut stored = most;
    stored.push(small);
    assert_eq!(products.products(&ids).await.unwrap(), stored);
    assert!(products.products_of(&[sku("large-0")]).await.unwrap().is_empty());
    // Badges of all versions that there are.
    let error = products
        .put_badges(&[
            badge("small-0", 1, u64::MAX),
            badge("most0-0", 2, i64::MAX as u64),
        ])
        .await;
    assert!(matches!(error, Err(StoreError::Refused { .. })), "{error:?}");
    let badges = products.badges(&["small-0", "most0-0"].map(sku)).await.unwrap();
    assert_eq!(badges, [badge("most0-0", 2, i64::MAX as u64)]);
}

/// Badges, products and categories that are written at once by several nodes, in any order, end up in the index as they are.
#[tokio::test(flavor = "multi_thread")]
async fn products_badges_and_categories_that_race_converge() {
    const PRODUCTS: usize = 6;
    const ROUNDS: u64 = 12;
    let Some(indexes) = TestIndexes::create() else {
        return;
    };
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(Arc::new(indexes.products().await));
    }
    let name = |round: u64| {
        if round == ROUNDS {
            "Final".to_owned()
        } else {
            format!("Round{round}")
        }
    };
    let put = |products: Arc<ElasticProducts>, round: u64| async move {
        let all: Vec<Product> = (0..PRODUCTS)
            .map(|number| product(&format!("race{number}"), "Racer", "race", "Acme", &[1, 2]))
            .map(|product| Product {
                version: round,
                ..product
            })
            .collect();
        products.put_products(&all).await.unwrap();
    };
    let sell = |products: Arc<ElasticProducts>, round: u64| async move {
        // In the end, those with an even number can be bought.
        let all: Vec<Badge> = (0..PRODUCTS)
            .map(|number| {
                badge(
                    &format!("race{number}-1"),
                    u32::from((number as u64 + round).is_multiple_of(2)),
                    round,
                )
            })
            .collect();
        products.put_badges(&all).await.unwrap();
    };
    let rename = move |products: Arc<ElasticProducts>, round: u64| {
        let changed = category("race", &name(round), None);
        async move { products.put_categories(&[changed]).await.unwrap() }
    };
    let mut tasks = Vec::new();
    for (place, node) in nodes.iter().enumerate() {
        // Each node writes all versions of badges, some of them for the last time.
        let (seller, writer, renamer) = (Arc::clone(node), Arc::clone(node), Arc::clone(node));
        tasks.push(tokio::spawn(async move {
            for round in 1..=ROUNDS {
                sell(
                    Arc::clone(&seller),
                    if place == 1 { ROUNDS + 1 - round } else { round },
                )
                .await;
            }
        }));
        tasks.push(tokio::spawn(async move {
            for round in 1..=ROUNDS {
                put(Arc::clone(&writer), round).await;
            }
        }));
        if place == 2 {
            tasks.push(tokio::spawn(async move {
                for round in 1..=ROUNDS {
                    rename(Arc::clone(&renamer), round).await;
                }
            }));
        }
    }
    for task in tasks {
        task.await.unwrap();
    }
    let skus: Vec<_> = (0..PRODUCTS)
        .map(|number| sku(&format!("race{number}-1")))
        .collect();
    let badges = nodes[0].badges(&skus).await.unwrap();
    assert!(badges.iter().all(|badge| badge.version == ROUNDS), "{badges:?}");
    // All of it was acknowledged: what a search finds after a refresh is final.
    indexes.ask(Method::POST, "products/_refresh", Value::Null).await;
    let search = nodes[1].search();
    let query = ProductQuery {
        text: Some("racer final".to_owned()),
        in_stock: true,
        limit: 100,
        ..ProductQuery::default()
    };
    let mut found = search.search(&query).await.unwrap().ids;
    found.sort();
    let bought: Vec<_> = (0..PRODUCTS)
        .filter(|number| number.is_multiple_of(2))
        .map(|number| product(&format!("race{number}"), "", "", "", &[]).id)
        .collect();
    assert_eq!(found, bought);
    let all = ProductQuery {
        in_stock: false,
        ..query
    };
    assert_eq!(search.search(&all).await.unwrap().total, PRODUCTS as u64);
}

//! How many rows a second the adapter writes, beside the same requests by hand.

use std::cell::Cell;

use reqwest::Method;
use serde_json::{Value, json};

use super::testing::TestIndexes;
use super::*;
use crate::stores::products::contract::{product, sku};
use crate::stores::products::elasticsearch::BADGES;
use crate::stores::products::{Badge, ProductStore};
use crate::stores::testing::turns;
use souk_domain::Sku;

/// The adapter by hand, in turns: one bulk of conditional writes, and all calls of newer badges, none of which changes whether a
/// product is in stock. For a build with optimisation, on an idle machine:
/// `cargo test --release --features elasticsearch --lib elasticsearch::throughput_tests::rows_a_second -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures"]
async fn rows_a_second() {
    const ROWS: usize = 1_000;
    let Some(indexes) = TestIndexes::create() else {
        return;
    };
    let products = indexes.products().await;
    let ids: Vec<String> = (0..ROWS).map(|row| format!("{row:04}")).collect();
    let each = ids.iter().map(|id| product(id, id, "home", "Acme", &[1]));
    products.put_products(&each.collect::<Vec<_>>()).await.unwrap();
    let skus: Vec<_> = ids.iter().map(|id| sku(&format!("{id}-0"))).collect();
    // All badges have one version after each pass.
    let version = Cell::new(0_u64);
    let next = || {
        version.set(version.get() + 1);
        version.get()
    };
    let bulk = async |skus: &[Sku], version: u64| {
        let line = |sku: &Sku| {
            let condition = json!({ "_id": sku.as_str(), "version": version, "version_type": "external" });
            format!(
                "{}\n{}\n",
                json!({ "index": condition }),
                json!({ "available": 1 })
            )
        };
        let lines: String = skus.iter().map(line).collect();
        let path = "badges/_bulk?require_alias=true&timeout=4s";
        let reply = indexes.ask_lines(path, lines).await;
        assert_eq!(reply["errors"], false);
    };
    let get = async |index: &str, fields: &str, ids: &[&str]| {
        let path = format!("{index}/_mget?_source={fields}");
        let reply = indexes.ask(Method::POST, &path, json!({ "ids": ids })).await;
        let found = reply["docs"].as_array().unwrap().iter();
        let found: Vec<Value> = found.map(|found| found["_source"].clone()).collect();
        assert!(found.len() == ids.len() && found.iter().all(Value::is_object));
        found
    };

    println!("a bulk of conditional writes:");
    let adapter = async |size| {
        let version = next();
        for part in skus.chunks(size) {
            let operation = |sku: &Sku| Operation::newer(sku.as_str(), version, &json!({ "available": 1 }));
            let operations: Result<Vec<_>, _> = part.iter().map(operation).collect();
            let outcomes = products.server.bulk(&BADGES, &operations.unwrap()).await.unwrap();
            assert!(
                outcomes
                    .iter()
                    .all(|outcome| matches!(outcome, Outcome::Applied { .. }))
            );
        }
    };
    let by_hand = async |size| {
        let version = next();
        for part in skus.chunks(size) {
            bulk(part, version).await;
        }
    };
    turns::compare(ROWS, adapter, by_hand).await;

    println!("newer badges:");
    let adapter = async |size| {
        let version = next();
        for part in skus.chunks(size) {
            let badge = |sku: &Sku| Badge {
                sku: sku.clone(),
                available: 1,
                version,
            };
            products
                .put_badges(&part.iter().map(badge).collect::<Vec<_>>())
                .await
                .unwrap();
        }
    };
    let by_hand = async |size| {
        let version = next();
        for part in skus.chunks(size) {
            bulk(part, version).await;
            let skus: Vec<&str> = part.iter().map(Sku::as_str).collect();
            let found = get("skus", "product", &skus).await;
            let ids: Vec<&str> = found.iter().map(|sku| sku["product"].as_str().unwrap()).collect();
            let found = get("products", "skus,category,in_stock,category_name", &ids).await;
            assert!(found.iter().all(|product| product["in_stock"] == true));
            get("badges", "available", &skus).await;
        }
    };
    turns::compare(ROWS, adapter, by_hand).await;
}

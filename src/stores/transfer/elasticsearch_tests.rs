//! Rows that are moved into Elasticsearch and out of it.

use std::sync::Arc;

use reqwest::Method;
use tokio::sync::watch;

use super::*;
use crate::stores::elasticsearch::testing::{TestIndexes, own_server, url};
use crate::stores::products::contract::{category, product, sku};
use crate::stores::products::sqlite::{DERIVED, SqliteProducts};
use crate::stores::products::{Badge, ProductStore};
use crate::stores::search::sqlite::SqliteSearch;
use crate::stores::search::{ProductQuery, SearchIndex};
use crate::stores::testing::{AWKWARD_TEXTS, open_database, until};
use crate::stores::transfer::sql::{Dialect, SqlTransfer};
use crate::stores::transfer::testing::{assert_filled, assert_filled_table, fill, record, text};
use souk_domain::ProductId;

/// Rows of each table: the second page is not full.
const FILLED: u64 = PAGE_ROWS as u64 + 3;

const CATEGORIES_TABLE: &Table = &tables::CATALOGUE[0];
const PRODUCTS_TABLE: &Table = &tables::CATALOGUE[1];
const BADGES_TABLE: &Table = &tables::CATALOGUE[2];

async fn open(indexes: &TestIndexes) -> ElasticTransfer {
    ElasticTransfer::new(indexes.products().await)
}

/// Whatever has been acknowledged counts and comes back, where no search sees it by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_catalogue_comes_back() {
    let Some(indexes) = TestIndexes::create() else {
        return;
    };
    let transfer = open(&indexes).await;
    for index in ["products-1/_settings", "badges-1/_settings"] {
        let never = json!({ "index.refresh_interval": "-1" });
        let set = indexes.ask(Method::PUT, index, never).await;
        assert_eq!(set["acknowledged"], true, "{set}");
    }
    // A page may be imported twice.
    for _ in 0..2 {
        fill(&transfer, FILLED).await;
    }
    let more = async |number: u64| {
        for table in transfer.tables() {
            let row = record(table, number);
            transfer.import(table, number - 1, &[row]).await.unwrap();
        }
    };
    more(FILLED + 1).await;
    assert_filled(&open(&indexes).await, FILLED + 1).await;
    more(FILLED + 2).await;
    for table in transfer.tables() {
        let count = transfer.count(table).await.unwrap();
        assert_eq!(count, FILLED + 2, "{}", table.name);
    }
}

/// As many as take two searches for their keys.
#[tokio::test(flavor = "multi_thread")]
async fn all_rows_are_found() {
    let Some(indexes) = TestIndexes::create() else {
        return;
    };
    let transfer = open(&indexes).await;
    let rows = KEYS as u64 + 3;
    let records: Vec<Record> = (1..=rows).map(|number| record(BADGES_TABLE, number)).collect();
    transfer.import(BADGES_TABLE, 0, &records).await.unwrap();
    assert_filled_table(&transfer, BADGES_TABLE, rows).await;
}

/// Rows of a third of a page's bytes each.
#[tokio::test(flavor = "multi_thread")]
async fn pages_are_bounded_in_bytes() {
    let Some(indexes) = TestIndexes::create() else {
        return;
    };
    let transfer = open(&indexes).await;
    let large: Vec<Record> = (1..=5)
        .map(|number| sized(number, PAGE_BYTES / 3 - 2_000))
        .collect();
    transfer.import(PRODUCTS_TABLE, 0, &large).await.unwrap();
    let mut pages = Vec::new();
    let mut after = None;
    loop {
        let page = transfer.export(PRODUCTS_TABLE, after.as_ref()).await.unwrap();
        if page.records.is_empty() {
            break;
        }
        pages.push(page.records);
        after = Some(page.next);
    }
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [3, 2]);
    assert!(pages.concat() == large);
}

/// A product with so many bytes that its document has once.
fn sized(number: u64, bytes: usize) -> Record {
    let mut large = record(PRODUCTS_TABLE, number);
    let Some(Value::Text(body)) = large.last_mut() else {
        panic!("the last column is the body");
    };
    let images = json!({ "images": ["x".repeat(bytes)] }).to_string();
    *body = body.replace("\"images\":[]", &images[1..images.len() - 1]);
    large
}

/// The others of its page are there.
#[tokio::test(flavor = "multi_thread")]
async fn a_product_that_is_too_large_is_named() {
    let Some(indexes) = TestIndexes::create() else {
        return;
    };
    let transfer = open(&indexes).await;
    let rows = [
        record(PRODUCTS_TABLE, 1),
        sized(2, 1024 * 1024),
        record(PRODUCTS_TABLE, 3),
    ];
    let error = transfer.import(PRODUCTS_TABLE, 0, &rows).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused { .. }), "{error:?}");
    let Value::Text(id) = &rows[1][1] else {
        panic!("the second column is the id");
    };
    let said = souk_error_chain::Chain(&error).to_string();
    assert!(said.contains(&format!("the product {id}: ")), "{said}");
    assert_eq!(transfer.count(PRODUCTS_TABLE).await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn products_that_share_a_number_are_not_passed_over() {
    let Some(indexes) = TestIndexes::create() else {
        return;
    };
    let transfer = open(&indexes).await;
    let one = record(PRODUCTS_TABLE, 1);
    let mut other = record(PRODUCTS_TABLE, 2);
    other[0] = one[0].clone();
    transfer.import(PRODUCTS_TABLE, 0, &[one, other]).await.unwrap();
    let found = transfer.export(PRODUCTS_TABLE, None).await;
    assert!(matches!(found, Err(StoreError::Corrupt { .. })), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_wrong_kind_are_refused() {
    let Some(indexes) = TestIndexes::create() else {
        return;
    };
    let transfer = open(&indexes).await;
    for (table, column, wrong) in [
        (CATEGORIES_TABLE, 2, Value::Integer(1)),
        (PRODUCTS_TABLE, 0, Value::Integer(-1)),
        (PRODUCTS_TABLE, 5, Value::Integer(2)),
        (PRODUCTS_TABLE, 6, "{}".into()),
        (BADGES_TABLE, 1, Value::Integer(-1)),
        (BADGES_TABLE, 2, Value::Null),
    ] {
        let mut row = record(table, 1);
        row[column] = wrong;
        let outcome = transfer.import(table, 0, &[row]).await;
        assert!(matches!(outcome, Err(StoreError::Refused { .. })), "{outcome:?}");
        assert_eq!(transfer.count(table).await.unwrap(), 0, "{}", table.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_there_are_left_as_they_are() {
    let Some(indexes) = TestIndexes::create() else {
        return;
    };
    let transfer = open(&indexes).await;
    fill(&transfer, 1).await;
    for (table, column, other) in [
        (CATEGORIES_TABLE, 1, "Other".into()),
        (PRODUCTS_TABLE, 2, "other".into()),
        (BADGES_TABLE, 1, Value::Integer(2)),
    ] {
        let mut row = record(table, 1);
        assert_ne!(row[column], other);
        row[column] = other;
        transfer.import(table, 0, &[row]).await.unwrap();
    }
    assert_filled(&transfer, 1).await;
}

/// An import whose answer was lost is repeated; that of products arrives once more after the shop has changed one of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_import_changes_nothing() {
    let Some(indexes) = TestIndexes::create() else {
        return;
    };
    let Some((proxy, url)) = indexes.proxied().await else {
        return;
    };
    let transfer = ElasticTransfer::new(ElasticProducts::open(&url).await.unwrap());
    let item = product("late", "Late", "home", "Acme", &[1]);
    let row = vec![
        7_u64.into(),
        item.id.as_str().into(),
        item.category.as_str().into(),
        item.brand.as_str().into(),
        1_u64.into(),
        0_u64.into(),
        serde_json::to_string(&item).unwrap().into(),
    ];
    let rows = [row];
    // The document of the product alone.
    proxy.hold_all("\"in_stock\":false");
    let lost = transfer.import(PRODUCTS_TABLE, 0, &rows).await;
    assert!(matches!(lost, Err(StoreError::OutcomeUnknown { .. })), "{lost:?}");
    let direct = open(&indexes).await;
    direct.import(PRODUCTS_TABLE, 0, &rows).await.unwrap();
    let changed = Product { version: 2, ..item };
    let store = indexes.products().await;
    store.put_products(std::slice::from_ref(&changed)).await.unwrap();
    let writes = async || {
        let stats = indexes.ask(Method::GET, "products/_stats/bulk", Json::Null).await;
        stats["_all"]["primaries"]["bulk"]["total_operations"]
            .as_u64()
            .unwrap()
    };
    let before = writes().await;
    proxy.release().await;
    until("the late write", async || (writes().await > before).then_some(())).await;
    let found = store.products(std::slice::from_ref(&changed.id)).await.unwrap();
    assert_eq!(found, [changed]);
    // Nor does a row that is imported once more.
    direct.import(PRODUCTS_TABLE, 0, &rows).await.unwrap();
    assert_eq!(store.products(&[found[0].id.clone()]).await.unwrap(), found);
}

/// What was acknowledged is there afterwards, and the page that was not may be imported again.
#[tokio::test(flavor = "multi_thread")]
async fn an_import_goes_on_after_the_server_was_killed() {
    const ROWS: u64 = 50;
    let Some(mut process) = own_server().await else {
        return;
    };
    let url = url(&process);
    let products = until("opening", async || ElasticProducts::open(&url).await.ok()).await;
    let transfer = Arc::new(ElasticTransfer::new(products));
    let page = |number: u64| -> Vec<Record> {
        (number * ROWS + 1..=(number + 1) * ROWS)
            .map(|row| record(PRODUCTS_TABLE, row))
            .collect()
    };
    let (acknowledged, mut pages) = watch::channel(0);
    let importing = tokio::spawn({
        let transfer = Arc::clone(&transfer);
        async move {
            for number in 0.. {
                if let Err(error) = transfer
                    .import(PRODUCTS_TABLE, number * ROWS, &page(number))
                    .await
                {
                    assert!(error.is_transient(), "{error:?}");
                    return number;
                }
                acknowledged.send_replace(number + 1);
            }
            unreachable!()
        }
    });
    pages.wait_for(|pages| *pages >= 3).await.unwrap();
    process.kill().await;
    let next = importing.await.unwrap();
    process.restart().await;
    until("recovery", async || {
        let imported = transfer.import(PRODUCTS_TABLE, next * ROWS, &page(next)).await;
        imported.ok()
    })
    .await;
    assert_filled_table(&*transfer, PRODUCTS_TABLE, (next + 1) * ROWS).await;
}

/// However often their page is imported.
#[tokio::test(flavor = "multi_thread")]
async fn a_sku_of_two_products_is_that_of_the_later_one() {
    let Some(indexes) = TestIndexes::create() else {
        return;
    };
    let transfer = open(&indexes).await;
    let rows = [2, 1].map(|number| {
        let mut row = record(PRODUCTS_TABLE, number);
        let Some(Value::Text(body)) = row.last_mut() else {
            panic!("the last column is the body");
        };
        *body = body.replace(&format!("SKU-{number}"), "SKU");
        row
    });
    for _ in 0..2 {
        transfer.import(PRODUCTS_TABLE, 0, &rows).await.unwrap();
        let found = transfer.products.products_of(&[sku("SKU")]).await.unwrap();
        let found: Vec<Value> = found.iter().map(|product| product.id.as_str().into()).collect();
        assert_eq!(found, [rows[1][1].clone()]);
    }
}

fn badge(text: &str, available: u32, version: u64) -> Badge {
    Badge {
        sku: sku(text),
        available,
        version,
    }
}

/// Products of two batches, categories that were renamed, badges of all kinds.
async fn written(products: &ElasticProducts) {
    let categories = [
        category("boots", "Boots", Some("shoes")),
        category("shoes", "Shoes", None),
        category("home", "Home", None),
    ];
    products.put_categories(&categories).await.unwrap();
    let awkward = AWKWARD_TEXTS.iter().enumerate().map(|(number, text)| {
        let mut awkward = product(
            &format!("awkward{number}"),
            text,
            text,
            text,
            &[i64::MAX, i64::MIN],
        );
        awkward.attributes = [((*text).to_owned(), (*text).to_owned())].into();
        awkward
    });
    let runner = product("run", "Runner", "shoes", "Acme", &[5_000, 4_000]);
    let first: Vec<Product> = awkward.chain([runner.clone()]).collect();
    products.put_products(&first).await.unwrap();
    let boot = product("boot", "Boot", "boots", "Acme", &[9_000]);
    let replaced = Product {
        variants: product("run2", "", "", "", &[5_500]).variants,
        version: 2,
        ..runner
    };
    products.put_products(&[boot, replaced]).await.unwrap();
    let names = [
        category("boots", "Footwear, high", Some("shoes")),
        category("shoes", "Footwear", None),
    ];
    products.put_categories(&names).await.unwrap();
    let badges = [
        badge("boot-0", 1, 1),
        badge("run2-0", 0, 7),
        badge("run-0", u32::MAX, 1),
        badge("early-0", 2, i64::MAX as u64),
    ];
    products.put_badges(&badges).await.unwrap();
}

/// That a catalogue that was moved is the one that was written, and goes on. `round` counts the catalogues that did. With `refresh`,
/// searches see what was written before.
async fn assert_goes_on(
    products: &dyn ProductStore,
    search: &dyn SearchIndex,
    refresh: impl AsyncFn(),
    round: u64,
) {
    let found = async |text: &str, in_stock: bool| {
        refresh().await;
        let query = ProductQuery {
            text: Some(text.to_owned()),
            in_stock,
            limit: 10,
            ..ProductQuery::default()
        };
        let mut ids = search.search(&query).await.unwrap().ids;
        ids.sort();
        ids
    };
    let [boot, run] = ["boot", "run"].map(ProductId::from_suffix);
    // By the names of their categories, and by a SKU.
    assert_eq!(found("footwear", false).await, [boot.clone(), run.clone()]);
    assert_eq!(found("footwear", true).await, std::slice::from_ref(&boot));
    assert_eq!(found("RUN2-0", false).await, std::slice::from_ref(&run));
    let of = products.products_of(&["run-0", "run2-0"].map(sku)).await.unwrap();
    assert_eq!(of.iter().map(|product| &product.id).collect::<Vec<_>>(), [&run]);
    assert_eq!(of[0].version, 2);

    // A badge that is older than the one that was moved, and newer ones.
    products.put_badges(&[badge("run2-0", 9, 6)]).await.unwrap();
    assert_eq!(
        products.badges(&[sku("run2-0")]).await.unwrap(),
        [badge("run2-0", 0, 7)]
    );
    products
        .put_badges(&[badge("boot-0", 0, 10 * round)])
        .await
        .unwrap();
    assert!(found("footwear", true).await.is_empty());
    products
        .put_badges(&[badge("boot-0", 1, 10 * round + 1)])
        .await
        .unwrap();
    assert_eq!(found("footwear", true).await, [boot]);

    // A new product is the newest.
    let new = product(&format!("new{round}"), "New", "home", "Acme", &[1]);
    products.put_products(std::slice::from_ref(&new)).await.unwrap();
    refresh().await;
    let newest = ProductQuery {
        limit: 1,
        ..ProductQuery::default()
    };
    assert_eq!(search.search(&newest).await.unwrap().ids, [new.id]);
    assert_eq!(found("new", false).await.len() as u64, round);
}

/// Moves everything, and checks that it is the same then.
async fn move_all(from: &dyn Transfer, to: &dyn Transfer) {
    for table in from.tables() {
        let (mut before, mut after) = (0, None);
        loop {
            let page = from.export(table, after.as_ref()).await.unwrap();
            if page.records.is_empty() {
                break;
            }
            to.import(table, before, &page.records).await.unwrap();
            before += page.records.len() as u64;
            after = Some(page.next);
        }
        assert!(before > 0, "{}", table.name);
    }
    to.finish().await.unwrap();
    for table in from.tables() {
        assert_eq!(text(from, table).await, text(to, table).await);
    }
}

/// What the adapter has written is the same after it was moved to a file, and from there to another prefix, and the adapters can
/// use it there.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_adapter_wrote_is_moved() {
    let (Some(one), Some(two)) = (TestIndexes::create(), TestIndexes::create()) else {
        return;
    };
    let (database, _folder) = open_database("catalogue").await;
    let embedded = || {
        let transfer = SqlTransfer::new(database.clone(), &tables::CATALOGUE, Dialect::Sqlite);
        transfer.deriving(("products", DERIVED))
    };
    written(&one.products().await).await;
    move_all(&open(&one).await, &embedded()).await;
    let (products, search) = (SqliteProducts(database.clone()), SqliteSearch(database.clone()));
    assert_goes_on(&products, &search, async || {}, 1).await;

    move_all(&embedded(), &open(&two).await).await;
    let products = two.products().await;
    let refresh = async || products.server.refresh(&PRODUCTS).await.unwrap();
    assert_goes_on(&products, &products.search(), refresh, 2).await;

    let (database, _folder) = open_database("catalogue").await;
    let back = SqlTransfer::new(database.clone(), &tables::CATALOGUE, Dialect::Sqlite);
    move_all(&open(&two).await, &back.deriving(("products", DERIVED))).await;
    let (products, search) = (SqliteProducts(database.clone()), SqliteSearch(database));
    assert_goes_on(&products, &search, async || {}, 3).await;
}

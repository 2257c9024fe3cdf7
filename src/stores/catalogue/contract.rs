//! What every adapter of the catalogue port must show.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Badge, Catalogue, ProductPage, ProductQuery, Sort};
use souk_domain::catalogue::{Category, Product, Variant};
use souk_domain::{Currency, Money, ProductId, Sku};

/// Runs everything against `store`, which must be empty.
pub async fn suite(store: Arc<dyn Catalogue>) {
    let store = &*store;
    store.ping().await.unwrap();
    an_empty_catalogue_answers(store).await;
    categories_are_a_tree(store).await;
    products_are_put_replaced_and_found_by_sku(store).await;
    lists_are_filtered_sorted_and_paged(store).await;
    text_is_searched(store).await;
    hostile_queries_are_harmless(store).await;
    badges_follow_the_stock(store).await;
    a_large_import_is_whole(store).await;
}

fn sku(text: &str) -> Sku {
    Sku::parse(text).unwrap()
}

fn product(id: &str, title: &str, category: &str, brand: &str, prices: &[i64]) -> Product {
    Product {
        id: ProductId::parse(&format!("prd_{id}")).unwrap(),
        title: title.to_owned(),
        description: format!("{title}, described."),
        category: category.to_owned(),
        brand: brand.to_owned(),
        attributes: BTreeMap::from([("material".to_owned(), format!("stuff{id}"))]),
        images: vec![format!("/images/{id}.svg")],
        variants: prices
            .iter()
            .enumerate()
            .map(|(number, price)| Variant {
                sku: sku(&format!("{id}-{number}")),
                options: BTreeMap::from([("size".to_owned(), number.to_string())]),
                price: Money::new(*price, Currency::USD),
                weight_grams: u32::MAX,
            })
            .collect(),
        version: 1,
    }
}

fn category(slug: &str, name: &str, parent: Option<&str>) -> Category {
    Category {
        slug: slug.to_owned(),
        name: name.to_owned(),
        parent: parent.map(str::to_owned),
    }
}

fn all() -> ProductQuery {
    ProductQuery {
        limit: 100,
        ..ProductQuery::default()
    }
}

fn text(text: &str) -> ProductQuery {
    ProductQuery {
        text: Some(text.to_owned()),
        ..all()
    }
}

/// Identifiers without their prefix, in order. The total must fit a page that holds everything.
async fn found(store: &dyn Catalogue, query: &ProductQuery) -> Vec<String> {
    let ProductPage { items, total } = store.list(query).await.unwrap();
    if query.offset == 0 && items.len() < query.limit {
        assert_eq!(total, items.len() as u64, "{query:?}");
    }
    items
        .iter()
        .map(|product| product.id.as_str().trim_start_matches("prd_").to_owned())
        .collect()
}

async fn an_empty_catalogue_answers(store: &dyn Catalogue) {
    assert!(found(store, &all()).await.is_empty());
    assert!(found(store, &text("anything")).await.is_empty());
    assert!(store.categories().await.unwrap().is_empty());
    assert!(store.products_of(&[]).await.unwrap().is_empty());
    assert!(store.badges(&[sku("none")]).await.unwrap().is_empty());
    store.put_products(&[]).await.unwrap();
    store.put_categories(&[]).await.unwrap();
    store.put_badges(&[]).await.unwrap();
}

async fn categories_are_a_tree(store: &dyn Catalogue) {
    // Children first on purpose.
    store
        .put_categories(&[
            category("sneakers", "Sneakers", Some("shoes")),
            category("shoes", "Schuhe & Co", Some("clothing")),
            category("clothing", "Clothing", None),
            category("home", "Home", None),
        ])
        .await
        .unwrap();
    store
        .put_categories(&[category("shoes", "Shoes", Some("clothing"))])
        .await
        .unwrap();
    let categories = store.categories().await.unwrap();
    assert_eq!(categories.len(), 4);
    assert!(categories.contains(&category("shoes", "Shoes", Some("clothing"))));
    let mut placed = BTreeSet::new();
    for category in &categories {
        assert!(
            category
                .parent
                .as_ref()
                .is_none_or(|parent| placed.contains(parent)),
            "{} stands before its parent",
            category.slug
        );
        placed.insert(category.slug.clone());
    }
}

async fn products_are_put_replaced_and_found_by_sku(store: &dyn Catalogue) {
    let mut runner = product("run", "Crème Runner", "sneakers", "O'Neil", &[5_000, 4_000]);
    runner.attributes.insert("colour".into(), "Bleu \"ciel\"".into());
    let boot = product("boot", "Leather Boot", "shoes", "Acme", &[9_000]);
    let lamp = product("lamp", "Desk Lamp", "home", "Acme", &[2_500]);
    let vase = product("vase", "Vase", "nowhere", "Zeta", &[4_000]);
    let products = [runner.clone(), boot.clone(), lamp.clone(), vase];
    store.put_products(&products).await.unwrap();
    assert_eq!(store.product(&runner.id).await.unwrap().as_ref(), Some(&runner));
    assert_eq!(
        store
            .product(&ProductId::parse("prd_none").unwrap())
            .await
            .unwrap(),
        None
    );

    let mut of = store
        .products_of(&["run-0", "run-1", "lamp-0", "none"].map(sku))
        .await
        .unwrap();
    of.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(of, [lamp, runner.clone()]);

    // Replaced: other text, other SKUs, its place in the order of creation kept; the last of two counts.
    let first = product("run", "Never Seen", "home", "Never", &[1, 2, 3]);
    let replaced = Product {
        variants: product("run2", "", "", "", &[5_000, 4_000]).variants,
        version: 2,
        ..runner.clone()
    };
    store.put_products(&[first, replaced.clone()]).await.unwrap();
    assert_eq!(store.product(&runner.id).await.unwrap(), Some(replaced.clone()));
    assert!(
        store
            .products_of(&["run-0", "run-2"].map(sku))
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(store.products_of(&[sku("run2-1")]).await.unwrap(), [replaced]);
    assert!(found(store, &text("never")).await.is_empty());
}

async fn lists_are_filtered_sorted_and_paged(store: &dyn Catalogue) {
    let sorted = async |sort| found(store, &ProductQuery { sort, ..all() }).await;
    assert_eq!(sorted(Sort::Newest).await, ["vase", "lamp", "boot", "run"]);
    assert_eq!(sorted(Sort::Relevance).await, ["vase", "lamp", "boot", "run"]);
    assert_eq!(sorted(Sort::Price).await, ["lamp", "run", "vase", "boot"]);
    assert_eq!(
        sorted(Sort::PriceDescending).await,
        ["boot", "vase", "run", "lamp"]
    );

    let within = async |slug: &str| {
        let category = Some(slug.to_owned());
        found(store, &ProductQuery { category, ..all() }).await
    };
    assert_eq!(within("clothing").await, ["boot", "run"]);
    assert_eq!(within("sneakers").await, ["run"]);
    assert_eq!(within("nowhere").await, ["vase"]);
    assert!(within("no'such").await.is_empty());

    let query = ProductQuery {
        brand: Some("Acme".into()),
        min_price: Some(2_500),
        max_price: Some(9_000),
        sort: Sort::Price,
        ..all()
    };
    assert_eq!(found(store, &query).await, ["lamp", "boot"]);
    let narrower = ProductQuery {
        min_price: Some(2_501),
        max_price: Some(8_999),
        ..query.clone()
    };
    assert!(found(store, &narrower).await.is_empty());
    let combined = ProductQuery {
        text: Some("leather".into()),
        category: Some("clothing".into()),
        ..query
    };
    assert_eq!(found(store, &combined).await, ["boot"]);

    for sort in [Sort::Relevance, Sort::Price, Sort::PriceDescending, Sort::Newest] {
        let mut paged = Vec::new();
        for offset in [0, 3, 6] {
            let page = ProductQuery {
                sort,
                offset,
                limit: 3,
                ..all()
            };
            let list = store.list(&page).await.unwrap();
            assert_eq!(list.total, 4, "the total is not that of the page");
            paged.extend(found(store, &page).await);
        }
        assert_eq!(paged, sorted(sort).await);
    }
    let none = store.list(&ProductQuery::default()).await.unwrap();
    assert_eq!((none.items.len(), none.total), (0, 4));
}

async fn text_is_searched(store: &dyn Catalogue) {
    for (query, expected) in [
        // Title, with and without diacritics and capitals; the last word may be a prefix, the others not.
        ("creme runner", vec!["run"]),
        ("CRÈME run", vec!["run"]),
        ("crem runner", vec![]),
        ("crem", vec!["run"]),
        // Every word must occur, in any field and order: brand, category, attribute, description.
        ("boot acme", vec!["boot"]),
        ("acme", vec!["boot", "lamp"]),
        ("sneakers", vec!["run"]),
        ("shoes described", vec!["boot"]),
        ("stuffboot", vec!["boot"]),
        ("ciel", vec!["run"]),
        ("o'neil", vec!["run"]),
        ("boot lamp", vec![]),
        ("  ", vec!["boot", "lamp", "run", "vase"]),
    ] {
        let mut ids = found(store, &text(query)).await;
        ids.sort();
        assert_eq!(ids, expected, "{query}");
    }
    // A match in the title counts more than one in the description.
    let mut shade = product("shade", "Paper Shade", "home", "Acme", &[900]);
    shade.description = "For any lamp, or two lamps.".into();
    store.put_products(std::slice::from_ref(&shade)).await.unwrap();
    assert_eq!(found(store, &text("lamp")).await, ["lamp", "shade"]);
    let cheapest = ProductQuery {
        sort: Sort::Price,
        ..text("lamp")
    };
    assert_eq!(found(store, &cheapest).await, ["shade", "lamp"]);
    // A category's new name is found with the products that are there already.
    store
        .put_categories(&[category("home", "Wohnen", None)])
        .await
        .unwrap();
    assert_eq!(found(store, &text("wohnen lamp")).await, ["lamp", "shade"]);
    assert!(found(store, &text("home")).await.is_empty());
    store
        .put_categories(&[category("home", "Home", None)])
        .await
        .unwrap();
    assert_eq!(found(store, &text("home desk")).await, ["lamp"]);
}

async fn hostile_queries_are_harmless(store: &dyn Catalogue) {
    let long = "x".repeat(100_000);
    for hostile in [
        "\"",
        "'",
        "\"\"",
        "*",
        "^lamp\" OR \"boot",
        "title : lamp",
        "NEAR(lamp boot, 2)",
        "lamp AND",
        "NOT lamp",
        "{title brand} : lamp",
        "lamp*boot",
        "-lamp",
        "+",
        "(",
        "))",
        "\\",
        "%",
        "_",
        "\0",
        "lamp\0boot",
        "\u{FFFF}",
        "'; DROP TABLE products; --",
        "\u{1F980}",
        "\u{301}",
        "Ⓐ",
        "a\u{301}\u{301}\u{301}",
        &long,
    ] {
        let list = store.list(&text(hostile)).await;
        assert!(list.is_ok(), "{hostile:?}: {list:?}");
    }
    // Punctuation alone means nothing, and so finds nothing.
    assert!(found(store, &text("\" * (")).await.is_empty());
    // Operators are words like others.
    assert!(found(store, &text("lamp OR boot")).await.is_empty());
    let extreme = ProductQuery {
        brand: Some("' OR 1=1 --".into()),
        min_price: Some(i64::MIN),
        max_price: Some(i64::MAX),
        offset: usize::MAX,
        limit: usize::MAX,
        ..all()
    };
    assert!(found(store, &extreme).await.is_empty());
    assert_eq!(found(store, &all()).await.len(), 5);
}

async fn badges_follow_the_stock(store: &dyn Catalogue) {
    let badge = |text: &str, available, version| Badge {
        sku: sku(text),
        available,
        version,
    };
    let in_stock = ProductQuery {
        in_stock: true,
        ..all()
    };
    assert!(found(store, &in_stock).await.is_empty());
    store
        .put_badges(&[
            badge("run2-0", 0, 3),
            badge("run2-1", 2, 1),
            badge("lamp-0", u32::MAX, 7),
            badge("x", 1, 1),
        ])
        .await
        .unwrap();
    assert_eq!(found(store, &in_stock).await, ["lamp", "run"]);
    // Only a newer version of the stock counts.
    store
        .put_badges(&[
            badge("lamp-0", 0, 7),
            badge("lamp-0", 0, 6),
            badge("run2-1", 0, 2),
        ])
        .await
        .unwrap();
    assert_eq!(found(store, &in_stock).await, ["lamp"]);
    let mut badges = store
        .badges(&["lamp-0", "run2-1", "none"].map(sku))
        .await
        .unwrap();
    badges.sort_by(|a, b| a.sku.cmp(&b.sku));
    assert_eq!(badges, [badge("lamp-0", u32::MAX, 7), badge("run2-1", 0, 2)]);
    // A badge may come before its product.
    store.put_badges(&[badge("early-0", 1, 1)]).await.unwrap();
    store
        .put_products(&[product("early", "Early Bird", "home", "Acme", &[1])])
        .await
        .unwrap();
    let query = ProductQuery {
        category: Some("home".into()),
        ..in_stock
    };
    assert_eq!(found(store, &query).await, ["early", "lamp"]);
}

async fn a_large_import_is_whole(store: &dyn Catalogue) {
    const PRODUCTS: usize = 1_203;
    let products: Vec<Product> = (0..PRODUCTS)
        .map(|number| {
            let price = i64::try_from(number).unwrap() + 1;
            product(&format!("bulk{number}"), "Bulk Thing", "bulk", "Bulk", &[price])
        })
        .collect();
    store.put_products(&products).await.unwrap();
    let last = ProductQuery {
        category: Some("bulk".into()),
        sort: Sort::PriceDescending,
        limit: 2,
        ..text("bulk thi")
    };
    let list = store.list(&last).await.unwrap();
    assert_eq!(list.total, PRODUCTS as u64);
    assert_eq!(
        list.items,
        [products[PRODUCTS - 1].clone(), products[PRODUCTS - 2].clone()]
    );
    let skus: Vec<Sku> = products
        .iter()
        .map(|product| product.variants[0].sku.clone())
        .collect();
    assert_eq!(store.products_of(&skus).await.unwrap().len(), PRODUCTS);
}

//! The contract suite of the search port.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{LAG, Position, ProductQuery, SearchIndex, Sort};
use crate::stores::products::contract::{category, product, sku};
use crate::stores::products::{Badge, ProductStore};
use souk_domain::catalogue::Product;

/// The ports under test.
struct Ports {
    products: Arc<dyn ProductStore>,
    index: Arc<dyn SearchIndex>,
}

/// Runs everything against the index of `products`, which must be empty.
pub async fn suite(products: Arc<dyn ProductStore>, index: Arc<dyn SearchIndex>) {
    let ports = Ports { products, index };
    ports.expect(&all(), &[]).await;
    ports.expect(&text("anything"), &[]).await;
    let categories = [
        category("clothing", "Clothing", None),
        category("shoes", "Shoes", Some("clothing")),
        category("sneakers", "Sneakers", Some("shoes")),
        category("home", "Home", None),
    ];
    ports.products.put_categories(&categories).await.unwrap();
    let mut runner = product("run", "Never Seen", "home", "Never", &[1, 2, 3]);
    let boot = product("boot", "Leather Boot", "shoes", "Acme", &[9_000]);
    let lamp = product("lamp", "Desk Lamp", "home", "Acme", &[2_500]);
    let vase = product("vase", "Vase", "nowhere", "Zeta", &[4_000]);
    ports.put(&[runner, boot, lamp, vase]).await;
    ports.index.refresh().await.unwrap();
    assert_eq!(ports.found(&all()).await.len(), 4, "a refresh leaves nothing out");
    // Replaced: other text and SKUs; its place in the order of creation stays.
    runner = product("run", "Crème Runner", "sneakers", "O'Neil", &[5_000, 4_000]);
    runner.attributes.insert("colour".into(), "Bleu \"ciel\"".into());
    ports.put(&[runner]).await;
    ports.expect(&text("never"), &[]).await;
    filters_sorts_and_pages(&ports).await;
    searches_text(&ports).await;
    hostile_queries_are_harmless(&ports).await;
    follows_stock_badges(&ports).await;
    cursors_stay_while_products_change(&ports).await;
    counts_a_large_result(&ports).await;
}

impl Ports {
    async fn put(&self, products: &[Product]) {
        self.products.put_products(products).await.unwrap();
    }

    /// Identifiers without their prefix, in order. The total must fit a page that holds everything.
    async fn found(&self, query: &ProductQuery) -> Vec<String> {
        let page = self.index.search(query).await.unwrap();
        if query.after.is_none() && page.ids.len() < query.limit {
            assert_eq!(page.total, page.ids.len() as u64, "{query:?}");
        }
        let suffix = |id: &souk_domain::ProductId| id.as_str().trim_start_matches("prd_").to_owned();
        page.ids.iter().map(suffix).collect()
    }

    /// Asserts what a query finds, once the index has caught up.
    async fn expect(&self, query: &ProductQuery, expected: &[&str]) {
        let deadline = Instant::now() + LAG;
        loop {
            let found = self.found(query).await;
            if found == expected {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{query:?} finds {found:?}, not {expected:?}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
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

async fn filters_sorts_and_pages(ports: &Ports) {
    let everything = [
        (Sort::Newest, ["vase", "lamp", "boot", "run"]),
        (Sort::Relevance, ["vase", "lamp", "boot", "run"]),
        (Sort::Price, ["lamp", "run", "vase", "boot"]),
        (Sort::PriceDescending, ["boot", "vase", "run", "lamp"]),
    ];
    for (sort, expected) in everything {
        ports.expect(&ProductQuery { sort, ..all() }, &expected).await;
        let mut paged = Vec::new();
        let mut page = ProductQuery {
            sort,
            limit: 3,
            ..all()
        };
        loop {
            let found = ports.index.search(&page).await.unwrap();
            assert_eq!(found.total, 4, "the total is not that of the page");
            paged.extend(ports.found(&page).await);
            page.after = match found.next {
                Some(next) => Some(next.to_string().parse().unwrap()),
                None => break,
            };
        }
        assert_eq!(paged, expected);
    }
    let none = ports.index.search(&ProductQuery::default()).await.unwrap();
    assert_eq!((none.ids.len(), none.total), (0, 4));

    for (slug, expected) in [
        ("clothing", &["boot", "run"][..]),
        ("sneakers", &["run"]),
        ("nowhere", &["vase"]),
        // Identifiers compare bytewise.
        ("Nowhere", &[]),
        ("no'such", &[]),
    ] {
        let category = Some(slug.to_owned());
        ports.expect(&ProductQuery { category, ..all() }, expected).await;
    }
    let query = ProductQuery {
        brand: Some("Acme".into()),
        min_price: Some(2_500),
        max_price: Some(9_000),
        sort: Sort::Price,
        ..all()
    };
    ports.expect(&query, &["lamp", "boot"]).await;
    let narrower = ProductQuery {
        min_price: Some(2_501),
        max_price: Some(8_999),
        ..query.clone()
    };
    ports.expect(&narrower, &[]).await;
    let combined = ProductQuery {
        text: Some("leather".into()),
        category: Some("clothing".into()),
        ..query
    };
    ports.expect(&combined, &["boot"]).await;
}

async fn searches_text(ports: &Ports) {
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
        let mut ids = ports.found(&text(query)).await;
        ids.sort();
        assert_eq!(ids, expected, "{query}");
    }
    // A match in the title counts more than one in the description.
    let mut shade = product("shade", "Paper Shade", "home", "Acme", &[900]);
    shade.description = "For any lamp, or two lamps.".into();
    ports.put(std::slice::from_ref(&shade)).await;
    ports.expect(&text("lamp"), &["lamp", "shade"]).await;
    let cheapest = ProductQuery {
        sort: Sort::Price,
        ..text("lamp")
    };
    ports.expect(&cheapest, &["shade", "lamp"]).await;
    // Existing products are found by their category's new name.
    ports
        .products
        .put_categories(&[category("home", "Wohnen", None)])
        .await
        .unwrap();
    ports.expect(&text("wohnen lamp"), &["lamp", "shade"]).await;
    ports.expect(&text("home"), &[]).await;
    ports
        .products
        .put_categories(&[category("home", "Home", None)])
        .await
        .unwrap();
    ports.expect(&text("home desk"), &["lamp"]).await;
    // An identifier finds its product, before what else matches.
    for named in ["boot-0", "BOOT-0", " prd_boot", "PRD_Boot"] {
        assert_eq!(ports.found(&text(named)).await[0], "boot", "{named}");
    }
    assert_eq!(ports.found(&text("no-such-sku")).await, [] as [String; 0]);
}

async fn hostile_queries_are_harmless(ports: &Ports) {
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
        let page = ports.index.search(&text(hostile)).await;
        assert!(page.is_ok(), "{hostile:?}: {page:?}");
    }
    // Punctuation alone finds nothing.
    ports.expect(&text("\" * ("), &[]).await;
    // Operators are ordinary words.
    ports.expect(&text("lamp OR boot"), &[]).await;
    let extreme = ProductQuery {
        brand: Some("' OR 1=1 --".into()),
        min_price: Some(i64::MIN),
        max_price: Some(i64::MAX),
        after: Some(Position {
            key: i64::MIN,
            number: i64::MAX,
        }),
        limit: usize::MAX,
        ..all()
    };
    ports.expect(&extreme, &[]).await;
    assert_eq!(ports.found(&all()).await.len(), 5);
}

async fn follows_stock_badges(ports: &Ports) {
    let badge = |text: &str, available, version| Badge {
        sku: sku(text),
        available,
        version,
    };
    let in_stock = ProductQuery {
        in_stock: true,
        ..all()
    };
    ports.expect(&in_stock, &[]).await;
    let badges = [
        badge("run-0", 0, 3),
        badge("run-1", 2, 1),
        badge("lamp-0", u32::MAX, 7),
        // Badges may come before their products.
        badge("early-0", 1, 1),
    ];
    ports.products.put_badges(&badges).await.unwrap();
    ports.expect(&in_stock, &["lamp", "run"]).await;
    let badges = [badge("lamp-0", 0, 7), badge("run-1", 0, 2)];
    ports.products.put_badges(&badges).await.unwrap();
    ports.expect(&in_stock, &["lamp"]).await;
    ports
        .put(&[product("early", "Early Bird", "home", "Acme", &[1])])
        .await;
    ports.expect(&in_stock, &["early", "lamp"]).await;
}

async fn cursors_stay_while_products_change(ports: &Ports) {
    let ids = ["one", "two", "three", "four", "five"];
    for (sort, version) in [
        (Sort::Price, 1),
        (Sort::PriceDescending, 3),
        (Sort::Newest, 5),
        (Sort::Relevance, 7),
    ] {
        let badge = |id: &str, available, version| Badge {
            sku: sku(&format!("{id}-0")),
            available,
            version,
        };
        let products: Vec<Product> = ids
            .iter()
            .zip(1..)
            .map(|(id, price)| product(id, "Page Turner", "pages", "Pages", &[price]))
            .collect();
        ports.put(&products).await;
        ports
            .products
            .put_badges(&ids.map(|id| badge(id, 1, version)))
            .await
            .unwrap();
        let query = ProductQuery {
            category: Some("pages".into()),
            in_stock: true,
            sort,
            limit: 2,
            ..text("turner")
        };
        let whole = ProductQuery {
            limit: 100,
            ..query.clone()
        };
        let mut order = ids.to_vec();
        if sort != Sort::Price {
            order.reverse();
        }
        ports.expect(&whole, &order).await;
        let first = ports.index.search(&query).await.unwrap();
        let mut rest = ProductQuery {
            limit: 100,
            after: first.next,
            ..query
        };
        // The first of the page sells out: an offset would skip one now.
        let sold_out = badge(order[0], 0, version + 1);
        ports.products.put_badges(&[sold_out]).await.unwrap();
        ports.expect(&whole, &order[1..]).await;
        ports.expect(&rest, &order[2..]).await;
        rest.limit = 1;
        ports.expect(&rest, &order[2..3]).await;
    }
}

async fn counts_a_large_result(ports: &Ports) {
    const PRODUCTS: i64 = 1_203;
    let products: Vec<Product> = (1..=PRODUCTS)
        .map(|number| product(&format!("bulk{number}"), "Bulk Thing", "bulk", "Bulk", &[number]))
        .collect();
    ports.put(&products).await;
    let query = ProductQuery {
        category: Some("bulk".into()),
        sort: Sort::PriceDescending,
        limit: 2,
        ..text("bulk thi")
    };
    ports.expect(&query, &["bulk1203", "bulk1202"]).await;
    let total = ports.index.search(&query).await.unwrap().total;
    assert_eq!(total, u64::try_from(PRODUCTS).unwrap());
}

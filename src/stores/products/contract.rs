//! The contract suite of the products port.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Badge, ProductStore};
use souk_domain::catalogue::{Category, Product, Variant};
use souk_domain::{Currency, Money, ProductId, Sku};

/// Runs everything against `store`, which must be empty.
pub async fn suite(store: Arc<dyn ProductStore>) {
    let store = &*store;
    store.ping().await.unwrap();
    an_empty_store_answers(store).await;
    categories_are_a_tree(store).await;
    products_are_replaced_and_found_by_sku(store).await;
    a_badge_is_replaced_by_a_newer_one(store).await;
    identifiers_compare_bytewise(store).await;
    a_large_import_is_complete(store).await;
}

pub(in crate::stores) fn sku(text: &str) -> Sku {
    Sku::parse(text).unwrap()
}

pub(in crate::stores) fn product(
    id: &str,
    title: &str,
    category: &str,
    brand: &str,
    prices: &[i64],
) -> Product {
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

pub(in crate::stores) fn category(slug: &str, name: &str, parent: Option<&str>) -> Category {
    Category {
        slug: slug.to_owned(),
        name: name.to_owned(),
        parent: parent.map(str::to_owned),
    }
}

async fn an_empty_store_answers(store: &dyn ProductStore) {
    assert!(store.categories().await.unwrap().is_empty());
    assert!(store.products(&[]).await.unwrap().is_empty());
    assert!(store.products_of(&[]).await.unwrap().is_empty());
    assert!(store.badges(&[sku("none")]).await.unwrap().is_empty());
    store.put_products(&[]).await.unwrap();
    store.put_categories(&[]).await.unwrap();
    store.put_badges(&[]).await.unwrap();
}

async fn categories_are_a_tree(store: &dyn ProductStore) {
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
            "{} comes before its parent",
            category.slug
        );
        placed.insert(category.slug.clone());
    }
}

async fn products_are_replaced_and_found_by_sku(store: &dyn ProductStore) {
    let mut runner = product("run", "Crème Runner", "sneakers", "O'Neil", &[5_000, 4_000]);
    runner.attributes.insert("colour".into(), "Bleu \"ciel\"".into());
    let boot = product("boot", "Leather Boot", "shoes", "Acme", &[9_000]);
    let lamp = product("lamp", "Desk Lamp", "home", "Acme", &[2_500]);
    let boot_copy = boot.clone();
    let products = [runner.clone(), boot.clone(), lamp.clone()];
    store.put_products(&products).await.unwrap();
    let none = ProductId::from_suffix("none");
    let ids = [lamp.id.clone(), none, runner.id.clone(), boot.id];
    assert_eq!(
        store.products(&ids).await.unwrap(),
        [lamp.clone(), runner.clone(), boot_copy]
    );

    let mut of = store
        .products_of(&["run-0", "run-1", "lamp-0", "none"].map(sku))
        .await
        .unwrap();
    of.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(of, [lamp, runner.clone()]);

    // Replaced, with other SKUs; of two the last one counts.
    let first = product("run", "Never Seen", "home", "Never", &[1, 2, 3]);
    let replaced = Product {
        variants: product("run2", "", "", "", &[5_000, 4_000]).variants,
        version: 2,
        ..runner.clone()
    };
    store.put_products(&[first, replaced.clone()]).await.unwrap();
    let found = store.products(std::slice::from_ref(&runner.id)).await.unwrap();
    assert_eq!(found, std::slice::from_ref(&replaced));
    assert!(
        store
            .products_of(&["run-0", "run-2"].map(sku))
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(store.products_of(&[sku("run2-1")]).await.unwrap(), [replaced]);
}

async fn a_badge_is_replaced_by_a_newer_one(store: &dyn ProductStore) {
    let badge = |text: &str, available, version| Badge {
        sku: sku(text),
        available,
        version,
    };
    // A badge may come before its product.
    let first = [badge("lamp-0", u32::MAX, 7), badge("early-0", 2, 1)];
    store.put_badges(&first).await.unwrap();
    let second = [
        badge("lamp-0", 0, 7),
        badge("lamp-0", 0, 6),
        badge("early-0", 0, 2),
    ];
    store.put_badges(&second).await.unwrap();
    let mut badges = store
        .badges(&["lamp-0", "early-0", "none"].map(sku))
        .await
        .unwrap();
    badges.sort_by(|a, b| a.sku.cmp(&b.sku));
    assert_eq!(badges, [badge("early-0", 0, 2), badge("lamp-0", u32::MAX, 7)]);
}

async fn identifiers_compare_bytewise(store: &dyn ProductStore) {
    let [upper, lower] = ["A", "a"].map(|id| product(id, id, "home", "Acme", &[1]));
    let both = [upper.clone(), lower.clone()];
    store.put_products(&both).await.unwrap();
    let ids = both.clone().map(|product| product.id);
    assert_eq!(store.products(&ids).await.unwrap(), both);
    for product in both {
        let skus = [product.variants[0].sku.clone()];
        assert_eq!(store.products_of(&skus).await.unwrap(), [product]);
    }
    let badge = |sku: &Sku, available| Badge {
        sku: sku.clone(),
        available,
        version: 1,
    };
    let [upper, lower] = [badge(&upper.variants[0].sku, 1), badge(&lower.variants[0].sku, 2)];
    store.put_badges(&[upper.clone(), lower.clone()]).await.unwrap();
    assert_eq!(
        store.badges(std::slice::from_ref(&upper.sku)).await.unwrap(),
        [upper]
    );
    assert_eq!(
        store.badges(std::slice::from_ref(&lower.sku)).await.unwrap(),
        [lower]
    );
}

async fn a_large_import_is_complete(store: &dyn ProductStore) {
    const PRODUCTS: usize = 1_203;
    let products: Vec<Product> = (0..PRODUCTS)
        .map(|number| product(&format!("bulk{number}"), "Bulk Thing", "bulk", "Bulk", &[1]))
        .collect();
    store.put_products(&products).await.unwrap();
    let ids: Vec<ProductId> = products.iter().map(|product| product.id.clone()).collect();
    assert_eq!(store.products(&ids).await.unwrap(), products);
    let skus: Vec<Sku> = products
        .iter()
        .map(|product| product.variants[0].sku.clone())
        .collect();
    assert_eq!(store.products_of(&skus).await.unwrap().len(), PRODUCTS);
}

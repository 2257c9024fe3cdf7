//! `/v1/products`: browsing.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::shared::{PRODUCTS, all_products, cluster};

fn id(product: &Value) -> &str {
    product["id"].as_str().unwrap_or_default()
}

fn price(product: &Value) -> i64 {
    product["price"]["amount"].as_i64().unwrap_or_default()
}

#[tokio::test]
async fn cursors_lead_over_every_product_once() {
    let cluster = cluster();
    for (node, sort, limit) in [(0, "", 7), (1, "&sort=price", 33), (2, "&sort=newest", 100)] {
        let mut seen = Vec::new();
        let mut path = format!("/v1/products?limit={limit}{sort}");
        loop {
            // Each page from another node: a cursor is good everywhere.
            let page = cluster
                .client((node + seen.len()) % 3)
                .get(&path)
                .await
                .expect(200);
            assert!(page.items().len() <= limit, "{} items", page.items().len());
            assert_eq!(page.body["total"], PRODUCTS, "{path}");
            seen.extend(page.items().iter().map(|product| id(product).to_owned()));
            match page.body["next_cursor"].as_str() {
                Some(cursor) => path = format!("/v1/products?limit={limit}{sort}&cursor={cursor}"),
                None => break,
            }
        }
        let distinct: BTreeSet<&String> = seen.iter().collect();
        assert_eq!(
            (seen.len() as u64, distinct.len() as u64),
            (PRODUCTS, PRODUCTS),
            "every product once with limit {limit}{sort}"
        );
    }
}

#[tokio::test]
async fn lists_are_sorted_and_filtered_as_asked() {
    let client = cluster().client(0);
    let rising = all_products(&client, "&sort=price").await;
    assert!(rising.is_sorted_by_key(price), "sort=price rises");
    let falling = all_products(&client, "&sort=-price").await;
    assert!(falling.iter().rev().is_sorted_by_key(price), "sort=-price falls");

    let example = &rising[rising.len() / 2];
    let brand = example["brand"].as_str().unwrap_or_default();
    let url = reqwest::Url::parse_with_params("http://x/", &[("brand", brand)]).expect("a URL");
    let branded = all_products(&client, &format!("&{}", url.query().unwrap_or_default())).await;
    let expected = rising.iter().filter(|product| product["brand"] == brand).count();
    assert_eq!(branded.len(), expected, "all of {brand}, and no more");
    assert!(
        branded.iter().all(|product| product["brand"] == brand),
        "{brand} only"
    );

    let category = example["category"].as_str().unwrap_or_default();
    let listed = all_products(&client, &format!("&category={category}")).await;
    let expected = rising
        .iter()
        .filter(|product| product["category"] == category)
        .count();
    assert_eq!(listed.len(), expected, "all of {category}, and no more");

    let (least, most) = (price(&rising[100]), price(&rising[300]));
    let priced = all_products(&client, &format!("&min_price={least}&max_price={most}")).await;
    let within = |product: &&Value| (least..=most).contains(&price(product));
    assert_eq!(
        priced.len(),
        rising.iter().filter(within).count(),
        "from {least} to {most}"
    );
    assert!(
        priced.iter().all(|product| within(&product)),
        "from {least} to {most}"
    );
}

#[tokio::test]
async fn a_search_finds_a_product_by_its_title() {
    let client = cluster().client(1);
    let products = all_products(&client, "").await;
    for product in products.iter().step_by(97) {
        let title = product["title"].as_str().unwrap_or_default();
        let url = reqwest::Url::parse_with_params("http://x/", &[("q", title)]).expect("a URL");
        let found = all_products(&client, &format!("&{}", url.query().unwrap_or_default())).await;
        assert!(
            found.iter().any(|one| id(one) == id(product)),
            "{title:?} is not among the {} found for it",
            found.len()
        );
    }
    let nothing = client.get("/v1/products?q=xyzzyplugh").await.expect(200);
    assert_eq!(
        (nothing.items().len(), nothing.i64("/total")),
        (0, 0),
        "{nothing}"
    );
}

#[tokio::test]
async fn a_product_is_shown_whole_and_has_a_version() {
    let cluster = cluster();
    let client = cluster.client(0);
    for listed in all_products(&client, "").await.iter().step_by(57) {
        let path = format!("/v1/products/{}", id(listed));
        let shown = client.get(&path).await.expect(200);
        for field in [
            "id",
            "title",
            "description",
            "category",
            "brand",
            "attributes",
            "images",
            "price",
            "skus",
            "rating",
            "version",
        ] {
            assert!(!shown.body[field].is_null(), "{field} is missing: {shown}");
        }
        let least = shown.body["skus"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|sku| sku["price"]["amount"].as_i64())
            .min();
        assert_eq!(
            shown.body["price"]["amount"].as_i64(),
            least,
            "the price is that of the cheapest SKU: {shown}"
        );
        let tag = shown.header("etag").unwrap_or_default().to_owned();
        assert!(tag.starts_with(&format!("\"{}.", shown.i64("/version"))), "{tag}");
        for node in 0..cluster.len() {
            let unchanged = cluster
                .client(node)
                .send("GET", &path, None, &[("if-none-match", &tag)])
                .await
                .expect(304);
            assert_eq!(unchanged.text, "");
        }
        client
            .send("GET", &path, None, &[("if-none-match", "\"999\"")])
            .await
            .expect(200);
        let image = shown.str("/images/0").to_owned();
        let picture = client.get(&image).await.expect(200);
        assert_eq!(picture.header("content-type"), Some("image/svg+xml"), "{image}");
        assert!(picture.text.starts_with("<svg"), "{image}");
    }
}

#[tokio::test]
async fn what_can_not_be_listed_is_refused() {
    let client = cluster().client(2);
    for (query, blamed) in [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=-1", "limit"),
        ("limit=ten", "limit"),
        ("limit=", "limit"),
        ("limit=99999999999999999999999", "limit"),
        ("sort=colour", "sort"),
        ("min_price=1.50", "min_price"),
        ("max_price=-1", "max_price"),
        ("min_price=9223372036854775808", "min_price"),
        ("in_stock=perhaps", "in_stock"),
        ("page=2", "page"),
        ("limit=1&limit=2", "limit"),
    ] {
        let refused = client
            .get(&format!("/v1/products?{query}"))
            .await
            .expect_problem(422, "validation");
        assert_eq!(refused.blamed(), [blamed], "{query}: {refused}");
    }
    for cursor in ["x", "AAAA", "%00", "../../etc/passwd", &"c".repeat(900)] {
        client
            .get(&format!("/v1/products?cursor={cursor}"))
            .await
            .expect_problem(400, "bad-cursor");
    }
    let page = client.get("/v1/products?limit=5&sort=price").await.expect(200);
    let cursor = page.str("/next_cursor").to_owned();
    client
        .get(&format!("/v1/products?limit=5&sort=-price&cursor={cursor}"))
        .await
        .expect_problem(400, "bad-cursor");
    for path in [
        "/v1/products/prd_nothing",
        "/v1/products/%2e%2e%2f",
        "/v1/products/%ff",
        "/images/prd_nothing.svg",
    ] {
        client.get(path).await.expect_problem(404, "not-found");
    }
}

#[tokio::test]
async fn an_identifier_in_the_search_box_finds_its_product() {
    let client = cluster().client(1);
    for product in all_products(&client, "").await.iter().step_by(83) {
        let sku = product["skus"][0]["sku"].as_str().unwrap_or_default();
        for text in [sku, &sku.to_lowercase(), id(product), &id(product).to_uppercase()] {
            let found = client.get(&format!("/v1/products?q={text}")).await.expect(200);
            assert_eq!(
                found.items().first().map(id),
                Some(id(product)),
                "{text}: {found}"
            );
        }
    }
}

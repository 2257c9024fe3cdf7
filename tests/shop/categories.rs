//! `/v1/categories`.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::shared::{all_products, cluster};

fn collect(nodes: &[Value], slugs: &mut Vec<String>) {
    for node in nodes {
        assert!(
            node["name"].as_str().is_some_and(|name| !name.is_empty()),
            "a category has a name: {node}"
        );
        slugs.push(node["slug"].as_str().expect("a category has a slug").to_owned());
        collect(
            node["children"]
                .as_array()
                .expect("a category has children, or none"),
            slugs,
        );
    }
}

#[tokio::test]
async fn the_tree_holds_every_products_category_once() {
    let cluster = cluster();
    let client = cluster.client(0);
    let tree = client.get("/v1/categories").await.expect(200);
    let mut slugs = Vec::new();
    collect(tree.items(), &mut slugs);
    let distinct: BTreeSet<&String> = slugs.iter().collect();
    assert_eq!(
        distinct.len(),
        slugs.len(),
        "no category stands there twice: {slugs:?}"
    );
    assert!(
        tree.items().iter().any(|node| node["children"]
            .as_array()
            .is_some_and(|children| !children.is_empty())),
        "the tree has levels: {tree}"
    );
    for product in all_products(&client, "").await {
        let category = product["category"].as_str().unwrap_or_default().to_owned();
        assert!(distinct.contains(&category), "{category:?} is in no tree");
    }
    for node in 1..cluster.len() {
        let other = cluster.client(node).get("/v1/categories").await.expect(200);
        assert_eq!(other.body, tree.body, "node {node} shows another tree");
    }
}

//! `/openapi.json` and `/docs`. The content of the document is tested by `tests/contract/`.

use crate::shared::cluster;

#[tokio::test]
async fn the_document_is_equal_on_all_nodes_and_cacheable() {
    let cluster = cluster();
    let first = cluster.client(0).get("/openapi.json").await.expect(200);
    assert_eq!(first.header("content-type"), Some("application/json"));
    assert_eq!(first.str("/openapi"), "3.1.0");
    assert!(first.body["paths"]["/v1/orders/{id}/cancel"]["post"].is_object());
    let tag = first.header("etag").expect("an entity tag").to_owned();

    let again = cluster
        .client(1)
        .request("GET", "/openapi.json")
        .header("if-none-match", &tag)
        .send()
        .await
        .expect("an answer");
    assert_eq!(again.status(), 304, "the other node has the same document");
}

#[tokio::test]
async fn the_page_and_all_that_it_loads_come_from_the_node() {
    let client = cluster().client(0);
    let page = client.request("GET", "/docs").send().await.expect("an answer");
    assert_eq!(page.status(), 200);
    let policy = page.headers()["content-security-policy"]
        .to_str()
        .expect("a policy is text")
        .to_owned();
    assert!(policy.contains("script-src 'self';") && policy.contains("default-src 'none'"));
    let page = page.text().await.expect("a page");
    let files: Vec<_> = page
        .split(['"', '\''])
        .filter(|text| text.starts_with("/docs/"))
        .collect();
    assert_eq!(files.len(), 3, "{page}");
    for file in files {
        let reply = client.request("GET", file).send().await.expect("an answer");
        assert_eq!(reply.status(), 200, "{file}");
        let media_type = reply.headers()["content-type"].to_str().expect("text");
        assert!(
            media_type.starts_with("text/css") || media_type.starts_with("text/javascript"),
            "{file}: {media_type}"
        );
    }
}

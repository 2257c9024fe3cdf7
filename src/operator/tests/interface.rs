//! The interface as operators use it: access, nodes, stores, actions.

use std::sync::atomic::Ordering;

use axum::http::{StatusCode, header};
use serde_json::{Value, json};

use super::node::{HERE, Node, TOKEN, bearer, kinds, neighbour, nobody};
use super::rows::{bury, order, put};
use crate::config::REDACTED;
use crate::traces::captured::CapturedLog;
use souk_cluster::placement::shard_of;
use souk_domain::fixtures::{at, raw_event};
use souk_domain::stock::StockCommand;

const QUESTIONS: &[(&str, &str)] = &[
    ("GET", "/"),
    ("GET", "/metrics"),
    ("GET", "/v1/nodes"),
    ("GET", "/v1/shards"),
    ("GET", "/v1/actors"),
    ("GET", "/v1/actors/order/ord_1"),
    ("GET", "/v1/supervision"),
    ("GET", "/v1/outbox"),
    ("GET", "/v1/dead-letters"),
    ("POST", "/v1/dead-letters/e/replay"),
    ("GET", "/v1/sagas"),
    ("GET", "/v1/sagas/ord_1"),
    ("POST", "/v1/sagas/ord_1/retry"),
    ("GET", "/v1/stores"),
    ("GET", "/v1/config"),
    ("POST", "/v1/nodes/here/drain"),
];

#[tokio::test]
async fn every_request_needs_the_token() {
    let node = Node::new().await;
    let basic = format!("Basic {TOKEN}");
    let longer = format!("Bearer {TOKEN}s");
    for (method, path) in QUESTIONS {
        for (shown, problem) in [
            (None, "unauthorised"),
            (Some(basic.as_str()), "unauthorised"),
            (Some("Bearer "), "bad-token"),
            (Some("Bearer wrong"), "bad-token"),
            (Some(longer.as_str()), "bad-token"),
        ] {
            let headers: Vec<_> = shown.into_iter().map(|shown| ("authorization", shown)).collect();
            let reply = node.send(method, path, &headers).await;
            assert_eq!(
                (reply.status, reply.problem().as_str()),
                (401, problem),
                "{method} {path} {shown:?}"
            );
            assert_eq!(reply.headers[header::WWW_AUTHENTICATE], "Bearer");
        }
    }
    assert_eq!(node.drains.load(Ordering::Relaxed), 0);
    for path in ["/livez", "/readyz"] {
        assert_eq!(node.send("GET", path, &[]).await.status, 200);
    }
}

#[tokio::test]
async fn browsers_without_a_token_get_the_page_alone() {
    let node = Node::new().await;
    let accept = ("accept", "text/html,*/*;q=0.8");
    let page = node.send("GET", "/", &[accept]).await;
    assert_eq!((page.status, &page.text[..15]), (401, "<!doctype html>"));
    let policy = page.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    assert_eq!(
        node.send("GET", "/v1/nodes", &[accept]).await.problem(),
        "unauthorised"
    );
    assert_eq!(node.get("/").await.status, 200);
}

#[tokio::test]
async fn a_node_shows_itself() {
    let node = Node::new().await;
    let stock = StockCommand::Receive {
        reference: "first".to_owned(),
        quantity: 3,
    };
    node.ask(&node.regions.skus, "SKU-1", stock).await;
    let nodes = node.get("/v1/nodes").await.items();
    assert_eq!(nodes.len(), 1);
    let shown = &nodes[0];
    assert_eq!(shown["name"], HERE);
    assert_eq!(shown["state"], "ready");
    assert_eq!(shown["roles"], json!(["front", "entities"]));
    assert_eq!(shown["started_at"], at(0).to_rfc3339());
    assert_eq!(shown["addresses"]["operator"], "127.0.0.1:1");
    assert_eq!(shown["shards"], 256);
    assert_eq!(shown["entities"], 1);
    assert_eq!(
        shown["entities_by_kind"],
        json!({ "cart": 0, "order": 0, "sku": 1 })
    );
    assert_eq!(shown["verified"], true);
    assert_eq!((&shown["view"], &shown["load"]), (&json!(1), &json!(0)));

    let shards = node.get("/v1/shards").await.items();
    assert_eq!(shards.len(), 3 * 256);
    let active: Vec<_> = shards.iter().filter(|shard| shard["state"] == "active").collect();
    let expected =
        json!({ "kind": "sku", "shard": shard_of("SKU-1"), "owner": HERE, "state": "active", "entities": 1 });
    assert_eq!(active, [&expected]);

    let actors = node.get("/v1/actors").await.items();
    let listed: Vec<_> = actors.iter().map(|item| item["kind"].as_str().unwrap()).collect();
    assert_eq!(listed, kinds());
    let sku = &actors[2];
    assert_eq!(
        (&sku["live"], &sku["activations"], &sku["restarts"]),
        (&json!(1), &json!(1), &json!(0))
    );
    assert!(sku["latency_microseconds"]["max"].as_u64().unwrap() > 0);
    assert_eq!(sku["mailbox"], json!({ "p50": 0, "p99": 0, "max": 0 }));

    let tree = node.get("/v1/supervision").await.json();
    assert_eq!(
        (&tree["kind"], &tree["children"][0]["name"]),
        (&json!("cluster"), &json!(HERE))
    );
    assert_eq!(tree["children"][0]["children"][0]["restarts"], 2);
    assert_eq!(node.get("/v1/config").await.json()["operator"]["token"], REDACTED);
}

#[tokio::test]
async fn unreachable_nodes_are_listed() {
    let node = Node::new().await;
    node.join("there", nobody().await);
    let nodes = node.get("/v1/nodes").await.items();
    assert_eq!(
        (&nodes[0]["name"], &nodes[0]["state"]),
        (&json!(HERE), &json!("ready"))
    );
    assert_eq!(
        (&nodes[1]["name"], &nodes[1]["state"]),
        (&json!("there"), &json!("unreachable"))
    );
    assert_eq!(
        nodes[0]["shards"].as_u64().unwrap() + nodes[1]["shards"].as_u64().unwrap(),
        256
    );
    assert_eq!(
        (&nodes[1]["entities"], &nodes[1]["verified"]),
        (&Value::Null, &json!(false))
    );

    let shards = node.get("/v1/shards").await.items();
    assert_eq!(shards.len(), 3 * 256);
    let theirs = shards.iter().filter(|shard| shard["owner"] == "there");
    assert!(theirs.clone().count() > 0 && theirs.clone().all(|shard| shard["state"] == "unreachable"));
    let actors = node.get("/v1/actors").await.items();
    assert_eq!(actors.len(), 6);
    assert_eq!(
        actors
            .iter()
            .filter(|item| item["state"] == "unreachable")
            .count(),
        3
    );
    let tree = node.get("/v1/supervision").await.json();
    assert_eq!(tree["children"][1]["status"], "unreachable");

    // Asked alone, it reports about itself only.
    assert_eq!(node.get_local("/v1/nodes").await.items().len(), 1);
    assert_eq!(node.get_local("/v1/actors").await.items().len(), 3);
    assert_eq!(node.get_local("/v1/supervision").await.json()["name"], HERE);
    assert!(
        node.get_local("/v1/shards")
            .await
            .items()
            .iter()
            .all(|shard| shard["owner"] == HERE)
    );
}

#[tokio::test]
async fn replies_of_other_nodes_are_passed_on() {
    let node = Node::new().await;
    let tree = json!({
        "name": "elsewhere", "kind": "node", "status": "running", "restarts": 0, "last_error": null, "children": []
    });
    let address = neighbour(&[
        (
            "GET /v1/nodes",
            StatusCode::OK,
            json!({ "items": [{ "name": "elsewhere", "state": "leaving" }] }),
        ),
        (
            "GET /v1/actors",
            StatusCode::OK,
            json!({ "items": [{ "kind": "cart", "node": "elsewhere", "live": 5 }] }),
        ),
        ("GET /v1/supervision", StatusCode::OK, tree.clone()),
    ])
    .await;
    node.join("elsewhere", address);
    let nodes = node.get("/v1/nodes").await.items();
    assert_eq!(nodes[0], json!({ "name": "elsewhere", "state": "leaving" }));
    assert_eq!(nodes[1]["name"], HERE);
    let actors = node.get("/v1/actors").await.items();
    assert_eq!(
        actors[0],
        json!({ "kind": "cart", "node": "elsewhere", "live": 5 })
    );
    assert_eq!(node.get("/v1/supervision").await.json()["children"][0], tree);
}

#[tokio::test]
async fn stores_have_the_metrics_of_this_node() {
    let node = Node::new().await;
    let stock = StockCommand::Receive {
        reference: "first".to_owned(),
        quantity: 3,
    };
    node.ask(&node.regions.skus, "SKU-1", stock).await;
    let stores = node.get("/v1/stores").await.items();
    let listed: Vec<_> = stores
        .iter()
        .map(|item| (item["store"].as_str().unwrap(), item["kind"].as_str().unwrap()))
        .collect();
    assert_eq!(
        listed,
        [
            ("carts", "sqlite"),
            ("orders", "sqlite"),
            ("inventory", "sqlite"),
            ("payments", "sqlite"),
            ("sandbox", "sqlite"),
            ("catalogue", "sqlite"),
            ("users", "sqlite"),
            ("sessions", "sqlite"),
            ("views", "sqlite"),
        ]
    );
    assert!(
        stores
            .iter()
            .all(|item| item["reachable"] == true && item["error"] == Value::Null),
        "{stores:?}"
    );
    let inventory = &stores[2];
    assert_eq!(
        (&inventory["batches"], &inventory["rows"], &inventory["errors"]),
        (&json!(1), &json!(1), &json!(0))
    );
    assert_eq!(inventory["batch_rows"], json!({ "p50": 1, "p99": 1, "max": 1 }));
    assert!(inventory["batch_microseconds"]["max"].is_u64());
    assert_eq!(stores[5]["batches"], Value::Null);
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let node = Node::new().await;
    let _guard = metrics::set_default_local_recorder(&node.recorder);
    let stock = StockCommand::Receive {
        reference: "first".to_owned(),
        quantity: 3,
    };
    node.ask(&node.regions.skus, "SKU-1", stock).await;
    let reply = node.get("/metrics").await;
    assert_eq!(
        reply.headers[header::CONTENT_TYPE],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    for line in [
        "souk_entities{kind=\"sku\"} 1",
        "souk_entity_activations_total{kind=\"sku\"} 1",
    ] {
        assert!(
            reply.text.lines().any(|found| found == line),
            "{line}: {}",
            reply.text
        );
    }
}

#[tokio::test]
async fn a_drain_can_start_at_any_node() {
    let (kept, _guard) = CapturedLog::start("info");

    let node = Node::new().await;
    let drained = node.post("/v1/nodes/here/drain").await;
    assert_eq!(
        (drained.status, drained.json()),
        (202, json!({ "name": HERE, "state": "leaving" }))
    );
    assert_eq!(node.drains.load(Ordering::Relaxed), 1);
    assert_eq!(node.post("/v1/nodes/nobody/drain").await.problem(), "not-found");
    node.join("there", nobody().await);
    assert_eq!(node.post("/v1/nodes/there/drain").await.problem(), "unavailable");
    let answer = json!({ "name": "there", "state": "leaving" });
    let question = ("POST /v1/nodes/there/drain", StatusCode::ACCEPTED, answer.clone());
    node.join("there", neighbour(&[question]).await);
    let forwarded = node.post("/v1/nodes/there/drain").await;
    assert_eq!((forwarded.status, forwarded.json()), (202, answer));
    let local = [
        ("authorization", bearer()),
        (crate::operator::peers::LOCAL, "1".to_owned()),
    ];
    let local: Vec<(&str, &str)> = local
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    assert_eq!(
        node.send("POST", "/v1/nodes/there/drain", &local).await.status,
        404
    );
    assert_eq!(node.drains.load(Ordering::Relaxed), 1);

    put(
        &*node.stores.orders,
        order("ord_1", Vec::new()),
        vec![(4, raw_event("e", json!({})))],
    )
    .await;
    let event = bury(&node, "no").await;
    assert_eq!(
        node.post(&format!("/v1/dead-letters/{event}/replay"))
            .await
            .status,
        200
    );

    let lines: Vec<Value> = kept
        .lines()
        .into_iter()
        .filter(|line| line["target"] == "souk::audit")
        .collect();
    let acts: Vec<_> = lines
        .iter()
        .map(|line| {
            (
                line["action"].as_str().unwrap(),
                line["subject"].as_str().unwrap(),
            )
        })
        .collect();
    let expected = [
        ("drain", HERE),
        ("drain", "there"),
        ("drain", "there"),
        ("replay", event.as_str()),
    ];
    assert_eq!(acts, expected);
    for line in &lines {
        assert_eq!(
            (&line["level"], &line["request_id"]),
            (&json!("INFO"), &json!("r-7"))
        );
        assert_eq!(line["who"].as_str().unwrap().len(), 12);
        assert!(!line.to_string().contains(TOKEN));
    }
}

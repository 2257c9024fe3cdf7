//! The operator interface.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use crate::shared::{cluster, stocked};
use crate::support::client::Client;
use crate::support::waiting::eventually;

/// Longest time for an awaited event.
const LIMIT: Duration = Duration::from_secs(90);

fn items(reply: &Value) -> &[Value] {
    reply["items"]
        .as_array()
        .unwrap_or_else(|| panic!("no items: {reply}"))
}

#[tokio::test]
async fn nobody_looks_inside_without_the_token() {
    let cluster = cluster();
    for node in 0..cluster.len() {
        let client = Client::new(cluster.operator(node));
        let guessed = format!("Bearer {}x", cluster.token());
        for path in [
            "/v1/nodes",
            "/v1/config",
            "/v1/sagas",
            "/metrics",
            "/",
            "/v1/actors/cart/crt_1",
        ] {
            client.get(path).await.expect_problem(401, "unauthorised");
            for wrong in [
                guessed.as_str(),
                "Bearer",
                "Bearer ",
                "Basic eDp5",
                cluster.token(),
            ] {
                let refused = client.send("GET", path, None, &[("authorization", wrong)]).await;
                assert_eq!(refused.status, 401, "{path} with {wrong:?}: {refused}");
                assert!(!refused.text.contains(cluster.token()), "{refused}");
            }
        }
        for path in ["/livez", "/readyz"] {
            let reply = client.get(path).await;
            // One that was out of the view for a moment, on a busy machine, says so.
            assert!(matches!(reply.status, 200 | 503), "{path}: {reply}");
        }
    }
}

#[tokio::test]
async fn every_node_answers_for_all() {
    let cluster = cluster();
    for node in 0..cluster.len() {
        // A node that is asked in vain for once, on a busy machine, is told of as unreachable.
        let nodes = eventually("all nodes are told of as ready", LIMIT, async || {
            let nodes = cluster
                .inspect_at(node, "/v1/nodes")
                .await
                .map_err(|error| format!("{error:?}"))?;
            if nodes.status != 200 {
                return Err(nodes.to_string());
            }
            let ready = |one: &Value| {
                one["state"] == "ready" && one["rss_bytes"].as_u64().is_some_and(|bytes| bytes > 1_000_000)
            };
            if nodes.items().len() == 3 && nodes.items().iter().all(ready) {
                Ok(nodes)
            } else {
                Err(nodes.to_string())
            }
        })
        .await;
        let mut names: Vec<&str> = nodes
            .items()
            .iter()
            .filter_map(|node| node["name"].as_str())
            .collect();
        names.sort_unstable();
        assert_eq!(names, ["n1", "n2", "n3"], "as node {node} tells: {nodes}");
    }
}

/// The owner of each shard of each kind, from the paged reply.
async fn owners() -> BTreeMap<(String, u64), BTreeSet<String>> {
    let mut path = "/v1/shards".to_owned();
    let mut owners: BTreeMap<(String, u64), BTreeSet<String>> = BTreeMap::new();
    loop {
        let shards = cluster().inspect(&path).await;
        for shard in items(&shards) {
            let key = (
                shard["kind"].as_str().unwrap_or_default().to_owned(),
                shard["shard"].as_u64().unwrap_or(u64::MAX),
            );
            owners
                .entry(key)
                .or_default()
                .insert(shard["owner"].as_str().unwrap_or_default().to_owned());
        }
        match shards["next_cursor"].as_str() {
            Some(cursor) => path = format!("/v1/shards?cursor={cursor}"),
            None => return owners,
        }
    }
}

#[tokio::test]
async fn every_shard_has_one_owner() {
    // A change of the view between two pages shows both owners: then it is asked again.
    eventually(
        "every shard has one owner, and all nodes own some",
        LIMIT,
        async || {
            let owners = owners().await;
            for kind in ["cart", "order", "sku"] {
                let of_kind = owners.keys().filter(|(one, _)| one == kind).count();
                assert_eq!(of_kind, 256, "shards of {kind}");
            }
            if let Some(shared) = owners.iter().find(|(_, owners)| owners.len() != 1) {
                return Err(format!("{shared:?}"));
            }
            let busy: BTreeSet<_> = owners.values().flatten().collect();
            if busy.len() == 3 {
                Ok(())
            } else {
                Err(format!("only {busy:?} own shards"))
            }
        },
    )
    .await;
}

#[tokio::test]
async fn every_node_shows_an_entity_redacted() {
    let cluster = cluster();
    let client = cluster.client(0).guest().await;
    let bought = stocked(&client, 20, 500).await;
    let cart = client.add(&bought.sku, 1).await.expect(200);
    let order = client.place_order("looked-at", "tok_ok").await.expect(201);
    for (kind, id) in [
        ("cart", cart.str("/id")),
        ("order", order.str("/id")),
        ("sku", bought.sku.as_str()),
    ] {
        // A node that does not answer in time, or a change of the view between two looks, is looked at again.
        let what = format!("{kind} {id} lives in one place");
        eventually(&what, LIMIT, async || {
            let mut places = BTreeSet::new();
            for node in 0..cluster.len() {
                let shown = cluster
                    .inspect_at(node, &format!("/v1/actors/{kind}/{id}"))
                    .await
                    .map_err(|error| format!("{error:?}"))?;
                for secret in [
                    "ada@example.org",
                    "1 Test Street",
                    "Ada Example",
                    "tok_ok",
                    client.cart_token().unwrap_or("-"),
                ] {
                    assert!(
                        !shown.text.contains(secret),
                        "{kind} {id} shows {secret:?}: {shown}"
                    );
                }
                if shown.status != 200 {
                    return Err(shown.to_string());
                }
                assert_eq!((shown.str("/kind"), shown.str("/id")), (kind, id), "{shown}");
                places.insert((shown.i64("/shard"), shown.str("/node").to_owned()));
            }
            if places.len() == 1 {
                Ok(())
            } else {
                Err(format!("{places:?}"))
            }
        })
        .await;
    }
    let saga = cluster.inspect(&format!("/v1/sagas/{}", order.str("/id"))).await;
    let text = saga.to_string();
    for step in ["reserve", "authorise", "confirm"] {
        assert!(text.contains(step), "the checkout shows its step {step}: {saga}");
    }
    assert!(
        !text.contains("tok_ok") && !text.contains("ada@example.org"),
        "{saga}"
    );
}

#[tokio::test]
async fn events_are_delivered_and_none_is_dead() {
    let cluster = cluster();
    let client = cluster.client(1).guest().await;
    let bought = stocked(&client, 20, 500).await;
    client.add(&bought.sku, 1).await.expect(200);
    let order = client.place_order("delivered", "tok_ok").await.expect(201);
    eventually("no event of the order waits for delivery", LIMIT, async || {
        let outbox = cluster.inspect("/v1/outbox").await;
        if outbox.to_string().contains(order.str("/id")) {
            Err(outbox)
        } else {
            Ok(())
        }
    })
    .await;
    let dead = cluster.inspect("/v1/dead-letters").await;
    assert!(items(&dead).is_empty(), "dead letters: {dead}");
}

#[tokio::test]
async fn stores_supervision_config_and_metrics_are_shown() {
    let cluster = cluster();
    // A store that was asked in vain for once, on a busy machine, is told of as out of reach until the next look.
    eventually("all stores are within reach", LIMIT, async || {
        let stores = cluster.inspect("/v1/stores").await;
        assert!(items(&stores).len() >= 4, "{stores}");
        if items(&stores).iter().all(|store| store["reachable"] == true) {
            Ok(())
        } else {
            Err(stores)
        }
    })
    .await;
    let tree = cluster.inspect("/v1/supervision").await.to_string();
    for part in ["egion", "embership", "ersistence"] {
        assert!(tree.contains(part), "the tree has no {part}: {tree}");
    }
    let config = cluster.inspect("/v1/config").await.to_string();
    let file = std::fs::read_to_string(cluster.config()).expect("the configuration can be read");
    let key = file
        .lines()
        .find_map(|line| line.strip_prefix("key = "))
        .map(|key| key.trim_matches(['"', '\'']).to_owned())
        .expect("the configuration has a key");
    for secret in [cluster.token(), &key] {
        assert!(!config.contains(secret), "the configuration shows a secret");
    }
    let metrics = cluster
        .inspect_at(0, "/metrics")
        .await
        .expect("an answer")
        .expect(200);
    assert!(
        metrics.text.contains("souk_http_requests_total{"),
        "{}",
        metrics.text
    );
    let unknown = cluster.inspect_at(0, "/v1/nothing").await.expect("an answer");
    unknown.expect_problem(404, "not-found");
}

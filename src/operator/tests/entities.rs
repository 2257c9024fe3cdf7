//! Entities, checkouts and events as an operator sees them.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::node::{HERE, Node, neighbour, nobody};
use super::rows::{assert_tells_nothing_personal, bury, order, placed, put};
use crate::config::REDACTED;
use crate::sagas::checkout::Trace;
use souk_cluster::placement::shard_of;
use souk_domain::checkout::Step;
use souk_domain::fixtures::{at, payment_id, raw_event, step_record};
use souk_domain::order::{FailureReason, OrderCommand};

#[tokio::test]
async fn an_entity_is_shown_without_personal_data() {
    let node = Node::new().await;
    let live = OrderCommand::Place(Box::new(placed("ord_live")));
    node.ask(&node.regions.orders, "ord_live", live).await;
    let reply = node.get("/v1/actors/order/ord_live").await;
    assert_tells_nothing_personal(&reply.text);
    let shown = reply.json();
    assert_eq!(
        (&shown["kind"], &shown["id"], &shown["node"]),
        (&json!("order"), &json!("ord_live"), &json!(HERE))
    );
    assert_eq!(
        (&shown["activated"], &shown["version"], &shown["mailbox"]),
        (&json!(true), &json!(1), &json!(0))
    );
    assert_eq!(
        (&shown["shard"], &shown["last_error"]),
        (&json!(shard_of("ord_live")), &Value::Null)
    );
    assert_eq!(shown["state"]["placed"]["progress"]["phase"], "confirming");

    put(&*node.stores.orders, order("ord_asleep", Vec::new()), Vec::new()).await;
    let reply = node.get("/v1/actors/order/ord_asleep").await;
    assert_tells_nothing_personal(&reply.text);
    let shown = reply.json();
    assert_eq!(
        (&shown["activated"], &shown["version"]),
        (&json!(false), &json!(4))
    );
    assert_eq!(shown["state"]["placed"]["placement"]["address"], REDACTED);

    // Asked for, so that an actor lives, but never made.
    node.ask(&node.regions.orders, "ord_asked", OrderCommand::Get)
        .await;
    for path in [
        "order/ord_asked",
        "order/ord_none",
        "order/SKU-1",
        "sku/a%2Fb",
        "cart/%FF",
        "wagon/ord_live",
    ] {
        let reply = node.get(&format!("/v1/actors/{path}")).await;
        assert_eq!(
            (reply.status, reply.problem().as_str()),
            (404, "not-found"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn an_entity_of_another_node_is_asked_for_there() {
    let node = Node::new().await;
    // The neighbour's answers need names that only the view gives.
    node.join("there", nobody().await);
    let theirs = node.id(false, |number| format!("ord_{number}"));
    let unknown = node.id(false, |number| format!("ord_unknown{number}"));
    put(&*node.stores.orders, order(&theirs, Vec::new()), Vec::new()).await;
    let shown = node.get(&format!("/v1/actors/order/{theirs}")).await.json();
    assert_eq!(
        (&shown["node"], &shown["activated"]),
        (&json!("there"), &json!(false))
    );
    assert_eq!(shown["version"], 4);
    assert_eq!(
        node.get(&format!("/v1/sagas/{theirs}")).await.json()["node"],
        "there"
    );

    let actor: &'static str = format!("GET /v1/actors/order/{theirs}").leak();
    let saga: &'static str = format!("GET /v1/sagas/{theirs}").leak();
    let answer = json!({ "kind": "order", "activated": true });
    let address = neighbour(&[
        (actor, StatusCode::OK, answer.clone()),
        (saga, StatusCode::OK, json!({ "step": "reserve" })),
    ])
    .await;
    node.join("there", address);
    assert_eq!(
        node.get(&format!("/v1/actors/order/{theirs}")).await.json(),
        answer
    );
    assert_eq!(node.get(&format!("/v1/actors/order/{unknown}")).await.status, 404);
    assert_eq!(
        node.get(&format!("/v1/sagas/{theirs}")).await.json(),
        json!({ "step": "reserve" })
    );
    assert_eq!(node.get(&format!("/v1/sagas/{unknown}")).await.status, 404);
}

#[tokio::test]
async fn dead_letters_can_be_replayed() {
    let node = Node::new().await;
    let event = |email| raw_event("order.confirmed", json!({ "order": "ord_1", "email": email }));
    let events = vec![(3, event("ada@private.example")), (4, event("-"))];
    put(&*node.stores.orders, order("ord_1", Vec::new()), events).await;
    bury(&node, "nobody listens").await;

    let outbox = node.get("/v1/outbox").await;
    assert_tells_nothing_personal(&outbox.text);
    let stores: Vec<_> = outbox.items().iter().map(|item| item["store"].clone()).collect();
    assert_eq!(stores, ["orders", "inventory"]);
    let orders = &outbox.items()[0];
    assert_eq!((&orders["pending"], &orders["dead"]), (&json!(1), &json!(1)));
    assert_eq!(
        (&orders["events"][0]["event"], &orders["events"][0]["version"]),
        (&json!("order.confirmed"), &json!(4))
    );
    assert!(orders["oldest"].as_str().unwrap().ends_with('Z'));

    let dead = node.get("/v1/dead-letters").await;
    assert_tells_nothing_personal(&dead.text);
    let letter = &dead.items()[0];
    assert_eq!(
        (&letter["store"], &letter["consumer"], &letter["reason"]),
        (&json!("orders"), &json!("purchases"), &json!("nobody listens"))
    );
    assert_eq!(
        (&letter["attempts"], &dead.json()["total"]),
        (&json!(1), &json!(1))
    );
    let path = format!("/v1/dead-letters/{}/replay", letter["id"].as_str().unwrap());
    let replayed = node.post(&path).await;
    assert_eq!(
        (replayed.status, &replayed.json()["state"]),
        (200, &json!("pending"))
    );
    assert_eq!(node.get("/v1/dead-letters").await.items(), Vec::<Value>::new());
    assert_eq!(node.post(&path).await.problem(), "not-found");
}

fn ids(items: &[Value]) -> Vec<&str> {
    items
        .iter()
        .map(|item| item["order_id"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn checkouts_are_listed_by_state() {
    let node = Node::new().await;
    let confirm = || OrderCommand::Confirm {
        payment: payment_id(1),
    };
    let finish = || OrderCommand::Finish {
        captured: true,
        steps: vec![step_record(Step::Reserve)],
    };
    let failing = || OrderCommand::Abandon {
        reason: FailureReason::PaymentTimedOut,
    };
    let end = || OrderCommand::EndFailed {
        voided: true,
        keep_until: at(1_000),
        steps: Vec::new(),
    };
    for (id, commands) in [
        ("ord_a", vec![confirm(), finish()]),
        ("ord_b", vec![failing(), end()]),
        ("ord_c", vec![failing()]),
        ("ord_d", vec![confirm(), finish()]),
        ("ord_e", vec![confirm()]),
    ] {
        put(&*node.stores.orders, order(id, commands), Vec::new()).await;
    }
    let trace = Trace {
        step: Some(Step::Capture),
        attempts: 3,
        started_at: at(2),
        done: vec![step_record(Step::Take)],
        last_error: Some("the provider did not answer in time".to_owned()),
    };
    node.traces.insert("ord_e".to_owned(), trace);

    let all = node.get("/v1/sagas").await;
    assert_tells_nothing_personal(&all.text);
    assert_eq!(ids(&all.items()), ["ord_c", "ord_e", "ord_a", "ord_b", "ord_d"]);
    assert_eq!(all.json()["next_cursor"], Value::Null);
    for (state, expected) in [
        ("running", vec!["ord_c", "ord_e"]),
        ("finished", vec!["ord_a", "ord_d"]),
        ("failed", vec!["ord_b"]),
    ] {
        let listed = node.get(&format!("/v1/sagas?state={state}")).await.items();
        assert_eq!(ids(&listed), expected);
        assert!(listed.iter().all(|item| item["state"] == state), "{listed:?}");
    }
    // Page by page, from those under way into those that have ended.
    for (state, expected) in [
        ("limit=1", vec!["ord_c", "ord_e", "ord_a", "ord_b", "ord_d"]),
        ("limit=2", vec!["ord_c", "ord_e", "ord_a", "ord_b", "ord_d"]),
        ("limit=1&state=running", vec!["ord_c", "ord_e"]),
        ("limit=1&state=finished", vec!["ord_a", "ord_d"]),
    ] {
        let mut listed = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = node.get(&format!("/v1/sagas?{state}{cursor}")).await;
            listed.extend(page.items());
            match page.json()["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(ids(&listed), expected, "{state}");
    }

    let running = node.get("/v1/sagas/ord_e").await.json();
    assert_eq!(
        (&running["step"], &running["attempts"], &running["node"]),
        (&json!("capture"), &json!(3), &json!(HERE))
    );
    let (started, finished) = (at(1).to_rfc3339(), at(2).to_rfc3339());
    assert_eq!(
        running["steps"],
        json!([
            { "step": "take", "state": "done", "attempts": 1, "started_at": started, "finished_at": finished },
            { "step": "capture", "state": "running", "attempts": 3, "started_at": null, "finished_at": null },
        ])
    );
    let ended = node.get("/v1/sagas/ord_a").await.json();
    assert_eq!(
        (&ended["state"], &ended["step"]),
        (&json!("finished"), &Value::Null)
    );
    assert_eq!(ended["steps"][0]["step"], "reserve");
    assert_eq!(
        node.get("/v1/sagas/ord_b").await.json()["abandoned"],
        "payment_timed_out"
    );
    assert_eq!(node.get("/v1/sagas/ord_none").await.problem(), "not-found");
    for wrong in [
        "state=lost",
        "limit=0",
        "colour=red",
        "cursor=ord_a",
        "cursor=running.x",
    ] {
        assert_eq!(
            node.get(&format!("/v1/sagas?{wrong}")).await.problem(),
            "validation",
            "{wrong}"
        );
    }
    let told = node.get_local("/v1/sagas").await.items();
    assert_eq!((ids(&told), &told[0]["node"]), (vec!["ord_e"], &json!(HERE)));
}

#[tokio::test]
async fn a_checkout_that_waits_for_a_decision_is_shown_and_tried_again() {
    let node = Node::new().await;
    let payment = payment_id(1);
    let escalate = OrderCommand::Escalate {
        step: Step::Capture,
        reason: "the payment provider refused it: expired".to_owned(),
    };
    let waiting = order("ord_a", vec![OrderCommand::Confirm { payment }, escalate]);
    put(&*node.stores.orders, waiting, Vec::new()).await;
    put(&*node.stores.orders, order("ord_b", Vec::new()), Vec::new()).await;
    for (state, expected) in [("waiting", "ord_a"), ("running", "ord_b")] {
        let listed = node.get(&format!("/v1/sagas?state={state}")).await.items();
        assert_eq!(ids(&listed), [expected], "{state}");
    }
    let shown = node.get("/v1/sagas/ord_a").await.json();
    assert_eq!(
        (&shown["state"], &shown["attention"]["step"]),
        (&json!("waiting"), &json!("capture"))
    );
    assert!(
        shown["attention"]["reason"].as_str().unwrap().contains("expired"),
        "{shown}"
    );

    let again = node.post("/v1/sagas/ord_a/retry").await;
    assert_eq!((again.status, &again.json()["attention"]), (200, &Value::Null));
    assert!(node.get("/v1/sagas?state=waiting").await.items().is_empty());
    assert_eq!(node.post("/v1/sagas/ord_none/retry").await.problem(), "not-found");
}

#[tokio::test]
async fn steps_at_work_on_other_nodes_are_shown() {
    let node = Node::new().await;
    put(&*node.stores.orders, order("ord_a", Vec::new()), Vec::new()).await;
    let told = json!({ "items": [{
        "order_id": "ord_a", "node": "there", "step": "authorise", "attempts": 2, "started_at": at(1), "done": [],
        "last_error": null
    }] });
    node.join(
        "there",
        neighbour(&[("GET /v1/sagas", StatusCode::OK, told)]).await,
    );
    let listed = node.get("/v1/sagas?state=running").await.items();
    assert_eq!(
        (ids(&listed), &listed[0]["step"]),
        (vec!["ord_a"], &json!("authorise"))
    );
    assert_eq!(listed[0]["node"], "there");
}

//! Rate limits over two nodes that count together.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::support::client::{Client, Reply};
use crate::support::cluster::{Cluster, Options};

const PER_CALLER: u64 = 40;
const PER_ADDRESS: u64 = 60;
/// Requests at each node before it consults the store: a tenth of the limit.
const CHUNKS: u64 = 2 * PER_CALLER.div_ceil(10);
const ADDRESS_CHUNKS: u64 = 2 * PER_ADDRESS.div_ceil(10);
const WINDOW: Duration = Duration::from_secs(60);
/// Time within a window in which all requests of a caller are made, on a busy machine too.
const NEEDED: Duration = Duration::from_secs(25);
/// Time limit of the store for counting: after a late answer each node counts alone for a while.
const COUNT_MS: u64 = 20_000;

/// Waits for the next window if too little of this one is left.
async fn early_in_a_window() {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock that is set");
    let into = Duration::from_millis(u64::try_from(now.as_millis() % WINDOW.as_millis()).expect("a minute"));
    if WINDOW - into < NEEDED {
        tokio::time::sleep(WINDOW - into).await;
    }
}

fn number(reply: &Reply, header: &str) -> u64 {
    reply
        .header(header)
        .and_then(|value| value.parse().ok())
        .unwrap_or_else(|| panic!("no {header}: {reply}"))
}

/// Sends the request to the nodes in turn until one refuses it; returns the number of other replies, and the refusal.
async fn until_refused(nodes: &[Client], most: u64, headers: &[(&str, &str)], path: &str) -> (u64, Reply) {
    let mut remaining = vec![u64::MAX; nodes.len()];
    for sent in 0..=most {
        let node = usize::from(!sent.is_multiple_of(2));
        let reply = nodes[node].send("GET", path, None, headers).await;
        if reply.status == 429 {
            return (sent, reply);
        }
        let reply = reply.expect(200);
        let left = number(&reply, "ratelimit-remaining");
        assert!(left < remaining[node], "{left} left after {}", remaining[node]);
        remaining[node] = left;
    }
    panic!("{most} requests were not too many");
}

fn assert_refusal(reply: Reply, limit: u64) {
    let reply = reply.expect_problem(429, "too-many-requests");
    assert_eq!(number(&reply, "ratelimit-limit"), limit);
    assert_eq!(number(&reply, "ratelimit-remaining"), 0);
    let (reset, retry_after) = (number(&reply, "ratelimit-reset"), number(&reply, "retry-after"));
    assert_eq!(reset, retry_after);
    assert!((1..=60).contains(&reset), "{reset}");
}

#[tokio::test]
async fn limits_hold_over_all_nodes_together() {
    let cluster = Cluster::start(Options {
        nodes: 2,
        products: 20,
        settings: vec![
            ("gateway.requests_per_minute", PER_CALLER.to_string()),
            ("gateway.requests_per_minute_per_address", PER_ADDRESS.to_string()),
            ("gateway.request_count_ms", COUNT_MS.to_string()),
        ],
        ..Options::default()
    });

    // A guest, by the cart.
    let guest = cluster.client(0).guest().await;
    let token = guest.cart_token().expect("a guest has a token").to_owned();
    let with_token = [("cart-token", token.as_str())];
    let nodes = [cluster.client(0), cluster.client(1)];
    early_in_a_window().await;
    let (admitted, refusal) = until_refused(&nodes, PER_CALLER + CHUNKS, &with_token, "/v1/cart").await;
    assert!(admitted >= PER_CALLER, "{admitted} of {PER_CALLER}");
    assert_refusal(refusal, PER_CALLER);
    // An addition is refused before it is made, at one of the nodes by what the other has seen.
    for node in &nodes {
        let added = node
            .send(
                "POST",
                "/v1/cart/items",
                Some(&json!({"sku": "X", "quantity": 1})),
                &with_token,
            )
            .await;
        assert!(matches!(added.status, 404 | 429), "{added}");
    }

    // Strangers on this machine make carts without end: more of them than a caller, or an address, may make requests.
    for _ in 0..PER_ADDRESS + ADDRESS_CHUNKS {
        let made = nodes[0].new_cart().await.expect(201);
        assert_eq!(made.header("ratelimit-limit"), None, "{made}");
    }
    for path in ["/livez", "/readyz"] {
        assert_eq!(nodes[1].get(path).await.header("ratelimit-limit"), None);
    }

    // An account, whatever the device.
    let shopper = json!({
        "email": cluster.ready().shopper["email"],
        "password": cluster.ready().shopper["password"],
    });
    let mut bearers = Vec::new();
    for node in &nodes {
        let session = node.post("/v1/auth/login", &shopper).await.expect(200);
        bearers.push(format!("Bearer {}", session.str("/access_token")));
    }
    early_in_a_window().await;
    let mut admitted = 0;
    let refusal = loop {
        let device = usize::from(admitted % 2 == 1);
        let reply = nodes[device]
            .send("GET", "/v1/me", None, &[("authorization", &bearers[device])])
            .await;
        if reply.status == 429 {
            break reply;
        }
        reply.expect(200);
        admitted += 1;
        assert!(admitted <= PER_CALLER + CHUNKS, "{admitted} were not too many");
    };
    assert!(admitted >= PER_CALLER, "{admitted} of {PER_CALLER}");
    assert_refusal(refusal, PER_CALLER);

    // An address, whoever calls from it: here strangers, whose proxy is trusted.
    let forwarded = [("x-forwarded-for", "203.0.113.9")];
    let most = PER_ADDRESS + ADDRESS_CHUNKS;
    early_in_a_window().await;
    let (admitted, refusal) = until_refused(&nodes, most, &forwarded, "/v1/categories").await;
    assert!(admitted >= PER_ADDRESS, "{admitted} of {PER_ADDRESS}");
    assert_refusal(refusal, PER_ADDRESS);
    let other = [("x-forwarded-for", "203.0.113.10")];
    nodes[0]
        .send("GET", "/v1/categories", None, &other)
        .await
        .expect(200);
    // A bad token does not get around it, and is not even looked at.
    let bad = [
        ("x-forwarded-for", "203.0.113.9"),
        ("authorization", "Bearer made-up"),
    ];
    let refused = nodes[0].send("GET", "/v1/cart", None, &bad).await;
    assert!(matches!(refused.status, 401 | 429), "{refused}");
}

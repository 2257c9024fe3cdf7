//! What is kept under the idempotency keys of an account goes with the account.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use serde_json::json;

use crate::support::client::address;
use crate::support::cluster::{Cluster, Options};
use crate::support::waiting::eventually;

const LIMIT: Duration = Duration::from_secs(60);

/// Rows of a table of kept replies: in a cluster of its own, nobody else has any.
fn rows(data: &Path, table: &str) -> i64 {
    let file = data.join("idempotency.db");
    let database =
        Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("the file opens");
    database.busy_timeout(LIMIT).expect("a time limit");
    database
        .query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))
        .expect("a count")
}

#[tokio::test]
async fn erasure_takes_kept_replies_with_it() {
    let cluster = Cluster::start(Options {
        nodes: 1,
        products: 20,
        ..Options::default()
    });
    let data = &cluster.data().join("stores");
    let stranger = cluster.client(0).calling_from("203.0.113.77");
    let (email, password) = ("kept@accounts.example", "Marmalade-Ferry-Quartz");
    let registration = json!({"email": email, "password": password, "name": "Kept Reply"});
    let opened = stranger
        .post_under("register", "/v1/auth/register", &registration)
        .await
        .expect(201);
    let client = stranger.with_token(Some(opened.str("/access_token")));
    let products = client.get("/v1/products?limit=1").await.expect(200);
    let add = json!({"sku": products.str("/items/0/skus/0/sku"), "quantity": 1});
    client.post_under("add", "/v1/cart/items", &add).await.expect(200);
    client
        .post_under("address", "/v1/me/addresses", &address())
        .await
        .expect(201);
    assert_eq!(rows(data, "idempotency"), 3);
    // The account and the network.
    assert_eq!(rows(data, "kept_bytes"), 2);

    client
        .post("/v1/auth/step-up", &json!({"password": password}))
        .await
        .expect(200);
    client.delete("/v1/me").await.expect(204);
    eventually("no reply is left", LIMIT, || async {
        match rows(data, "idempotency") + rows(data, "kept_bytes") {
            0 => Ok(()),
            left => Err(left),
        }
    })
    .await;
}

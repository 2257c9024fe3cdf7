//! What an erasure leaves: every file of the data folder is searched for what identified the person, and the sealed rows are
//! read as a node reads them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use souk::config::Config;
use souk::stores::Stores;
use souk::stores::documents::DocumentStore;

use crate::shared::{LIMIT, fresh_password, unhurried};
use crate::support::client::{Client, Reply};
use crate::support::cluster::{Cluster, Options};
use crate::support::waiting::eventually;

const EMAIL: &str = "quirina.zzyzxmail@accounts.example";
const TOKEN: &str = "tok_zzyzxtoken";
/// What identifies the person, in lower case; nothing else contains any of it.
const MARKS: [&str; 7] = [
    "zzyzxmail",
    "zzyzxname",
    "zzyzxlane",
    "zzyzxville",
    "zzyzxreason",
    "zzyzxtoken",
    "2175550177",
];
/// Those that lie open while the account exists: in its row, and in e-mails. The others are sealed.
const OPEN: [&str; 2] = ["zzyzxmail", "zzyzxname"];

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    paths
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .collect()
}

/// The marks in the files of a folder, each with the file's name.
fn found(folder: &Path) -> Vec<(String, String)> {
    let in_file = |path: PathBuf| {
        let bytes = fs::read(&path).unwrap_or_default().to_ascii_lowercase();
        let holds = move |mark: &&str| bytes.windows(mark.len()).any(|window| window == mark.as_bytes());
        let name = path.display().to_string();
        MARKS
            .into_iter()
            .filter(holds)
            .map(|mark| (mark.to_owned(), name.clone()))
            .collect::<Vec<_>>()
    };
    files(folder).into_iter().flat_map(in_file).collect()
}

async fn stores(cluster: &Cluster) -> Stores {
    let config = Config::load(cluster.config()).expect("the configuration is read");
    souk::stores::open(&config).await.expect("the stores are open")
}

/// The rows of a store as a node reads them.
async fn rows(store: &dyn DocumentStore) -> Vec<Value> {
    let rows = store.scan(None, 1_000).await.expect("the store answers");
    rows.into_iter()
        .map(|row| serde_json::from_str(&row.expect("the row opens").body).expect("JSON"))
        .collect()
}

/// All rows that sealed values are in, as one text in lower case.
async fn opened(stores: &Stores) -> String {
    let mut text = String::new();
    for store in [&stores.carts, &stores.orders, &stores.payments, &stores.sandbox] {
        for row in rows(&**store).await {
            text.push_str(&row.to_string().to_lowercase());
        }
    }
    text
}

async fn order(client: &Client, sku: &str, key: &str, address: &str, token: &str) -> Reply {
    client.add(sku, 1).await.expect(200);
    let body = json!({
        "address_id": address,
        "shipping_option": "standard",
        "payment": {"gateway": "sandbox", "token": token},
    });
    client.place(key, &body).await
}

/// A SKU with plenty of stock.
async fn plentiful(client: &Client) -> String {
    let page = client.get("/v1/products?limit=100").await.expect(200);
    let skus = page.items().iter().flat_map(|product| product["skus"].as_array());
    let sku = skus
        .flatten()
        .find(|sku| sku["available"].as_u64().is_some_and(|available| available >= 10));
    sku.and_then(|sku| sku["sku"].as_str())
        .unwrap_or_else(|| panic!("nothing is in stock: {page}"))
        .to_owned()
}

#[tokio::test]
async fn an_erasure_leaves_no_trace_on_disk() {
    let options = Options {
        nodes: 1,
        products: 60,
        ..Options::default()
    };
    let cluster = Cluster::start(options.patient());
    let client = cluster.client(0);
    let password = fresh_password();
    let body = json!({"email": EMAIL, "password": password, "name": "Quirina Zzyzxname"});
    let registered = unhurried(&client, "/v1/auth/register", &body).await.expect(201);
    let client = client.with_token(Some(registered.str("/access_token")));
    client
        .patch("/v1/me", &json!({"phone": "+12175550177"}))
        .await
        .expect(200);
    let address = json!({
        "name": "Quirina Zzyzxname", "line1": "9 Zzyzxlane", "line2": null, "city": "Zzyzxville", "region": "IL",
        "postcode": "62701", "country": "US", "phone": "+12175550177",
    });
    let address = client.post("/v1/me/addresses", &address).await.expect(201);
    let address = address.str("/id");
    client
        .post("/v1/auth/password/forgot", &json!({"email": EMAIL}))
        .await
        .expect(202);

    // One order is delivered, one cancelled with a refund, one declined.
    let sku = plentiful(&client).await;
    order(&client, &sku, "kept", address, "tok_ok").await.expect(201);
    client.cart_is_empty(LIMIT).await;
    let second = order(&client, &sku, "cancelled", address, "tok_ok")
        .await
        .expect(201);
    let cancel = format!("/v1/orders/{}/cancel", second.str("/id"));
    client
        .post(&cancel, &json!({"reason": "a zzyzxreason"}))
        .await
        .expect(200);
    client.cart_is_empty(LIMIT).await;
    order(&client, &sku, "declined", address, TOKEN)
        .await
        .expect_problem(402, "payment-declined");
    eventually("both e-mails are written", LIMIT, async || {
        let mails = fs::read_dir(cluster.data().join("stores/mail")).map_or(0, Iterator::count);
        if mails >= 2 { Ok(()) } else { Err(mails) }
    })
    .await;
    let before = found(cluster.data());
    for mark in OPEN {
        assert!(
            before.iter().any(|(found, _)| found == mark),
            "{mark}: {before:?}"
        );
    }
    let reading = stores(&cluster).await;
    let text = opened(&reading).await;
    for mark in [
        "zzyzxmail",
        "zzyzxname",
        "zzyzxlane",
        "zzyzxville",
        "zzyzxreason",
        "2175550177",
    ] {
        assert!(text.contains(mark), "no row holds {mark}");
    }
    // The tokens went with the decisions on the payments, long before.
    eventually("the payments are decided", LIMIT, async || {
        let text = opened(&reading).await;
        if text.contains("tok_") {
            Err("a token is left")
        } else {
            Ok(())
        }
    })
    .await;

    let step_up = json!({"password": password});
    unhurried(&client, "/v1/auth/step-up", &step_up).await.expect(200);
    eventually("the account is erased", LIMIT, async || {
        let reply = client.delete("/v1/me").await;
        if reply.status == 204 { Ok(()) } else { Err(reply) }
    })
    .await;
    let text = opened(&reading).await;
    for mark in MARKS {
        assert!(!text.contains(mark), "a row still holds {mark}");
    }
    let kept = rows(&*reading.orders).await;
    assert_eq!(kept.len(), 3, "the orders stay: {kept:?}");
    drop(reading);
    cluster.audit().await;

    cluster.stop();
    let data = cluster.data();
    eventually("the store process has closed its files", LIMIT, async || {
        let log = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "db-wal");
        match files(data).into_iter().find(log) {
            Some(log) => Err(log.display().to_string()),
            None => Ok(()),
        }
    })
    .await;
    assert_eq!(found(data), []);
}

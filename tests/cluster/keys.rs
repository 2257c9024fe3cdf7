//! Sealing keys are rotated under load, in the documented order, and every file of the data folder is searched for
//! personal data.

use std::fs;
use std::path::Path;
use std::process::Output;

use rusqlite::{Connection, OpenFlags};
use rustix::process::Signal;
use serde_json::{Value, json};
use toml::Table;

use crate::harness::{Cluster, souk};
use crate::load::{Load, Target, answer};
use crate::shop;

/// Personal data of the orders and the account here, and of the load; none may be readable in any file.
const MARKERS: [&str; 17] = [
    "Marker Name",
    "1 Marker Lane",
    "Markerville",
    "MK-62701",
    "+1 217 555 0177",
    "marker@private.example",
    "tok_marker",
    "it is for Marker",
    "+1 217 555 0188",
    "+1 217 555 0199",
    "Keeper of Markers",
    "2 Keeper Lane",
    "KP-62702",
    "1 Main Street",
    "ada@shoppers.example",
    "tok_ok",
    "tok_reply_lost",
];

/// The stores with sealed values, and their columns.
const SEALED: [(&str, &str, &str); 6] = [
    ("shop", "orders_documents", "body"),
    ("shop", "payments_documents", "body"),
    ("shop", "sandbox_documents", "body"),
    ("idempotency", "idempotency", "CAST(body AS TEXT)"),
    ("users", "users", "phone"),
    ("users", "addresses", "body"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_rotated_under_load_and_nothing_lies_open() {
    let mut cluster = Cluster::demo(3, 60).await;
    let load = Load::start(&cluster).await;
    orders_with_markers(&cluster, "before").await;
    let account = Account::with_markers(&cluster).await;
    let as_written = account.read(&cluster).await;
    assert!(markers_of(&as_written) >= 5, "{as_written}");
    load.progress(200).await;
    let old = keys(&cluster).remove(0);
    let new = Table::from_iter([
        ("id".to_owned(), "k2".into()),
        (
            "key".to_owned(),
            "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=".into(),
        ),
    ]);
    assert_eq!(old["id"].as_str(), Some("k1"));

    // Every node learns the new key before any seals under it.
    set_keys(&cluster, &[&old, &new]);
    rolling_restart(&mut cluster, &load).await;
    set_keys(&cluster, &[&new, &old]);
    rolling_restart(&mut cluster, &load).await;
    orders_with_markers(&cluster, "between").await;
    assert!(rows_under(&cluster, "k1") > 0, "nothing is left to be rotated");
    let rotated = report(&run(&cluster, &["keys", "rotate", "--json"]).await);
    assert!(
        rotated["resealed"].as_u64() > Some(0) && rotated["left"] == 0,
        "{rotated:#}"
    );
    load.progress(200).await;
    // What shoppers wrote meanwhile is under the new key too.
    assert_eq!(rows_under(&cluster, "k1"), 0);
    assert!(rows_under(&cluster, "k2") > 0);
    load.verify(&cluster).await;
    assert_eq!(account.read(&cluster).await, as_written);

    // The old key is not needed any more: neither by the auditor nor by anybody.
    set_keys(&cluster, &[&new]);
    cluster.audit().await;
    let status = report(&run(&cluster, &["keys", "status", "--json"]).await);
    for store in status["stores"].as_array().unwrap() {
        let rows = &store["rows"];
        assert!(rows.as_u64() > Some(0), "{status:#}");
        assert_eq!(
            (&store["left"], &store["unsealed"]),
            (&json!(0), &json!(0)),
            "{status:#}"
        );
        if store["store"] == "payments" {
            // A declined one has neither token nor reference: nothing of it is sealed.
            let under = store["under"].as_object().unwrap();
            assert!(
                under.keys().eq(["k2"]) && under["k2"].as_u64() > Some(0),
                "{status:#}"
            );
        } else {
            assert_eq!(store["under"], json!({ "k2": rows }), "{status:#}");
        }
    }
    let again = report(&run(&cluster, &["keys", "rotate", "--json"]).await);
    assert_eq!(again["resealed"], 0, "{again:#}");
    // Write-ahead logs and the nodes' logs lie in the folder too.
    nothing_lies_open(cluster.config.parent().unwrap());
    // An operator who lacks the key is told which.
    set_keys(&cluster, &[&old]);
    let refused = run(&cluster, &["keys", "rotate"]).await;
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1));
    assert!(said.contains("\"k2\"") && said.contains("k1, cluster"), "{said}");
    set_keys(&cluster, &[&new]);
    cluster.end().await;
}

/// A paid order, a declined one with a token of its own, and one cancelled with a reason.
async fn orders_with_markers(cluster: &Cluster, when: &str) {
    let shop_address = &cluster.nodes[0].shop;
    let client = &cluster.client;
    // One that the load does not buy, which knows what it sold.
    let sku = shop::plentiful(client, shop_address, 60).await.pop().unwrap();
    for (payment, status) in [("tok_ok", 201), ("tok_marker", 402)] {
        let cart = shop::cart_of(&shop::send(shop::new_cart(client, shop_address)).await.unwrap());
        let key = shop::key();
        answer(|| shop::add(client, shop_address, &cart, &sku, &key)).await;
        let request = client
            .post(format!("{shop_address}/v1/orders"))
            .header("cart-token", &cart.token)
            .header("idempotency-key", format!("{when}-{payment}"))
            .json(&json!({
                "address": {
                    "name": "Marker Name", "line1": "1 Marker Lane", "city": "Markerville", "postcode": "MK-62701",
                    "country": "HK", "phone": "+1 217 555 0177",
                },
                "shipping_option": "standard",
                "payment": {"gateway": "sandbox", "token": payment},
                "email": "marker@private.example",
            }));
        let kept = request.try_clone().unwrap();
        let placed = shop::send(request).await.unwrap();
        assert!(placed.status == status || placed.status == 202, "{placed:?}");
        if placed.status != 201 {
            continue;
        }
        assert_eq!(placed.body["address"]["name"], "Marker Name");
        // The kept reply comes back as it was given.
        assert_eq!(shop::send(kept).await.unwrap().body, placed.body);
        let id = placed.body["id"].as_str().unwrap();
        let cancelled = client
            .post(format!("{shop_address}/v1/orders/{id}/cancel"))
            .header("cart-token", &cart.token)
            .json(&json!({"reason": "it is for Marker"}));
        assert_eq!(shop::send(cancelled).await.unwrap().status, 200);
    }
}

/// An account with a phone number and an address.
struct Account {
    email: &'static str,
    password: &'static str,
}

impl Account {
    async fn with_markers(cluster: &Cluster) -> Self {
        let (shop, client) = (&cluster.nodes[0].shop, &cluster.client);
        let account = Self {
            email: "keeper@shoppers.example",
            password: "a keeper keeps 77 keys",
        };
        let registered = client.post(format!("{shop}/v1/auth/register")).json(&json!({
            "email": account.email, "password": account.password, "name": "Kim Keeper",
        }));
        let registered = shop::send(registered).await.unwrap();
        assert_eq!(registered.status, 201, "{registered:?}");
        let token = registered.body["access_token"].as_str().unwrap();
        let phone = client
            .patch(format!("{shop}/v1/me"))
            .json(&json!({"phone": "+1 217 555 0188"}));
        let address = client.post(format!("{shop}/v1/me/addresses")).json(&json!({
            "name": "Keeper of Markers", "line1": "2 Keeper Lane", "city": "Markerville", "postcode": "KP-62702",
            "country": "HK", "phone": "+1 217 555 0199",
        }));
        for (request, status) in [(phone, 200), (address, 201)] {
            let reply = shop::send(request.bearer_auth(token)).await.unwrap();
            assert_eq!(reply.status, status, "{reply:?}");
        }
        account
    }

    /// The account as its owner sees it, after a new login, since access tokens may expire during this scenario.
    async fn read(&self, cluster: &Cluster) -> Value {
        let (shop, client) = (&cluster.nodes[1].shop, &cluster.client);
        let login = client
            .post(format!("{shop}/v1/auth/login"))
            .json(&json!({"email": self.email, "password": self.password}));
        let login = shop::send(login).await.unwrap();
        assert_eq!(login.status, 200, "{login:?}");
        let mut seen = json!({});
        for path in ["me", "me/addresses"] {
            let request = client
                .get(format!("{shop}/v1/{path}"))
                .bearer_auth(login.body["access_token"].as_str().unwrap());
            let reply = shop::send(request).await.unwrap();
            assert_eq!(reply.status, 200, "{reply:?}");
            seen[path] = reply.body;
        }
        seen
    }
}

fn markers_of(seen: &Value) -> usize {
    let text = seen.to_string();
    MARKERS.iter().filter(|marker| text.contains(*marker)).count()
}

async fn rolling_restart(cluster: &mut Cluster, load: &Load) {
    for node in 0..cluster.nodes.len() {
        load.treat(node, Target::Restarting);
        cluster.signal(node, Signal::TERM);
        cluster.gone(node).await;
        cluster.start(node, &[]).await;
        load.treat(node, Target::Fine);
        load.progress(50).await;
        assert!(load.violations().is_empty(), "{:#?}", load.violations());
    }
}

fn configuration(cluster: &Cluster) -> Table {
    fs::read_to_string(&cluster.config).unwrap().parse().unwrap()
}

fn keys(cluster: &Cluster) -> Vec<Table> {
    configuration(cluster)["sealing"]["keys"]
        .clone()
        .try_into()
        .unwrap()
}

fn set_keys(cluster: &Cluster, keys: &[&Table]) {
    let mut configuration = configuration(cluster);
    let keys: Vec<Table> = keys.iter().map(|key| (*key).clone()).collect();
    configuration.insert(
        "sealing".into(),
        Table::from_iter([("keys".to_owned(), keys.into())]).into(),
    );
    fs::write(&cluster.config, configuration.to_string()).unwrap();
}

async fn run(cluster: &Cluster, arguments: &[&str]) -> Output {
    souk()
        .args(arguments)
        .arg("--config")
        .arg(&cluster.config)
        .output()
        .await
        .unwrap()
}

fn report(output: &Output) -> Value {
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Rows of all stores with values under this key, read from the files.
fn rows_under(cluster: &Cluster, key: &str) -> i64 {
    let stores = cluster.config.parent().unwrap().join("stores");
    SEALED
        .iter()
        .map(|(store, table, column)| {
            let file = stores.join(format!("{store}.db"));
            let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
            let sql = format!("SELECT count(*) FROM {table} WHERE {column} LIKE ?1");
            let value = format!("%sealed:v1:{key}:%");
            let rows: i64 = connection.query_row(&sql, [value], |row| row.get(0)).unwrap();
            rows
        })
        .sum()
}

fn nothing_lies_open(folder: &Path) {
    let mut searched = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            nothing_lies_open(&entry.path());
        } else if kind.is_file() {
            let bytes = fs::read(entry.path()).unwrap();
            searched += bytes.len();
            // What is no text does not matter: the markers are ASCII.
            let text = String::from_utf8_lossy(&bytes);
            for marker in MARKERS {
                assert!(
                    !text.contains(marker),
                    "{marker:?} lies open in {}",
                    entry.path().display()
                );
            }
        }
    }
    assert!(searched > 0, "{} is empty", folder.display());
}

//! The command line: exit codes, stdout and stderr.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::shared::{PRODUCTS, all_products, cluster};
use crate::support::cluster::{Cluster, Options};
use crate::support::command::{self, run};
use crate::support::waiting::eventually;

/// Longest time until the audit of a running shop is clean.
const LIMIT: Duration = Duration::from_secs(90);

/// A changed copy of the example configuration in a folder of its own.
fn example(change: impl FnOnce(String) -> String) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster.toml"))
        .expect("the example configuration can be read");
    let file = folder.path().join("cluster.toml");
    std::fs::write(&file, change(text)).expect("the copy can be written");
    let file = command::text(&file).to_owned();
    (folder, file)
}

#[tokio::test]
async fn what_is_no_command_ends_with_two() {
    for line in [
        "",
        "open",
        "node",
        "demo --nodes 0",
        "demo --port x",
        "inspect",
        "inspect actor cart",
        "audit --what",
    ] {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        let ended = run(&arguments, &[]).await.expect(2);
        assert_eq!(ended.stdout, "", "souk {line}");
        assert!(!ended.stderr.is_empty(), "souk {line} says what is wrong");
    }
    let help = run(&["--help"], &[]).await.expect(0);
    assert!(
        help.stdout.contains("demo") && help.stdout.contains("audit"),
        "{help:?}"
    );
    let version = run(&["--version"], &[]).await.expect(0);
    assert!(version.stdout.starts_with("souk "), "{version:?}");
}

#[tokio::test]
async fn an_invalid_configuration_exits_with_two() {
    let missing = run(&["check", "--config", "/nowhere/cluster.toml"], &[])
        .await
        .expect(2);
    assert!(missing.stderr.contains("/nowhere/cluster.toml"), "{missing:?}");
    for (from, to, named) in [
        ("name = \"n2\"", "name = \"n1\"", "n1"),
        ("shop = \"127.0.0.1:8081\"", "shop = \"nowhere\"", "shop"),
        ("[limits]", "[limits]\nbody_byte = 3", "body_byte"),
        (
            "#= carts = \"sqlite:\"",
            "carts = \"carrier-pigeon://x\"",
            "carrier-pigeon",
        ),
    ] {
        let (_folder, file) = example(|text| text.replacen(from, to, 1));
        let ended = run(&["check", "--config", &file], &[]).await.expect(2);
        assert!(ended.stderr.contains(named), "{to}: {ended:?}");
        assert!(!ended.stderr.contains("panicked"), "{ended:?}");
    }
    let (_folder, file) = example(|text| text);
    let unknown = run(&["node", "--config", &file, "--name", "n9"], &[])
        .await
        .expect(2);
    assert!(
        unknown.stderr.contains("n9") && unknown.stderr.contains("n1, n2, n3"),
        "{unknown:?}"
    );
}

#[tokio::test]
async fn check_tells_what_is_missing_and_that_all_is_well() {
    let (_folder, file) = example(|text| text);
    let wrong = run(&["check", "--config", &file], &[]).await.expect(1);
    assert!(wrong.stdout.contains("souk certs --out"), "{wrong:?}");
    // A store that is asked in vain for once, on a busy machine, is wrong for once.
    let right = eventually("a running shop is found right", LIMIT, async || {
        let right = cluster().souk(&["check"]).await;
        if right.code == Some(0) {
            Ok(right)
        } else {
            Err(format!("{right:?}"))
        }
    })
    .await;
    assert!(right.stdout.contains("0 wrong"), "{right:?}");
    assert!(right.stdout.contains("stores.orders answers"), "{right:?}");
}

#[tokio::test]
async fn the_audit_of_a_running_shop_is_clean() {
    let cluster = cluster();
    cluster.audit().await;
    let text = cluster.souk(&["audit"]).await.expect(0);
    assert!(!text.stdout.trim().is_empty(), "{text:?}");
}

#[tokio::test]
async fn inspect_shows_tables_and_json() {
    let cluster = cluster();
    for what in [
        "nodes",
        "shards",
        "actors",
        "supervision",
        "outbox",
        "dead-letters",
        "sagas",
        "stores",
        "config",
    ] {
        let table = cluster.souk(&["inspect", what]).await.expect(0);
        assert!(!table.stdout.trim().is_empty(), "inspect {what} shows nothing");
        let json = cluster.souk(&["inspect", what, "--json"]).await.expect(0).json();
        assert!(json.is_object() || json.is_array(), "inspect {what}: {json}");
    }
    let nodes = cluster.souk(&["inspect", "nodes"]).await.expect(0).stdout;
    for name in ["n1", "n2", "n3"] {
        assert!(nodes.contains(name), "{nodes}");
    }
    let operator = cluster.operator(1);
    let wrong = run(
        &["inspect", "nodes", "--operator", operator, "--token", "wrong"],
        &[],
    )
    .await
    .expect(2);
    assert!(wrong.stdout.is_empty() && !wrong.stderr.is_empty(), "{wrong:?}");
    let away = run(
        &[
            "inspect",
            "nodes",
            "--operator",
            "http://127.0.0.1:1",
            "--token",
            "x",
        ],
        &[],
    )
    .await
    .expect(1);
    assert!(away.stderr.contains("127.0.0.1:1"), "{away:?}");
    let nobody = cluster.souk(&["inspect", "actor", "order", "ord_nothing"]).await;
    assert!(matches!(nobody.code, Some(0 | 1)), "{nobody:?}");
    run(
        &["inspect", "nodes", "--operator", "ftp://x", "--token", "x"],
        &[],
    )
    .await
    .expect(2);
}

/// All products by id, without their stock, which changes meanwhile.
async fn catalogue(cluster: &Cluster) -> Vec<Value> {
    let mut products = all_products(&cluster.client(0), "").await;
    products.sort_by_key(|product| product["id"].as_str().unwrap_or_default().to_owned());
    products
}

#[tokio::test]
async fn the_same_seed_gives_the_same_catalogue() {
    let one_node = |products| {
        Cluster::start(Options {
            nodes: 1,
            products,
            ..Options::default()
        })
    };
    let (small, large) = (one_node(30), one_node(60));
    let seeded = small
        .souk(&["seed", "--products", "60", "--seed", "1"])
        .await
        .expect(0);
    assert!(seeded.stdout.starts_with("60 products"), "{seeded:?}");
    let (first, second) = (catalogue(&small).await, catalogue(&large).await);
    assert_eq!(first.len(), 60);
    assert_eq!(first, second, "30 products and 30 more are the same as 60");

    small
        .souk(&["seed", "--products", "10", "--seed", "2"])
        .await
        .expect(0);
    assert_eq!(
        catalogue(&small).await.len(),
        70,
        "another seed gives other products"
    );
    let again = cluster()
        .souk(&["seed", "--products", &PRODUCTS.to_string(), "--seed", "1"])
        .await
        .expect(0);
    assert!(
        again.stdout.starts_with(&format!("{PRODUCTS} products")),
        "{again:?}"
    );
    cluster().audit().await;
}

#[tokio::test]
async fn certificates_are_made_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = command::text(folder.path());
    let made = run(&["certs", "--out", out, "--nodes", "a,b"], &[])
        .await
        .expect(0);
    for file in ["ca.pem", "a.pem", "a.key", "b.pem", "b.key"] {
        assert!(folder.path().join(file).is_file(), "{file} is missing: {made:?}");
    }
    let before = std::fs::read(folder.path().join("ca.pem")).expect("a certificate");
    let again = run(&["certs", "--out", out, "--nodes", "a,b"], &[])
        .await
        .expect(0);
    assert_eq!(again.stdout, "", "nothing is made twice");
    assert_eq!(
        std::fs::read(folder.path().join("ca.pem")).expect("a certificate"),
        before
    );
}

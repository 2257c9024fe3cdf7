//! `souk migrate` of a shop with orders, to other places and back, and `souk export` on the way.
//!
//! Every place is another data folder. With the feature `full` and `SOUK_TEST_STORES=servers`, the shop lives on servers in between. With
//! the feature `failpoints` the migration is killed on its way, in each table of the catalogue among others.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::shared::several_stocked;
use crate::support::client::Client;
use crate::support::cluster::{Cluster, Options};
use crate::support::command::{self, text};

/// Orders of guests.
const ORDERS: usize = 6;

/// A configuration like that of the cluster beside it, with its own data folder and these stores.
fn configuration(cluster: &Cluster, name: &str, stores: &[(&str, String)]) -> PathBuf {
    let file = fs::read_to_string(cluster.config()).expect("the configuration can be read");
    let mut table: toml::Table = file.parse().expect("TOML");
    let folder = cluster.config().parent().expect("a folder");
    let section = |table: &mut toml::Table, name: &str| {
        let section = table.entry(name).or_insert_with(|| toml::Table::new().into());
        section.as_table_mut().expect("a section").clone()
    };
    let mut own = section(&mut table, "cluster");
    own.insert("data".into(), text(&folder.join(name)).into());
    table.insert("cluster".into(), own.into());
    let mut urls = section(&mut table, "stores");
    for (store, url) in stores {
        urls.insert((*store).into(), url.as_str().into());
    }
    table.insert("stores".into(), urls.into());
    let path = folder.join(format!("{name}.toml"));
    fs::write(&path, table.to_string()).expect("a configuration can be written");
    path
}

/// The files of an export by their names.
async fn export(cluster: &Cluster, config: &Path, name: &str) -> BTreeMap<String, String> {
    let folder = cluster.data().join(name);
    let arguments = ["export", "--config", text(config), "--out", text(&folder)];
    let exported = command::run(&arguments, cluster.variables()).await.expect(0);
    println!("{}", exported.stdout.trim());
    let files = fs::read_dir(&folder).expect("an export");
    files
        .map(|file| {
            let file = file.expect("a file");
            let name = file.file_name().into_string().expect("a readable name");
            (name, fs::read_to_string(file.path()).expect("text"))
        })
        .collect()
}

/// That two exports are the same, byte for byte.
#[track_caller]
fn assert_same(one: &BTreeMap<String, String>, other: &BTreeMap<String, String>) {
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    for (name, text) in one {
        assert!(other[name] == *text, "{name} differs");
    }
}

async fn migrate(cluster: &Cluster, from: &Path, to: &Path) -> command::Ended {
    let arguments = ["migrate", "--from", text(from), "--to", text(to)];
    command::run(&arguments, cluster.variables()).await
}

/// Kills a migration (SIGKILL) that has imported one page more than it has written down: after `pages` pages.
#[cfg(feature = "failpoints")]
async fn kill_migration(cluster: &Cluster, from: &Path, to: &Path, pages: usize) {
    use crate::support::waiting::eventually;
    use std::time::Duration;

    let tables_with_rows = || {
        let state = fs::read(to.with_extension("migration.json")).unwrap_or_default();
        let state: serde_json::Value = serde_json::from_slice(&state).unwrap_or_default();
        let tables = state["tables"].as_object().cloned().unwrap_or_default();
        tables.values().filter(|table| table["rows"] != 0).count()
    };
    // Every page of this shop is a whole table.
    let before = tables_with_rows();
    let mut settings = cluster.variables().to_vec();
    let fail_points = format!("migrate.imported={pages}*off->pause");
    settings.push(("FAILPOINTS".to_owned(), fail_points));
    let arguments = ["migrate", "--from", text(from), "--to", text(to)];
    let mut process = tokio::process::Command::from(command::souk(&arguments, &settings))
        .kill_on_drop(true)
        .spawn()
        .expect("the binary can be started");
    eventually("pages are moved", Duration::from_secs(120), async || {
        let moved = tables_with_rows();
        if moved == before + pages {
            Ok(())
        } else {
            Err(moved)
        }
    })
    .await;
    process.kill().await.expect("it still runs");
}

/// After how many pages of each process it is killed; the last three times in a table of the catalogue each.
#[cfg(feature = "failpoints")]
fn kills(exported: &BTreeMap<String, String>) -> [usize; 5] {
    // They are moved before the catalogue.
    let earlier = ["carts.", "orders.", "inventory.", "payments."];
    let is_earlier = |name: &str| earlier.iter().any(|store| name.starts_with(store));
    let tables = exported
        .iter()
        .filter(|(name, text)| is_earlier(name) && !text.is_empty());
    [2, 3, tables.count() - 5, 1, 1]
}

/// Moves everything that is in this export, killed on the way where the build can be. Another export is the same then.
async fn moved(cluster: &Cluster, from: &Path, to: &Path, exported: &BTreeMap<String, String>) {
    #[cfg(feature = "failpoints")]
    {
        for pages in kills(exported) {
            kill_migration(cluster, from, to, pages).await;
        }
        let state = fs::read_to_string(to.with_extension("migration.json")).expect("a state");
        let state: serde_json::Value = serde_json::from_str(&state).expect("JSON");
        let rows = |table: &str| state["tables"][table]["rows"].as_u64();
        assert!(rows("catalogue.products") > Some(0), "{state}");
        assert_eq!(rows("catalogue.badges"), None, "{state}");
    }
    let moved = migrate(cluster, from, to).await.expect(0);
    println!("{}", moved.stdout.trim());
    let again = migrate(cluster, from, to).await.expect(1);
    assert!(again.stderr.contains("was completed"), "{again:?}");
    let audit = ["audit", "--config", text(to)];
    command::run(&audit, cluster.variables()).await.expect(0);
    let name = to.file_stem().expect("a name").to_string_lossy();
    assert_same(exported, &export(cluster, to, &format!("export-{name}")).await);
}

/// Orders of several guests, each with who may read it.
async fn ordered(cluster: &Cluster) -> (String, Vec<(String, Client)>) {
    let mut skus = several_stocked(&cluster.client(0), 1, 200, 10_000).await;
    let sku = skus.remove(0).sku;
    let mut orders = Vec::new();
    for number in 0..ORDERS {
        let guest = cluster.client(0).guest().await;
        guest.add(&sku, 1).await.expect(200);
        let order = guest
            .place_order(&format!("moved-{number}"), "tok_ok")
            .await
            .expect(201);
        orders.push((order.str("/id").to_owned(), guest));
    }
    (sku, orders)
}

async fn a_shop_moves(stores: &[(&str, String)]) {
    let options = Options {
        nodes: 1,
        products: 50,
        ..Options::default()
    };
    let cluster = Cluster::start(options.patient());
    let (sku, orders) = ordered(&cluster).await;
    let first = cluster.config().to_owned();
    let second = configuration(&cluster, "second", stores);
    let third = configuration(&cluster, "third", &[]);

    // Not while the shop runs.
    let refused = migrate(&cluster, &first, &second).await.expect(1);
    assert!(refused.stderr.contains("stop all nodes"), "{refused:?}");
    cluster.drain_node(0).await;
    let before = export(&cluster, &first, "export-first").await;
    assert_eq!(before["orders.documents.jsonl"].lines().count(), ORDERS);

    for table in ["categories", "products", "badges"] {
        assert_ne!(before[&format!("catalogue.{table}.jsonl")], "", "{table}");
    }

    moved(&cluster, &first, &second, &before).await;
    moved(&cluster, &second, &third, &before).await;

    // The shop goes on at the last place.
    fs::copy(&third, &first).expect("the configuration can be replaced");
    cluster.restart_node(0).await;
    for (id, client) in &orders {
        let order = client.get_order(id).await.expect(200);
        assert_eq!(order.str("/status"), "confirmed", "{order}");
    }
    let guest = cluster.client(0).guest().await;
    guest.add(&sku, 1).await.expect(200);
    guest.place_order("after", "tok_ok").await.expect(201);
    let audit = ["audit", "--config", text(&third)];
    command::run(&audit, cluster.variables()).await.expect(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shop_migrates_to_another_folder_and_on() {
    a_shop_moves(&[]).await;
}

#[cfg(feature = "full")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shop_migrates_to_servers_and_back() {
    let Some(servers) = crate::support::stores::Servers::chosen() else {
        println!("skipped: it is about servers, with SOUK_TEST_STORES=servers");
        return;
    };
    let settings = servers.settings().await;
    let stores = settings.into_iter().map(|(setting, url)| {
        let store = setting.strip_prefix("stores.").expect("a store");
        (store, url)
    });
    a_shop_moves(&stores.collect::<Vec<_>>()).await;
}

//! The shared cluster, and the assignment of its SKUs to tests.

use std::collections::HashSet;
use std::panic;
use std::sync::{LazyLock, Mutex, PoisonError};

use serde_json::Value;

use crate::support::client::Client;
use crate::support::cluster::{Cluster, Options, is_notable};

/// Products of the shared catalogue: enough for every test to have its own.
pub const PRODUCTS: u64 = 400;

/// The settings of stores on servers, where `SOUK_TEST_STORES=servers` asks for them.
#[cfg(feature = "full")]
fn stores() -> Vec<(&'static str, String)> {
    let Some(servers) = crate::support::stores::Servers::chosen() else {
        return Vec::new();
    };
    let made = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(servers.settings())
    });
    made.join().expect("the servers have a database for the cluster")
}

#[cfg(not(feature = "full"))]
fn stores() -> Vec<(&'static str, String)> {
    let variable = std::env::var_os("SOUK_TEST_STORES");
    assert!(variable.is_none(), "SOUK_TEST_STORES needs the feature full");
    Vec::new()
}

static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| {
    let options = Options {
        products: PRODUCTS,
        settings: stores(),
        ..Options::default()
    };
    let cluster = Cluster::start_for_process(options.patient());
    let default = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        default(info);
        if let Some(cluster) = LazyLock::get(&CLUSTER) {
            eprintln!("{}", cluster.logs(is_notable));
        }
    }));
    cluster
});

/// The shared cluster.
pub fn cluster() -> &'static Cluster {
    &CLUSTER
}

/// A SKU as the catalogue shows it.
#[derive(Clone, Debug)]
pub struct Stocked {
    pub product: String,
    pub sku: String,
    pub price: i64,
    pub weight_grams: i64,
    pub available: u32,
}

static TAKEN: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(Mutex::default);

/// A SKU with between `least` and `most` pieces available, that no other test gets.
pub async fn stocked(client: &Client, least: u32, most: u32) -> Stocked {
    several_stocked(client, 1, least, most).await.remove(0)
}

/// As many such SKUs of different products.
pub async fn several_stocked(client: &Client, count: usize, least: u32, most: u32) -> Vec<Stocked> {
    let mut found = Vec::new();
    let mut path = "/v1/products?limit=100".to_owned();
    loop {
        let page = client.get(&path).await.expect(200);
        for product in page.items() {
            let suits = |sku: &&Value| {
                let available = sku["available"].as_u64().unwrap_or_default();
                (u64::from(least)..=u64::from(most)).contains(&available)
            };
            let Some(sku) = product["skus"]
                .as_array()
                .and_then(|skus| skus.iter().find(suits))
            else {
                continue;
            };
            let id = product["id"].as_str().unwrap_or_default().to_owned();
            if !TAKEN
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(id.clone())
            {
                continue;
            }
            found.push(Stocked {
                product: id,
                sku: sku["sku"].as_str().unwrap_or_default().to_owned(),
                price: sku["price"]["amount"].as_i64().unwrap_or_default(),
                weight_grams: sku["weight_grams"].as_i64().unwrap_or_default(),
                available: sku["available"]
                    .as_u64()
                    .and_then(|available| u32::try_from(available).ok())
                    .unwrap_or_default(),
            });
            if found.len() == count {
                return found;
            }
        }
        match page.body["next_cursor"].as_str() {
            Some(cursor) => path = format!("/v1/products?limit=100&cursor={cursor}"),
            None => panic!(
                "only {} of {count} products have a SKU with {least} to {most} pieces left",
                found.len()
            ),
        }
    }
}

/// All products of a filtered list, for example `&sort=price`, in its order.
pub async fn all_products(client: &Client, filter: &str) -> Vec<Value> {
    let mut found = Vec::new();
    let mut path = format!("/v1/products?limit=100{filter}");
    loop {
        let page = client.get(&path).await.expect(200);
        found.extend_from_slice(page.items());
        match page.body["next_cursor"].as_str() {
            Some(cursor) => path = format!("/v1/products?limit=100{filter}&cursor={cursor}"),
            None => return found,
        }
    }
}

/// SKUs of different products, shared by tests that only fill carts.
pub async fn skus(client: &Client, count: usize) -> Vec<String> {
    let products = all_products(client, "").await;
    let skus: Vec<String> = products
        .iter()
        .filter_map(|product| product["skus"][0]["sku"].as_str().map(str::to_owned))
        .take(count)
        .collect();
    assert_eq!(skus.len(), count, "the catalogue has too few products");
    skus
}

//! Servers on which a cluster keeps its stores, where `SOUK_TEST_STORES=servers` says so.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, Connection};
use tokio::process::Command;

use crate::network::Proxy;

/// The servers, and the stores on each as `cluster.full.toml` has them.
const SERVERS: [(&str, &[&str]); 4] = [
    ("redis", &["SESSIONS"]),
    ("postgres", &["ORDERS", "USERS", "VIEWS"]),
    ("mysql", &["INVENTORY", "PAYMENTS", "SANDBOX"]),
    ("mongodb", &["CARTS"]),
];

/// The addresses of all servers by their names, from `SOUK_TEST_REDIS_URL` and so on.
pub struct Servers(BTreeMap<&'static str, String>);

impl Servers {
    /// Those of the environment; `None` where stores are embedded.
    pub fn chosen() -> Option<Self> {
        let is_chosen = std::env::var("SOUK_TEST_STORES").is_ok_and(|stores| stores == "servers");
        let url = |(name, _): (&'static str, _)| {
            let variable = format!("SOUK_TEST_{}_URL", name.to_uppercase());
            let url = std::env::var(&variable);
            (
                name,
                url.unwrap_or_else(|_| panic!("SOUK_TEST_STORES=servers needs {variable}")),
            )
        };
        is_chosen.then(|| Self(SERVERS.map(url).into()))
    }

    /// The same servers, each behind a network with faults.
    pub async fn behind_proxies(mut self) -> (Self, BTreeMap<&'static str, Proxy>) {
        let mut proxies = BTreeMap::new();
        for (name, url) in &mut self.0 {
            let (start, rest) = url.split_once("://").unwrap();
            let end = rest.find('/').unwrap_or(rest.len());
            let (authority, path) = rest.split_at(end);
            let (user, host) = match authority.rsplit_once('@') {
                Some((user, host)) => (format!("{user}@"), host),
                None => (String::new(), authority),
            };
            let proxy = Proxy::start(host).await;
            *url = format!("{start}://{user}{}{path}", proxy.address());
            proxies.insert(*name, proxy);
        }
        (self, proxies)
    }

    /// Makes a demo keep its stores on the servers, in a database and under keys of its own. What it leaves there is not removed.
    pub async fn configure(&self, demo: &mut Command) {
        let name = format!("souk_cluster_{}", uuid::Uuid::new_v4().simple());
        let mut connection = sqlx::PgConnection::connect(&self.0["postgres"]).await.unwrap();
        let create = format!("CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0");
        sqlx::query(AssertSqlSafe(create))
            .execute(&mut connection)
            .await
            .unwrap();
        let mut connection = sqlx::MySqlConnection::connect(&self.0["mysql"]).await.unwrap();
        let create = format!("CREATE DATABASE {name}");
        sqlx::raw_sql(AssertSqlSafe(create))
            .execute(&mut connection)
            .await
            .unwrap();
        demo.args([
            "--stores",
            concat!(env!("CARGO_MANIFEST_DIR"), "/cluster.full.toml"),
        ]);
        for (server, stores) in SERVERS {
            let url = &self.0[server];
            let url = match server {
                "redis" => format!("{url}?prefix={name}:"),
                // Whatever the set says that its members are.
                "mongodb" => format!("{url}/{name}?directConnection=true"),
                _ => format!("{}/{name}", url.rsplit_once('/').unwrap().0),
            };
            for store in stores {
                demo.env(format!("SOUK_STORES__{store}"), &url);
            }
        }
    }
}

//! Servers on which a cluster keeps its stores, where `SOUK_TEST_STORES=servers` says so.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, Connection};

/// The servers, and the stores on each as `cluster.full.toml` has them.
const SERVERS: [(&str, &[&str]); 5] = [
    ("redis", &["stores.sessions"]),
    ("postgres", &["stores.orders", "stores.users", "stores.views"]),
    (
        "mysql",
        &["stores.inventory", "stores.payments", "stores.sandbox"],
    ),
    ("mongodb", &["stores.carts"]),
    ("elasticsearch", &["stores.catalogue"]),
];

/// The addresses of all servers by their names, from `SOUK_TEST_REDIS_URL` and so on.
pub struct Servers(pub BTreeMap<&'static str, String>);

impl Servers {
    /// Those of the environment; `None` where stores are embedded. A server that `SOUK_TEST_REQUIRE_SERVERS` is set without may be
    /// missing: its stores are embedded then.
    pub fn chosen() -> Option<Self> {
        if !std::env::var("SOUK_TEST_STORES").is_ok_and(|stores| stores == "servers") {
            return None;
        }
        let required = std::env::var("SOUK_TEST_REQUIRE_SERVERS");
        let mut servers = BTreeMap::new();
        for (name, stores) in SERVERS {
            let variable = format!("SOUK_TEST_{}_URL", name.to_uppercase());
            let is_optional = required
                .as_ref()
                .is_ok_and(|required| !required.split_whitespace().any(|required| required == name));
            match std::env::var(&variable) {
                Ok(url) => drop(servers.insert(name, url)),
                Err(_) if is_optional => {
                    println!("{variable} is not set: embedded are {}", stores.join(", "))
                }
                Err(_) => panic!("SOUK_TEST_STORES=servers needs {variable}"),
            }
        }
        Some(Self(servers))
    }

    /// Their names.
    pub fn names(&self) -> Vec<&'static str> {
        self.0.keys().copied().collect()
    }

    /// Whether one of them is missing.
    pub fn embeds_something(&self) -> bool {
        self.0.len() < SERVERS.len()
    }

    /// Makes a database, and chooses keys, for one cluster: its settings. What it leaves there is not removed.
    pub async fn settings(&self) -> Vec<(&'static str, String)> {
        let name = format!("souk_cluster_{}", uuid::Uuid::new_v4().simple());
        if let Some(url) = self.0.get("postgres") {
            let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
            let create = format!("CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0");
            sqlx::query(AssertSqlSafe(create))
                .execute(&mut connection)
                .await
                .unwrap();
        }
        if let Some(url) = self.0.get("mysql") {
            let mut connection = sqlx::MySqlConnection::connect(url).await.unwrap();
            let create = format!("CREATE DATABASE {name}");
            sqlx::raw_sql(AssertSqlSafe(create))
                .execute(&mut connection)
                .await
                .unwrap();
        }
        let mut settings = Vec::new();
        for (server, stores) in SERVERS {
            let url = match (server, self.0.get(server)) {
                (_, None) => "sqlite:".to_owned(),
                ("redis", Some(url)) => with_parameter(url, &format!("prefix={name}:")),
                // Whatever the set says that its members are.
                ("mongodb", Some(url)) => with_parameter(&url_of(url, &name), "directConnection=true"),
                (_, Some(url)) => url_of(url, &name),
            };
            settings.extend(stores.iter().map(|store| (*store, url.clone())));
        }
        settings
    }
}

/// The URL of what a server keeps by this name: a database, or whatever is a path there.
fn url_of(server: &str, name: &str) -> String {
    let (server, parameters) = server.split_at(server.find('?').unwrap_or(server.len()));
    let authority = server.find("://").map_or(0, |scheme| scheme + 3);
    let end = server[authority..]
        .find('/')
        .map_or(server.len(), |path| authority + path);
    format!("{}/{name}{parameters}", &server[..end])
}

/// The URL with one more parameter.
fn with_parameter(url: &str, parameter: &str) -> String {
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}{parameter}")
}

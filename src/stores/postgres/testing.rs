//! Databases for tests.

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, query, raw_sql};
use tokio::time::Instant;

use super::PostgresPool;
use crate::stores::sql_pool::{Access, CALL_LIMIT};
use crate::stores::testing::proxy::Proxy;
use crate::stores::testing::{at_port, is_plain, remove_database, server_url, url_of};
use souk_embedded::Value;

/// An empty database on the server of `SOUK_TEST_POSTGRES_URL`, dropped with this value.
pub struct TestDatabase {
    server: PgConnectOptions,
    name: String,
    url: String,
}

impl TestDatabase {
    /// A new one; nothing where there is no server.
    pub async fn create() -> Option<Self> {
        let url = server_url("POSTGRES")?;
        let server: PgConnectOptions = url.parse().unwrap();
        let name = format!("souk_test_{}", uuid::Uuid::new_v4().simple());
        let database = Self {
            url: url_of(&url, &name),
            server,
            name,
        };
        // In an order of dictionaries: whoever forgets the collation of a column shall notice.
        let create = format!(
            "CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C' LOCALE_PROVIDER icu ICU_LOCALE 'en'",
            database.name
        );
        run(&database.server, create).await;
        Some(database)
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A store in it.
    pub async fn open(&self, store: &'static str, migrations: &[&'static str]) -> PostgresPool {
        PostgresPool::open(store, &self.url, migrations).await.unwrap()
    }

    /// A way to the server on which messages get lost by what is in them, and the address of the database over it; nothing with TLS.
    pub async fn proxied(&self) -> Option<(Proxy, String)> {
        if !is_plain(&self.url) {
            return None;
        }
        let proxy = Proxy::start(self.server.get_host(), self.server.get_port()).await;
        let url = at_port(&self.url, proxy.port());
        Some((proxy, url))
    }

    /// A connection beside those of the stores, on the schema of one.
    pub async fn connect(&self, store: &str) -> PgConnection {
        let options: PgConnectOptions = self.url.parse().unwrap();
        options
            .options([("search_path", format!("souk_{store}"))])
            .connect()
            .await
            .unwrap()
    }
}

impl PostgresPool {
    /// What `explain` says after `prepare`, on a connection as the store has them.
    pub async fn plan(&self, prepare: &str, explain: &str) -> String {
        let deadline = Instant::now() + CALL_LIMIT;
        let mut lease = self.acquire(deadline).await.unwrap();
        let mut plan = Vec::new();
        for sql in [prepare, explain] {
            let query = query(AssertSqlSafe(sql)).persistent(false);
            let rows = lease.rows(Access::Read, deadline, query).await.unwrap();
            plan.extend(rows.into_iter().flatten().map(|line| match line {
                Value::Text(line) => line,
                other => panic!("{other:?}"),
            }));
        }
        plan.join("\n")
    }
}

async fn run(server: &PgConnectOptions, sql: String) {
    let mut session = server.connect().await.unwrap();
    raw_sql(AssertSqlSafe(sql)).execute(&mut session).await.unwrap();
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (server, sql) = (
            self.server.clone(),
            format!("DROP DATABASE {} WITH (FORCE)", self.name),
        );
        remove_database(&self.name, async move { run(&server, sql).await });
    }
}

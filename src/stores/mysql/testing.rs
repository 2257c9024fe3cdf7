//! Databases for tests.

use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, raw_sql};

use super::MysqlPool;
use crate::stores::testing::proxy::Proxy;
use crate::stores::testing::{at_port, is_plain, remove_database, server_url, url_of};

/// An empty database on the server of `SOUK_TEST_MYSQL_URL`, dropped with this value.
pub struct TestDatabase {
    server: MySqlConnectOptions,
    name: String,
    url: String,
}

impl TestDatabase {
    /// A new one; nothing where there is no server.
    pub async fn create() -> Option<Self> {
        let url = server_url("MYSQL")?;
        let name = format!("souk_test_{}", uuid::Uuid::new_v4().simple());
        let database = Self {
            url: url_of(&url, &name),
            server: url.parse().unwrap(),
            name,
        };
        // With a collation that ignores what it can: whoever leaves a column to it shall notice.
        let create = format!(
            "CREATE DATABASE {} CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci",
            database.name
        );
        run(&database.server, create).await;
        Some(database)
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
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

    /// A store in it.
    pub async fn open(&self, store: &'static str, migrations: &[&'static str]) -> MysqlPool {
        MysqlPool::open(store, &self.url, migrations).await.unwrap()
    }

    /// A connection beside those of the stores.
    pub async fn connect(&self) -> MySqlConnection {
        let options: MySqlConnectOptions = self.url.parse().unwrap();
        options.connect().await.unwrap()
    }
}

async fn run(server: &MySqlConnectOptions, sql: String) {
    let mut session = server.connect().await.unwrap();
    raw_sql(AssertSqlSafe(sql)).execute(&mut session).await.unwrap();
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (server, sql) = (self.server.clone(), format!("DROP DATABASE {}", self.name));
        remove_database(&self.name, async move { run(&server, sql).await });
    }
}

//! Databases and servers for tests.

use std::path::Path;
use std::process::Stdio;

use mongodb::Client;
use mongodb::options::{ClientOptions, ServerAddress};
use tokio::process::Command;

use crate::stores::testing::own_server::OwnServer;
use crate::stores::testing::proxy::Proxy;
use crate::stores::testing::{remove_database, server_url, url_of, with_parameter};

/// A database on the server of `SOUK_TEST_MONGODB_URL`; dropped with this value.
pub struct TestDatabase {
    server: String,
    name: String,
}

impl TestDatabase {
    /// A new one; nothing where there is no server.
    pub fn create() -> Option<Self> {
        let server = server_url("MONGODB")?;
        Some(Self {
            server,
            name: format!("souk_test_{}", uuid::Uuid::new_v4().simple()),
        })
    }

    /// Its address.
    pub fn url(&self) -> String {
        url_of(&self.server, &self.name)
    }

    /// A way to the server on which messages get lost, and the address of the database over it.
    pub async fn proxied(&self) -> (Proxy, String) {
        let options = ClientOptions::parse(&self.server).await.unwrap();
        let ServerAddress::Tcp { host, port } = &options.hosts[0] else {
            panic!("{} has no port", self.server);
        };
        let proxy = Proxy::start(host, port.unwrap_or(27_017)).await;
        let own = format!("127.0.0.1:{}", proxy.port());
        // Nothing but this address, whatever the set says that its members are.
        let url = self.url().replacen(&options.hosts[0].to_string(), &own, 1);
        (proxy, with_parameter(&url, "directConnection=true"))
    }

    /// A client beside that of a store.
    pub async fn database(&self) -> mongodb::Database {
        let client = Client::with_uri_str(&self.server).await.unwrap();
        client.database(&self.name)
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        let removal = async move {
            let client = Client::with_uri_str(&server).await.unwrap();
            client.database(&name).drop().await.unwrap();
        };
        remove_database(&self.name, removal);
    }
}

/// A server of the test's own, by the program that `scripts/stores` has installed in `SOUK_STORES_DIR`; nothing without one.
pub(crate) async fn own_server() -> Option<OwnServer> {
    OwnServer::start(|port, folder| {
        let installed = std::env::var_os("SOUK_STORES_DIR").unwrap_or_default();
        // A folder that is not there is no program either.
        let installed = Path::new(&installed).canonicalize().unwrap_or_default();
        let mut server = Command::new(installed.join("mongodb/venv/bin/secantusd-py"));
        server
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .args(["--sync-on-commit", "--log-level", "WARNING", "--storage-path"])
            .arg(folder.join("data"))
            .current_dir(folder)
            .stderr(Stdio::null());
        server
    })
    .await
}

/// Its address, and that of a database.
pub(crate) fn url(server: &OwnServer) -> String {
    format!("mongodb://127.0.0.1:{}/shop", server.port())
}
